"""Weisfeiler-Lehman colours, a canonical hash, and exact isomorphism of computation graphs.

Two graphs are isomorphic when a one-to-one map of their nodes keeps every node's kind, every edge with its argument slot (inputs of
commutative operators have no slot) and which parameters are shared. Names, module paths and the order of nodes do not count.
Colours: Weisfeiler and Lehman, 1968; the search on top is individualisation-refinement (McKay, "Practical graph isomorphism", 1981).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .features import GraphBatch, IntArray, ranges
from .graph import Graph, NodeKind
from .ops import OPS

Colors = NDArray[np.uint64]
Groups = Sequence[int] | None
Direction = Literal["both", "forward", "backward"]

CHECK_EVERY = 8  # rounds between two looks at whether the partition still changes: counting classes costs more than a round
CHUNK = 1024  # graphs coloured together, which bounds memory
_SHARED_SLOT = 1 << 32  # edge labels from here on are parameter slots, below are argument slots


@dataclass(frozen=True)
class _Structure:
    """Labelled directed graphs, and beside their V nodes one vertex for every shared parameter. Edges are kept in both orders."""

    graphs: int
    base: Colors  # (V,)
    owner: IntArray  # (V,): the graph each vertex belongs to
    source: IntArray  # (E,): sorted by target
    source_label: Colors
    target_ptr: IntArray  # (V + 1,): edges that enter each vertex
    target: IntArray  # (E,): sorted by source
    target_label: Colors
    source_ptr: IntArray  # (V + 1,): edges that leave each vertex


def colors(batch: GraphBatch, rounds: int, direction: Direction = "both") -> Colors:
    """(N,) Weisfeiler-Lehman colours of all nodes after `rounds`: equal colours see equal surroundings up to that many steps away.

    "forward" looks along the arrows only (a colour summarises what comes before the node), "backward" against them, "both" both ways.
    The batch does not know which parameters are shared, so sharing does not count here.
    """
    structure = _structure(batch, None)
    color = structure.base
    for _ in range(rounds):
        color = _round(structure, color, direction)
    return color


def graph_hash(graph: Graph) -> str:
    """32 hex digits of the stable colouring: equal for isomorphic graphs; unequal graphs collide only where colouring cannot separate them."""
    return graph_hashes(GraphBatch.from_graphs([graph]), [param_groups(graph)])[0]


def graph_hashes(batch: GraphBatch, groups: Sequence[Groups] | None = None) -> list[str]:
    """`graph_hash` of every graph of a batch; `groups` are their `param_groups`, without them no parameter counts as shared."""
    digests: list[str] = []
    for start in range(0, len(batch), CHUNK):
        stop = min(start + CHUNK, len(batch))
        structure = _structure(batch.select(np.arange(start, stop)), groups[start:stop] if groups is not None else None)
        stable = _refine(structure, structure.base)
        order = np.lexsort((stable, structure.owner))
        parts = np.split(stable[order], np.cumsum(np.bincount(structure.owner, minlength=stop - start))[:-1])
        digests.extend(hashlib.blake2b(part.astype("<u8").tobytes(), digest_size=16).hexdigest() for part in parts)
    return digests


def isomorphic(a: Graph, b: Graph) -> bool:
    """Whether the graphs are equal up to names and the order of nodes; exact, also where colours alone cannot tell."""
    if len(a) != len(b) or a.num_edges != b.num_edges or a.hash != b.hash:
        return False
    first, second = (_structure(GraphBatch.from_graphs([g]), [param_groups(g)]) for g in (a, b))
    if len(first.base) != len(second.base):
        return False
    # Depth first over pairs of vertices that are given a colour of their own; a pair is refined only when its turn comes.
    pending = [(first.base, second.base)]
    choices: list[tuple[Colors, Colors, int, int]] = []
    while pending or choices:
        if pending:
            left, right = pending.pop()
        else:
            left, right, v, w = choices.pop()
            left, right = _individualised(left, v), _individualised(right, w)
        left, right = _refine(first, left), _refine(second, right)
        if not np.array_equal(np.sort(left), np.sort(right)):
            continue
        cell = _smallest_cell(left)
        if len(cell) == 0:
            if _is_isomorphism(a, b, first, second, _matching(left, right)):
                return True
            continue
        partners = np.flatnonzero(right == left[cell[0]])
        choices.extend((left, right, int(cell[0]), int(w)) for w in partners[::-1])
    return False


def param_groups(graph: Graph) -> list[int] | None:
    """Which parameter every parameter slot uses (slots in node order), numbered by first use; None if no parameter is used twice."""
    ids = [param.id for node in graph.nodes for param in node.params]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    return [numbers[name] for name in ids] if len(numbers) < len(ids) else None


def mix(values: Colors) -> Colors:
    """Scramble 64-bit integers one-to-one, so that sums of scrambled values serve as hashes of multisets (finaliser of splitmix64)."""
    out = values + np.uint64(0x9E3779B97F4A7C15)
    out = (out ^ (out >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    out = (out ^ (out >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return out ^ (out >> np.uint64(31))


@lru_cache(maxsize=200_000)
def kind_color(kind: NodeKind) -> int:
    """A 64-bit hash of a node kind that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(repr(_plain(kind)).encode(), digest_size=8).digest(), "little")


