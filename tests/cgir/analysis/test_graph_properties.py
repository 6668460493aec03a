from math import log2, prod

import networkx as nx
import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, shuffled, small_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from cgir.analysis.graph_properties import COUNTED_OPS, OCTAVES, PER_OCTAVE, PROPERTY_NAMES, properties
from cgir.builder import GraphBuilder
from cgir.cost import activation_bytes, flops, num_params
from cgir.graph import Graph, Node
from cgir.graph_batch import GraphBatch


def named(graph):
    """The values themselves, by name."""
    row = properties(graph)[0]
    fractions = PROPERTY_NAMES.index("conv_1x1")
    return {
        name: value if i >= fractions else 2**value - 1
        for i, (name, value) in enumerate(zip(PROPERTY_NAMES, row, strict=True))
    }


def test_sizes_are_those_of_cost():
    graph = resnet50()
    found = named(graph)
    assert found["flops"] == pytest.approx(flops(graph), rel=1e-9)
    assert found["params"] == pytest.approx(num_params(graph), rel=1e-9)
    assert found["activation_bytes"] == pytest.approx(activation_bytes(graph), rel=1e-9)
    assert found["nodes"] == pytest.approx(len(graph))
    assert found["edges"] == pytest.approx(graph.num_edges)
    for op in COUNTED_OPS:
        assert found[f"num_{op}"] == pytest.approx(graph.op_counts().get(op, 0)), op


def test_resnet50_by_hand():
    found = named(resnet50())
    # 1 conv, 3 + 4 + 6 + 3 blocks of 3 convs on the main path and one on the shortcut of every stage's first block
    assert found["longest_path_convs"] == pytest.approx(1 + 3 * 16)
    assert found["shortest_path_convs"] == pytest.approx(1 + 4)
    # torchvision's ResNet-50 with stride in the 3x3 convolution: 427 rows up to the last 3x3 convolution (the recursion
    # of Araujo et al., 2019)
    jump, field = 4, 1 + 6 + 2 * 2
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            field += 2 * jump
            jump *= 2 if stage and not block else 1
    assert found["receptive_field"] == pytest.approx(field - 1)
    assert found["conv_3x3"] == pytest.approx(16 / 53)
    assert found["conv_5x5_or_more"] == pytest.approx(1 / 53)
    assert found["conv_1x1"] == pytest.approx(36 / 53)
    assert found["max_width"] == pytest.approx(2048)
    assert found["convs_octave5"] == pytest.approx(9)
    assert found["convs_octave1"] == pytest.approx(1)
    assert found["kernel_area_octave1"] == pytest.approx(49)


def test_octaves_add_up():
    found = named(resnet50())
    for name in ("flops", "params"):
        assert sum(found[f"{name}_octave{i}"] for i in range(OCTAVES)) == pytest.approx(found[name], rel=1e-9)
    assert sum(found[f"convs_octave{i}"] for i in range(OCTAVES)) == pytest.approx(53)
    assert len(PROPERTY_NAMES) == len(set(PROPERTY_NAMES))
    assert all(f"{name}_octave0" in PROPERTY_NAMES for name in PER_OCTAVE)


def conv_dag(rng, size):
    """A random graph of convolutions and sums on small images."""
    b = GraphBuilder()
    b.input((2, 8, 8))
    for index in range(1, size):
        if rng.random() < 0.5:
            b.conv(int(rng.integers(index)), 2, int(rng.choice([1, 3, 5])))
        else:
            b.add_node("Add", tuple(int(i) for i in rng.integers(0, index, 2)), (2, 8, 8))
    b.output(int(rng.integers(size)))
    b.output(size - 1)
    return b.build()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_paths_are_those_networkx_lists(seed, size):
    graph = conv_dag(np.random.default_rng(seed), size)
    net = nx.DiGraph([(s, t) for t, node in enumerate(graph.nodes) for s in node.inputs])
    net.add_nodes_from(range(len(graph)))
    paths = [path for end in (size, size + 1) for path in nx.all_simple_paths(net, 0, end)]
    convs = [sum(graph.nodes[i].op == "Conv" for i in path) for path in paths]
    fields = [sum(n.attr("kernel")[0] - 1 for i in path if (n := graph.nodes[i]).op == "Conv") for path in paths]
    lengths = [len(path) for path in paths]
    expected = (max(lengths), max(convs), max(fields), min(lengths), min(convs))
    found = named(graph)
    names = ("longest_path", "longest_path_convs", "receptive_field", "shortest_path", "shortest_path_convs")
    assert [found[name] for name in names] == pytest.approx(expected)


def test_batches_agree_with_single_graphs():
    rng = np.random.default_rng(0)
    graphs = [conv_dag(rng, int(n)) for n in rng.integers(2, 30, 20)] + [
        resnet50(),
        ring_graph(3),
        small_graph(),
        random_graph(rng, 20),
    ]
    together = properties(GraphBatch.from_graphs(graphs))
    assert together.dtype == np.float64
    np.testing.assert_allclose(together, np.concatenate([properties(g) for g in graphs]), atol=1e-12)
    np.testing.assert_array_equal(together, properties(graphs))
    assert np.isfinite(together).all()
    assert properties([]).shape == (0, len(PROPERTY_NAMES))


def test_order_of_nodes_does_not_count():
    rng = np.random.default_rng(4)
    for _ in range(10):
        graph = conv_dag(rng, 20)
        np.testing.assert_allclose(properties(graph), properties(shuffled(graph, rng)), atol=1e-12)


def test_disconnected_graphs_have_no_paths():
    graph = Graph((Node("Input", shape=(3, 4, 4)), Node("Output", shape=(10,))), level="module")
    found = named(graph)
    assert found["longest_path"] == found["shortest_path"] == found["receptive_field"] == 0
    assert found["nodes"] == pytest.approx(2)


def test_depthwise_and_resolution_relative_to_the_input():
    b = GraphBuilder()
    x = b.conv(b.input((8, 64, 64)), 8, 3, stride=4, groups=8)
    b.output(b.conv(x, 4, 1))
    found = named(b.build())
    assert found["conv_depthwise"] == 0.5
    assert found["convs_octave2"] == pytest.approx(2)
    assert found["mean_width"] == pytest.approx(6)
    assert found["flops_octave2"] == pytest.approx(2 * 16 * 16 * (8 * 9 + 8 * 4))
    assert log2(1 + prod((8, 64, 64)) * 4) < properties(b.build())[0][PROPERTY_NAMES.index("activation_bytes")]
