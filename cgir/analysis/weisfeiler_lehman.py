"""Weisfeiler-Lehman colour refinement, and a canonical hash.

Two graphs are isomorphic when a one-to-one map of their nodes keeps every node's kind, every edge with its argument
slot (inputs of commutative operators have no slot) and which parameters are shared. Names, module paths and the order
of nodes do not count. Colours: Weisfeiler and Lehman, 1968; the search on top is individualisation-refinement (McKay,
"Practical graph isomorphism", 1981).

Rounds of Weisfeiler-Lehman carry a colour one step, and networks are deep. But they have no cycles, so one sweep along
the edges, in which a vertex already sees the new colours of what comes before it, has the effect of all forward rounds,
and one against the edges that of all backward rounds. Sweeps alternate until one of them splits no class: then
equal colours have equally coloured inputs and equally coloured readers, which is the partition that rounds would end
with. Vertices at the same position of many graphs are swept together.

Notation:
    N: nodes of a batch; V >= N: vertices, the nodes and behind them one vertex for every shared parameter; E: edges
    between vertices. A colour is an integer of 64 bits; colours form classes (cells) of vertices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cgir.graph import Graph, NodeKind
from cgir.graph_batch import GraphBatch
from cgir.ops import OPS
from cgir.ragged import offsets, ranges
from cgir.typing import IntArray

Colors = NDArray[np.uint64]
Groups = Sequence[int] | None
Direction = Literal["both", "forward", "backward"]

# coloured together, which bounds memory; a graph's number takes the 12 bits that `_num_colors` spares
CHUNK_NODES, CHUNK_GRAPHS = 400_000, 4096
# networks need some five; where a difference travels step by step, one for every node would be quadratic
HASH_SWEEPS = 32
NARROW = 24  # vertices per span: below, Python integers are faster than arrays
_SHARED_SLOT = 1 << 32  # edge labels from here on are parameter slots, below are argument slots
_ALL = (1 << 64) - 1


@dataclass(frozen=True)
class Structure:
    """Labelled directed graphs, their edges in both orders.

    Nodes are ordered by their position in their graph, so that those of one span have no edges among them and can be
    coloured together.

    Attributes:
        graphs: number of graphs.
        rank: (N,) the vertex that each node of the batch is.
        base: (V,) initial colours.
        graph: (V,) the graph that each vertex belongs to.
        source: (E,) sources of edges sorted by target.
        source_label: (E,) their labels, scrambled.
        target_ptr: (V + 1,) edges that enter each vertex.
        target: (E,) targets of edges sorted by source.
        target_label: (E,) their labels, scrambled.
        source_ptr: (V + 1,) edges that leave each vertex.
        spans: of vertices, in an order in which edges lead forward.
    """

    graphs: int
    rank: IntArray
    base: Colors
    graph: IntArray
    source: IntArray
    source_label: Colors
    target_ptr: IntArray
    target: IntArray
    target_label: Colors
    source_ptr: IntArray
    spans: tuple[tuple[int, int], ...]


def colors(batch: GraphBatch, rounds: int, direction: Direction = "both") -> Colors:
    """Weisfeiler-Lehman colours of all nodes: equal colours have equal neighbourhoods of radius `rounds`.

    A batch does not know which parameters are shared, so sharing does not count here.

    Args:
        batch: the graphs.
        rounds: of refinement.
        direction: "forward" follows the edges only (a colour summarises what comes before the node), "backward" goes
            against them, "both" both ways.

    Returns:
        (N,) uint64, the same for equal neighbourhoods in every batch.
    """
    structure = structure_of(batch, None)
    color = structure.base
    for _ in range(rounds):
        color = _round(structure, color, direction)
    return color[structure.rank]


def graph_hash(graph: Graph) -> str:
    """32 hex digits of the stable colouring, equal for isomorphic graphs.

    Graphs that are not isomorphic collide only where colour refinement cannot separate them, or needs more than
    `HASH_SWEEPS` sweeps, as no network does.
    """
    return graph_hashes(GraphBatch.from_graphs([graph]), [param_groups(graph)])[0]


def graph_hashes(batch: GraphBatch, groups: Sequence[Groups] | None = None) -> list[str]:
    """`graph_hash` of every graph of a batch; without `groups`, their `param_groups`, no parameter counts as shared."""
    digests: list[str] = []
    for chunk in batch.chunks(CHUNK_NODES, CHUNK_GRAPHS):
        start, stop = len(digests), len(digests) + len(chunk)
        structure = structure_of(chunk, groups[start:stop] if groups is not None else None)
        digests += _digests(structure, stable_colors(structure, HASH_SWEEPS))
    return digests


def param_groups(graph: Graph) -> list[int] | None:
    """The parameter in every parameter slot, in node order, numbered by first use; None if none is used twice."""
    ids = [param.id for node in graph.nodes for param in node.params]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    return [numbers[name] for name in ids] if len(numbers) < len(ids) else None


def mix(values: Colors) -> Colors:
    """Scramble 64-bit integers one-to-one (finaliser of splitmix64): sums of the results serve as multiset hashes."""
    out = values + np.uint64(0x9E3779B97F4A7C15)
    out = (out ^ (out >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    out = (out ^ (out >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return out ^ (out >> np.uint64(31))


@lru_cache(maxsize=200_000)
def kind_color(kind: NodeKind) -> int:
    """A 64-bit hash of a node kind that is the same in every process."""
    return stable_hash(_plain(kind))


def stable_hash(value: object, size: int = 8) -> int:
    """A hash of a value's `repr`, as an integer of `size` bytes, that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(value).encode(), digest_size=size).digest(), "little")


