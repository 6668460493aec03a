"""Nodes that no message-passing network can tell apart, by depth, for whole data sets at once.

After l layers of message passing a node's state is a function of its unfolding of depth l: its kind and the multiset of
the unfoldings of depth l - 1 of the nodes it hears. Layers tell two nodes apart at most where colour refinement does
(Xu et al., "How powerful are graph neural networks?", ICLR 2019, lemma 2; Weisfeiler and Lehman, 1968), so that the
nodes of one class can be computed once (Bollen et al., "Learning graph neural networks using exact compression", 2023,
https://arxiv.org/abs/2304.14793). Such layers do not see argument slots, so slots do not count here, while
`cgir.coloring.colors` sees them: x - y and y - x are one class here and two there.

Two multisets are taken for equal where the sums of random 64-bit numbers, one for each unfolding in them, are: wrongly
with probability 2^-63 for one pair, 5e-8 for some pair of a million. The numbers are the same in every batch, which
lets `tabulate` put classes of many batches together.

Data sets keep classes in memory (`GraphStore.unfoldings`) and not on disk. There, the networks of NAS-Bench-101 with
all their columns take 0.6 bytes a node; classes of six layers, both ways, would take another 7.2, and reading them as
long as computing them. Those of the last layer alone would take another 1.9, to save the half minute in which all 80.7
million nodes are computed.
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

# digits of pi
_OWN, _SOURCE, _READER = (np.uint64(0x243F6A8885A308D3), np.uint64(0x13198A2E03707344), np.uint64(0xA4093822299F31D0))


class Step(NamedTuple):
    """What the C classes of one depth are made of, in classes of the depth before.

    `own` (C,): the class each is part of; sources[starts[c] : starts[c + 1]]: those of the neighbours of class c, once
    for every edge.
    """

    own: Classes
    sources: Classes
    starts: IntArray


class Table(NamedTuple):
    """All classes of a data set in one direction: the `kinds` of depth 0, a step for every depth from 1, and each
    node's class at the `last` (N,).
    """

    kinds: tuple[NodeKind, ...]
    steps: list[Step]
    last: Classes


class _Part(NamedTuple):
    """Of one batch: the kinds, each depth's keys and steps from 1, and each node's last class."""

    kinds: list[NodeKind]
    keys: list[Colors]
    steps: list[Step]
    last: Classes


def unfoldings(batch: GraphBatch, depth: int, direction: Direction = "forward", check: bool = False) -> list[Classes]:
    """Class of every node at depths 0 .. depth; two nodes share one iff their kinds and the multisets of their
    neighbours' classes one depth less are equal.

    Args:
        batch: the graphs; what is equal in two of them is one class.
        depth: how many steps away nodes are seen.
        direction: whom a node hears: its sources ("forward"), the nodes that read it ("backward"), or both, told apart.
            An edge that is there twice counts twice.
        check: compare the multisets themselves too, in several times the time.

    Returns:
        depth + 1 arrays (N,), classes numbered 0, 1, ... in order of first appearance; at depth 0 a class is a kind. A
        class is part of one class of the depth before.

    Raises:
        CgirError: depth or direction do not exist; or, with `check`, two different multisets have equal sums.
    """
    result = [classes for classes, _ in _refine(batch, depth, direction)]
    for level, (before, classes) in enumerate(pairwise(result) if check else (), 1):
        _check(
            level, classes, result[0], [(before[sources], targets) for sources, targets, _ in _ways(batch, direction)]
        )
    return result


def tabulate(
    batches: GraphBatch | Iterable[GraphBatch],
    depth: int,
    direction: Literal["forward", "backward"] = "forward",
    check: bool = False,
) -> Table:
    """Classes of all nodes of a data set of any size, and what they are made of; a batch of its graphs then needs no
    colouring of its own.

    Args:
        batches: the graphs, drawn batch by batch; what is equal in two of them is one class.
        depth, direction, check: as in `unfoldings`.

    Raises:
        CgirError: as in `unfoldings`.
    """
    if depth < 0 or direction not in ("forward", "backward"):
        raise CgirError(
            f"tabulate: depth={depth}, direction={direction!r}; expected 0 or more, and 'forward' or 'backward'"
        )
    parts = [
        _part(batch, depth, direction, check) for batch in ([batches] if isinstance(batches, GraphBatch) else batches)
    ]
    kinds = dict[NodeKind, int]()
    places = [np.asarray([kinds.setdefault(kind, len(kinds)) for kind in part.kinds], np.int32) for part in parts]
    steps = []
    for level in range(depth):
        keys = [part.keys[level] for part in parts]
        classes, values = _numbered(np.concatenate([np.zeros(0, np.uint64), *keys]))
        made = _joined([part.steps[level] for part in parts], places)
        if check:
            _check(
                level + 1, classes, made.own, [(made.sources, np.repeat(np.arange(len(classes)), np.diff(made.starts)))]
            )
        steps.append(_chosen(made, _examples(classes, len(values))))
        places = np.split(classes, offsets([len(key) for key in keys])[1:-1])[: len(parts)]
    last = [place[part.last] for place, part in zip(places, parts, strict=True)]
    return Table(tuple(kinds), steps, np.concatenate([np.zeros(0, np.int32), *last]))


def _refine(batch: GraphBatch, depth: int, direction: Direction) -> Iterator[tuple[Classes, Colors]]:
    """Classes (N,) of each depth, and a key for each class: a hash of the unfolding that is the same in every batch."""
    ways = _ways(batch, direction)
    if depth < 0 or not ways:
        raise CgirError(
            f"unfoldings: depth={depth}, direction={direction!r}; expected 0 or more, and one of 'forward', 'backward', 'both'"
        )
    classes, kinds = _numbered(batch.kind.astype(np.uint64))
    keys = np.asarray([kind_color(batch.kinds[kind]) for kind in kinds.tolist()], np.uint64)
    yield classes, keys
    own = mix(keys ^ _OWN)[classes]
    for _ in range(depth):
        # A node's own class of the depth before would add nothing: what it says beyond the kind, the neighbours'
        # classes say too.
        total = own.copy()
        for sources, targets, salt in ways:
            np.add.at(total, targets, mix(keys ^ salt).take(classes).take(sources))
        classes, keys = _numbered(total)
        yield classes, keys


def _ways(batch: GraphBatch, direction: Direction) -> list[tuple[IntArray, IntArray, np.uint64]]:
    """Who is heard, by whom, and what sets a neighbour of this sort apart."""
    forward, backward = (batch.src, batch.dst, _SOURCE), (batch.dst, batch.src, _READER)
    return {"forward": [forward], "backward": [backward], "both": [forward, backward]}.get(direction, [])


def _numbered(values: Colors) -> tuple[Classes, Colors]:
    """Each value's number in order of first appearance, and the values by their numbers."""
    encoded = pa.array(values).dictionary_encode()
    # copied: Arrow's are read-only
    return np.from_dlpack(encoded.indices).astype(np.int32), np.from_dlpack(encoded.dictionary).astype(np.uint64)


