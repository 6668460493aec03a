"""Which components are isomorphic: a search that individualises, refines, takes apart, and tries nothing twice.

A component that does not fall apart gets one vertex w of a smallest cell individualised, and what that leaves has a
class of its own, found in the same way. Two components are isomorphic exactly if some w of the one leaves the class
that a fixed vertex of the other leaves. So a component is looked up among the classes found before instead of being
compared with each, and vertices w that an automorphism maps to one already tried are left out. Individualisation,
refinement and traces: McKay and Piperno, "Practical graph isomorphism II", 2014.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable
from dataclasses import dataclass, field
from itertools import chain
from time import thread_time
from typing import NamedTuple

from cgir.limits import Limits

from .components import Component, Part, split_up

LOOK = 20_000  # effort between two looks at the clock, some hundredths of a second


class Found(NamedTuple):
    """A class, and the component's vertices in an order that, for all of a class, maps one to the other."""

    number: int
    order: list[int]


class Leaf(NamedTuple):
    """What is left of a component when a vertex is individualised.

    `trace`: of the refinement; `shape`: also of the sizes of `parts`; `fixed`: vertices outside of `parts`; `cell`:
    names of all vertices' cells.
    """

    trace: int
    shape: int
    fixed: list[int]
    parts: list[Part]
    cell: list[int]


Steps = Generator[Component, Found, Found]  # asks for the class of a component, is sent it, returns its own


@dataclass
class _Group:
    """Components that may be isomorphic.

    Attributes:
        is_connected: whether they do not fall apart by themselves.
        classes: the class of what a vertex leaves -> theirs.
        shapes: of what these vertices leave.
        stopped: effort of refinements that were not completed, since the last that was.
    """

    is_connected: bool
    classes: dict[int, int] = field(default_factory=dict)
    shapes: set[int] = field(default_factory=set)
    stopped: int = 0