def _plain(value: Any) -> Any:
    """Numbers that Python calls equal get one spelling (1, 1.0, True), because equal kinds must have equal colours."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, float) and not value.is_integer():
        return float(value)
    return int(value) if isinstance(value, bool | float) else value


def _structure(batch: GraphBatch, groups: Sequence[Groups] | None) -> _Structure:
    base = np.asarray([kind_color(kind) for kind in batch.kinds], np.uint64)[batch.kind]
    ordered = np.asarray([kind.op not in OPS or not OPS[kind.op].commutative for kind in batch.kinds], bool)[batch.kind]
    slot = np.arange(len(batch.dst)) - np.searchsorted(batch.dst, batch.dst)
    src, dst, label, owner = batch.src, batch.dst, np.where(ordered[batch.dst], slot + 1, 0), batch.graph_of_node
    if groups is not None and any(group is not None for group in groups):
        more_src, more_dst, more_label, more_owner = _sharing(batch, groups)
        src, dst = np.concatenate([src, more_src]), np.concatenate([dst, more_dst])
        label, owner = np.concatenate([label, more_label]), np.concatenate([owner, more_owner])
        base = np.concatenate([base, np.full(len(more_owner), 0x5EED, np.uint64)])
    vertices = np.arange(len(base) + 1)
    by_target, by_source = np.argsort(dst, kind="stable"), np.argsort(src, kind="stable")
    scrambled = mix(label.astype(np.uint64))
    return _Structure(
        len(batch), base, owner, src[by_target], scrambled[by_target], np.searchsorted(dst[by_target], vertices),
        dst[by_source], scrambled[by_source], np.searchsorted(src[by_source], vertices),
    )  # fmt: skip


def _sharing(batch: GraphBatch, groups: Sequence[Groups]) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Vertices for parameters in several slots: edges (source, target, label) to the nodes that use them, and the vertices' graphs."""
    src, dst, label, owner = [], [], [], []
    slots = np.asarray([len(kind.param_shapes) for kind in batch.kinds], np.int64)[batch.kind]
    vertex = batch.num_nodes
    for index, group in enumerate(groups):
        if group is None:
            continue
        start, stop = batch.ptr[index], batch.ptr[index + 1]
        nodes = np.repeat(np.arange(start, stop), slots[start:stop])
        places = ranges(np.zeros(int(stop - start), np.int64), slots[start:stop])
        _, inverse, uses = np.unique(np.asarray(group), return_inverse=True, return_counts=True)
        numbers = np.cumsum(uses > 1) - 1
        shared = uses[inverse] > 1
        src.append(vertex + numbers[inverse][shared])
        dst.append(nodes[shared])
        label.append(_SHARED_SLOT + places[shared])
        owner.append(np.full(int((uses > 1).sum()), index))
        vertex += int((uses > 1).sum())
    return np.concatenate(src), np.concatenate(dst), np.concatenate(label), np.concatenate(owner)