def _plain(value: Any) -> Any:
    """Numbers that Python calls equal get one spelling (1, 1.0, True), because equal kinds must have equal colours."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, float) and not value.is_integer():
        return float(value)
    return int(value) if isinstance(value, bool | float) else value


def structure_of(batch: GraphBatch, groups: Sequence[Groups] | None) -> Structure:
    """The vertices and edges that are coloured; `groups`: the `param_groups` of each graph, None where none share."""
    position = batch.position
    # 16 bits are sorted in linear time
    order = np.argsort(position.astype(np.uint16) if position.max(initial=0) < 1 << 16 else position, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    kind, edge_ptr = batch.kind[order], batch.in_edge_ptr
    base = np.asarray([kind_color(kind) for kind in batch.kinds], np.uint64)[kind]
    ordered = np.asarray([kind.op not in OPS or not OPS[kind.op].commutative for kind in batch.kinds], bool)[kind]
    graph, arity = batch.graph_of_node[order], np.diff(edge_ptr)[order]
    # nodes of a cell may have more inputs than their kind: these are summed, in any order
    ordered &= arity == np.asarray([len(kind.in_shapes) for kind in batch.kinds], np.int64)[kind]
    src, dst = rank[batch.src[ranges(edge_ptr[order], arity)]], np.repeat(np.arange(len(order)), arity)
    label = np.where(ordered[dst], ranges(np.ones_like(arity), arity), 0)
    cuts = offsets(np.bincount(position)).tolist()
    if groups is not None and any(group is not None for group in groups):
        more_src, more_dst, more_label, more_graph = _sharing(batch, groups)
        src, dst = np.concatenate([src, more_src]), np.concatenate([dst, rank[more_dst]])
        label, graph = np.concatenate([label, more_label]), np.concatenate([graph, more_graph])
        base = np.concatenate([base, np.full(len(more_graph), 0x5EED, np.uint64)])
    by_target, by_source = np.argsort(dst, kind="stable"), np.argsort(src, kind="stable")
    scrambled = mix(label.astype(np.uint64))
    return Structure(
        len(batch), rank, base, graph, src[by_target], scrambled[by_target], _group_ptr(dst, len(base)),
        dst[by_source], scrambled[by_source], _group_ptr(src, len(base)),
        ((len(order), len(base)), *pairwise(cuts)),
    )  # fmt: skip


def _group_ptr(values: IntArray, size: int) -> IntArray:
    """(size + 1,): where each of 0 .. size - 1 begins when the values are sorted."""
    return offsets(np.bincount(values, minlength=size))


def _sharing(batch: GraphBatch, groups: Sequence[Groups]) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Vertices for shared parameters: edges (source, target, label) to their users, and the vertices' graphs."""
    src, dst, label, graph = [], [], [], []
    slots = np.asarray([len(kind.param_shapes) for kind in batch.kinds], np.int64)[batch.kind]
    vertex = batch.num_nodes
    for index, group in enumerate(groups):
        if group is None:
            continue
        start, stop = batch.ptr[index], batch.ptr[index + 1]
        nodes = np.repeat(np.arange(start, stop), slots[start:stop])
        slot = ranges(np.zeros(int(stop - start), np.int64), slots[start:stop])
        _, inverse, uses = np.unique(np.asarray(group), return_inverse=True, return_counts=True)
        numbers = np.cumsum(uses > 1) - 1
        shared = uses[inverse] > 1
        src.append(vertex + numbers[inverse][shared])
        dst.append(nodes[shared])
        label.append(_SHARED_SLOT + slot[shared])
        graph.append(np.full(int((uses > 1).sum()), index))
        vertex += int((uses > 1).sum())
    return np.concatenate(src), np.concatenate(dst), np.concatenate(label), np.concatenate(graph)