def _part(batch: GraphBatch, depth: int, direction: Direction, check: bool) -> _Part:
    levels = list(_refine(batch, depth, direction))
    sources, targets, _ = _ways(batch, direction)[0]
    if direction == "backward":
        order = np.argsort(targets, kind="stable")
        sources, targets = sources[order], targets[order]
    degree = np.bincount(targets, minlength=batch.num_nodes)
    starts = offsets(degree)
    kind, steps = levels[0][0], []
    for level, ((before, _), (classes, keys)) in enumerate(pairwise(levels), 1):
        if check:
            _check(level, classes, kind, [(before[sources], targets)])
        chosen = _examples(classes, len(keys))
        heard = sources[ranges(starts[chosen], degree[chosen])]
        steps.append(Step(before[chosen], before[heard], offsets(degree[chosen])))
    kinds = [batch.kinds[row] for row in batch.kind[_examples(kind, len(levels[0][1]))].tolist()]
    return _Part(kinds, [keys for _, keys in levels[1:]], steps, levels[-1][0])


def _joined(steps: list[Step], places: list[Classes]) -> Step:
    """The steps of all parts one after the other; where classes of each part stand in the depth before, `places` says."""
    none = np.zeros(0, np.int32)
    own = [place[step.own] for place, step in zip(places, steps, strict=True)]
    sources = [place[step.sources] for place, step in zip(places, steps, strict=True)]
    return Step(
        np.concatenate([none, *own]),
        np.concatenate([none, *sources]),
        offsets(np.concatenate([none, *(np.diff(step.starts) for step in steps)])),
    )


def _examples(classes: Classes, count: int) -> IntArray:
    """(count,): a member of each class."""
    example = np.zeros(count, np.int64)
    example[classes] = np.arange(len(classes))
    return example


def _chosen(step: Step, rows: IntArray) -> Step:
    sizes = np.diff(step.starts)[rows]
    return Step(step.own[rows], step.sources[ranges(step.starts[rows], sizes)], offsets(sizes))


def _check(depth: int, classes: Classes, own: Classes, ways: list[tuple[Classes, IntArray]]) -> None:
    """That members of one class agree in `own` and, for every (heard, who hears it), in the multiset of what they hear."""
    example = _examples(classes, int(classes.max(initial=-1)) + 1)[classes]
    same = bool((own == own[example]).all())
    for heard, targets in ways:
        degree, count = np.bincount(targets, minlength=len(classes)), int(heard.max(initial=0)) + 1
        same = same and bool((degree == degree[example]).all())
        if same:
            ordered = np.sort(targets * count + heard) % count  # row by row, what each one hears in order
            same = bool((ordered == ordered[ranges(offsets(degree)[example], degree)]).all())
    if not same:
        raise CgirError(
            f"unfoldings: depth {depth}: two different multisets of neighbours have equal sums; do without classes for these graphs"
        )
