"""NAS-Bench-1Shot1 (Zela et al. 2020): sub-spaces of NAS-Bench-101 where every vertex has a fixed number of parents.

Strings are NAS-Bench-101's, `ADJACENCY_ROWMAJOR:INTERIOR_OPS`, over 6, 6 and 7 vertices. In sub-spaces 1 and 2 the
authors add a vertex without edges before the output, which makes 7 of 6; such strings are read too. Networks are
NAS-Bench-101's, and so are the labels, by `nasbench101.module_hash`: vertices that lead nowhere are pruned there.

A vertex that feeds nothing is a loose end. Its operation is no choice: it is written as conv1x1, as the authors do.
That gives the published sizes 6,240 and 363,648 of sub-spaces 1 and 3, and 16,632 specs in sub-space 2; the published
29,160 is its 360 adjacency matrices times the operations of all four vertices, loose ends included. 2,685, 7,773 and
55,854 of the specs are distinct networks.
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

from .cell import CONV1X1, OPS, AdjacencyMatrix, Cell, format_cell, parse_cell
from .space import NasBench101, check_image

if TYPE_CHECKING:
    import torch

# sub-space -> number of parents of every vertex, the input first, the output last
NUM_PARENTS = {1: (0, 1, 2, 2, 2, 2), 2: (0, 1, 1, 2, 2, 3), 3: (0, 1, 1, 1, 2, 2, 2)}


@dataclass(frozen=True)
class NasBench1Shot1(Space[Cell]):
    """Sub-space 1, 2 or 3; `stacks` of `cells`, channels doubled and size halved from one stack to the next."""

    name: ClassVar[str] = "nasbench1shot1"
    subspace: int = field(default=1, metadata={"choices": tuple(NUM_PARENTS)})
    channels: int = 128
    stacks: int = 3
    cells: int = 3
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_image(self.name, self.image, self.stacks)

    def parse(self, text: str) -> Cell:
        """`ADJACENCY_ROWMAJOR:INTERIOR_OPS` -> cell, not pruned; loose ends get conv1x1.

        Raises:
            SpecError: the string is malformed, or a vertex has another number of parents than the sub-space gives it.
        """
        cell = parse_cell(text, self.name)
        expected = NUM_PARENTS[self.subspace]
        if len(cell.matrix) == len(expected) + 1 == 7:
            cell = _without_isolated_vertex(cell)
        if len(cell.matrix) != len(expected):
            raise SpecError(
                f"{self.name}: {text!r} has {len(cell.matrix)} vertices; sub-space {self.subspace} has {len(expected)}"
            )
        for vertex, count in enumerate(expected):
            parents = sum(row[vertex] for row in cell.matrix)
            if parents != count:
                raise SpecError(
                    f"{self.name}: vertex {vertex} of {text!r} has {parents} parents; "
                    f"sub-space {self.subspace} expects {count}"
                )
        return _with_default_ops(cell)

    def format(self, spec: Cell) -> str:
        """NAS-Bench-101's string."""
        return format_cell(spec)

    def network(self, build: GraphBuilder, spec: Cell) -> None:
        """NAS-Bench-101's network of the pruned cell."""
        self._nasbench101.network(build, spec)

    def module(self, spec: Cell) -> torch.nn.Module:
        """NAS-Bench-101's network of the pruned cell, in PyTorch."""
        return self._nasbench101.module(spec)

    def sample(self, rng: np.random.Generator) -> Cell:
        """Uniform over `enumerate()`."""
        space = _adjacency_matrices(self.subspace)
        number = int(rng.integers(space.starts[-1]))
        index = int(np.searchsorted(space.starts, number, side="right")) - 1
        return _cell(space.matrices[index], number - space.starts[index])

    def mutate(self, spec: Cell, rng: np.random.Generator) -> Cell:
        """Another operation on one vertex, or another parent in place of one; uniformly among all such cells."""
        last = len(spec.matrix) - 1
        neighbours = [
            Cell(spec.matrix, (*spec.ops[: vertex - 1], op, *spec.ops[vertex:]))
            for vertex in range(1, last)
            for op in range(len(OPS))
            if any(spec.matrix[vertex]) and op != spec.ops[vertex - 1]
        ]
        for vertex in range(1, last + 1):
            parents = [parent for parent in range(vertex) if spec.matrix[parent][vertex]]
            non_parents = [parent for parent in range(vertex) if not spec.matrix[parent][vertex]]
            neighbours += [
                _with_default_ops(Cell(_replace_parent(spec.matrix, vertex, a, b), spec.ops))
                for a in parents
                for b in non_parents
            ]
        return neighbours[int(rng.integers(len(neighbours)))]

    def enumerate(self) -> Iterator[Cell]:
        """Every adjacency matrix with every choice of operations for the vertices that feed another."""
        space = _adjacency_matrices(self.subspace)
        for matrix, start, end in zip(space.matrices, space.starts, space.starts[1:], strict=False):
            for number in range(end - start):
                yield _cell(matrix, number)

    def cell_graph(self, spec: Cell) -> CellGraph:
        """The cell itself, not pruned."""
        return self._nasbench101.cell_graph(spec)

    @property
    def _nasbench101(self) -> NasBench101:
        return NasBench101(self.channels, self.stacks, self.cells, self.image, self.classes)


