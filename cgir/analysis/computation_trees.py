"""Classes of nodes with equal computation trees, which message passing cannot distinguish, for whole data sets at once.

After l layers of message passing a node's state is a function of its computation tree of depth l: its kind and the
multiset of the trees of depth l - 1 of its neighbours. Layers distinguish two nodes at most where colour refinement
does (Xu et al., "How powerful are graph neural networks?", ICLR 2019, lemma 2; Weisfeiler and Lehman, 1968), so that
the nodes of one class can be computed once (Bollen et al., "Learning graph neural networks using exact compression",
2023, https://arxiv.org/abs/2304.14793). Such layers do not see argument slots, so slots do not count here, while
`weisfeiler_lehman.colors` sees them: x - y and y - x are one class here and two there.

Two multisets are taken for equal where the sums of random 64-bit numbers, one for each tree in them, are: wrongly with
probability 2^-63 for one pair, 5e-8 for some pair of a million. The numbers are the same in every batch, which lets
`build_class_table` merge the classes of many batches.

Data sets keep classes in memory (`GraphStore.class_table`) and not on disk. There, the networks of NAS-Bench-101 with
all their columns take 0.6 bytes a node; classes of six layers, both ways, would take another 7.2, and reading them as
long as computing them. Those of the last layer alone would take another 1.9, to save the half minute in which all 80.7
million nodes are computed.

Notation:
    N: nodes of all graphs; L: depth of the trees; C_l: classes at depth l, C_0 of them the distinct node kinds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from cgir.errors import CgirError
from cgir.graph import NodeKind
from cgir.graph_batch import GraphBatch
from cgir.ragged import offsets, ranges
from cgir.typing import Int32Array, IntArray

from .weisfeiler_lehman import Colors, kind_color, mix

Classes = Int32Array
Direction = Literal["forward", "backward", "both"]

PIECE = 32_768  # nodes whose keys are mixed together: 256 kB, of which some arrays fit into a processor's cache
# digits of pi
_OWN, _SOURCE, _READER = (np.uint64(0x243F6A8885A308D3), np.uint64(0x13198A2E03707344), np.uint64(0xA4093822299F31D0))


class ClassLayer(NamedTuple):
    """The C classes of one depth, described by classes of the depth before.

    Attributes:
        parent: (C,) the class that each refines.
        neighbours: the classes of the neighbours of class c are neighbours[ptr[c] : ptr[c + 1]], one for every edge.
        ptr: (C + 1,).
    """

    parent: Classes
    neighbours: Classes
    ptr: IntArray


class ClassTable(NamedTuple):
    """All classes of a data set in one direction.

    Attributes:
        kinds: the classes of depth 0.
        layers: those of depths 1 .. L.
        node_class: (N,) each node's class at depth L.
    """

    kinds: tuple[NodeKind, ...]
    layers: list[ClassLayer]
    node_class: Classes


class _Part(NamedTuple):
    """A class table of one batch, and for each depth from 1 the key of each class."""

    kinds: list[NodeKind]
    keys: list[Colors]
    layers: list[ClassLayer]
    node_class: Classes


class _Edges(NamedTuple):
    """One direction of messages: `sources` send, `targets` receive, `salt` sets this direction apart."""

    sources: IntArray
    targets: IntArray
    salt: np.uint64


def node_classes(batch: GraphBatch, depth: int, direction: Direction = "forward", check: bool = False) -> list[Classes]:
    """Class of every node at depths 0 .. depth.

    Two nodes share a class iff their kinds and the multisets of their neighbours' classes one depth less are equal.

    Args:
        batch: the graphs; what is equal in two of them is one class.
        depth: number of layers, which is the radius of the trees in edges.
        direction: whose messages a node receives: its sources' ("forward"), those of the nodes that read it
            ("backward"), or both, kept apart. An edge that is there twice counts twice.
        check: compare the multisets themselves too, in several times the time.

    Returns:
        depth + 1 arrays (N,), classes numbered 0, 1, ... in order of first appearance; at depth 0 a class is a kind.
        Each class refines one class of the depth before.

    Raises:
        CgirError: invalid depth or direction; or, with `check`, two different multisets have equal sums.
    """
    result = [classes for classes, _ in _refine(batch, depth, direction)]
    for level, (before, classes) in enumerate(pairwise(result) if check else (), 1):
        messages = [(before[edges.sources], edges.targets) for edges in _edges(batch, direction)]
        _check(level, classes, result[0], messages)
    return result


def build_class_table(
    batches: GraphBatch | Iterable[GraphBatch],
    depth: int,
    direction: Literal["forward", "backward"] = "forward",
    check: bool = False,
) -> ClassTable:
    """Classes of all nodes of a data set of any size; a batch of its graphs then needs no refinement of its own.

    Args:
        batches: the graphs, read batch by batch; what is equal in two of them is one class.
        depth: number of layers L.
        direction: as in `node_classes`.
        check: as in `node_classes`.

    Raises:
        CgirError: as in `node_classes`.
    """
    if depth < 0 or direction not in ("forward", "backward"):
        raise CgirError(
            f"build_class_table: depth={depth}, direction={direction!r}; "
            "expected 0 or more, and 'forward' or 'backward'"
        )
    batches = [batches] if isinstance(batches, GraphBatch) else batches
    parts = [_part(batch, depth, direction, check) for batch in batches]
    if len(parts) == 1:
        return ClassTable(tuple(parts[0].kinds), parts[0].layers, parts[0].node_class)
    kinds = dict[NodeKind, int]()
    # of each part's classes at the depth that was merged last, their numbers in the whole
    merged = [np.asarray([kinds.setdefault(kind, len(kinds)) for kind in part.kinds], np.int32) for part in parts]
    layers = []
    for level in range(depth):
        keys = [part.keys[level] for part in parts]
        classes, values = _number(np.concatenate([np.zeros(0, np.uint64), *keys]))
        joined = _join([part.layers[level] for part in parts], merged)
        if check:
            receivers = np.repeat(np.arange(len(classes)), np.diff(joined.ptr))
            _check(level + 1, classes, joined.parent, [(joined.neighbours, receivers)])
        layers.append(_select(joined, _members(classes, len(values))))
        merged = np.split(classes, offsets([len(key) for key in keys])[1:-1])[: len(parts)]
    last = [numbers[part.node_class] for numbers, part in zip(merged, parts, strict=True)]
    return ClassTable(tuple(kinds), layers, np.concatenate([np.zeros(0, np.int32), *last]))


def _refine(batch: GraphBatch, depth: int, direction: Direction) -> Iterator[tuple[Classes, Colors]]:
    """Classes (N,) of each depth, and a key for each class: a hash of the tree that is the same in every batch."""
    edge_sets = _edges(batch, direction)
    if depth < 0 or not edge_sets:
        raise CgirError(
            f"node_classes: depth={depth}, direction={direction!r}; "
            "expected 0 or more, and one of 'forward', 'backward', 'both'"
        )
    classes, kinds = _number(batch.kind.astype(np.uint64))
    keys = np.asarray([kind_color(batch.kinds[kind]) for kind in kinds.tolist()], np.uint64)
    yield classes, keys
    kind_terms = mix(keys ^ _OWN)[classes]
    for _ in range(depth):
        # A node's own class of the depth before would add nothing beyond the kind: the neighbours' classes imply it.
        total = kind_terms.copy()
        for sources, targets, salt in edge_sets:
            np.add.at(total, targets, mix(keys ^ salt).take(classes).take(sources))
        classes, keys = _number(total)
        yield classes, keys


def _edges(batch: GraphBatch, direction: Direction) -> list[_Edges]:
    """The directions in which messages run; none where `direction` does not exist."""
    forward, backward = _Edges(batch.src, batch.dst, _SOURCE), _Edges(batch.dst, batch.src, _READER)
    return {"forward": [forward], "backward": [backward], "both": [forward, backward]}.get(direction, [])


def _number(values: Colors) -> tuple[Classes, Colors]:
    """Each value's number in order of first appearance, and the values by their numbers."""
    encoded = pa.array(values).dictionary_encode()
    # copied: Arrow's are read-only
    return np.from_dlpack(encoded.indices).astype(np.int32), np.from_dlpack(encoded.dictionary).astype(np.uint64)


