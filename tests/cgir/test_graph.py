"""Graph, builder, features and cost: the contract that everything else stands on."""

from collections import Counter
from dataclasses import FrozenInstanceError, replace
from importlib.util import find_spec
from math import log2, prod

import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, small_graph
from hypothesis import given, settings
from hypothesis import strategies as st

import cgir
from cgir import GraphBuilder, InvalidGraphError, verify
from cgir.cost import activation_bytes, flops, node_flops, num_params
from cgir.graph import Graph, Node, NodeKind, Param, attributes
from cgir.graph_batch import GraphBatch
from cgir.node_features import FEATURE_NAMES, VARIANTS, categories, extent, node_features
from cgir.ops import INDEX, OPS, TORCH_NAMES
from cgir.ragged import ranges


def test_public_names_are_functions_not_modules():
    for name in ("spectrum", "verify", "diff", "isomorphic", "load", "spectral_distance", "canonicalize"):
        assert callable(getattr(cgir, name)), name
        assert find_spec(f"cgir.{name}") is None, f"import cgir.{name} would hide the function"


def test_nodes_and_graphs_are_immutable_and_hashable():
    graph = small_graph()
    assert hash(graph) == hash(small_graph())
    assert graph == small_graph()
    with pytest.raises(FrozenInstanceError):
        graph.nodes[0].op = "ReLU"
    with pytest.raises(FrozenInstanceError):
        graph.name = "other"


def test_kinds_forget_the_place_only():
    node = Node(
        "Conv", (3,), ((3, 8, 8),), (4, 8, 8), (Param("w", (4, 3, 3, 3)),), attributes({"b": 1, "a": 2}), "n", "m"
    )
    assert node.kind == replace(node, inputs=(9,), name="x", module="y", params=(Param("v", (4, 3, 3, 3)),)).kind
    assert node.kind != replace(node, attrs=()).kind
    assert node.attrs == (("a", 2), ("b", 1))
    assert node.attr("a") == node.kind.attr("a") == 2
    assert node.attr("c") is None
    assert node.kind.attr("c", 5) == node.attr("c", 5) == 5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_consumers_invert_inputs(seed, size):
    graph = random_graph(np.random.default_rng(seed), size)
    forward = Counter((s, t) for t, node in enumerate(graph.nodes) for s in node.inputs)
    backward = Counter((s, t) for s, readers in enumerate(graph.consumers) for t in readers)
    assert forward == backward
    assert graph.num_edges == sum(forward.values())
    assert all(list(readers) == sorted(readers) for readers in graph.consumers)


def test_op_counts_and_notes():
    graph = small_graph()
    assert graph.op_counts() == {
        "Linear": 2,
        "Input": 1,
        "Conv": 1,
        "BatchNorm": 1,
        "Clip": 1,
        "Opaque:fold": 1,
        "Output": 1,
    }
    notes = graph.with_nodes(graph.nodes, {"contract_movement": 1, "fold_padding": 2}).notes
    assert notes == (("contract_movement", 4), ("fold_padding", 2))
    assert graph.with_nodes(graph.nodes[:1], level="raw").level == "raw"
    assert graph.with_nodes(graph.nodes).level == "module"
    assert graph.with_nodes(graph.nodes, {"x": 1}) == graph  # notes are not part of what a graph is


def test_costs_of_resnet50_are_the_published_ones():
    graph = resnet50()
    assert graph.num_params == num_params(graph) == 25_557_032
    assert graph.flops == flops(graph) == 2 * 4_089_184_256  # multiply-adds by fvcore and torchvision's model card
    assert activation_bytes(graph) == 4 * sum(prod(node.shape) for node in graph.nodes[:-1])
    assert activation_bytes(graph, 2) * 2 == activation_bytes(graph)


def test_shared_parameters_count_once_and_flops_every_time():
    graph = small_graph()
    assert graph.num_params == 4 * 27 + 4 + 8 + 16
    assert [node_flops(node) for node in graph.nodes if node.op == "Linear"] == [2 * 4 * 8 * 8 * 4] * 2


