"""Cells of four nodes with operations on all six edges between them, as in NAS-Bench-201 and TransNAS-Bench-101.

Node 0 is the cell's input, node 3 its output; every other node is the sum of the edges that lead into it.
"""

from __future__ import annotations

from functools import lru_cache

from .cell import SKIP_OPS, ZERO_OPS, CellGraph
from .cell_program import SUM, CellProgram, Instruction, flatten_sums

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (target, source), in the order of the benchmarks' strings


@lru_cache(maxsize=8192)
def compile_cell(ops: tuple[str, ...]) -> CellProgram | None:
    """The program of a cell with an operation on every edge; None if its output does not depend on its input.

    Skips are not instructions: readers of a skip read the skip's input instead.
    """
    live = live_edges(ops)
    if not any(target == 3 for target, _ in live):
        return None
    instructions: list[Instruction] = []
    values = [0]  # of each node
    for target in (1, 2, 3):
        terms: list[int] = []
        for source in range(target):
            op = live.get((target, source))
            if op is not None and op not in SKIP_OPS:
                instructions.append(Instruction(op, (values[source],)))
            if op is not None:
                terms.append(values[source] if op in SKIP_OPS else len(instructions))
        if len(terms) > 1:
            instructions.append(Instruction(SUM, tuple(terms)))
        values.append(terms[0] if len(terms) == 1 else len(instructions))
    return flatten_sums(instructions, 1, (values[3],))


def edge_names(ops: tuple[str, ...]) -> list[str]:
    """Of the operations that are instructions of `compile_cell`, in order: "edge 0->1: conv3x3"."""
    live = live_edges(ops)
    edges = [(source, target) for target in (1, 2, 3) for source in range(target) if (target, source) in live]
    return [f"edge {s}->{t}: {live[t, s]}" for s, t in edges if live[t, s] not in SKIP_OPS]


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


def edge_cell_graph(ops: tuple[str, ...]) -> CellGraph:
    """Eight nodes: the input, the operations of the six edges in the order of the string, the output."""
    inner = [
        (node, reader)
        for node, (target, _) in enumerate(EDGES, 1)
        for reader, (_, source) in enumerate(EDGES, 1)
        if source == target
    ]
    starts = [(0, node) for node, (_, source) in enumerate(EDGES, 1) if source == 0]
    ends = [(node, len(EDGES) + 1) for node, (target, _) in enumerate(EDGES, 1) if target == 3]
    return CellGraph(("input", *ops, "output"), tuple(sorted(starts + inner + ends)))
