"""Exact isomorphism of computation graphs.

Two graphs are isomorphic when a one-to-one map of their nodes keeps every node's kind, every edge with its argument
slot (inputs of commutative operators have no slot) and which parameters are shared. Names, module paths and the order
of nodes do not count.

Weisfeiler-Lehman colours of both graphs leave little undecided. Edges between a vertex with a colour of its own and
others, and between two colours all of whose vertices are linked, are the same under every map that keeps colours.
Without them, networks fall into small components: an expert, a branch, a pair of layers. Each falls into a class, and
graphs are isomorphic when they have equally many components of each. A component whose colours all differ is known by
them; `isomorphism_search` is for the others.

Notation:
    V: vertices of both graphs; E: links, pairs of vertices with one or several edges; C: cells (classes of colours).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.limits import DEFAULT, Limits
from cgir.ragged import offsets, ranges
from cgir.typing import BoolArray, IntArray

from .components import Component
from .isomorphism_search import Search
from .partition_refinement import OrderedPartition
from .weisfeiler_lehman import Structure, param_groups, stable_colors, structure_of

SWEEPS = 16  # of colouring; networks need fewer, and what needs more is refined cell by cell


@dataclass(frozen=True)
class _Links:
    """Pairs of linked vertices, seen from both ends, sorted by the first end.

    Attributes:
        vertex: (2 E,) the one end.
        other: (2 E,) the other.
        label: (2 E,) of all edges between them, and in which direction.
        ptr: (V + 1,) where each vertex's begin.
    """

    vertex: IntArray
    other: IntArray
    label: IntArray
    ptr: IntArray

    def select(self, chosen: BoolArray) -> _Links:
        """The chosen ones."""
        vertex = self.vertex[chosen]
        counts = np.bincount(vertex, minlength=len(self.ptr) - 1)
        return _Links(vertex, self.other[chosen], self.label[chosen], offsets(counts))


@dataclass(frozen=True)
class _Components:
    """K components of both graphs together.

    Attributes:
        of: (V,) the component of each vertex.
        order: (V,) vertices, sorted by component, then cell.
        ptr: (K + 1,) where each component's begin.
        index: (V,) the place of a vertex in its component.
        graph: (K,) 0 or 1.
        name: (V,) the first of a vertex's cell, counted in its component.
        group: (K,) the same number for components with the same cells.
        is_discrete: (K,) whether all vertices are of different cells.
    """

    of: IntArray
    order: IntArray
    ptr: IntArray
    index: IntArray
    name: IntArray
    graph: IntArray
    group: IntArray
    is_discrete: BoolArray


def isomorphic(a: Graph, b: Graph, limits: Limits = DEFAULT) -> bool:
    """Whether the graphs are equal up to names and the order of nodes; exact, also where colours do not decide.

    Of networks the time is about linear in their size. There are graphs, none of them known as a network, for which
    every known algorithm of this kind takes exponential time: for these, `limits` has the last word.

    Args:
        a: a graph.
        b: another one.
        limits: `seconds` of processor time.

    Raises:
        LimitError: it takes too long.
    """
    known = [graph.__dict__.get("hash") for graph in (a, b)]  # of a hostile graph it may take for ever
    if len(a) != len(b) or a.num_edges != b.num_edges or (None not in known and known[0] != known[1]):
        return False
    return isomorphism(a, b, Search(limits)) is not None


def isomorphism(a: Graph, b: Graph, search: Search) -> IntArray | None:
    """An isomorphism, if there is one.

    Args:
        a: a graph.
        b: another one.
        search: a new one, which says how long it may take.

    Returns:
        (N,) the node of `b` for each node of `a`.

    Raises:
        LimitError: it takes too long.
    """
    batch = GraphBatch.from_graphs([a, b])
    if _counts_of_both(batch.kind, np.repeat([0, 1], [len(a), len(b)])) is None:
        return None
    structure = structure_of(batch, [param_groups(a), param_groups(b)])
    kind = np.full(len(structure.base), len(batch.kinds))
    kind[structure.rank] = batch.kind
    cell = _numbered(_numbered(stable_colors(structure, SWEEPS)) * (len(batch.kinds) + 1) + kind)
    links = _links(structure)
    if not _is_equitable(cell, links):
        cell = _equitable(cell, links, search)
    size = _counts_of_both(cell, structure.graph)
    if size is None:
        return None
    links = links.select(_is_undetermined(cell, links, size))
    components = _components(cell, links, structure.graph)
    if _counts_of_both(components.group, components.graph) is None:
        return None
    found = _classify(links, components, search)
    if found is None:
        return None
    classes, rank = found
    order = np.lexsort((rank, components.of, classes[components.of], structure.graph))
    left, right = np.split(order, 2)
    match = np.empty(len(order), np.int64)
    match[left] = right
    node = np.empty(len(order), np.int64)
    node[structure.rank] = batch.position
    return node[match[structure.rank[: len(a)]]]


def _counts_of_both(values: IntArray, graph: IntArray) -> IntArray | None:
    """How often each value occurs in either graph; None if their counts differ."""
    left, right = (np.bincount(values[graph == g], minlength=int(values.max(initial=-1)) + 1) for g in (0, 1))
    return left if np.array_equal(left, right) else None


def _numbered(values: np.ndarray) -> IntArray:
    """Values as numbers from 0, in their order."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64, copy=False)


