from collections import Counter
from math import log2, prod, sqrt

import numpy as np
import pytest
from cgir_samples import CHOICES, random_graph, resnet50, ring_graph, shuffled, small_graph, store_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from cgir import CgirError, GraphBatch, GraphBuilder, spectral_distance, wl_distance, wl_features
from cgir.cost import kind_flops
from cgir.graph import Graph

SEEDS = st.integers(0, 10**6)


def label(node):
    """What the module says a node's label is, from the node itself."""
    side = sqrt(prod(node.shape[1:]))
    name = node.attr("name") if node.op == "Opaque" else None
    return (
        node.op,
        name,
        node.attr("kernel"),
        node.attr("stride"),
        node.attr("groups", 1) > 1,
        round(log2(side)) if side else 0,
    )


def naive_features(graph, rounds):
    """Counts of subtrees by algorithm 1 of Shervashidze et al., and a histogram with FLOPs."""
    counts = Counter(("with FLOPs", label(node), round(2 * log2(1 + kind_flops(node.kind)))) for node in graph.nodes)
    labels = [label(node) for node in graph.nodes]
    counts.update(labels)
    for _ in range(rounds):
        labels = [
            (own, tuple(sorted((labels[source] for source in node.inputs), key=repr)))
            for own, node in zip(labels, graph.nodes, strict=True)
        ]
        counts.update(labels)
    return counts


def naive_distance(a, b, rounds=2, normalized=False):
    first, second = (naive_features(graph, rounds) for graph in (a, b))
    if normalized:
        kernel = sum(sqrt(first[key] * second[key]) for key in first) / sqrt(first.total() * second.total())
        return sqrt(max(0.0, 2 - 2 * kernel))
    return sqrt(sum((sqrt(first[key]) - sqrt(second[key])) ** 2 for key in {*first, *second}))


def convolutions(kernel=3, channels=8, groups=1, side=32, length=4, stride=1):
    build = GraphBuilder()
    x = build.input((channels, side, side))
    for _ in range(length):
        x = build.relu(build.batch_norm(build.conv(x, channels, kernel, stride, groups=groups)))
    build.output(x)
    return build.build()


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 30), st.integers(0, 4))
def test_features_are_the_naive_counts(seed, size, rounds):
    rng = np.random.default_rng(seed)
    # two activations and two sums, so that graphs share deep subtrees
    graphs = [random_graph(rng, size, ops=CHOICES[:3]) for _ in range(3)] + [small_graph(), resnet50()]
    features = wl_features(graphs, rounds)
    columns = np.unique(features.indices)
    dense = np.zeros((len(graphs), len(columns)))
    for row in range(len(graphs)):
        some = slice(features.indptr[row], features.indptr[row + 1])
        dense[row, np.searchsorted(columns, features.indices[some])] = features.data[some]
    naive = [naive_features(graph, rounds) for graph in graphs]
    kernel = [[sum(a[key] * b[key] for key in a) for b in naive] for a in naive]
    assert np.array_equal(dense @ dense.T, kernel)
    assert len(columns) == len(set().union(*naive))
    assert dense.sum(axis=1).tolist() == [(rounds + 2) * len(graph) for graph in graphs]


def test_a_chain_by_hand():
    build = GraphBuilder()
    build.output(build.relu(build.relu(build.relu(build.input((4,))))))
    chain = build.build()
    # operators with and without FLOPs: Input, 3 ReLU, Output; pairs: 2 ReLU that read a ReLU; triples: the last two
    # ReLU differ
    histogram, pairs, triples = [1, 1, 3], [1, 1, 1, 2], [1, 1, 1, 1, 1]
    for rounds, expected in enumerate(([], pairs, [*pairs, *triples])):
        assert sorted(wl_features(chain, rounds).data) == sorted([*histogram, *histogram, *expected])


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.booleans())
def test_it_is_a_pseudometric(seed, normalized):
    rng = np.random.default_rng(seed)
    graphs = [random_graph(rng, int(n), ops=CHOICES[:3]) for n in rng.integers(1, 12, 5)]
    graphs.append(shuffled(graphs[0], rng))
    features = wl_features(graphs)
    table = wl_distance(features, features, normalized)
    np.testing.assert_allclose(table, table.T, atol=1e-12)
    assert (np.diag(table) == 0).all()
    assert table[0, -1] == 0
    # [i, j, k]: i to k is no longer than over j
    assert (table[:, None, :] <= table[:, :, None] + table[None] + 1e-9).all()
    assert table[0, 1] == pytest.approx(naive_distance(graphs[0], graphs[1], normalized=normalized), abs=1e-7)
    if normalized:
        assert table.max() <= sqrt(2)


