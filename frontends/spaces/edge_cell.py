"""Cells with operations on the six edges of a complete graph of four nodes, each node the sum of its edges
(NAS-Bench-201, TransNAS-Bench-101).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .cell import SKIP_OPS, ZERO_OPS, CellGraph

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (target, source), in the order of the benchmarks' strings


class Step(NamedTuple):
    """One operation of a cell: its inputs are slots, slot 0 the cell's input and slot i + 1 the result of step i."""

    op: str
    inputs: tuple[int, ...]


class Plan(NamedTuple):
    """The live part of a cell, sums flattened; `result` is the slot of its output."""

    steps: tuple[Step, ...]
    result: int


@lru_cache(maxsize=8192)
def plan(ops: tuple[str, ...]) -> Plan | None:
    """What a cell computes of its input: an operation for every edge, "sum" where several meet. None if its output does
    not depend on it.
    """
    live = live_edges(ops)
    if not any(target == 3 for target, _ in live):
        return None
    steps: list[Step] = []
    slots = [0]  # where the value of each node is
    for target in (1, 2, 3):
        terms: list[int] = []
        for source in range(target):
            op = live.get((target, source))
            if op is not None and op not in SKIP_OPS:
                steps.append(Step(op, (slots[source],)))
            if op is not None:
                terms.append(slots[source] if op in SKIP_OPS else len(steps))
        if len(terms) > 1:
            steps.append(Step("sum", tuple(terms)))
        slots.append(terms[0] if len(terms) == 1 else len(steps))
    return _flatten_sums(Plan(tuple(steps), slots[3]))


def live_edges(ops: tuple[str, ...]) -> dict[tuple[int, int], str]:
    """Edges on a path from the cell's input to its output, with their operation."""
    edges = {edge: op for edge, op in zip(EDGES, ops, strict=True) if op not in ZERO_OPS}
    reached, useful = {0}, {3}
    for target, source in EDGES:
        if (target, source) in edges and source in reached:
            reached.add(target)
    for target, source in reversed(EDGES):
        if (target, source) in edges and target in useful:
            useful.add(source)
    return {(target, source): op for (target, source), op in edges.items() if source in reached and target in useful}


def _flatten_sums(plan: Plan) -> Plan:
    """Sums that only another sum reads become part of it, as in canonical graphs."""
    uses = [slot for step in plan.steps for slot in step.inputs] + [plan.result]
    in_sums = {slot for step in plan.steps if step.op == "sum" for slot in step.inputs}
    inlined = {
        slot
        for slot, step in enumerate(plan.steps, 1)
        if step.op == "sum" and slot in in_sums and uses.count(slot) == 1
    }
    kept = [slot for slot in range(1, len(plan.steps) + 1) if slot not in inlined]
    place = {0: 0} | {slot: new for new, slot in enumerate(kept, 1)}

    def expanded(slots: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            new
            for slot in slots
            for new in (expanded(plan.steps[slot - 1].inputs) if slot in inlined else (place[slot],))
        )

    return Plan(
        tuple(Step(plan.steps[slot - 1].op, expanded(plan.steps[slot - 1].inputs)) for slot in kept), place[plan.result]
    )


def cell_graph(ops: tuple[str, ...]) -> CellGraph:
    """Eight nodes: the input, the operations of the six edges in the order of the string, the output."""
    feeds = [
        (place, after)
        for place, edge in enumerate(EDGES, 1)
        for after, later in enumerate(EDGES, 1)
        if later[1] == edge[0]
    ]
    starts = [(0, place) for place, (_, source) in enumerate(EDGES, 1) if source == 0]
    ends = [(place, len(EDGES) + 1) for place, (target, _) in enumerate(EDGES, 1) if target == 3]
    return CellGraph(("input", *ops, "output"), tuple(sorted(starts + feeds + ends)))
