from collections import Counter, defaultdict

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cgir.analysis.partition_refinement import OrderedPartition


def labelled_links(graph, rng):
    """For each vertex its neighbours and labels; those of one link may differ by end."""
    links = [[] for _ in graph]
    for a, b in graph.edges:
        label = int(rng.integers(2))
        links[a].append((b, 2 * label))
        links[b].append((a, 2 * label + 1))
    return links


def naive_refinement(links, color):
    """Colour refinement by rounds over all vertices."""
    while True:
        rows = [(color[v], tuple(sorted((label, color[u]) for u, label in links[v]))) for v in range(len(links))]
        numbers = {row: number for number, row in enumerate(sorted(set(rows)))}
        if len(numbers) == len(set(color)):
            return color
        color = [numbers[row] for row in rows]


def blocks(color):
    found = defaultdict(set)
    for vertex, name in enumerate(color):
        found[name].add(vertex)
    return set(map(frozenset, found.values()))


def renumbered(links, order):
    place = {vertex: number for number, vertex in enumerate(order)}
    return [[(place[u], label) for u, label in links[vertex]] for vertex in order]


def first_places(color):
    counts, start = Counter(color), {}
    for name in sorted(counts):
        start[name] = sum(counts[other] for other in counts if other < name)
    return [start[name] for name in color]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 14), st.sampled_from([0.1, 0.3, 0.8]))
def test_refinement_is_the_coarsest_and_is_undone(seed, size, density):
    rng = np.random.default_rng(seed)
    links = labelled_links(nx.gnp_random_graph(size, density, seed=seed), rng)
    color = naive_refinement(links, [0] * size)
    order = sorted(range(size), key=color.__getitem__)
    links, color = renumbered(links, order), [color[v] for v in order]
    partition = OrderedPartition(first_places(color))
    for vertex in range(size):
        if partition.size[partition.cell[vertex]] == 1:
            continue
        for _ in partition.refine(links, vertex):
            pass
        singled = [2 * name + (v == vertex) for v, name in enumerate(color)]
        assert blocks(partition.cell) == blocks(naive_refinement(links, singled))
        for name in partition.names():
            assert {partition.cell[v] for v in partition.members(name)} == {name}
        assert partition.cells == len(partition.names())
        partition.undo()
        assert blocks(partition.cell) == blocks(color)
        assert partition.cells == len(set(color))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 12))
def test_equal_graphs_take_equal_steps(seed, size):
    rng = np.random.default_rng(seed)
    graph = nx.random_regular_graph(2, size, seed)
    links = [[(u, 0) for u in graph[v]] for v in range(size)]
    order = rng.permutation(size).tolist()
    other = renumbered(links, order)
    first, second = OrderedPartition([0] * size), OrderedPartition([0] * size)
    steps = list(first.refine(links, 0))
    assert steps == list(second.refine(other, order.index(0)))
    assert [first.cell[v] for v in order] == second.cell


def test_a_stopped_refinement_is_undone():
    partition = OrderedPartition([0] * 6)
    links = [[((v - 1) % 6, 0), ((v + 1) % 6, 0)] for v in range(6)]
    steps = partition.refine(links, 0)
    next(steps)
    next(steps)
    partition.undo()
    assert partition.cell == [0] * 6
    assert partition.size == [6, 0, 0, 0, 0, 0]
    assert sorted(partition.order) == list(range(6))
