from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import scipy.linalg
from cgir_samples import random_graph, resnet50, ring_graph, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.spectrum import (
    PEERS,
    distances,
    knowledge,
    simple,
    weighted_spectrum,
    wirings,
    with_lapack,
    with_networkx,
)
from cgir import spectral_distance, spectrum, wl_features
from cgir.analysis import laplacian_spectrum
from cgir.analysis.laplacian_spectrum import PADDING, normalized_laplacian
from cgir.graph import Graph, Node
from cgir.graph_batch import GraphBatch
from frontends import spaces

SHAPE = (4,)


def from_edges(size, edges):
    """A graph with the given edges (source < target); nodes without inputs are Inputs."""
    inputs = [[] for _ in range(size)]
    for source, target in edges:
        inputs[target].append(source)
    return Graph(tuple(Node("Add" if i else "Input", tuple(i), (SHAPE,) * len(i), SHAPE) for i in inputs))


def reference(graph, k=11):
    """LAPACK on the Laplacian that networkx builds, from the paper's eq. 4.4."""
    simple = nx.Graph()
    simple.add_nodes_from(range(len(graph)))
    simple.add_edges_from((s, t) for t, node in enumerate(graph.nodes) for s in node.inputs)
    values = scipy.linalg.eigvalsh(nx.normalized_laplacian_matrix(simple).toarray())[:k]
    return np.concatenate([values, np.full(k - len(values), 2.0)])


def branches(width, length):
    """Equal parallel chains between an input and a sum: eigenvalues of high multiplicity."""
    edges, size = [], 1
    ends = []
    for _ in range(width):
        previous = 0
        for _ in range(length):
            edges.append((previous, size))
            previous, size = size, size + 1
        ends.append(previous)
    return from_edges(size + 1, edges + [(end, size) for end in ends])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.floats(0, 0.3))
def test_spectrum_is_lapack_s(seed, size, density):
    rng = np.random.default_rng(seed)
    edges = [(i, j) for j in range(size) for i in range(j) if rng.random() < density]
    graph = from_edges(size, edges)
    found = spectrum(graph)
    assert found.shape == (1, 11)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], reference(graph), atol=1e-10)


@pytest.mark.parametrize(
    "graph",
    [
        branches(12, 3), branches(40, 1), ring_graph(3, 3, 4), resnet50(), from_edges(30, []),
        from_edges(25, [(i, i + 1) for i in range(0, 24, 2)]),
        from_edges(3, [(0, 1), (0, 1), (0, 1), (1, 2)]), from_edges(1, []), from_edges(2, [(0, 1)]),
    ],
)  # fmt: skip
def test_repeated_eigenvalues_components_and_isolated_nodes(graph):
    np.testing.assert_allclose(spectrum(graph)[0], reference(graph), atol=1e-10)


