"""The cells of a specification as nodes and edges to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from frontends.spaces.darts.genotype import Genotype
from frontends.spaces.edge_cell import EDGES
from frontends.spaces.nasbench101.cell import OPS, Cell
from frontends.spaces.nasbench201.spec import Spec


class CellPicture(NamedTuple):
    """A cell.

    Attributes:
        title: its name.
        nodes: what stands in them, in topological order.
        edges: (source, target, what stands at the edge).
        joined: nodes that the last one concatenates.
        unused: nodes that lead nowhere.
    """

    title: str
    nodes: tuple[str, ...]
    edges: tuple[tuple[int, int, str], ...]
    joined: tuple[int, ...] = ()
    unused: frozenset[int] = frozenset()


def cell_pictures(space: str, spec: Any) -> tuple[CellPicture, ...]:
    """Those of a specification of the space of this name; none where its cells are not known here."""
    return PICTURES[space](spec) if space in PICTURES else ()


def _nasbench201(spec: Spec) -> tuple[CellPicture, ...]:
    edges = tuple((source, target, op) for (target, source), op in zip(EDGES, spec, strict=True))
    return (CellPicture("cell", ("input", "1", "2", "output"), edges),)


def _nasbench1shot1(spec: Cell) -> tuple[CellPicture, ...]:
    size = len(spec.matrix)
    edges = tuple((s, t, "") for s in range(size) for t in range(size) if spec.matrix[s][t])
    unused = frozenset(vertex for vertex in range(size - 1) if not any(spec.matrix[vertex]))
    return (CellPicture("cell", ("input", *(OPS[op] for op in spec.ops), "output"), edges, unused=unused),)


def _darts(spec: Genotype) -> tuple[CellPicture, ...]:
    cells = []
    for name in spec._fields:
        pairs = getattr(spec, name)
        edges = tuple((edge.source, 2 + number // 2, edge.op) for number, edge in enumerate(pairs))
        states = range(2, 2 + len(pairs) // 2)
        nodes = ("0", "1", *map(str, states), "output")
        cells.append(CellPicture(f"{name} cell; 0 and 1 are the cells before it", nodes, edges, tuple(states)))
    return tuple(cells)


PICTURES: dict[str, Callable[[Any], tuple[CellPicture, ...]]] = {
    "nasbench201": _nasbench201,
    "nasbench1shot1": _nasbench1shot1,
    "darts": _darts,
}
