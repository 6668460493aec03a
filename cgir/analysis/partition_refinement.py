"""Refinement of an ordered partition from one vertex, at a cost of what changes, and back again.

Worklist refinement to the coarsest equitable partition: Hopcroft, 1971; Paige and Tarjan, "Three partition refinement
algorithms", 1987; for search trees that compare traces: McKay and Piperno, "Practical graph isomorphism II", 2014.

Notation:
    n: vertices 0 .. n - 1. A cell is named by the position of its first vertex in an order of all vertices in which
    cells are contiguous. Equal graphs split alike, so that a name means the same in both.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

Links = list[list[tuple[int, int]]]  # for each vertex its neighbours, each once, and the labels of the links
Event = tuple[Any, ...]


class OrderedPartition:
    """An equitable partition that is refined from one vertex after another, and restored.

    Attributes:
        order: vertices, cell after cell.
        cell: for each vertex the name of its cell.
        size: for each name of a cell its number of vertices.
        cells: number of cells.
        effort: links followed so far.
    """

    __slots__ = ("_position", "_trail", "cell", "cells", "effort", "order", "size")

    def __init__(self, cell: list[int]) -> None:
        """`cell`: the names, ascending, because vertices are numbered cell after cell."""
        self.cell = cell
        self.order, self._position = list(range(len(cell))), list(range(len(cell)))
        self.size = [0] * len(cell)
        for name in cell:
            self.size[name] += 1
        self.cells = len(cell) - self.size.count(0)
        self.effort = 0
        self._trail: list[tuple[int, int]] = []  # cells that were split off, and from which

    def members(self, cell: int) -> list[int]:
        """The vertices of a cell."""
        return self.order[cell : cell + self.size[cell]]

    def names(self) -> list[int]:
        """The names of all cells, ascending."""
        return [cell for cell, size in enumerate(self.size) if size]

    def refine(self, links: Links, vertex: int) -> Iterator[Event]:
        """Give a vertex a cell of its own and split until the partition is equitable again.

        Args:
            links: neighbours and labels, seen from both ends.
            vertex: in a cell of several.

        Yields:
            What each step found, before it is applied: together, this is equal in two graphs exactly if cells have
            equal sizes and any two of them equal numbers of links of each label between them.
        """
        yield from self._work_off(links, deque(self._split(self.cell[vertex], [[vertex]])[1:]))

    def refine_all(self, links: Links) -> Iterator[Event]:
        """Split until the partition, which need not be equitable before, is so; yields as `refine` does."""
        yield from self._work_off(links, deque(self.names()))

    def _work_off(self, links: Links, queue: deque[int]) -> Iterator[Event]:
        """Split by each cell of the queue, and by those that come to be."""
        waiting = set(queue)
        while queue:
            splitter = queue.popleft()
            waiting.remove(splitter)
            touched = self._touched(links, splitter)
            names = sorted(touched)
            groups = [sorted(touched[name].items()) for name in names]
            yield (
                splitter,
                *[
                    (name, *[(labels, len(group)) for labels, group in found])
                    for name, found in zip(names, groups, strict=True)
                ],
            )
            for name, found in zip(names, groups, strict=True):
                if len(found) == 1 and len(found[0][1]) == self.size[name]:
                    continue
                parts = self._split(name, [group for _, group in found])
                if name not in waiting:  # what the largest part would split, the others do
                    parts.remove(max(parts, key=self.size.__getitem__))
                new = [part for part in parts if part not in waiting]
                queue.extend(new)
                waiting.update(new)

    def undo(self) -> None:
        """Merge all cells that were split since the partition was made; the order inside cells may differ."""
        order, cell, size = self.order, self.cell, self.size
        for start, parent in reversed(self._trail):
            for vertex in order[start : start + size[start]]:
                cell[vertex] = parent
            size[parent] += size[start]
            size[start] = 0
        self.cells -= len(self._trail)
        self._trail.clear()

    def _touched(self, links: Links, splitter: int) -> dict[int, dict[Any, list[int]]]:
        """By cell and by the labels of the links to the splitter: the vertices with such links."""
        members, cell = self.members(splitter), self.cell
        touched: dict[int, dict[Any, list[int]]] = {}
        if len(members) == 1:
            for vertex, label in links[members[0]]:
                touched.setdefault(cell[vertex], {}).setdefault(label, []).append(vertex)
            self.effort += len(links[members[0]])
            return touched
        labels: defaultdict[int, list[int]] = defaultdict(list)
        for member in members:
            for vertex, label in links[member]:
                labels[vertex].append(label)
            self.effort += len(links[member])
        for vertex, found in labels.items():
            touched.setdefault(cell[vertex], {}).setdefault(tuple(sorted(found)), []).append(vertex)
        return touched

    def _split(self, name: int, groups: list[list[int]]) -> list[int]:
        """Put groups of a cell's vertices behind the rest of it, as cells; names of the rest, if any, and of these."""
        order, position, cell = self.order, self._position, self.cell
        at = name + self.size[name] - sum(map(len, groups))
        parts = [name] if at > name else []
        self.size[name] = at - name
        for group in groups:
            start = at
            for vertex in group:
                other, place = order[at], position[vertex]
                order[place], position[other] = other, place
                order[at], position[vertex] = vertex, at
                cell[vertex] = start
                at += 1
            self.size[start] = len(group)
            parts.append(start)
            if start != name:
                self._trail.append((start, name))
                self.cells += 1
        return parts