def _links(structure: Structure) -> _Links:
    size = len(structure.base)
    source, target = structure.source, np.repeat(np.arange(size), np.diff(structure.target_ptr))
    label = _numbered(structure.source_label)
    order = np.lexsort((label, source, target))
    source, target, label = source[order], target[order], label[order]
    is_first = np.ones(len(source), bool)
    is_first[1:] = (source[1:] != source[:-1]) | (target[1:] != target[:-1])
    starts = np.flatnonzero(is_first)
    counts = np.diff(np.append(starts, len(source)))
    first = label[starts]
    several: dict[bytes, int] = {}  # labels of parallel edges -> one label
    for pair in np.flatnonzero(counts > 1).tolist():
        labels = label[starts[pair] : starts[pair] + counts[pair]].tobytes()
        first[pair] = several.setdefault(labels, len(label) + len(several))
    source, target = source[starts], target[starts]
    vertex, other = np.concatenate([target, source]), np.concatenate([source, target])
    order = np.argsort(vertex, kind="stable")
    both = np.concatenate([2 * first, 2 * first + 1])
    return _Links(vertex[order], other[order], both[order], offsets(np.bincount(vertex, minlength=size)))


def _is_equitable(cell: IntArray, links: _Links) -> bool:
    """Whether all vertices of a cell have equally many links of each label to each cell.

    Stable colours are that, unless two hashes collide.
    """
    degree = np.diff(links.ptr)
    _, leader = np.unique(cell, return_index=True)
    model = leader[cell]
    if not np.array_equal(degree, degree[model]):
        return False
    code = links.label * len(leader) + cell[links.other]
    code = code[np.lexsort((code, links.vertex))]
    return np.array_equal(code[ranges(links.ptr[model], degree)], code)


def _equitable(cell: IntArray, links: _Links, search: Search) -> IntArray:
    """The coarsest split of cells that is equitable, of both graphs together."""
    order = np.argsort(cell, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    pairs = list(zip(place[links.other].tolist(), links.label.tolist(), strict=True))
    rows = links.ptr.tolist()
    partition = OrderedPartition(np.searchsorted(cell[order], cell[order]).tolist())
    spent = 0
    for _ in partition.refine_all([pairs[rows[vertex] : rows[vertex + 1]] for vertex in order.tolist()]):
        search.spend(partition.effort - spent)
        spent = partition.effort
    return np.asarray(partition.cell, np.int64)[place]


def _is_undetermined(cell: IntArray, links: _Links, size: IntArray) -> BoolArray:
    """(2 E,): whether a vertex has the link with some but not all vertices of the other end's cell."""
    pair = _numbered(cell[links.vertex] * len(size) + cell[links.other])
    pair = _numbered(pair * (links.label.max(initial=0) + 1) + links.label)
    every = 2 * size[cell[links.vertex]] * size[cell[links.other]]
    return np.bincount(pair)[pair] < every


def _components(cell: IntArray, links: _Links, graph: IntArray) -> _Components:
    adjacency = coo_array((np.ones(len(links.vertex), bool), (links.vertex, links.other)), shape=(len(cell),) * 2)
    count, of = connected_components(adjacency, directed=False) if len(cell) else (0, cell)
    of = of.astype(np.int64)
    order = np.lexsort((cell, of))
    ptr = offsets(np.bincount(of, minlength=count))
    first, sizes = order[ptr[:-1]], np.diff(ptr)
    group = _numbered(cell[first] * (sizes.max(initial=0) + 1) + sizes)
    is_new = np.ones(len(order), bool)
    is_new[1:] = (cell[order[1:]] != cell[order[:-1]]) | (of[order[1:]] != of[order[:-1]])
    index, name = np.empty_like(order), np.empty_like(order)
    start = np.repeat(ptr[:-1], sizes)
    index[order] = np.arange(len(order)) - start
    name[order] = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0)) - start
    distinct = np.bincount(of[order], is_new, minlength=count)
    return _Components(of, order, ptr, index, name, graph[first], group, distinct == sizes)


def _classify(links: _Links, components: _Components, search: Search) -> tuple[IntArray, IntArray] | None:
    """(K,) the class of each component and (V,) the rank of vertices inside it, which map components of a class.

    None once one graph has more components of a class than the other.
    """
    classes, rank = components.group.copy(), components.index.copy()
    missing: dict[int, int] = {}
    for number, component in _unresolved(links, components, search):
        found = search.classify(component)
        missing[found.number] = missing.get(found.number, 0) + (-1 if components.graph[number] else 1)
        if missing[found.number] < 0:
            return None
        classes[number] = len(classes) + found.number
        vertices = components.order[components.ptr[number] : components.ptr[number + 1]]
        rank[vertices[found.order]] = np.arange(len(vertices))
    return classes, rank


def _unresolved(links: _Links, components: _Components, search: Search) -> Iterator[tuple[int, Component]]:
    """Numbered components whose colours are not all different.

    Small ones first, and those of the first graph before those of the second.
    """
    of, ptr, index = components.of, components.ptr, components.index
    links = links.select(~components.is_discrete[of[links.vertex]])
    place = ptr[of[links.vertex]] + index[links.vertex]
    rows = offsets(np.bincount(place, minlength=len(of))).tolist()
    by_place = np.argsort(place, kind="stable")
    pairs = list(zip(index[links.other[by_place]].tolist(), links.label[by_place].tolist(), strict=True))
    names = components.name[components.order].tolist()
    chosen = np.flatnonzero(~components.is_discrete)
    keys = components.graph[chosen], components.group[chosen], np.diff(ptr)[chosen]
    for number in chosen[np.lexsort(keys)].tolist():
        start, stop = ptr[number : number + 2].tolist()
        own = [pairs[rows[vertex] : rows[vertex + 1]] for vertex in range(start, stop)]
        group = search.number("group", int(components.group[number]))
        yield number, Component(group, own, OrderedPartition(names[start:stop]))
