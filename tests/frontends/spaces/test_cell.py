"""Cells as batches: what is on a path, in a network's vocabulary, the same for the same cell however it is written."""

from __future__ import annotations

import itertools
import random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import rows

import cgir
from cgir.analysis.computation_trees import node_classes
from cgir.cost import kind_flops
from cgir.graph import Graph, Node, Param
from cgir.graph_batch import GraphBatch
from cgir.node_features import categories, node_features
from encoders import Encoder, EncoderConfig
from frontends import spaces
from frontends.spaces.cell import SKIP_OPS, CellGraph
from frontends.spaces.cell_kinds import (
    FIRST_INPUT,
    KINDS,
    NOMINAL,
    REDUCED,
    SIZED_OPS,
    STATE_OPS,
    cell_kind,
    pack_cells,
)

NAMES = tuple(spaces.SPACES)
TWO_CELLS = {"darts", "nasnet"}


def sampled(name: str, count: int, seed: int = 0) -> list:
    space, rng = spaces.get(name), np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def labels(cell: CellGraph) -> list[tuple[str, int]]:
    """Each node's operator, and in which of the cells side by side it stands."""
    return [(op, max(cell.ops[: place + 1].count(FIRST_INPUT) - 1, 0)) for place, op in enumerate(cell.ops)]


def signatures(batch: GraphBatch) -> list[tuple[int, ...]]:
    """Colour refinement both ways, as deep as any cell: different ones are not isomorphic."""
    last = node_classes(batch, 8, "both")[-1]
    return [tuple(sorted(last[first:end].tolist())) for first, end in itertools.pairwise(batch.ptr.tolist())]


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_the_pruned_cells_one_by_one(name: str) -> None:
    space, specs = spaces.get(name), sampled(name, 60)
    batch, start = space.cell_graphs(iter(specs)), 0
    edges = list(zip(batch.src.tolist(), batch.dst.tolist(), strict=True))
    expected_edges, first_seen = [], []
    for spec, end in zip(specs, batch.ptr[1:].tolist(), strict=True):
        cell = space.cell_graph(spec).pruned()
        assert end - start == len(cell.ops)
        for place, (op, number) in enumerate(labels(cell)):
            kind = cell_kind(op, REDUCED if number else NOMINAL)
            assert batch.kinds[batch.kind[start + place]] == kind
            first_seen.append(kind)
        expected_edges += [
            (start + source, start + target)
            for source, target in sorted(cell.edges, key=lambda edge: (edge[1], edge[0]))
        ]
        start = end
    assert edges == expected_edges
    assert batch.kinds == tuple(dict.fromkeys(first_seen))
    assert {array.dtype for array in (batch.kind, batch.src, batch.dst, batch.ptr)} == {np.dtype(np.int64)}
    assert len(space.cell_graphs([])) == 0


@pytest.mark.parametrize("name", NAMES)
def test_no_two_operators_of_a_space_look_the_same_to_an_encoder(name: str) -> None:
    space = spaces.get(name)
    cells = [space.cell_graph(spec).pruned() for spec in sampled(name, 400)]
    seen = sorted({label for cell in cells for label in labels(cell)})
    assert {number for _, number in seen} == ({0, 1} if name in TWO_CELLS else {0})
    kinds = [cell_kind(op, REDUCED if number else NOMINAL) for op, number in seen]
    features = np.concatenate([categories(kinds), node_features(kinds)], axis=1)
    assert len(np.unique(features, axis=0)) == len(set(kinds)) == len(seen)


def test_the_table_has_a_row_for_every_operator_and_no_other() -> None:
    seen = {op for name in NAMES for spec in sampled(name, 400) for op in spaces.get(name).cell_graph(spec).ops}
    sized = tuple(f"{op}_" for op in (*STATE_OPS, *SIZED_OPS))
    assert {op for op in seen if not op.startswith(sized)} == set(KINDS)


@pytest.mark.parametrize(
    "op",
    [
        *KINDS,
        "input_h_prev_0",
        "output_h_new_12",
        "attention_64_4",
        "swiglu_64_256",
        "convolution_5_2_24",
        "dense_128",
        "lstm_30",
    ],
)
@pytest.mark.parametrize("place", [NOMINAL, REDUCED])
def test_kinds_are_those_of_well_formed_nodes(op: str, place: tuple[int, int]) -> None:
    kind = cell_kind(op, place)
    sources = [Node("Input", shape=shape, name=f"in{slot}") for slot, shape in enumerate(kind.in_shapes)]
    params = tuple(Param(str(slot), shape) for slot, shape in enumerate(kind.param_shapes))
    node = Node(kind.op, tuple(range(len(sources))), kind.in_shapes, kind.shape, params, kind.attrs, "node")
    last = Node("Output", (len(sources),), (kind.shape,), kind.shape, name="out")
    cgir.verify(Graph((*sources, node, *([] if kind.op == "Output" else [last]))))


