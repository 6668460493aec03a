"""Collapse a graph to a block diagram: modules become boxes, and equal blocks in a row become one box.

Boxes never form a cycle: a module that a path leaves and enters again is split. Blocks are opened level by level as
long as the diagram stays small; of blocks that repeat, the first is opened.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from cgir.graph import Graph
from cgir.graph_batch import GraphBatch

from .block_names import common_prefix_length, join_path, relative, span
from .repeats import repeats

MAX_BOXES = 40  # most boxes of a readable diagram
MIN_BESIDE = 4  # copies side by side: of fewer, such as three projections, each is drawn

Nodes = tuple[int, ...]


class Block(NamedTuple):
    """A module, a node, or a sequence of them.

    `copies` are equal, their nodes in the same order: one after the other, or `beside` one another, all between the
    same nodes.
    """

    name: str
    copies: tuple[Nodes, ...]
    beside: bool = False


class Frame(NamedTuple):
    """An opened block.

    `name`: of the module; `label`: the same within the opened block around it; `copies`: how often it repeats; `boxes`:
    those drawn in its place; `beside`: whether its copies are side by side.
    """

    name: str
    label: str
    copies: int
    boxes: tuple[int, ...]
    beside: bool = False


class Box(NamedTuple):
    """What is drawn as one box.

    `block`: what it shows; `label`: its name within the opened block around it; `times`: how many copies of it there
    are, counting those of opened blocks around it; `nodes`: the nodes of all of them.
    """

    block: Block
    label: str
    times: int
    nodes: Nodes


@dataclass(frozen=True)
class BlockDiagram:
    """A graph drawn as boxes.

    `boxes`: in topological order; `sources`: the boxes that each one reads; `frames`: the opened blocks, outer before
    inner; `representative`: for each node the one of a first copy that is drawn in its place, itself where nothing
    repeats.
    """

    boxes: tuple[Box, ...]
    sources: tuple[Nodes, ...]
    frames: tuple[Frame, ...]
    representative: dict[int, int]


def collapse(graph: Graph, depth: int | None = None) -> BlockDiagram:
    """The graph as boxes: modules opened `depth` levels deep, or as deep as `MAX_BOXES` boxes allow."""
    return ModuleTree(graph).diagram(depth)


def every_node(graph: Graph) -> BlockDiagram:
    """The graph uncollapsed: each node a box, each top-level module (below a common prefix) a frame."""
    boxes = (Box(Block(node.module, ((index,),)), node.module, 1, (index,)) for index, node in enumerate(graph.nodes))
    paths = _module_paths(graph)
    named = [path for path in paths if path]
    common = min(common_prefix_length(named), min(map(len, named)) - 1) if named else 0
    groups: dict[str, list[int]] = {}
    for index, path in enumerate(paths):
        if path:
            groups.setdefault(".".join(path[: common + 1]), []).append(index)
    frames = (Frame(name, name, 1, tuple(members)) for name, members in groups.items())
    return BlockDiagram(
        tuple(boxes),
        tuple(node.inputs for node in graph.nodes),
        tuple(frames),
        {index: index for index in range(len(graph))},
    )


def _module_paths(graph: Graph) -> list[tuple[str, ...]]:
    return [tuple(node.module.split(".")) if node.module else () for node in graph.nodes]


def _limit_opened(inner: list[list[Block]], room: int) -> None:
    """Empty the contents `inner` of blocks that are to stay closed, so that at most `room` boxes are added.

    A level is opened only as a whole, so that blocks stay comparable; but where there are few blocks, as many as fit,
    large ones first.
    """
    few = len(inner) <= MAX_BOXES // 5
    if sum(len(blocks) - 1 for blocks in inner if blocks) > room and not few:
        inner[:] = [[] for _ in inner]
    for number in sorted(
        range(len(inner)), key=lambda n: -sum(len(block.copies) * len(block.copies[0]) for block in inner[n])
    ):
        if len(inner[number]) - 1 > room:
            inner[number] = []
        elif inner[number]:
            room -= len(inner[number]) - 1


def _open_blocks(
    rows: Sequence[tuple[Block, Nodes]], inner: Sequence[list[Block]], opened: list[Block]
) -> Iterator[tuple[Block, Nodes]]:
    for (block, around), blocks in zip(rows, inner, strict=True):
        if not blocks:
            yield block, around
            continue
        opened.append(block)
        yield from ((child, (*around, len(opened) - 1)) for child in blocks)


class ModuleTree:
    """Blocks of a graph by its modules, found region by region."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kinds: list[int] = GraphBatch.from_graphs([graph]).kind.tolist()  # equal numbers: equal node kinds
        self.paths = _module_paths(graph)
        # the main drawing and those of its blocks ask for the same regions
        self._known: dict[Nodes, tuple[list[Block], int]] = {}

    def diagram(self, depth: int | None = None) -> BlockDiagram:
        """The block diagram of the graph; modules opened `depth` levels deep, or as deep as `MAX_BOXES` boxes allow."""
        nodes, unlimited = tuple(range(len(self.graph))), len(self.graph)
        top = self.children(nodes, MAX_BOXES if depth is None else unlimited)
        # with the opened blocks around it, by their number
        rows: list[tuple[Block, Nodes]] = [(block, ()) for block in top]
        opened: list[Block] = []
        level = 1
        while depth is None or level < depth:
            inner = [self.children(block.copies[0], unlimited) if len(block.copies[0]) > 1 else [] for block, _ in rows]
            if depth is None:
                _limit_opened(inner, MAX_BOXES - len(rows))
            if not any(inner):
                break
            rows = list(_open_blocks(rows, inner, opened))
            level += 1
        return _build_diagram(self.graph, rows, opened, nodes)

    def common_path(self, nodes: Nodes) -> tuple[str, ...]:
        """The path that all modules of these nodes begin with."""
        named = [self.paths[index] for index in nodes if self.paths[index]]
        return named[0][: common_prefix_length(named)] if named else ()

    def children(self, nodes: Nodes, limit: int) -> list[Block]:
        """The submodules of a region, and single nodes between them, in topological order; at most `limit` blocks."""
        if nodes not in self._known:
            self._known[nodes] = self._all_children(nodes)
        blocks, parts = self._known[nodes]
        if limit < len(blocks) < parts:
            blocks = self._merge_again(blocks)
        if len(blocks) > limit:
            blocks = self._merge_repeats(
                _pack(self.graph, [(block.name, sum(block.copies, ())) for block in blocks], limit)
            )
        return blocks

    def _all_children(self, nodes: Nodes) -> tuple[list[Block], int]:
        """The blocks of a region, however many, and of how many parts they are."""
        depth = len(self.common_path(nodes)) + 1
        keys = {index: self.paths[index][:depth] if len(self.paths[index]) >= depth else None for index in nodes}
        parts = _topological_order(self.graph, _group_by_key(self.graph, nodes, keys))
        return self._merge_repeats([(join_path(keys[part[0]]), part) for part in parts]), len(parts)

    def _merge_again(self, blocks: Sequence[Block]) -> list[Block]:
        """Equal sequences of blocks in a row become one block, such as layers that consist of repeated blocks."""
        whole = {sum(block.copies, ()): block for block in blocks}
        merged = self._merge_repeats([(block.name, nodes) for nodes, block in whole.items()])
        return [whole.get(block.copies[0], block) if len(block.copies) == 1 else block for block in merged]

    def _merge_repeats(self, parts: Sequence[tuple[str, Nodes]]) -> list[Block]:
        """Equal sequences of parts in a row become one block."""
        numbers: dict[object, int] = {}
        row = [numbers.setdefault(self._signature(nodes), len(numbers)) for _, nodes in parts]
        part_of = {index: number for number, (_, nodes) in enumerate(parts) for index in nodes}
        after, beside = repeats(row, self._latest_read(parts, part_of), self._first_nodes(parts, part_of))
        candidates, lengths = np.any(after | beside, axis=1).tolist(), after | beside
        blocks, start = [], 0
        while start < len(parts):
            period, copies, is_beside = 1, [parts[start][1]], False
            for length in np.flatnonzero(lengths[start]).tolist() if candidates[start] else ():
                end = start + period * len(copies)
                if (
                    length % period == 0
                    and end - start > length
                    and row[end : end + 1] != row[end - period : end - period + 1]
                ):
                    continue  # ends where the shorter period does
                longer = self._find_copies(parts, row, start, length) if after[start, length] else []
                if is_longer_beside := len(longer) <= 1 and bool(beside[start, length]):
                    longer = self._find_beside(parts, row, part_of, start, length)
                if len(longer) > 1 and len(longer) * length > len(copies) * period:
                    period, copies, is_beside = length, longer, is_longer_beside
            names = [name for name, _ in parts[start : start + period * len(copies)]]
            blocks.append(Block(span(names) if len(copies) > 1 else names[0], tuple(copies), is_beside))
            start += period * len(copies)
        return blocks

    def _latest_read(self, parts: Sequence[tuple[str, Nodes]], part_of: dict[int, int]) -> list[int]:
        """For each part the last of the other parts that it reads, -1 if none."""
        return [
            max(
                (
                    part
                    for index in nodes
                    for source in self.graph.nodes[index].inputs
                    if (part := part_of.get(source, -1)) != number
                ),
                default=-1,
            )
            for number, (_, nodes) in enumerate(parts)
        ]

    def _first_nodes(self, parts: Sequence[tuple[str, Nodes]], part_of: dict[int, int]) -> list[tuple[int, int, int]]:
        """Of each part's first node: a number for what it reads, the part of its last reader, this reader."""
        numbers: dict[Nodes, int] = {}
        return [
            (
                numbers.setdefault(self.graph.nodes[index].inputs, len(numbers)),
                *max(((part_of.get(i, len(parts)), i) for i in self.graph.consumers[index]), default=(-1, -1)),
            )
            for index in (nodes[0] for _, nodes in parts)
        ]

    def _find_beside(
        self,
        parts: Sequence[tuple[str, Nodes]],
        row: Sequence[int],
        part_of: dict[int, int],
        start: int,
        length: int,
    ) -> list[Nodes]:
        """The copies of the sequence at `start` in a row that read the same nodes and are read by the same.

        Args:
            parts: all.
            row: numbers, equal for equal parts.
            part_of: the part of each node.
            start: the first part of the sequence.
            length: its number of parts.
        """
        copies: list[Nodes] = []
        first, second = parts[start][1][0], parts[start + length][1][0]
        if self._outside(first, part_of, start, length) != self._outside(second, part_of, start + length, length):
            return []
        for at in range(start, len(row) - length + 1, length):
            if row[at : at + length] != row[start : start + length] or (
                copies
                and any(
                    self._outside(a, part_of, start, length) != self._outside(b, part_of, at, length)
                    for shift in range(length)
                    for a, b in zip(parts[start + shift][1], parts[at + shift][1], strict=True)
                )
            ):
                break
            nodes = sum((nodes for _, nodes in parts[at : at + length]), ())
            if copies and self._signature(nodes) != self._signature(copies[0]):
                break
            copies.append(nodes)
        return copies if len(copies) >= MIN_BESIDE else []

    def _outside(self, index: int, part_of: dict[int, int], start: int, length: int) -> tuple[list[int], list[int]]:
        """What a node reads outside of a sequence of parts, and what reads it there."""
        sources, readers = self.graph.nodes[index].inputs, self.graph.consumers[index]
        return (
            [source for source in sources if not start <= part_of.get(source, -1) < start + length],
            [reader for reader in readers if not start <= part_of.get(reader, -1) < start + length],
        )

    def _find_copies(
        self, parts: Sequence[tuple[str, Nodes]], row: Sequence[int], start: int, length: int
    ) -> list[Nodes]:
        """The copies of the sequence at `start` in a row, each reading the one before and wired like the first."""
        copies: list[Nodes] = []
        for at in range(start, len(row) - length + 1, length):
            nodes = sum((nodes for _, nodes in parts[at : at + length]), ())
            if row[at : at + length] != row[start : start + length] or (
                copies and self._signature(nodes) != self._signature(copies[0])
            ):
                break
            if copies and set(copies[-1]).isdisjoint(
                source for index in nodes for source in self.graph.nodes[index].inputs
            ):
                break
            copies.append(nodes)
        return copies or [parts[start][1]]

    def _signature(self, nodes: Nodes) -> tuple[tuple[int, Nodes], ...]:
        """Equal for parts with the same operators and the same edges inside."""
        position = {index: number for number, index in enumerate(nodes)}
        return tuple(
            (self.kinds[index], tuple(position.get(source, -1) for source in self.graph.nodes[index].inputs))
            for index in nodes
        )


