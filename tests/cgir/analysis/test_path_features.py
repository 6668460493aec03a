"""Path features against an enumeration of all paths, closed formulas and known cells."""

import itertools

import networkx as nx
import numpy as np
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st
from space_checks import NAMES

from cgir.analysis.path_features import PATH_NAMES, SORTS, STATISTICS, path_features
from cgir.builder import GraphBuilder
from cgir.graph import Graph, Node
from cgir.graph_batch import GraphBatch
from frontends import spaces

# by hand, of the operators that random graphs consist of
NAMED = {
    "ReLU": "ReLU",
    "Sigmoid": "Sigmoid",
    "Add": "Add",
    "Mul": "Mul",
    "Concat": "Concat",
    "Sub": "other_arithmetic",
    "Input": "other",
    "Output": "other",
}


def named(row):
    """The values themselves, by name."""
    return dict(zip(PATH_NAMES, 2**row - 1, strict=True))


def walks(batch, index):
    """Every path of a graph as its list of nodes; a path over an edge that is there twice comes twice."""
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(*batch.ptr[index : index + 2].tolist()))
    graph.add_edges_from((a, b) for a, b in zip(batch.src.tolist(), batch.dst.tolist(), strict=True) if a in graph)
    starts, ends = ([node for node, degree in degrees if not degree] for degrees in (graph.in_degree, graph.out_degree))
    alone = [[node] for node in starts if node in ends]
    return alone + [
        [start, *(edge[1] for edge in walk)]
        for start, end in itertools.product(starts, ends)
        if start != end
        for walk in nx.all_simple_edge_paths(graph, start, end)
    ]


def enumerated(batch, index, sort):
    """The definition: what is on each of the paths, one by one."""
    every = [sort[batch.kinds[kind].op] for kind in batch.kind[batch.ptr[index] : batch.ptr[index + 1]]]
    on_paths = [[sort[batch.kinds[batch.kind[node]].op] for node in walk] for walk in walks(batch, index)]
    expected = dict.fromkeys(PATH_NAMES, 0.0) | {"paths": len(on_paths)}
    for name in SORTS:
        counts = [path.count(name) for path in on_paths]
        values = every.count(name), np.mean(counts), max(counts), min(counts)
        expected |= {f"{statistic}_{name}": value for statistic, value in zip(STATISTICS, values, strict=True)}
    return expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=4), st.integers(0, 10**6))