def _round(structure: Structure, color: Colors, direction: Direction = "both") -> Colors:
    """One round: a vertex's new colour hashes its old one and the multisets of (label, colour) around it."""
    new = mix(color)
    if direction != "backward":
        new = mix(new + mix(segment_sums(mix(color[structure.source] ^ structure.source_label), structure.target_ptr)))
    if direction != "forward":
        messages = mix(color[structure.target] + structure.target_label)
        new = mix(new ^ mix(segment_sums(messages, structure.source_ptr) + np.uint64(1)))
    return new


def segment_sums(values: Colors, ptr: IntArray) -> Colors:
    """(S,): sums, modulo 2^64, of the values ptr[s] .. ptr[s + 1] - 1."""
    total = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values, out=total[1:])  # wraps around, and so do the differences
    return total[ptr[1:]] - total[ptr[:-1]]


def stable_colors(structure: Structure, most: int | None = None) -> Colors:
    """Alternate sweeps until none of a graph's classes splits; their number depends on that graph alone.

    At most `most` sweeps, after which classes might split further.
    """
    color = _sweep(structure, structure.base, True)
    final, active, forward = color, np.ones(structure.graphs, bool), False
    count = _num_colors(structure, color)
    while active.any() and most != 1:
        color = _sweep(structure, color, forward)
        final = np.where(active[structure.graph], color, final)
        previous, count = count, _num_colors(structure, color)
        active &= count > previous
        forward = not forward
        most = most and most - 1
    return final


def _sweep(structure: Structure, color: Colors, forward: bool) -> Colors:
    """Each vertex's new colour hashes its old one and the multiset of (label, new colour) before it (else after)."""
    if forward:
        neighbours, labels, ptr, spans = structure.source, structure.source_label, structure.target_ptr, structure.spans
    else:
        neighbours, labels, ptr, spans = (
            structure.target,
            ~structure.target_label,
            structure.source_ptr,
            structure.spans[::-1],
        )
    if len(color) < NARROW * len(spans):
        return _narrow_sweep(mix(color).tolist(), neighbours.tolist(), labels.tolist(), ptr.tolist(), spans)
    new = mix(color)
    for start, stop in spans:
        edges, ends = slice(ptr[start], ptr[stop]), ptr[start : stop + 1] - ptr[start]
        new[start:stop] = mix(new[start:stop] + mix(segment_sums(mix(new[neighbours[edges]] ^ labels[edges]), ends)))
    return new


def _narrow_sweep(
    new: list[int], neighbours: list[int], labels: list[int], ptr: list[int], spans: Iterable[tuple[int, int]]
) -> Colors:
    """`_sweep` one vertex at a time, with bit-identical results."""
    for start, stop in spans:
        for vertex in range(start, stop):
            total = 0
            for edge in range(ptr[vertex], ptr[vertex + 1]):
                total += _mix(new[neighbours[edge]] ^ labels[edge])
            new[vertex] = _mix(new[vertex] + _mix(total))
    return np.asarray(new, np.uint64)


def _mix(value: int) -> int:
    """`mix` of one Python integer, modulo 2^64."""
    value = (value + 0x9E3779B97F4A7C15) & _ALL
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _ALL
    return value ^ (value >> 31)


def _num_colors(structure: Structure, color: Colors) -> IntArray:
    """(graphs,): different colours of each graph, by 52 of their bits, so that one sort of integers serves all."""
    keys = np.sort((structure.graph.astype(np.uint64) << np.uint64(52)) | (color >> np.uint64(12)))
    is_first = np.ones(len(keys), bool)
    is_first[1:] = keys[1:] != keys[:-1]
    return np.bincount((keys[is_first] >> np.uint64(52)).astype(np.int64), minlength=structure.graphs)


def _digests(structure: Structure, color: Colors) -> list[str]:
    """32 hex digits a graph: its number of vertices and two sums, different hashes of the multiset of its colours."""
    order = np.argsort(structure.graph, kind="stable")
    ptr = _group_ptr(structure.graph, structure.graphs)
    scrambled = mix(color[order])
    sums = [segment_sums(values, ptr) + np.diff(ptr).astype(np.uint64) for values in (scrambled, mix(~scrambled))]
    text = mix(np.stack(sums, axis=1)).astype(">u8").tobytes().hex()
    return [text[start : start + 32] for start in range(0, len(text), 32)]
