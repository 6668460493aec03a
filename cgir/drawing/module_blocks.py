"""Collapse a graph to blocks for reading: modules become boxes, equal blocks in a row become one box that stands for
all of them.

Boxes never form a cycle: a module that other nodes leave and enter again is split. Blocks are opened level by level as
long as the picture stays small; of blocks that repeat, one is opened.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cgir.graph import Graph
from cgir.graph_batch import GraphBatch

LIMIT = 40  # boxes in a picture that a person still takes in
LONGEST = 64  # blocks in a sequence that is looked for again right after itself

Nodes = tuple[int, ...]


class Block(NamedTuple):
    """A module, a single node, or a sequence of them; `copies` are equal and follow one another, each with its nodes in
    the same order.
    """

    name: str
    copies: tuple[Nodes, ...]


class Frame(NamedTuple):
    """An opened block: its name, the same within the opened block around it, how often it repeats, and the boxes drawn
    in its place.
    """

    name: str
    label: str
    copies: int
    boxes: tuple[int, ...]


class Box(NamedTuple):
    """What is drawn as one box: a block under its name within the opened block around it.

    There are `times` copies of it in all, those of opened blocks around it included, and `nodes` are the nodes of all
    of them.
    """

    block: Block
    label: str
    times: int
    nodes: Nodes


@dataclass(frozen=True)
class View:
    """Boxes in topological order, the boxes that each one reads, and the opened blocks, outer before inner.

    `stand_in`: for each node the one of a first copy that is looked at in its place, itself where nothing repeats.
    """

    boxes: tuple[Box, ...]
    sources: tuple[Nodes, ...]
    frames: tuple[Frame, ...]
    stand_in: dict[int, int]


def collapse(graph: Graph, depth: int | None = None) -> View:
    """The graph as boxes: modules opened `depth` levels deep, or as deep as `LIMIT` boxes allow."""
    return Tree(graph).view(depth)


def every_node(graph: Graph) -> View:
    """The graph as it is: each node a box, each top-level module a frame; a path that all modules begin with is
    skipped.
    """
    boxes = (Box(Block(node.module, ((index,),)), node.module, 1, (index,)) for index, node in enumerate(graph.nodes))
    paths = [tuple(node.module.split(".")) if node.module else () for node in graph.nodes]
    named = [path for path in paths if path]
    common = min(_shared(named), min(map(len, named)) - 1) if named else 0
    groups: dict[str, list[int]] = {}
    for index, path in enumerate(paths):
        if path:
            groups.setdefault(".".join(path[: common + 1]), []).append(index)
    frames = (Frame(name, name, 1, tuple(members)) for name, members in groups.items())
    return View(
        tuple(boxes),
        tuple(node.inputs for node in graph.nodes),
        tuple(frames),
        {index: index for index in range(len(graph))},
    )


def _within_limit(inner: list[list[Block]], room: int) -> None:
    """Open a level only as a whole, so that blocks stay comparable; but where there is little to see, as much of it as
    fits, large blocks first.
    """
    few = len(inner) <= LIMIT // 5
    if sum(len(blocks) - 1 for blocks in inner if blocks) > room and not few:
        inner[:] = [[] for _ in inner]
    for number in sorted(
        range(len(inner)), key=lambda n: -sum(len(block.copies) * len(block.copies[0]) for block in inner[n])
    ):
        if len(inner[number]) - 1 > room:
            inner[number] = []
        elif inner[number]:
            room -= len(inner[number]) - 1


def _opened(
    rows: Sequence[tuple[Block, Nodes]], inner: Sequence[list[Block]], opened: list[Block]
) -> Iterator[tuple[Block, Nodes]]:
    for (block, around), blocks in zip(rows, inner, strict=True):
        if not blocks:
            yield block, around
            continue
        opened.append(block)
        yield from ((child, (*around, len(opened) - 1)) for child in blocks)


class Tree:
    """Blocks of a graph, found region by region."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kinds: list[int] = GraphBatch.from_graphs([graph]).kind.tolist()  # equal numbers: equal node kinds
        self.paths = [tuple(node.module.split(".")) if node.module else () for node in graph.nodes]

    def view(self, depth: int | None = None, within: Nodes | None = None, limit: int = LIMIT) -> View:
        """The graph, or only the nodes `within`, as boxes: opened `depth` levels deep, or as deep as `limit` boxes
        allow.
        """
        nodes = tuple(range(len(self.graph))) if within is None else within
        unlimited = len(self.graph)
        top = self.children(nodes, limit if depth is None else unlimited)
        # with the opened blocks around it, by their number
        rows: list[tuple[Block, Nodes]] = [(block, ()) for block in top]
        opened: list[Block] = []
        level = 1
        while depth is None or level < depth:
            inner = [self.children(block.copies[0], unlimited) if len(block.copies[0]) > 1 else [] for block, _ in rows]
            if depth is None:
                _within_limit(inner, limit - len(rows))
            if not any(inner):
                break
            rows = list(_opened(rows, inner, opened))
            level += 1
        return _view(self.graph, rows, opened, nodes, "" if within is None else ".".join(self._common(nodes)))

    def _common(self, nodes: Nodes) -> tuple[str, ...]:
        """The path that all modules of these nodes begin with."""
        named = [self.paths[index] for index in nodes if self.paths[index]]
        return named[0][: _shared(named)] if named else ()

    def children(self, nodes: Nodes, limit: int) -> list[Block]:
        """What a region consists of, in topological order, at most `limit` blocks: its submodules, and single nodes
        between them.
        """
        depth = len(self._common(nodes)) + 1
        keys = {index: self.paths[index][:depth] if len(self.paths[index]) >= depth else None for index in nodes}
        parts = _sorted(self.graph, _groups(self.graph, nodes, keys))
        blocks = self._repeats([(_name(keys[part[0]]), part) for part in parts])
        if len(blocks) > limit:
            blocks = self._repeats(
                _packed(self.graph, [(block.name, sum(block.copies, ())) for block in blocks], limit)
            )
        return blocks

    def _repeats(self, parts: Sequence[tuple[str, Nodes]]) -> list[Block]:
        """Equal sequences of parts in a row become one block."""
        signs: dict[object, int] = {}
        row = [signs.setdefault(self._sign(nodes), len(signs)) for _, nodes in parts]
        blocks, start = [], 0
        while start < len(parts):
            period, copies = 1, [parts[start][1]]
            for length in range(1, min(LONGEST, (len(row) - start) // 2) + 1):
                if row[start : start + length] == row[start + length : start + 2 * length]:
                    found = self._copies(parts, row, start, length)
                    if len(found) * length > len(copies) * period:
                        period, copies = length, found
            names = [name for name, _ in parts[start : start + period * len(copies)]]
            blocks.append(Block(_span(names) if len(copies) > 1 else names[0], tuple(copies)))
            start += period * len(copies)
        return blocks

    def _copies(self, parts: Sequence[tuple[str, Nodes]], row: Sequence[int], start: int, length: int) -> list[Nodes]:
        """As many copies of the sequence at `start` as follow, each reading the one before and wired inside like the
        first.
        """
        copies: list[Nodes] = []
        for at in range(start, len(row) - length + 1, length):
            nodes = sum((nodes for _, nodes in parts[at : at + length]), ())
            if row[at : at + length] != row[start : start + length] or (
                copies and self._sign(nodes) != self._sign(copies[0])
            ):
                break
            if copies and set(copies[-1]).isdisjoint(
                source for index in nodes for source in self.graph.nodes[index].inputs
            ):
                break
            copies.append(nodes)
        return copies or [parts[start][1]]

    def _sign(self, nodes: Nodes) -> tuple[tuple[int, Nodes], ...]:
        """Equal for parts with the same operators, wired the same inside."""
        place = {index: position for position, index in enumerate(nodes)}
        return tuple(
            (self.kinds[index], tuple(place.get(source, -1) for source in self.graph.nodes[index].inputs))
            for index in nodes
        )


def _shared(paths: Sequence[tuple[str, ...]]) -> int:
    """How many parts all paths begin with."""
    first, last = min(paths), max(paths)
    return next(
        (depth for depth, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )


def _groups(graph: Graph, nodes: Nodes, keys: dict[int, tuple[str, ...] | None]) -> list[list[int]]:
    """Nodes of equal key together, as far as no path leaves a group and comes back; nodes without a key stay alone."""
    members: list[list[int]] = []
    ancestors: list[int] = []  # of each group, as bits
    group_of: dict[int, int] = {}
    latest: dict[tuple[str, ...], int] = {}
    for index in nodes:
        above = {group_of[source] for source in graph.nodes[index].inputs if source in group_of}
        key = keys[index]
        group = latest.get(key, -1) if key is not None and graph.nodes[index].op not in ("Input", "Output") else -1
        if fresh := group < 0 or any(ancestors[other] >> group & 1 for other in above):
            group = len(members)
            members.append([])
            ancestors.append(0)
            if key is not None:
                latest[key] = group
        members[group].append(index)
        group_of[index] = group
        reached = ancestors[group]
        for other in above - {group}:
            reached |= ancestors[other] | 1 << other
        if reached != ancestors[group]:
            ancestors[group] = reached
            if fresh:
                continue  # nothing reads it yet
            for other, before in enumerate(ancestors):
                if before >> group & 1:
                    ancestors[other] = before | reached
    return members


def _sorted(graph: Graph, groups: Sequence[Sequence[int]]) -> list[Nodes]:
    """Groups in topological order, otherwise by their first node."""
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    above = [
        {group_of[s] for index in group for s in graph.nodes[index].inputs if s in group_of} - {number}
        for number, group in enumerate(groups)
    ]
    below: list[list[int]] = [[] for _ in groups]
    for number, others in enumerate(above):
        for other in others:
            below[other].append(number)
    waiting = [len(others) for others in above]
    ready = [number for number, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        number = heapq.heappop(ready)
        order.append(tuple(groups[number]))
        for other in below[number]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, other)
    return order


def _packed(graph: Graph, parts: Sequence[tuple[str, Nodes]], limit: int) -> list[tuple[str, Nodes]]:
    """Neighbouring parts joined until `limit` are left, cut where few tensors pass: any interval of a topological order
    is free of cycles.
    """
    place = {index: number for number, (_, nodes) in enumerate(parts) for index in nodes}
    passing = [0] * (len(parts) + 1)  # tensors that pass between part i - 1 and part i
    for index, number in place.items():
        last = max((place[reader] for reader in graph.consumers[index] if reader in place), default=number)
        for cut in range(number + 1, last + 1):
            passing[cut] += 1
    size = -(-len(parts) // (limit * 2 // 3))
    packed, start = [], 0
    while start < len(parts):
        stop = min(
            range(min(start + size, len(parts)), min(start + 2 * size, len(parts)) + 1),
            key=lambda cut: (passing[cut], cut),
        )
        names = [name for name, _ in parts[start:stop]]
        packed.append((_span(names), sum((nodes for _, nodes in parts[start:stop]), ())))
        start = stop
    return packed


def _name(key: tuple[str, ...] | None) -> str:
    return ".".join(key or ())


def _span(names: Sequence[str]) -> str:
    """blocks.0 .. 11 for blocks.0, blocks.1, ..., blocks.11."""
    known = [name for name in names if name]
    if not known or known[0] == known[-1]:
        return known[0] if known else ""
    first, last = known[0].rpartition("."), known[-1].rpartition(".")
    return f"{known[0]} .. {last[2] if first[0] == last[0] else known[-1]}"


def _label(name: str, around: Sequence[str]) -> str:
    """The name without that of the innermost block around it that it begins with; a mere number keeps what is before
    it.
    """
    paths = [frame.partition(" .. ")[0] + "." for frame in around]
    label = next((name.removeprefix(path) for path in reversed(paths) if name.startswith(path)), name)
    before = name.removesuffix(label).split(".")[:-1]
    while before and label[:1].isdigit():
        label = f"{before.pop()}.{label}"
    return label


def _view(graph: Graph, rows: Sequence[tuple[Block, Nodes]], opened: Sequence[Block], inside: Nodes, base: str) -> View:
    """Edges between boxes, all copies laid over the first one; what leads from copy to copy is not drawn."""
    stand_in = {index: index for index in inside}
    edges = {(source, index) for index in inside for source in graph.nodes[index].inputs if source in stand_in}
    for block in (*opened, *(block for block, _ in rows)):
        if len(block.copies) == 1:
            continue
        place = {
            index: (number, block.copies[0][k])
            for number, copy in enumerate(block.copies)
            for k, index in enumerate(copy)
        }
        stand_in = {index: place[seen][1] if seen in place else seen for index, seen in stand_in.items()}
        edges = {
            (place[a][1] if a in place else a, place[b][1] if b in place else b)
            for a, b in edges
            if a not in place or b not in place or place[a][0] == place[b][0]
        }
    box_of = {index: number for number, (block, _) in enumerate(rows) for index in block.copies[0]}
    nodes: list[list[int]] = [[] for _ in rows]
    for index, seen in stand_in.items():
        nodes[box_of[seen]].append(index)
    sources: list[set[int]] = [set() for _ in rows]
    for a, b in edges:
        if box_of[a] != box_of[b]:
            sources[box_of[b]].add(box_of[a])
    boxes = [
        Box(
            block,
            _label(block.name, [base, *(opened[frame].name for frame in around)]),
            len(own) // len(block.copies[0]),
            tuple(sorted(own)),
        )
        for (block, around), own in zip(rows, nodes, strict=True)
    ]
    frames = []
    for frame, block in enumerate(opened):
        members = [(number, around) for number, (_, around) in enumerate(rows) if frame in around]
        outer = members[0][1][: members[0][1].index(frame)]
        label = _label(block.name, [base, *(opened[other].name for other in outer)])
        frames.append(Frame(block.name, label, len(block.copies), tuple(number for number, _ in members)))
    return View(tuple(boxes), tuple(tuple(sorted(s)) for s in sources), tuple(frames), stand_in)