def test_features_are_those_of_all_paths_enumerated(sizes, seed):
    rng = np.random.default_rng(seed)
    batch = GraphBatch.from_graphs(random_graph(rng, size) for size in sizes)
    for index, row in enumerate(path_features(batch)):
        assert named(row) == pytest.approx(enumerated(batch, index, NAMED), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("skip_nodes", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_cells_whose_nodes_read_several_are_enumerated_too(name, skip_nodes):
    space, rng = spaces.get(name), np.random.default_rng(4)
    batch = space.cell_graphs([space.sample(rng) for _ in range(8)], skip_nodes=skip_nodes)
    for index, row in enumerate(path_features(batch)):
        found, every = named(row), walks(batch, index)
        assert found["paths"] == pytest.approx(len(every), rel=1e-9)
        convs = [sum(batch.kinds[batch.kind[node]].op == "Conv" for node in walk) for walk in every]
        parts = [
            {key: value for key, value in found.items() if key.startswith(f"{statistic}_conv_")}
            for statistic in ("mean", "most", "least")
        ]
        assert sum(parts[0].values()) == pytest.approx(np.mean(convs), abs=1e-9)
        assert max(parts[1].values()) <= max(convs) + 1e-9
        assert sum(parts[2].values()) <= min(convs) + 1e-9
        if sum(value > 0 for value in parts[1].values()) == 1:  # one sort of convolution: then it is equality
            assert (sum(parts[1].values()), sum(parts[2].values())) == pytest.approx((max(convs), min(convs)), abs=1e-9)


def test_known_cells():
    space = spaces.get("nasbench201", cells=1)
    spec = space.parse(
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|"
    )
    # ways from the input: the skip, 3x3 then 3x3, 1x1 then pooling, 3x3 and 3x3 then pooling
    found = named(path_features(space.cell_graphs([spec]))[0])
    expected = {
        "conv_3": (3, 4 / 4, 2, 0),
        "conv_1": (1, 1 / 4, 1, 0),
        "AvgPool": (1, 2 / 4, 1, 0),
        "other": (3, 9 / 4, 3, 2),
        "Linear": (0, 0, 0, 0),
    }
    for sort, values in expected.items():
        assert [found[f"{statistic}_{sort}"] for statistic in STATISTICS] == pytest.approx(values), sort
    assert found["paths"] == pytest.approx(4)
    # whole networks: such a cell in each of three stages, and two blocks with a shortcut between them
    assert named(path_features(space.graph(spec))[0])["paths"] == pytest.approx(4**3 * 2**2)
    dead = space.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    # an input and an output, neither of which leads anywhere
    found = named(path_features(space.cell_graphs([dead]))[0])
    assert (found["paths"], found["count_other"], found["most_other"]) == pytest.approx((2, 2, 1))


def test_resnet50_by_hand():
    found = named(path_features(resnet50())[0])
    convs = {
        statistic: [found[f"{statistic}_{sort}"] for sort in ("conv_1", "conv_3", "conv_5_or_more")]
        for statistic in STATISTICS
    }
    # 16 blocks of three convolutions or none, one on the shortcut of the first of each stage, all paths equally likely
    assert found["paths"] == pytest.approx(2**16)
    assert convs["count"] == pytest.approx([36, 16, 1])
    assert convs["mean"] == pytest.approx([(32 + 4) / 2, 8, 1])
    assert convs["most"] == pytest.approx([32, 16, 1])
    assert convs["least"] == pytest.approx([4, 0, 1])


def test_more_paths_than_numbers_can_say():
    b = GraphBuilder()
    x = b.input((4,))
    for _ in range(1500):
        x = b.add(b.relu(x), x)
    b.output(x)
    residual = b.build()
    doubled = Graph((Node("Input", shape=(4,)), *(Node("Add", (i, i), ((4,), (4,)), (4,)) for i in range(3000))))
    rows = path_features([residual, doubled])
    assert rows[0, -1] == pytest.approx(1500, rel=1e-12)
    assert rows[1, -1] == pytest.approx(3000, rel=1e-12)
    found = named(np.where(np.arange(len(PATH_NAMES)) < len(PATH_NAMES) - 1, rows[0], 0))
    assert [found[f"{statistic}_ReLU"] for statistic in STATISTICS] == pytest.approx([1500, 750, 1500, 0], rel=1e-9)
    # each step rounds its logarithm
    assert rows[1, PATH_NAMES.index("mean_Add")] == pytest.approx(np.log2(3001), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 10**6))
def test_order_of_nodes_does_not_matter(size, seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, size)
    np.testing.assert_allclose(path_features(shuffled(graph, rng)), path_features(graph), rtol=1e-11, atol=1e-11)


def test_company_in_the_batch_does_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    graphs = [random_graph(rng, int(size)) for size in rng.integers(0, 30, 12)] + [
        resnet50(),
        Graph(()),
        ring_graph(3, 4),
    ]
    alone = np.concatenate([path_features(graph) for graph in graphs])
    together = path_features(graphs)
    np.testing.assert_array_equal(together, alone)
    monkeypatch.setattr("cgir.analysis.path_features.CHUNK_NODES", 60)
    np.testing.assert_array_equal(path_features(GraphBatch.from_graphs(graphs)), together)
    order = rng.permutation(len(graphs))
    np.testing.assert_array_equal(path_features(GraphBatch.from_graphs(graphs).select(order)), together[order])


def test_next_to_nothing():
    assert path_features([]).shape == (0, len(PATH_NAMES))
    assert not path_features([Graph(()), Graph(())]).any()
    found = named(path_features(Graph((Node("Input", shape=(4,)),)))[0])
    assert {name: value for name, value in found.items() if value} == {
        "count_other": 1,
        "mean_other": 1,
        "most_other": 1,
        "least_other": 1,
        "paths": 1,
    }


@pytest.mark.parametrize(
    ("side", "groups", "dilation", "sort"),
    [
        (1, 1, 1, "conv_1"), (2, 1, 1, "conv_3"), (3, 1, 1, "conv_3"), (3, 8, 1, "conv_3_grouped"),
        (3, 8, 2, "conv_3_grouped_dilated"),
        (4, 1, 1, "conv_5_or_more"), (7, 1, 2, "conv_5_or_more_dilated"), ((1, 7), 1, 1, "conv_5_or_more"),
    ],
)  # fmt: skip
def test_sorts_of_convolutions(side, groups, dilation, sort):
    kernel = side if isinstance(side, tuple) else (side, side)
    attrs = (("dilation", (dilation, dilation)), ("groups", groups), ("kernel", kernel))
    found = named(
        path_features(
            Graph((Node("Input", shape=(8, 9, 9)), Node("Conv", (0,), ((8, 9, 9),), (8, 9, 9), attrs=attrs)))
        )[0]
    )
    assert {name for name, value in found.items() if name.startswith("count_") and value} == {
        "count_other",
        f"count_{sort}",
    }