def _part(batch: GraphBatch, depth: int, direction: Direction, check: bool) -> _Part:
    """The class table of one batch.

    Nodes are numbered at the last depth alone. The classes of a depth before are those of a few nodes: one of each
    class of the next depth, and its neighbours.
    """
    edges = _edges(batch, direction)[0]
    kind, keys = _tree_keys(batch, depth, edges)
    sources, targets = edges.sources, edges.targets
    if direction == "backward":
        order = np.argsort(targets, kind="stable")
        sources, targets = sources[order], targets[order]
    if check:
        levels = [kind, *(_number(level)[0] for level in keys)]
        for level, (before, classes) in enumerate(pairwise(levels), 1):
            _check(level, classes, kind, [(before[sources], targets)])
    degree = np.bincount(targets, minlength=batch.num_nodes)
    starts = offsets(degree)
    node_class, values = _number(keys[-1]) if depth else (kind, np.zeros(int(kind.max(initial=-1)) + 1, np.uint64))
    nodes, layers, class_keys = _members(node_class, len(values)), list[ClassLayer](), [values][:depth]
    for level in range(depth - 1, -1, -1):  # from the classes of depth level + 1, of which `nodes` are one each
        sizes = degree[nodes]
        behind = np.concatenate([nodes, sources[ranges(starts[nodes], sizes)]])
        if level:
            rows, values = _number(keys[level - 1][behind])
            class_keys.insert(0, values)
        else:  # in the order of all nodes, the same for both directions
            rows, values = kind[behind], np.zeros(int(kind.max(initial=-1)) + 1, np.uint64)
        layers.insert(0, ClassLayer(rows[: len(nodes)], rows[len(nodes) :], offsets(sizes)))
        nodes = behind[_members(rows, len(values))]
    return _Part([batch.kinds[row] for row in batch.kind[nodes].tolist()], class_keys, layers, node_class)