class _AdjacencyMatrices(NamedTuple):
    """The adjacency matrices of a sub-space; `starts[i]` specs come before those of matrix i."""

    matrices: tuple[AdjacencyMatrix, ...]
    starts: tuple[int, ...]


@lru_cache(maxsize=len(NUM_PARENTS))
def _adjacency_matrices(subspace: int) -> _AdjacencyMatrices:
    counts = NUM_PARENTS[subspace]
    choices = [list(combinations(range(vertex), count)) for vertex, count in enumerate(counts)]
    matrices = tuple(
        tuple(tuple(int(vertex in parents) for parents in chosen) for vertex in range(len(counts)))
        for chosen in product(*choices)
    )
    return _AdjacencyMatrices(
        matrices,
        tuple(accumulate((len(OPS) ** len(_vertices_with_children(matrix)) for matrix in matrices), initial=0)),
    )


def _vertices_with_children(matrix: AdjacencyMatrix) -> list[int]:
    """Interior vertices that feed another."""
    return [vertex for vertex in range(1, len(matrix) - 1) if any(matrix[vertex])]


def _cell(matrix: AdjacencyMatrix, number: int) -> Cell:
    """The cell with this matrix whose operations, read as digits, are `number`."""
    ops = [CONV1X1] * (len(matrix) - 2)
    for vertex in reversed(_vertices_with_children(matrix)):
        number, ops[vertex - 1] = divmod(number, len(OPS))
    return Cell(matrix, tuple(ops))


def _with_default_ops(cell: Cell) -> Cell:
    """The cell with conv1x1 at its loose ends."""
    feeding = _vertices_with_children(cell.matrix)
    return Cell(cell.matrix, tuple(op if vertex in feeding else CONV1X1 for vertex, op in enumerate(cell.ops, 1)))


def _replace_parent(matrix: AdjacencyMatrix, vertex: int, old: int, new: int) -> AdjacencyMatrix:
    """`new` in place of `old` among the parents of `vertex`."""
    return tuple(
        tuple(
            int(parent == new) if target == vertex and parent in (old, new) else edge for target, edge in enumerate(row)
        )
        for parent, row in enumerate(matrix)
    )


def _without_isolated_vertex(cell: Cell) -> Cell:
    """The cell without the vertex before the output, if that has no edges."""
    if any(cell.matrix[5]) or any(row[5] for row in cell.matrix):
        return cell
    kept = (0, 1, 2, 3, 4, 6)
    return Cell(tuple(tuple(cell.matrix[i][j] for j in kept) for i in kept), cell.ops[:4])