class Search:
    """Numbers for classes of isomorphic components.

    Attributes:
        effort: vertices and links that were looked at.
    """

    def __init__(self, limits: Limits) -> None:
        self.effort = 0
        self._limits, self._start, self._next_look = limits, thread_time(), 0
        self._numbers: dict[Hashable, int] = {}
        self._groups: dict[int, _Group] = {}

    def number(self, *key: Hashable) -> int:
        """The number of a key, equal for equal keys and no others."""
        return self._numbers.setdefault(key, len(self._numbers))

    def classify(self, component: Component) -> Found:
        """The class of a component: equal exactly for isomorphic ones.

        Raises:
            LimitError: it takes too long.
        """
        steps: list[Steps] = [self._classify(component)]  # each asks the next; deeper than Python's calls may be
        answer: Found | None = None
        while True:
            try:
                asked = steps[-1].send(answer)  # type: ignore[arg-type]  # None starts it
            except StopIteration as done:
                answer = done.value
                steps.pop()
                if not steps:
                    return done.value  # type: ignore[no-any-return]
            else:
                answer = None
                steps.append(self._classify(asked))

    def _classify(self, component: Component) -> Steps:
        group = self._groups.get(component.group)
        if group is None:
            group = self._groups[component.group] = _Group(component.is_connected_for_good())
        if not group.is_connected:
            return (yield from self._resolve(self._taken_apart(component, component.group)))
        if not group.classes:
            leaf = self._leaf(component, _target(component)[0])
            return self._new_class(group, leaf.shape, (yield from self._resolve(leaf)))
        return (yield from self._find(component, group))

    def _find(self, component: Component, group: _Group) -> Steps:
        """Try the vertices of a smallest cell until one leaves a known class; a new class if none does."""
        target = _target(component)
        root = {vertex: vertex for vertex in target}
        waiting: dict[int, int] = {}  # shape -> vertex, where no other one had that shape so far
        own: dict[int, tuple[int, list[int]]] = {}  # class that is left -> shape, and the order
        for vertex in target:
            if root[vertex] != vertex:
                continue
            if not self._is_promising(component, vertex, group):
                continue
            leaf = self._leaf(component, vertex)
            if leaf.shape not in group.shapes:
                before = waiting.get(leaf.shape)
                if before is None:
                    waiting[leaf.shape] = vertex
                    continue
                if before >= 0:
                    first = yield from self._resolve(self._leaf(component, before))
                    own[first.number] = leaf.shape, first.order
                    waiting[leaf.shape] = -1
            found = yield from self._resolve(leaf)
            if found.number in group.classes:
                return Found(group.classes[found.number], found.order)
            if found.number in own:
                _merge_orbits(root, own[found.number][1], found.order)
            else:
                own[found.number] = leaf.shape, found.order
        for number, (shape, order) in own.items():
            return self._new_class(group, shape, Found(number, order))
        leaf = self._leaf(component, target[0])
        return self._new_class(group, leaf.shape, (yield from self._resolve(leaf)))

    def _new_class(self, group: _Group, shape: int, found: Found) -> Found:
        group.shapes.add(shape)
        group.classes[found.number] = self.number("class", found.number)
        return Found(group.classes[found.number], found.order)

    def _is_promising(self, component: Component, vertex: int, group: _Group) -> bool:
        """Whether to complete the refinement from a vertex: its trace is known, or automorphisms are looked for.

        For these, a trace that is not known is completed once as much effort went into such that were not.
        """
        partition, trace = component.partition, component.group
        start, known = partition.effort, True
        for event in partition.refine(component.links, vertex):
            known = ("step", trace, event) in self._numbers
            if not known:
                break
            trace = self.number("step", trace, event)
        effort = partition.effort - start
        partition.undo()
        self.spend(effort)
        if known:
            return True
        group.stopped += effort
        if group.stopped < len(component.links):
            return False
        group.stopped = 0
        return True

    def _leaf(self, component: Component, vertex: int) -> Leaf:
        """What individualising a vertex leaves."""
        partition, trace = component.partition, component.group
        start = partition.effort
        for event in partition.refine(component.links, vertex):
            trace = self.number("step", trace, event)
        self.spend(partition.effort - start)
        return self._taken_apart(component, trace)

    def _taken_apart(self, component: Component, trace: int) -> Leaf:
        partition = component.partition
        fixed, parts = split_up(component.links, partition)
        self.spend(len(fixed) + sum(len(row) + 1 for part in parts for row in part.rows))
        shape = self.number("shape", trace, tuple(sorted(part.key for part in parts)))
        leaf = Leaf(trace, shape, fixed, parts, partition.cell.copy() if parts else [])
        partition.undo()
        return leaf

    def _resolve(self, leaf: Leaf) -> Steps:
        """The class of what is left: the trace and the classes of all parts."""
        results = []
        for part in leaf.parts:
            group = self.number("group", leaf.trace, part.key)
            if part.is_discrete:
                results.append(Found(group, part.vertices))
            else:
                number, order = yield part.component(group, leaf.cell)
                results.append(Found(number, [part.vertices[index] for index in order]))
        results.sort(key=lambda found: found.number)
        order = [*leaf.fixed, *chain.from_iterable(found.order for found in results)]
        return Found(self.number("leaf", leaf.trace, tuple(found.number for found in results)), order)

    def spend(self, effort: int) -> None:
        """Count effort, and look at the clock now and then.

        Raises:
            LimitError: it takes too long.
        """
        self.effort += effort
        if self.effort >= self._next_look:
            self._next_look = self.effort + LOOK
            self._limits.check("seconds", round(thread_time() - self._start, 1), "isomorphic")


def _target(component: Component) -> list[int]:
    """The vertices of a smallest cell."""
    partition = component.partition
    return sorted(partition.members(min(partition.names(), key=partition.size.__getitem__)))


def _merge_orbits(root: dict[int, int], first: list[int], second: list[int]) -> None:
    """Put vertices of the cell together that the automorphism maps to each other; their first one is the root."""
    for pair in zip(first, second, strict=True):
        if pair[0] in root:
            low, high = sorted(_root(root, vertex) for vertex in pair)
            root[high] = low


def _root(root: dict[int, int], vertex: int) -> int:
    while root[vertex] != vertex:
        root[vertex] = vertex = root[root[vertex]]
    return vertex
