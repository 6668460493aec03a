import re
from collections import Counter
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from cgir_samples import shuffled
from hard_isomorphism import (
    cfi,
    cubic,
    is_isomorphism,
    ladder,
    network_of,
    oracle,
    rook,
    shrikhande,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.large_graphs import FAMILIES, cycles, graph_of, node, reordered
from cgir.analysis import isomorphism as isomorphism_module
from cgir.analysis.isomorphism import isomorphic, isomorphism
from cgir.analysis.isomorphism_search import Search
from cgir.errors import LimitError
from cgir.graph import Param
from cgir.limits import DEFAULT, Limits


def searched(a, b):
    """Whether they are isomorphic, as a map that is checked, and the effort."""
    search = Search(DEFAULT)
    match = isomorphism(a, b, search)
    assert match is None or is_isomorphism(a, b, match)
    return match is not None, search.effort


def layers(rng, shared):
    """Layers as wide as each other in which each node reads equally many nodes: few colours, many maps."""
    width, op = int(rng.integers(2, 5)), ("Add", "Add", "Sub")[rng.integers(3)]
    nodes = [node("Input"), *(node("ReLU", (0,)) for _ in range(width))]
    for _ in range(rng.integers(1, 4)):
        start, reads = len(nodes) - width, 2 if op == "Sub" else int(rng.integers(1, 3))
        sources = np.stack([rng.permutation(width) for _ in range(reads)], axis=1) + start
        names = [f"p{rng.integers(2)}" if shared else f"own{len(nodes)}.{index}" for index in range(width)]
        for inputs, name in zip(sources.tolist(), names, strict=True):
            nodes.append(replace(node(op, inputs), params=(Param(name, (4,)),)))
    return graph_of([*nodes, node("Add", range(len(nodes) - width, len(nodes)))], "layers")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_equal_colours_agree_with_networkx(seed, shared):
    rng = np.random.default_rng(seed)
    a = layers(rng, shared)
    candidates = (layers(rng, shared) for _ in range(20))
    b = next((graph for graph in candidates if graph.hash == a.hash), a)
    for other in (shuffled(a, rng), shuffled(b, rng)):
        assert searched(a, other)[0] == oracle(a, other) == isomorphic(a, other)


def test_both_answers_occur_where_colours_are_equal():
    answers, rng = Counter(), np.random.default_rng(0)
    by_hash = {}
    for _ in range(300):
        graph = layers(rng, rng.random() < 0.5)
        answers[searched(by_hash.setdefault(graph.hash, graph), graph)[0]] += 1
    assert min(answers[True], answers[False]) > 10


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(3, 4), min_size=1, max_size=2))
def test_one_small_edit_is_seen(seed, sizes):
    rng = np.random.default_rng(seed)
    graph = cycles(sizes)
    index = int(rng.integers(sum(sizes) + 1, len(graph) - 2))
    inputs = (int(rng.integers(1, sum(sizes) + 1)), graph.nodes[index].inputs[1])
    nodes = [*graph.nodes[:index], replace(graph.nodes[index], inputs=inputs), *graph.nodes[index + 1 :]]
    other = shuffled(graph.with_nodes(nodes), rng)
    assert searched(graph, other)[0] == oracle(graph, other)


@pytest.mark.parametrize("rings", [2, 5, 400])
def test_rings_of_other_lengths(rings):
    a, b = cycles([6] * rings), cycles([6] * (rings - 2) + [12])
    assert a.hash == b.hash
    assert searched(a, b) == (False, 0)
    assert searched(a, reordered(a, np.random.default_rng(0)))[0]


@pytest.mark.parametrize("base", [nx.complete_graph(4), cubic(10), cubic(16)], ids=["40", "100", "160"])
def test_graphs_of_cai_fuerer_and_immerman(base):
    plain, twisted = network_of(cfi(base, False)), network_of(cfi(base, True))
    other = reordered(plain, np.random.default_rng(1))
    assert plain.hash == twisted.hash
    assert searched(plain, other)[0]
    assert not searched(twisted, other)[0]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (rook(), shrikhande()),
        (ladder(60, True), ladder(60, False)),
        (cubic(60, 0), cubic(60, 1)),
        (nx.disjoint_union(cubic(10, 0), cubic(10, 1)), nx.disjoint_union(cubic(10, 0), cubic(10, 0))),
        (nx.paley_graph(13).to_undirected(), nx.circulant_graph(13, [1, 2, 3])),
    ],
    ids=["strongly regular", "ladders", "cubic", "cubic parts", "circulant"],
)
def test_regular_graphs(a, b):
    first, second = network_of(a), network_of(b)
    rng = np.random.default_rng(0)
    assert first.hash == second.hash
    assert not searched(first, reordered(second, rng))[0]
    assert searched(first, reordered(first, rng))[0]
    assert searched(second, reordered(second, rng))[0]


