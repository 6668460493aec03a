"""Coloured graphs taken apart: what an equitable partition determines is removed, the rest falls into components.

An isomorphism that keeps colours is one of each component, because links that are removed are the same between all
members of two cells. So components can be mapped one by one, in any order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from .partition_refinement import Links, OrderedPartition

OTHER = -1  # label of pairs whose relation is not the removed one, where no link was


@dataclass(frozen=True, slots=True)
class Component:
    """A connected coloured graph whose colours are equitable.

    Attributes:
        group: the same number for components that may be isomorphic: equal cells, equally many links between them.
        links: its own, vertices numbered cell after cell.
        partition: its cells.
    """

    group: int
    links: Links
    partition: OrderedPartition

    def is_connected_for_good(self) -> bool:
        """Whether nothing of it is determined, so that it does not fall apart: the same in all of its group."""
        return 1 not in self.partition.size and not any(_removable(self.links, self.partition).values())


class Part(NamedTuple):
    """A component of what is left of another one.

    `vertices`: cell after cell, as numbered in the whole; `rows`: their links, as there; `key`: which cells it has
    (that of its first vertex tells) and its number of vertices; `is_discrete`: all colours differ, so that parts with
    its key are isomorphic.
    """

    key: tuple[int, int]
    vertices: list[int]
    rows: Links
    is_discrete: bool

    def component(self, group: int, cell: list[int]) -> Component:
        """The part with vertices of its own; `cell`: names of the whole's."""
        index = {vertex: number for number, vertex in enumerate(self.vertices)}
        names: dict[int, int] = {}
        own = [names.setdefault(cell[vertex], number) for number, vertex in enumerate(self.vertices)]
        links = [[(index[vertex], label) for vertex, label in row] for row in self.rows]
        return Component(group, links, OrderedPartition(own))


def split_up(links: Links, partition: OrderedPartition) -> tuple[list[int], list[Part]]:
    """Vertices that nothing undetermined is linked to, cell after cell; and the components of all others.

    Between two cells, the label of more than half of the pairs is removed, and those without any link get one.
    """
    if partition.cells == len(partition.order):
        return partition.order.copy(), []
    rows = _undetermined(links, partition)
    cell, parts, seen = partition.cell, [], set[int]()
    for root in rows:
        if root in seen:
            continue
        seen.add(root)
        found = [root]
        for vertex in found:  # grows
            for other, _ in rows[vertex]:
                if other not in seen:
                    seen.add(other)
                    found.append(other)
        found.sort(key=cell.__getitem__)
        key = cell[found[0]], len(found)
        distinct = len({cell[vertex] for vertex in found})
        parts.append(Part(key, found, [rows[vertex] for vertex in found], distinct == len(found)))
    return [vertex for vertex in partition.order if vertex not in rows], parts


def _removable(links: Links, partition: OrderedPartition) -> dict[int, dict[tuple[int, int], bool]]:
    """For each cell of several vertices the cells and labels of links to remove, and whether some pairs lack them."""
    size, cell, found = partition.size, partition.cell, {}
    for name in partition.names():
        if size[name] > 1:
            counts = Counter((cell[vertex], label) for vertex, label in links[partition.order[name]])
            found[name] = {key: count < size[key[0]] for key, count in counts.items() if 2 * count > size[key[0]]}
    return found


def _undetermined(links: Links, partition: OrderedPartition) -> dict[int, list[tuple[int, int]]]:
    """Links that stay, by vertex, of the vertices that have any."""
    rows, cell = {}, partition.cell
    for name, removable in _removable(links, partition).items():
        lacking = [other for (other, _), lacks in removable.items() if lacks]
        for vertex in partition.members(name):
            row = links[vertex]
            if removable:
                row = [(v, label) for v, label in row if (cell[v], label) not in removable]
            if lacking:
                linked = {v for v, _ in links[vertex]}
                row += [(v, OTHER) for c in lacking for v in partition.members(c) if v not in linked and v != vertex]
            if row:
                rows[vertex] = row
    return rows