def _tree_keys(batch: GraphBatch, depth: int, edges: _Edges) -> tuple[Classes, list[Colors]]:
    """Every node's class at depth 0, and at depths 1 .. depth the keys (N,) of trees that `_refine` gives to classes.

    Without numbers, which take longer than the sums of all nodes.
    """
    kind, rows = _number(batch.kind.astype(np.uint64))
    colors = np.asarray([kind_color(batch.kinds[row]) for row in rows.tolist()], np.uint64)
    terms, sent, keys = mix(colors ^ _OWN)[kind], mix(colors ^ edges.salt)[kind], list[Colors]()
    for level in range(depth):
        total = terms.copy()
        np.add.at(total, edges.targets, sent.take(edges.sources))
        keys.append(total)
        if level < depth - 1:
            sent = _mixed(total, edges.salt)
    return kind, keys


def _mixed(keys: Colors, salt: np.uint64) -> Colors:
    """`mix(keys ^ salt)`, in pieces that stay in a processor's cache."""
    out = np.empty_like(keys)
    for start in range(0, len(keys), PIECE):
        out[start : start + PIECE] = mix(keys[start : start + PIECE] ^ salt)
    return out


def _join(layers: list[ClassLayer], merged: list[Classes]) -> ClassLayer:
    """The layers of all parts one after the other; `merged` numbers each part's classes of the depth before."""
    none = np.zeros(0, np.int32)
    parents = [numbers[layer.parent] for numbers, layer in zip(merged, layers, strict=True)]
    neighbours = [numbers[layer.neighbours] for numbers, layer in zip(merged, layers, strict=True)]
    return ClassLayer(
        np.concatenate([none, *parents]),
        np.concatenate([none, *neighbours]),
        offsets(np.concatenate([none, *(np.diff(layer.ptr) for layer in layers)])),
    )


def _members(classes: Classes, count: int) -> IntArray:
    """(count,): one member of each class."""
    member = np.zeros(count, np.int64)
    member[classes] = np.arange(len(classes))
    return member


def _select(layer: ClassLayer, rows: IntArray) -> ClassLayer:
    """The classes at `rows`."""
    sizes = np.diff(layer.ptr)[rows]
    return ClassLayer(layer.parent[rows], layer.neighbours[ranges(layer.ptr[rows], sizes)], offsets(sizes))


def _check(depth: int, classes: Classes, parent: Classes, messages: list[tuple[Classes, IntArray]]) -> None:
    """Check that members of a class agree in `parent` and in the multisets of `messages` (sent class, receiver)."""
    example = _members(classes, int(classes.max(initial=-1)) + 1)[classes]
    equal = bool((parent == parent[example]).all())
    for sent, targets in messages:
        degree, count = np.bincount(targets, minlength=len(classes)), int(sent.max(initial=0)) + 1
        equal = equal and bool((degree == degree[example]).all())
        if equal:
            ordered = np.sort(targets * count + sent) % count  # row by row, what each one receives in order
            equal = bool((ordered == ordered[ranges(offsets(degree)[example], degree)]).all())
    if not equal:
        raise CgirError(
            f"node_classes: depth {depth}: two different multisets of neighbours have equal sums; "
            "do without classes for these graphs"
        )