def readers_of_all_but_one(width):
    """Nodes that read every node of a layer except one; there are no two equal pairs."""
    nodes = [node("Input"), *(node("ReLU", (0,)) for _ in range(width))]
    nodes += [node("Add", [i for i in range(1, width + 1) if i != left]) for left in range(1, width + 1)]
    return graph_of([*nodes, node("Add", range(width + 1, 2 * width + 1))], "all but one")


def test_dense_layers_fall_apart_by_the_links_that_are_missing():
    small, large = (
        searched(readers_of_all_but_one(n), reordered(readers_of_all_but_one(n), np.random.default_rng(0)))
        for n in (20, 80)
    )
    assert small[0]
    assert large[0]
    assert large[1] <= 20 * small[1]  # of 16 times as many links


def experts(groups, width, shared):
    """Groups of twins of two nodes in one layer; the two share their parameter, or each one with the next twin's."""
    nodes, ends = [node("Input")], []
    for group in range(groups):
        nodes.append(node("ReLU", (0,)))
        outside = len(nodes) - 1
        for twin in range(width):
            names = [f"{group}.{twin}", f"{group}.{(twin + (not shared)) % width}"]
            for name in names:
                source = outside if name is names[0] else len(nodes) - 1
                nodes.append(replace(node("ReLU", (source,)), params=(Param(name, (4,)),)))
        ends.append(len(nodes))
        nodes.append(node("Add", range(outside + 2, outside + 2 * width + 1, 2)))
    return graph_of([*nodes, node("Add", ends)], "experts")


def test_parameters_shared_among_nested_twins():
    rng = np.random.default_rng(0)
    own, crossed = experts(20, 6, True), experts(20, 6, False)
    assert own.hash != crossed.hash or not isomorphic(own, crossed)
    for graph in (own, crossed):
        assert searched(graph, reordered(graph, rng))[0]
    # two rings of three twins against one of six, in one group of many
    nodes = list(crossed.nodes)
    a, b = (next(i for i, n in enumerate(nodes) if n.params[:1] == (Param(f"7.{k}", (4,)),)) + 1 for k in (2, 5))
    nodes[a], nodes[b] = replace(nodes[a], params=nodes[b].params), replace(nodes[b], params=nodes[a].params)
    split = crossed.with_nodes(nodes)
    assert split.hash == crossed.hash
    assert not searched(split, crossed)[0]
    assert searched(split, reordered(split, rng))[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_effort_is_linear(name):
    efforts = []
    for nodes in (1000, 4000):
        graph = FAMILIES[name](nodes)
        found, effort = searched(graph, reordered(graph, np.random.default_rng(0)))
        assert found
        efforts.append(effort)
    assert efforts[1] <= 5 * efforts[0] <= 60_000


def test_a_ring_around_which_a_difference_travels_step_by_step():
    efforts = []
    for length in (250, 1000):
        nodes = list(cycles([length]).nodes)
        nodes[5] = node("Sigmoid", (0,))
        ring = graph_of(nodes[:-1], "ring")
        found, effort = searched(ring, reordered(ring, np.random.default_rng(0)))
        assert found
        nodes[6] = node("Sigmoid", (0,))
        assert not isomorphic(ring, graph_of(nodes[:-1], "ring"))
        efforts.append(effort)
    assert efforts[1] <= 6 * efforts[0]  # colouring by sweeps would take 500 of them


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_graphs_of_100_000_nodes(name):
    graph = FAMILIES[name](100_000)
    found, effort = searched(graph, reordered(graph, np.random.default_rng(0)))
    assert found
    assert effort <= 15 * len(graph)


def test_hashes_that_collide_change_no_answer(monkeypatch):
    monkeypatch.setattr(isomorphism_module, "stable_colors", lambda structure, most: np.zeros_like(structure.base))
    rng = np.random.default_rng(3)
    answers = set()
    for _ in range(60):
        a, b = layers(rng, False), layers(rng, False)
        for other in (shuffled(a, rng), b):
            if len(a) == len(other):
                answers.add(searched(a, other)[0])
                assert searched(a, other)[0] == oracle(a, other)
    assert answers == {True, False}


def test_a_limit_instead_of_a_hang():
    base = cubic(40)
    plain, twisted = network_of(cfi(base, False)), network_of(cfi(base, True))
    with pytest.raises(LimitError, match=re.escape("isomorphic: takes 0.")) as raised:
        isomorphic(plain, twisted, limits=Limits(seconds=0.05))
    assert "limits=Limits(seconds=...)" in str(raised.value)


def test_empty_and_tiny_graphs():
    empty = graph_of([node("Input")], "g").with_nodes([])
    assert isomorphic(empty, empty)
    assert isomorphic(graph_of([node("Input")], "g"), graph_of([node("Input")], "h"))
    assert not isomorphic(empty, graph_of([node("Input")], "g"))