def _group_by_key(graph: Graph, nodes: Nodes, keys: dict[int, tuple[str, ...] | None]) -> list[list[int]]:
    """Group nodes by key, apart where a path leaves a group and comes back; nodes without a key stay alone."""
    members: list[list[int]] = []
    ancestors: list[int] = []  # of each group, as bits of those that may be entered again
    bits: list[int] = []  # of each group, 0 for one that may not
    group_of: dict[int, int] = {}
    latest: dict[tuple[str, ...], int] = {}
    uses, num_keyed = Counter(keys.values()), 0
    for index in nodes:
        above = {group_of[source] for source in graph.nodes[index].inputs if source in group_of}
        key = keys[index] if uses[keys[index]] > 1 else None
        group = latest.get(key, -1) if key is not None and graph.nodes[index].op not in ("Input", "Output") else -1
        if is_new := group < 0 or any(ancestors[other] & bits[group] for other in above):
            group = len(members)
            members.append([])
            ancestors.append(0)
            bits.append(0 if key is None else 1 << num_keyed)
            if key is not None:
                num_keyed += 1
                latest[key] = group
        members[group].append(index)
        group_of[index] = group
        reached = ancestors[group]
        for other in above - {group}:
            reached |= ancestors[other] | bits[other]
        if reached != ancestors[group]:
            ancestors[group] = reached
            if is_new:
                continue  # nothing reads it yet
            for other, before in enumerate(ancestors):
                if before & bits[group]:
                    ancestors[other] = before | reached
    return members