def _round(structure: _Structure, color: Colors, direction: Direction = "both") -> Colors:
    """One round: a vertex's new colour hashes its old one and the multisets of (label, colour) around it."""
    new = mix(color)
    if direction != "backward":
        new = mix(new + mix(_segment_sums(mix(color[structure.source] ^ structure.source_label), structure.target_ptr)))
    if direction != "forward":
        messages = mix(color[structure.target] + structure.target_label)
        new = mix(new ^ mix(_segment_sums(messages, structure.source_ptr) + np.uint64(1)))
    return new


def _segment_sums(values: Colors, ptr: IntArray) -> Colors:
    total = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values, out=total[1:])  # wraps around, and so do the differences
    return total[ptr[1:]] - total[ptr[:-1]]


def _refine(structure: _Structure, color: Colors) -> Colors:
    """Rounds until no graph's number of colours grows. How many a graph gets depends on itself alone, not on the others beside it."""
    final, active = color, np.ones(structure.graphs, bool)
    count = _num_colors(structure, color)
    while active.any():
        for _ in range(CHECK_EVERY):
            color = _round(structure, color)
        final = np.where(active[structure.owner], color, final)
        previous, count = count, _num_colors(structure, color)
        active &= count > previous
    return final


def _num_colors(structure: _Structure, color: Colors) -> IntArray:
    if structure.graphs == 1:
        return np.asarray([len(np.unique(color))])
    order = np.lexsort((color, structure.owner))
    owner, ordered = structure.owner[order], color[order]
    fresh = np.ones(len(color), bool)
    fresh[1:] = (owner[1:] != owner[:-1]) | (ordered[1:] != ordered[:-1])
    return np.bincount(owner[fresh], minlength=structure.graphs)


def _individualised(color: Colors, vertex: int) -> Colors:
    changed = color.copy()
    changed[vertex] = mix(~changed[vertex : vertex + 1])[0]
    return changed


def _smallest_cell(color: Colors) -> IntArray:
    """Vertices of a smallest colour class with more than one member; empty if every vertex has a colour of its own."""
    _, inverse, sizes = np.unique(color, return_inverse=True, return_counts=True)
    sizes = np.where(sizes > 1, sizes, len(color) + 1)
    cell = int(np.argmin(sizes)) if len(sizes) else 0
    return np.flatnonzero(inverse == cell) if len(sizes) and sizes[cell] <= len(color) else np.zeros(0, np.int64)


def _matching(left: Colors, right: Colors) -> IntArray:
    """For each vertex of the first graph the vertex of the second with its colour, all colours being different."""
    match = np.empty(len(left), np.int64)
    match[np.argsort(left)] = np.argsort(right)
    return match


def _is_isomorphism(a: Graph, b: Graph, first: _Structure, second: _Structure, match: IntArray) -> bool:
    """The definition, checked without trusting any colour: kinds and labelled edges agree under the map."""
    if any(match[index] >= len(b) or node.kind != b.nodes[match[index]].kind for index, node in enumerate(a.nodes)):
        return False
    targets = [np.repeat(np.arange(len(s.base)), np.diff(s.target_ptr)) for s in (first, second)]
    mapped = Counter(zip(match[first.source].tolist(), match[targets[0]].tolist(), first.source_label.tolist(), strict=True))
    return mapped == Counter(zip(second.source.tolist(), targets[1].tolist(), second.source_label.tolist(), strict=True))