@pytest.mark.parametrize("width_length", [(12, 40), (60, 10), (150, 3), (700, 1), (2, 300)])
def test_large_graphs_agree_with_dense(width_length):
    graph = branches(*width_length)
    assert len(graph) > laplacian_spectrum.DENSE_LIMIT
    np.testing.assert_allclose(spectrum(graph)[0], reference(graph), atol=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_large_random_graphs_agree_with_dense(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(401, 700))
    near = [(max(0, i - int(rng.integers(1, 6))), i) for i in range(1, size) if rng.random() < 0.99]
    far = [tuple(sorted(pair)) for pair in rng.integers(0, size, (size // 10, 2)).tolist() if pair[0] != pair[1]]
    graph = from_edges(size, near + far)
    np.testing.assert_allclose(spectrum(graph)[0], reference(graph), atol=1e-10)


@pytest.mark.parametrize("size", [2, 11, 12, 255, 256, 257, 401])
def test_published_spectra(size):
    """Chung, "Spectral Graph Theory", examples 1.1 to 1.4: complete graph, star, path, cycle."""
    path = [(i, i + 1) for i in range(size - 1)]
    steps = np.arange(size)
    expected = {
        "path": (path, 1 - np.cos(np.pi * steps / (size - 1))),
        "star": ([(0, i) for i in range(1, size)], np.asarray([0.0, *[1.0] * (size - 2), 2.0])),
    }
    if size > 2:
        expected["cycle"] = [*path, (0, size - 1)], np.sort(1 - np.cos(2 * np.pi * steps / size))
    if size < 60:
        complete = [(i, j) for j in range(size) for i in range(j)]
        expected["complete"] = complete, np.asarray([0.0, *[size / (size - 1)] * (size - 1)])
    for edges, values in expected.values():
        np.testing.assert_allclose(spectrum(from_edges(size, edges))[0, :size], values[:11], atol=1e-10)


def test_laplacian_is_networkx_s():
    graph = random_graph(np.random.default_rng(3), 15)
    simple = nx.Graph()
    simple.add_nodes_from(range(len(graph)))
    simple.add_edges_from((s, t) for t, node in enumerate(graph.nodes) for s in node.inputs)
    np.testing.assert_allclose(
        normalized_laplacian(graph), nx.normalized_laplacian_matrix(simple).toarray(), atol=1e-15
    )


def test_zeros_count_components():
    assert (spectrum(ring_graph(3, 3, 5))[0] < 1e-10).sum() == 3
    assert (spectrum(from_edges(5, [(0, 1)]))[0] < 1e-10).sum() == 4


def test_short_graphs_are_padded():
    found = spectrum(from_edges(3, [(0, 1), (1, 2)]), k=5)
    np.testing.assert_allclose(found, [[0, 1, 2, PADDING, PADDING]], atol=1e-12)
    assert spectrum([], k=4).shape == (0, 4)
    assert (spectrum(Graph(())) == PADDING).all()


def test_lists_batches_and_single_graphs_agree():
    rng = np.random.default_rng(1)
    graphs = [random_graph(rng, int(n)) for n in rng.integers(1, 40, 30)]
    graphs += [graphs[3], shuffled(graphs[4], rng)]
    single = np.concatenate([spectrum(graph) for graph in graphs])
    assert np.array_equal(spectrum(graphs), spectrum(GraphBatch.from_graphs(graphs)))
    np.testing.assert_allclose(spectrum(graphs), single, atol=1e-12)
    np.testing.assert_allclose(single[4], single[-1], atol=1e-10)
    assert (np.diff(single, axis=1) >= 0).all()


def test_equal_wiring_is_solved_once(monkeypatch):
    solved = []
    honest = laplacian_spectrum._smallest
    monkeypatch.setattr(
        laplacian_spectrum,
        "_smallest",
        lambda n, codes, *rest: solved.extend([n] * len(codes)) or honest(n, codes, *rest),
    )
    relu, sigmoid = (
        Graph((Node("Input", shape=SHAPE), *(Node(op, (i,), (SHAPE,), SHAPE) for i in range(5))))
        for op in ("ReLU", "Sigmoid")
    )
    one, other, twice = (
        from_edges(4, edges)
        for edges in ([(0, 3), (1, 3), (2, 3)], [(2, 3), (1, 3), (0, 3)], [(0, 3), (1, 3), (2, 3), (1, 3)])
    )
    longer = from_edges(5, [(0, 3), (1, 3), (2, 3)])
    found = spectrum([relu, one, sigmoid, other, twice, longer, relu])
    assert sorted(solved) == [4, 5, 6]
    assert np.array_equal(found[[0, 1, 1, 1]], found[[2, 3, 4, 3]])
    for row, graph in zip(found, [relu, one, sigmoid, other, twice, longer, relu], strict=True):
        np.testing.assert_allclose(row, reference(graph), atol=1e-10)


@pytest.mark.slow
def test_all_of_nasbench201(monkeypatch):
    space = spaces.get("nasbench201")
    specs = list(space.enumerate())
    batch = space.graphs(specs)
    solved = []
    honest = laplacian_spectrum._smallest
    monkeypatch.setattr(
        laplacian_spectrum, "_smallest", lambda n, codes, *rest: solved.extend(codes) or honest(n, codes, *rest)
    )
    found = spectrum(batch)
    assert len(solved) < len(batch) / 10
    for index in np.random.default_rng(0).choice(len(specs), 100, replace=False):
        np.testing.assert_allclose(found[index], reference(space.graph(specs[index])), atol=1e-10)
    features = wl_features(batch)
    parts = pairwise(features.indptr)
    told_apart = len({(features.indices[a:b].tobytes(), features.data[a:b].tobytes()) for a, b in parts})
    # all that are distinct as graphs
    assert len(np.unique(np.round(found, 8), axis=0)) < 1000 < 5000 < told_apart <= 5425


def test_chunks_and_stacks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    graphs = [random_graph(rng, int(n)) for n in rng.integers(1, 30, 40)] + [
        Graph(()),
        from_edges(3, []),
        branches(5, 4),
    ]
    graphs += [graphs[i] for i in rng.permutation(43)]
    whole = spectrum(graphs)
    monkeypatch.setattr(laplacian_spectrum, "CHUNK", 7)
    monkeypatch.setattr(laplacian_spectrum, "STACK_BYTES", 2 * 8 * 30 * 30)
    np.testing.assert_allclose(spectrum(graphs), whole, atol=1e-12)
    monkeypatch.setattr(laplacian_spectrum, "DENSE_LIMIT", 10)
    np.testing.assert_allclose(
        spectrum([graph for graph in graphs if len(graph) > 25], k=6),
        whole[[len(g) > 25 for g in graphs], :6],
        atol=1e-10,
    )


def test_loops_and_both_directions_count_once():
    batch = GraphBatch(
        (), np.zeros(3, np.int64), np.asarray([1, 1, 0, 1]), np.asarray([0, 1, 1, 2]), np.asarray([0, 3])
    )
    np.testing.assert_allclose(spectrum(batch, 3), [[0, 1, 2]], atol=1e-12)


def test_distances():
    a, b = resnet50(), ring_graph(4, 4)
    expected = np.sqrt(((reference(a) - reference(b)) ** 2).sum())
    assert spectral_distance(a, b) == pytest.approx(expected, abs=1e-10)
    left, right = spectrum([a, b]), spectrum([b, a, a])
    table = spectral_distance(left, right)
    assert table.shape == (2, 3)
    np.testing.assert_allclose(table, [[expected, 0, 0], [0, expected, expected]], atol=1e-10)
    # nearly equal spectra lose no digits, as they would by expanding the square
    assert spectral_distance(left, left + 1e-9)[0, 0] == pytest.approx(1e-9 * np.sqrt(11), rel=1e-5)


def test_peers_of_the_benchmark_solve_the_same_problem():
    rng = np.random.default_rng(5)
    graphs = [random_graph(rng, int(n)) for n in rng.integers(1, 40, 12)] + [
        resnet50(),
        ring_graph(3, 5),
        from_edges(4, []),
        from_edges(20, [(3, 4)] * 2),
    ]
    batch = GraphBatch.from_graphs(graphs)
    expected = np.stack([reference(graph) for graph in graphs])
    given = wirings(batch)
    for solve in (*PEERS.values(), with_lapack):
        np.testing.assert_allclose(
            solve([simple(wiring) for wiring in given] if solve is with_networkx else given), expected, atol=1e-10
        )


def test_what_the_benchmark_says_distances_know():
    accuracy = np.random.default_rng(0).permutation(300).astype(float)
    gaps, near = knowledge(np.abs(accuracy[:, None] - accuracy), accuracy)
    assert gaps == pytest.approx(1, abs=1e-4)  # ranks over their number differ in the last digit
    assert near > 0.98
    assert np.abs(knowledge(np.random.default_rng(1).random((300, 300)), accuracy)).max() < 0.1
    batch = GraphBatch.from_graphs([ring_graph(3), resnet50(), ring_graph(3)])
    for table in distances(batch).values():
        np.testing.assert_allclose(table[[0, 2]][:, [0, 2]], 0, atol=1e-12)
    assert weighted_spectrum(batch).shape == (3, 11)