def test_flops_of_products_against_a_count_of_multiplications():
    def kind(op, in_shapes, shape, params=(), **attrs):
        return Node(
            op,
            tuple(range(len(in_shapes))),
            in_shapes,
            shape,
            tuple(Param(str(i), s) for i, s in enumerate(params)),
            attributes(attrs),
        )

    grouped = kind("Conv", ((6, 5, 5),), (4, 3, 3), kernel=(3, 3), groups=2)
    # every output sums 3 channels of its group over 3 x 3
    count = sum(1 for _ in np.ndindex(4, 3, 3) for _ in np.ndindex(3, 3, 3))
    assert node_flops(grouped) == 2 * count
    attention = kind("Attention", ((2, 7, 3), (2, 5, 3), (2, 5, 4)), (2, 7, 4), causal=False)
    assert node_flops(attention) == 2 * 2 * (7 * 5 * 3 + 7 * 5 * 4)
    assert node_flops(kind("MatMul", ((2, 3), (3, 4)), (2, 4), inner=3)) == 2 * 2 * 3 * 4
    assert node_flops(kind("ConvTranspose", ((6, 5),), (4, 11), kernel=(3,), groups=2)) == 2 * 6 * 5 * 3 * 2
    recurrent = kind(
        "LSTM", ((5, 7),), (3, 7), params=((12, 5), (12, 3), (12,), (12,)), hidden=3, layers=1, bidirectional=False
    )
    assert node_flops(recurrent) == 2 * 7 * (12 * 5 + 12 * 3)
    assert node_flops(kind("ReLU", ((9,),), (9,))) == 0


def test_builder_infers_shapes_that_verify_accepts():
    b = GraphBuilder("net")
    x = b.input((3, 33, 31))
    y = b.relu(b.batch_norm(b.conv(x, 8, 3, stride=2, bias=True)), "SiLU")
    assert b.shape(y) == (8, 17, 16)
    z = b.max_pool(y, 3, 2, 1)
    w = b.avg_pool(y, 3, 2, 1, include_pad=False)
    joined = b.concat(b.add(z, w), z)
    assert b.shape(joined) == (16, 9, 8)
    b.output(b.linear(b.global_avg_pool(joined), 10))
    graph = b.build()
    verify(graph)
    assert graph.nodes[w].attr("include_pad") is False
    assert graph.nodes[1].params == (Param("1.0", (8, 3, 3, 3)), Param("1.1", (8,)))
    assert b.add(z) == z
    assert b.concat(z) == z
    with pytest.raises(InvalidGraphError, match="8 -> 9 channels cannot be split into 4 groups"):
        b.conv(y, 9, 3, groups=4)


def test_builder_shapes_are_torch_s():
    torch = pytest.importorskip("torch")
    for size, kernel, stride, padding in [(9, 3, 2, 1), (8, 3, 2, 0), (7, 5, 3, 2), (10, 1, 2, 0), (6, 2, 2, 0)]:
        b = GraphBuilder()
        x = b.input((2, size, size))
        image = torch.zeros(1, 2, size, size, device="meta")
        pad = min(padding, kernel // 2)
        found = [
            b.conv(x, 4, kernel, stride, padding),
            b.max_pool(x, kernel, stride, pad),
            b.avg_pool(x, kernel, stride, pad),
        ]
        conv = torch.nn.Conv2d(2, 4, kernel, stride, padding, device="meta")
        layers = conv, torch.nn.MaxPool2d(kernel, stride, pad), torch.nn.AvgPool2d(kernel, stride, pad)
        assert [b.shape(i) for i in found] == [tuple(layer(image).shape[1:]) for layer in layers]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_batches_hold_every_graph(seed, count):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, int(n)) for n in rng.integers(1, 12, count)]
    batch = GraphBatch.from_graphs(graphs)
    assert len(batch) == count
    assert batch.num_nodes == sum(map(len, graphs))
    assert len(set(batch.kinds)) == len(batch.kinds)
    for g, graph in enumerate(graphs):
        start, stop = batch.ptr[g], batch.ptr[g + 1]
        assert [batch.kinds[k] for k in batch.kind[start:stop]] == [node.kind for node in graph.nodes]
        inside = (batch.dst >= start) & (batch.dst < stop)
        edges = list(zip((batch.src - start)[inside].tolist(), (batch.dst - start)[inside].tolist(), strict=True))
        assert edges == [(s, t) for t, node in enumerate(graph.nodes) for s in node.inputs]
        assert (batch.graph_of_node[start:stop] == g).all()