def _topological_order(graph: Graph, groups: Sequence[Sequence[int]]) -> list[Nodes]:
    """Groups in topological order, otherwise by their first node."""
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    above = [
        {group_of[s] for index in group for s in graph.nodes[index].inputs if s in group_of} - {number}
        for number, group in enumerate(groups)
    ]
    below: list[list[int]] = [[] for _ in groups]
    for number, sources in enumerate(above):
        for reader in sources:
            below[reader].append(number)
    num_unplaced = [len(sources) for sources in above]
    ready = [number for number, count in enumerate(num_unplaced) if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        number = heapq.heappop(ready)
        order.append(tuple(groups[number]))
        for reader in below[number]:
            num_unplaced[reader] -= 1
            if not num_unplaced[reader]:
                heapq.heappush(ready, reader)
    return order


def _pack(graph: Graph, parts: Sequence[tuple[str, Nodes]], limit: int) -> list[tuple[str, Nodes]]:
    """Join neighbouring parts until `limit` are left, cut where few tensors pass.

    Any interval of a topological order is free of cycles.
    """
    part_of = {index: number for number, (_, nodes) in enumerate(parts) for index in nodes}
    changes = [0] * (len(parts) + 1)
    for index, number in part_of.items():
        last = max((part_of[reader] for reader in graph.consumers[index] if reader in part_of), default=number)
        if last > number:
            changes[number + 1] += 1
            changes[last + 1] -= 1
    passing = list(accumulate(changes))  # tensors that pass between part i - 1 and part i
    size = -(-len(parts) // (limit * 2 // 3))
    packed, start = [], 0
    while start < len(parts):
        stop = min(
            range(min(start + size, len(parts)), min(start + 2 * size, len(parts)) + 1),
            key=lambda cut: (passing[cut], cut),
        )
        names = [name for name, _ in parts[start:stop]]
        packed.append((span(names), sum((nodes for _, nodes in parts[start:stop]), ())))
        start = stop
    return packed


def _build_diagram(
    graph: Graph, rows: Sequence[tuple[Block, Nodes]], opened: Sequence[Block], inside: Nodes
) -> BlockDiagram:
    """Boxes for `rows`, blocks with the numbers of the opened blocks around them, and the edges between them.

    Args:
        graph: that is drawn.
        rows: a block for each box.
        opened: the frames.
        inside: nodes that the boxes cover.
    """
    edges, representative = _merge_copies(graph, (*opened, *(block for block, _ in rows)), inside)
    box_of = {index: number for number, (block, _) in enumerate(rows) for index in block.copies[0]}
    nodes: list[list[int]] = [[] for _ in rows]
    for index, first in representative.items():
        nodes[box_of[first]].append(index)
    sources: list[set[int]] = [set() for _ in rows]
    for source, target in edges:
        if box_of[source] != box_of[target]:
            sources[box_of[target]].add(box_of[source])
    boxes = [
        Box(
            block,
            relative(block.name, [opened[frame].name for frame in around]),
            len(box_nodes) // len(block.copies[0]),
            tuple(sorted(box_nodes)),
        )
        for (block, around), box_nodes in zip(rows, nodes, strict=True)
    ]
    frames = []
    for number, block in enumerate(opened):
        members = [(box, around) for box, (_, around) in enumerate(rows) if number in around]
        outer = members[0][1][: members[0][1].index(number)]
        label = relative(block.name, [opened[other].name for other in outer])
        frames.append(Frame(block.name, label, len(block.copies), tuple(box for box, _ in members), block.beside))
    return BlockDiagram(tuple(boxes), tuple(tuple(sorted(s)) for s in sources), tuple(frames), representative)


def _merge_copies(graph: Graph, blocks: Sequence[Block], inside: Nodes) -> tuple[set[tuple[int, int]], dict[int, int]]:
    """Edges with all copies of blocks laid over the first one, and each node's representative there.

    Edges between copies are left out.
    """
    representative = {index: index for index in inside}
    edges = {(source, index) for index in inside for source in graph.nodes[index].inputs if source in representative}
    for block in blocks:
        if len(block.copies) == 1:
            continue
        # of each node of the block, its copy and the node of the first copy
        origin = {
            index: (number, block.copies[0][k])
            for number, copy in enumerate(block.copies)
            for k, index in enumerate(copy)
        }
        representative = {
            index: origin[first][1] if first in origin else first for index, first in representative.items()
        }
        edges = {
            (origin[a][1] if a in origin else a, origin[b][1] if b in origin else b)
            for a, b in edges
            if a not in origin or b not in origin or origin[a][0] == origin[b][0]
        }
    return edges, representative