def test_equal_and_nearly_equal_graphs_that_are_large():
    long, longer = convolutions(length=3000, side=1), convolutions(length=3001, side=1)
    assert wl_distance(long, convolutions(length=3000, side=1)) == 0
    assert wl_distance(long, longer) == pytest.approx(naive_distance(long, longer), rel=1e-6)
    assert 0 < wl_distance(long, longer, normalized=True) < 1e-2


@pytest.mark.parametrize("other", [{"kernel": 1}, {"channels": 16}, {"groups": 8}, {"side": 64}, {"stride": 2}])
def test_operators_and_shapes_are_seen_where_the_spectrum_sees_nothing(other):
    a, b = convolutions(), convolutions(**other)
    assert spectral_distance(a, b) < 1e-12
    assert wl_distance(a, b) == pytest.approx(naive_distance(a, b))
    assert wl_distance(a, b) > 1
    assert wl_distance(a, b, normalized=True) == pytest.approx(naive_distance(a, b, normalized=True))


def test_size_counts_unless_normalized():
    short, long = convolutions(length=20), convolutions(length=200)
    assert wl_distance(short, long) > 10
    assert wl_distance(short, long, normalized=True) < 0.5
    assert wl_distance(Graph(()), Graph(()), normalized=True) == 0
    assert wl_distance(short, Graph(())) == pytest.approx(sqrt(4 * len(short)))


def test_what_is_further_away_than_the_rounds_is_not_seen():
    rings = ring_graph(3, 3), ring_graph(6)
    assert wl_distance(*rings) == 0  # colours cannot tell them apart, and spectra can
    assert spectral_distance(*rings) > 0.1


def test_lists_batches_calls_and_chunks_agree(monkeypatch):
    graphs = store_sample()
    together = wl_features(graphs)
    one_by_one = [wl_features(graph) for graph in graphs]
    monkeypatch.setattr("cgir.analysis.wl_kernel.CHUNK", 4)
    monkeypatch.setattr("cgir.analysis.wl_kernel.BLOCK", 64)
    chunked = wl_features(GraphBatch.from_graphs(graphs))
    for row, single in enumerate(one_by_one):
        for found in (together[[row]], chunked[[row]]):
            assert np.array_equal(found.indices, single.indices)
            assert np.array_equal(found.data, single.data)
    expected = [[naive_distance(a, b) for b in graphs] for a in graphs[:3]]
    np.testing.assert_allclose(wl_distance(together[:3], chunked), expected, atol=1e-6)
    assert wl_distance(graphs[0], graphs[1]) == pytest.approx(expected[0][1])
    empty = wl_features([])
    assert empty.shape[0] == 0
    assert wl_distance(empty, together).shape == (0, len(graphs))
    assert wl_features(Graph(())).nnz == 0


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: wl_features(ring_graph(3), rounds=-1), "rounds=-1; expected 0 or more"),
        (lambda: wl_distance(np.ones((2, 3)), np.ones((2, 3))), r"found ndarray \(2, 3\); expected two graphs"),
        (lambda: wl_distance(wl_features(ring_graph(3)), ring_graph(3)), "found Graph"),
    ],
)
def test_bad_arguments_are_named(call, complaint):
    with pytest.raises(CgirError, match=complaint):
        call()
