"""NAS-Bench-1Shot1 (Zela et al. 2020): three sub-spaces of NAS-Bench-101 in which every vertex has a fixed number of
parents.

Strings are NAS-Bench-101's, `ADJACENCY_ROWMAJOR:INTERIOR_OPS`, over 6, 6 and 7 vertices. In sub-spaces 1 and 2 the
authors add a vertex without edges before the output, which makes 7 of 6; such strings are read too. Networks are
NAS-Bench-101's, and so are the labels, by `nasbench101.module_hash`: vertices that lead nowhere are pruned there.

A vertex that feeds nothing is a loose end. Its operation is no choice: it is written as conv1x1, as the authors do.
That gives the published sizes 6,240 and 363,648 of sub-spaces 1 and 3, and 16,632 specs in sub-space 2; the published
29,160 is its 360 wirings times the operations of all four vertices, loose ends included. 2,685, 7,773 and 55,854 of the
specs are distinct networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, combinations, product
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph
from frontends.spaces.space import Space

from .space import CONV1X1, OPS, Cell, NasBench101

if TYPE_CHECKING:
    import torch

# of every vertex, the input first, the output last
PARENTS = {1: (0, 1, 2, 2, 2, 2), 2: (0, 1, 1, 2, 2, 3), 3: (0, 1, 1, 1, 2, 2, 2)}
Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class NasBench1Shot1(Space[Cell]):
    """Sub-space 1, 2 or 3; `stacks` stacks of `cells` cells, channels doubled and size halved from one stack to the
    next.
    """

    name: ClassVar[str] = "nasbench1shot1"
    subspace: int = field(default=1, metadata={"choices": tuple(PARENTS)})
    channels: int = 128
    stacks: int = 3
    cells: int = 3
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def parse(self, text: str) -> Cell:
        """`ADJACENCY_ROWMAJOR:INTERIOR_OPS` -> cell, not pruned; loose ends get conv1x1.

        Raises:
            SpecError: the string is malformed, or a vertex has another number of parents than the sub-space gives it.
        """
        try:
            cell = self._whole.parse(text)
        except SpecError as error:
            raise SpecError(str(error).replace("nasbench101", self.name, 1)) from None
        expected = PARENTS[self.subspace]
        if len(cell.matrix) == len(expected) + 1 == 7:
            cell = _without_padding(cell)
        if len(cell.matrix) != len(expected):
            raise SpecError(
                f"{self.name}: {text!r} has {len(cell.matrix)} vertices; sub-space {self.subspace} has {len(expected)}"
            )
        for vertex, count in enumerate(expected):
            found = sum(row[vertex] for row in cell.matrix)
            if found != count:
                raise SpecError(
                    f"{self.name}: vertex {vertex} of {text!r} has {found} parents; sub-space {self.subspace} expects {count}"
                )
        return _settled(cell)

    def format(self, spec: Cell) -> str:
        """NAS-Bench-101's string."""
        return self._whole.format(spec)

    def network(self, build: GraphBuilder, spec: Cell) -> None:
        """NAS-Bench-101's network of the pruned cell."""
        self._whole.network(build, spec)

    def module(self, spec: Cell) -> torch.nn.Module:
        """NAS-Bench-101's network of the pruned cell, in PyTorch."""
        return self._whole.module(spec)

    def sample(self, rng: np.random.Generator) -> Cell:
        """Uniform over `enumerate()`."""
        wirings = _wirings(self.subspace)
        number = int(rng.integers(wirings.starts[-1]))
        place = int(np.searchsorted(wirings.starts, number, side="right")) - 1
        return _cell(wirings.matrices[place], number - wirings.starts[place])

    def mutate(self, spec: Cell, rng: np.random.Generator) -> Cell:
        """Another operation on one vertex, or another parent in place of one; uniformly among all such cells."""
        last = len(spec.matrix) - 1
        changed = [
            Cell(spec.matrix, (*spec.ops[: vertex - 1], op, *spec.ops[vertex:]))
            for vertex in range(1, last)
            for op in range(len(OPS))
            if any(spec.matrix[vertex]) and op != spec.ops[vertex - 1]
        ]
        for vertex in range(1, last + 1):
            old = [parent for parent in range(vertex) if spec.matrix[parent][vertex]]
            new = [parent for parent in range(vertex) if not spec.matrix[parent][vertex]]
            changed += [_settled(Cell(_moved(spec.matrix, vertex, a, b), spec.ops)) for a in old for b in new]
        return changed[int(rng.integers(len(changed)))]

    def enumerate(self) -> Iterator[Cell]:
        """Every wiring with every choice of operations for the vertices that feed another."""
        wirings = _wirings(self.subspace)
        for matrix, start, end in zip(wirings.matrices, wirings.starts, wirings.starts[1:], strict=False):
            for number in range(end - start):
                yield _cell(matrix, number)

    def cell_graph(self, spec: Cell) -> CellGraph:
        """The cell itself, not pruned."""
        return self._whole.cell_graph(spec)

    @property
    def _whole(self) -> NasBench101:
        return NasBench101(self.channels, self.stacks, self.cells, self.image, self.classes)


class _Wirings(NamedTuple):
    """The adjacency matrices of a sub-space; `starts[i]` specs come before those of matrix i."""

    matrices: tuple[Matrix, ...]
    starts: tuple[int, ...]


@lru_cache(maxsize=len(PARENTS))
def _wirings(subspace: int) -> _Wirings:
    counts = PARENTS[subspace]
    choices = [list(combinations(range(vertex), count)) for vertex, count in enumerate(counts)]
    matrices = tuple(
        tuple(tuple(int(vertex in parents) for parents in chosen) for vertex in range(len(counts)))
        for chosen in product(*choices)
    )
    return _Wirings(matrices, tuple(accumulate((len(OPS) ** len(_feeding(matrix)) for matrix in matrices), initial=0)))


def _feeding(matrix: Matrix) -> list[int]:
    """Interior vertices that are no loose ends."""
    return [vertex for vertex in range(1, len(matrix) - 1) if any(matrix[vertex])]


def _cell(matrix: Matrix, number: int) -> Cell:
    """The cell of a wiring whose operations, read as digits, are `number`."""
    ops = [CONV1X1] * (len(matrix) - 2)
    for vertex in reversed(_feeding(matrix)):
        number, ops[vertex - 1] = divmod(number, len(OPS))
    return Cell(matrix, tuple(ops))


def _settled(cell: Cell) -> Cell:
    """The cell with conv1x1 at its loose ends."""
    feeding = _feeding(cell.matrix)
    return Cell(cell.matrix, tuple(op if vertex in feeding else CONV1X1 for vertex, op in enumerate(cell.ops, 1)))


def _moved(matrix: Matrix, vertex: int, old: int, new: int) -> Matrix:
    """`new` in place of `old` among the parents of `vertex`."""
    return tuple(
        tuple(
            int(parent == new) if target == vertex and parent in (old, new) else edge for target, edge in enumerate(row)
        )
        for parent, row in enumerate(matrix)
    )


def _without_padding(cell: Cell) -> Cell:
    """The cell without the vertex before the output, if that has no edges."""
    if any(cell.matrix[5]) or any(row[5] for row in cell.matrix):
        return cell
    kept = (0, 1, 2, 3, 4, 6)
    return Cell(tuple(tuple(cell.matrix[i][j] for j in kept) for i in kept), cell.ops[:4])