def test_costs_follow_the_operators() -> None:
    flops = {op: kind_flops(cell_kind(op)) for op in KINDS}
    pixels = NOMINAL[1] ** 2
    assert flops["nor_conv_3x3"] == flops["normal"] == 2 * pixels * 16 * 16 * 9
    assert flops["channels_x2"] == 2 * flops["normal"] == 4 * flops["channels_x2_resolution_/2"]
    assert flops["sep_conv_5x5"] == flops["dil_conv_5x5"] == 2 * pixels * 16 * 25
    assert (
        flops["mbconv_e6_k5"]
        == flops["mb_e6_k5"]
        == flops["5x5_MBConv6"]
        == 6 * flops["sep_conv_5x5"]
        == 4 * flops["mbconv_e6_k5_first"]
    )
    assert flops["skip"] == flops["identity"] == flops["avg_pool_3x3"] == 0


OPS = ("none", "zeroize", "skip", "conv1x1", "conv3x3", "avg_pool_3x3", "input", "output")


@settings(max_examples=150, deadline=None)
@given(
    ops=st.lists(st.sampled_from(OPS), min_size=2, max_size=9),
    density=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_left_lies_on_a_path(ops: list[str], density: float, seed: int) -> None:
    rng = random.Random(seed)
    pairs = [pair for pair in itertools.combinations(range(len(ops)), 2) if rng.random() < density]
    batch = pack_cells([CellGraph(tuple(ops), tuple(pairs)).pruned()])
    alive = nx.DiGraph(pairs)
    alive.add_nodes_from(range(len(ops)))
    alive.remove_nodes_from([node for node, op in enumerate(ops) if op in ("none", "zeroize")])
    ends = {end: [node for node in alive if ops[node] == end] for end in ("input", "output")}
    kept = {
        node
        for node in alive
        if any(nx.has_path(alive, start, node) for start in ends["input"])
        and any(nx.has_path(alive, node, end) for end in ends["output"])
    }
    edges = list(alive.subgraph(kept).edges)
    left = sorted(kept.union(*ends.values()))
    assert [batch.kinds[kind] for kind in batch.kind] == [cell_kind(ops[node]) for node in left]
    assert sorted((left[a], left[b]) for a, b in zip(batch.src, batch.dst, strict=True)) == sorted(edges)


@settings(max_examples=100, deadline=None)
@given(
    ops=st.lists(st.sampled_from(("skip", "skip_connect", "conv1x1")), max_size=6),
    density=st.floats(0.2, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_contracted_skips_leave_an_edge_for_every_way_through_them(ops: list[str], density: float, seed: int) -> None:
    rng = random.Random(seed)
    names = ("input", *ops, "output")
    pairs = tuple(pair for pair in itertools.combinations(range(len(names)), 2) if rng.random() < density)
    network = nx.DiGraph(pairs)
    network.add_nodes_from(range(len(names)))
    kept = [node for node, op in enumerate(names) if op not in SKIP_OPS]
    ways = [
        (kept.index(a), kept.index(b))
        for a, b in itertools.combinations(kept, 2)
        for path in nx.all_simple_paths(network, a, b)
        if not set(path[1:-1]) & set(kept)
    ]
    cell = CellGraph(names, pairs).contracted()
    assert cell.ops == tuple(names[node] for node in kept)
    assert list(cell.edges) == sorted(ways)


@pytest.mark.parametrize("name", ["nasbench201", "transnas_micro", "darts"])
def test_batches_without_skips(name: str) -> None:
    space, specs = spaces.get(name), sampled(name, 60)
    batch, kept = space.cell_graphs(specs, skip_nodes=False), space.cell_graphs(specs)
    assert any(kind.op == "Identity" for kind in kept.kinds)
    assert not any(kind.op == "Identity" for kind in batch.kinds)
    skips = np.asarray([kind.op == "Identity" for kind in kept.kinds])[kept.kind]
    assert np.array_equal(np.diff(batch.ptr), np.diff(kept.ptr) - np.bincount(kept.graph_of_node, skips, len(kept)))
    assert (np.diff(batch.dst) >= 0).all()
    assert embeddings(batch).shape == (60, 32)


def test_without_a_path_only_the_ends_are_left() -> None:
    space = spaces.get("nasbench201")
    batch = space.cell_graphs([space.parse("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|none~2|")])
    assert [batch.kinds[kind].op for kind in batch.kind] == ["Input", "Output"]
    assert len(batch.src) == 0


def test_cells_that_are_not_pruned_hold_what_a_benchmark_runs() -> None:
    """Every operation of the string, of which networkx finds the isomorphic cells."""
    space, rng = spaces.get("nasbench201"), np.random.default_rng(5)
    specs = [space.sample(rng) for _ in range(60)]
    batch = space.cell_graphs(specs, pruned=False)
    assert np.diff(batch.ptr).tolist() == [8] * 60
    ops = {"none": "Mul", "skip_connect": "Identity", "avg_pool_3x3": "AvgPool"}
    for place, spec in enumerate(specs):
        nodes = [batch.kinds[kind].op for kind in batch.kind[batch.ptr[place] : batch.ptr[place + 1]]]
        assert nodes == ["Input", *(ops.get(op, "Conv") for op in spec), "Output"]
    found = signatures(batch)
    networks = [nx.DiGraph(space.cell_graph(spec).edges) for spec in specs]
    for network, spec in zip(networks, specs, strict=True):
        nx.set_node_attributes(network, dict(enumerate(("input", *spec, "output"))), "op")
    for i, j in itertools.combinations(range(60), 2):
        same = nx.is_isomorphic(networks[i], networks[j], node_match=lambda a, b: a["op"] == b["op"])
        assert (found[i] == found[j]) == same


def test_nasbench201_has_8765_cells_up_to_isomorphism() -> None:
    """As many as a count by Weisfeiler-Lehman hashes of the pruned cells, made without this library, found."""
    space = spaces.get("nasbench201")
    found = signatures(space.cell_graphs(space.enumerate()))
    assert len(found) == 15_625
    assert len(set(found)) == 8_765


def test_unique_cells_of_nasbench101_stay_unique() -> None:
    space = spaces.get("nasbench101")
    specs = list(space.enumerate(5))
    batch = space.cell_graphs(specs)
    assert np.diff(batch.ptr).tolist() == [len(spec.matrix) for spec in specs]
    assert len(set(signatures(batch))) == len(specs)


def test_labelled_cells_of_nasbench101_are_as_many_as_their_hashes() -> None:
    table, space = list(rows("nasbench101.csv.gz")), spaces.get("nasbench101")
    batch = space.cell_graphs(space.parse(f"{row['adjacency_rowmajor']}:{row['interior_ops']}") for row in table)
    assert len(set(signatures(batch))) == len({row["module_hash"] for row in table}) == 20_001


def embeddings(batch: GraphBatch) -> np.ndarray:
    return Encoder(EncoderConfig(width=16, layers=4)).embed(batch, progress=False)


@pytest.mark.parametrize("name", NAMES)
def test_encoders_read_cells(name: str) -> None:
    batch = spaces.get(name).cell_graphs(sampled(name, 40))
    vectors = embeddings(batch)
    assert vectors.shape == (40, 32)
    distinct = set(signatures(batch))
    assert len(np.unique(vectors.round(4), axis=0)) == len(distinct) > 20


def test_the_order_of_vertices_does_not_matter() -> None:
    space = spaces.get("nasbench101")
    # in -> conv3x3 -> out beside in -> conv1x1 -> maxpool -> out, and the same with the branches exchanged
    specs = [space.parse(text) for text in ("0110000001000100000100000:012", "0101000100000010000100000:120")]
    first, second = embeddings(space.cell_graphs(specs))
    assert specs[0] != specs[1]
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_the_reduction_cell_is_told_from_the_normal_one() -> None:
    space = spaces.get("darts")
    spec = sampled("darts", 1)[0]
    first, second = embeddings(space.cell_graphs([spec, spec._replace(normal=spec.reduce, reduce=spec.normal)]))
    assert np.abs(first - second).max() > 1e-3  # rounding is a thousandth of that


def test_an_operator_without_a_kind_is_refused() -> None:
    with pytest.raises(cgir.SpecError, match=r"'magic'.*cell_kinds"):
        pack_cells([CellGraph(("input", "magic", "output"), ((0, 1), (1, 2)))])