def same(a, b):
    arrays = all(np.array_equal(x, y) for x, y in ((a.src, b.src), (a.dst, b.dst), (a.ptr, b.ptr)))
    return arrays and [a.kinds[k] for k in a.kind] == [b.kinds[k] for k in b.kind]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 8))
def test_select_and_concatenate_are_what_from_graphs_gives(seed, count):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, int(n)) for n in rng.integers(1, 8, 6)] + [Graph((Node("Input", shape=(1,)),))]
    batch = GraphBatch.from_graphs(graphs)
    chosen = rng.integers(0, len(graphs), count)
    assert same(batch.select(chosen), GraphBatch.from_graphs(graphs[i] for i in chosen))
    parts = [batch.select(chosen), batch.select([2]), GraphBatch.from_graphs(graphs[:2])]
    assert same(
        GraphBatch.concatenate(parts), GraphBatch.from_graphs([*(graphs[i] for i in chosen), graphs[2], *graphs[:2]])
    )


def test_ranges():
    assert ranges(np.asarray([5, 0, 9]), np.asarray([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ranges(np.asarray([], np.int64), np.asarray([], np.int64)).tolist() == []


def test_features_by_hand():
    graph = resnet50()
    kinds = [graph.nodes[1].kind, graph.nodes[0].kind, graph.nodes[-2].kind]
    rows = node_features(kinds)
    assert rows.dtype == np.float32
    conv = dict(zip(FEATURE_NAMES, rows[0], strict=True))
    expected = {
        "out_channels": 64, "out_height": 112, "in_channels": 3, "in_width": 224, "num_inputs": 1, "kernel_height": 7, "stride": 2, "dilation": 1,
        "groups": 1, "params": 64 * 3 * 49, "flops": 2 * 64 * 112 * 112 * 3 * 49,
    }  # fmt: skip
    for name, value in expected.items():
        assert conv[name] == pytest.approx(log2(1 + value) / 8, rel=1e-6), name
    assert conv["bias"] == 0
    assert rows[2][FEATURE_NAMES.index("bias")] == 1
    assert np.isfinite(node_features([node.kind for node in small_graph().nodes])).all()
    assert node_features([]).shape == (0, len(FEATURE_NAMES))


def test_extent_of_any_rank():
    assert [extent(shape) for shape in ((), (5,), (5, 6), (5, 6, 7), (5, 6, 7, 8))] == [
        (1, 1, 1),
        (5, 1, 1),
        (5, 6, 1),
        (5, 6, 7),
        (5, 6, 56),
    ]


def test_variants_of_operators():
    def variants(kernel, stride, dilation, groups):
        return categories(
            [
                NodeKind(
                    "Conv",
                    ((8, 9, 9),),
                    (8, 9, 9),
                    (),
                    attributes({"kernel": kernel, "stride": stride, "dilation": dilation, "groups": groups}),
                )
            ]
        )[0, 1:]

    assert tuple(VARIANTS) == ("kernel_height", "kernel_width", "stride", "dilation", "grouping")
    assert variants((3, 3), (2, 2), (1, 1), 1).tolist() == [3, 3, 2, 1, 0]
    assert variants((1, 7), (1, 1), (2, 2), 8).tolist() == [1, 7, 1, 2, 2]
    assert variants((31, 31), (16, 16), (5, 5), 4).tolist() == [7, 7, 3, 2, 1]
    assert categories([NodeKind("ReLU", ((8,),), (8,), (), ())])[0, 1:].tolist() == [0] * 5
    assert categories([]).shape == (0, 6)


def test_vocabulary():
    assert [list(OPS)[i] for i, *_ in categories([NodeKind(op, (), (), (), ()) for op in OPS])] == list(OPS)
    assert sorted(INDEX.values()) == list(range(len(OPS)))
    assert set(TORCH_NAMES.values()) <= set(OPS)
    commutative = {op.name for op in OPS.values() if op.commutative}
    assert commutative == {"Add", "Mul", "Maximum", "Minimum"}


def test_graph_methods_are_the_functions(tmp_path):
    graph = ring_graph(3)
    graph.save(tmp_path / "g.json")
    assert cgir.load(tmp_path / "g.json") == graph
    assert graph.hash == replace(graph, name="x").hash
    assert graph.to_networkx().number_of_nodes() == len(graph)
    assert graph.to_dot().startswith("digraph")
    assert graph.report().startswith("ring (module): 9 nodes")
