"""NAS-Bench-101 (Ying et al. 2019): 423,624 cells of at most 7 vertices and 9 edges, operations on the vertices.

Strings are `ADJACENCY_ROWMAJOR:INTERIOR_OPS`, V*V digits 0/1 and V-2 digits of `OPS`; input and output vertex are
implied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from math import isqrt
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from cgir.graph import Attr
from frontends.spaces.cell import CellGraph
from frontends.spaces.space import Space

if TYPE_CHECKING:
    import torch

OPS = ("conv3x3", "conv1x1", "maxpool3x3")
CONV3X3, CONV1X1, MAXPOOL3X3 = range(3)
MAX_VERTICES, MAX_EDGES = 7, 9


Matrix = tuple[tuple[int, ...], ...]


class Cell(NamedTuple):
    """`matrix[i][j]` is 1 where vertex i feeds vertex j > i; `ops[v - 1]` is the operation of interior vertex v, an
    index into `OPS`.
    """

    matrix: Matrix
    ops: tuple[int, ...]

    @property
    def num_edges(self) -> int:
        """Edges between vertices."""
        return sum(map(sum, self.matrix))


@dataclass(frozen=True)
class NasBench101(Space[Cell]):
    """`stacks` stacks of `cells` cells, channels doubled and size halved from one stack to the next."""

    name: ClassVar[str] = "nasbench101"
    channels: int = 128
    stacks: int = 3
    cells: int = 3
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def parse(self, text: str) -> Cell:
        """`ADJACENCY_ROWMAJOR:INTERIOR_OPS` -> cell, not pruned.

        Raises:
            SpecError: the string is malformed, or the cell is outside the space.
        """
        digits, colon, ops = text.partition(":")
        size = isqrt(len(digits))
        if not colon:
            raise SpecError(f"nasbench101: no ':' in {text!r}; expected ADJACENCY_ROWMAJOR:INTERIOR_OPS")
        if size * size != len(digits) or not 2 <= size <= MAX_VERTICES:
            raise SpecError(
                f"nasbench101: the adjacency matrix of {text!r} has {len(digits)} digits; expected V*V for 2 <= V <= {MAX_VERTICES}"
            )
        if len(ops) != size - 2:
            raise SpecError(
                f"nasbench101: {len(ops)} operations after the ':' of {text!r}; its {size} vertices need {size - 2}"
            )
        _check_digits(text, digits, "01", "adjacency")
        _check_digits(text, ops, "012", "operation")
        rows = tuple(tuple(map(int, digits[start : start + size])) for start in range(0, size * size, size))
        cell = Cell(rows, tuple(map(int, ops)))
        prune(cell)
        return cell

    def format(self, spec: Cell) -> str:
        """The two columns of the published table, joined by a colon."""
        return "".join(str(edge) for row in spec.matrix for edge in row) + ":" + "".join(map(str, spec.ops))

    def network(self, build: GraphBuilder, spec: Cell) -> None:
        """The whole network of the pruned cell."""
        cell = prune(spec)
        x = build.subgraph(_conv_bn_relu, build.input(self.image), self.channels, 3)
        for stack in range(self.stacks):
            if stack:
                x = build.subgraph(_halve, x)
            for _ in range(self.cells):
                x = _cell(build, x, cell, self.channels * 2**stack)
        build.subgraph(_head, x, self.classes)

    def module(self, spec: Cell) -> torch.nn.Module:
        """The whole network of the pruned cell, in PyTorch."""
        from .torch_network import Network

        return Network(prune(spec), self.channels, self.stacks, self.cells, self.image, self.classes)

    def sample(self, rng: np.random.Generator) -> Cell:
        """Uniform over the 423,624 unique cells; the first call builds their index in a few seconds."""
        from .enumeration import unique_cells

        cells = unique_cells(MAX_VERTICES)
        return cells[int(rng.integers(len(cells)))]

    def mutate(self, spec: Cell, rng: np.random.Generator) -> Cell:
        """A cell that is not isomorphic: each possible edge flips and each operation changes with the chance of one in
        their number.
        """
        before = module_hash(spec)
        while True:
            matrix, ops = _padded(prune(spec), rng)
            flips = rng.random(matrix.shape) < 1 / np.count_nonzero(np.triu(np.ones_like(matrix), 1))
            matrix ^= np.triu(flips, 1)
            redraw = rng.random(len(ops)) < 1 / len(ops)
            ops[redraw] = rng.integers(len(OPS), size=int(redraw.sum()))
            try:
                cell = prune(Cell(tuple(tuple(map(int, row)) for row in matrix), tuple(map(int, ops))))
            except SpecError:
                continue
            if module_hash(cell) != before:
                return cell

    def enumerate(self, max_vertices: int = MAX_VERTICES) -> Iterator[Cell]:
        """Every cell of at most `max_vertices` vertices once, up to isomorphism."""
        from .enumeration import unique_cells

        cells = unique_cells(max_vertices)
        return map(cells.__getitem__, range(len(cells)))

    def cell_graph(self, spec: Cell) -> CellGraph:
        """The cell itself, not pruned: at most seven nodes."""
        edges = tuple((i, j) for i, row in enumerate(spec.matrix) for j, edge in enumerate(row) if edge)
        return CellGraph(("input", *(OPS[op] for op in spec.ops), "output"), edges)


def prune(cell: Cell) -> Cell:
    """The cell without vertices that are on no path from input to output, as the benchmark builds it.

    Raises:
        SpecError: the matrix is not upper triangular, nothing connects input and output, or more than 9 edges are left.
    """
    kept = _kept(cell.matrix)
    if len(kept) == len(cell.matrix):
        return cell
    matrix = tuple(tuple(cell.matrix[i][j] for j in kept) for i in kept)
    return Cell(matrix, tuple(cell.ops[v - 1] for v in kept[1:-1]))


@lru_cache(maxsize=8192)
def _kept(matrix: Matrix) -> list[int]:
    """Vertices on a path from input to output, in order; raises as `prune` says."""
    size = len(matrix)
    wrong = [(i, j) for i in range(size) for j in range(i + 1) if matrix[i][j]]
    if wrong:
        raise SpecError(
            f"nasbench101: edge {wrong[0][0]} -> {wrong[0][1]} in {matrix}; edges must lead to a later vertex"
        )
    reached, useful = {0}, {size - 1}
    for j in range(1, size):
        if any(matrix[i][j] for i in reached):
            reached.add(j)
    for i in range(size - 2, -1, -1):
        if any(matrix[i][j] for j in useful):
            useful.add(i)
    kept = sorted(reached & useful)
    if 0 not in kept or size - 1 not in kept:
        raise SpecError(f"nasbench101: no path from the input to the output vertex in {matrix}")
    edges = sum(matrix[i][j] for i in kept for j in kept)
    if edges > MAX_EDGES:
        raise SpecError(
            f"nasbench101: {edges} edges between the live vertices {kept} of {matrix}; the space allows {MAX_EDGES}"
        )
    return kept


def vertex_channels(cell: Cell, inner: int, outer: int) -> list[int]:
    """Channels of every vertex of a pruned cell: the output's are split over its sources, the remainder one each to the
    first.

    Other vertices get the maximum of those they feed, so channels never grow along an edge.
    """
    last = len(cell.matrix) - 1
    feeders = [v for v in range(1, last) if cell.matrix[v][last]]
    if len(feeders) > outer:
        raise SpecError(
            f"nasbench101: {outer} channels cannot be split over {len(feeders)} vertices; give the skeleton more channels"
        )
    widths = [inner, *[0] * (last - 1), outer]
    for rank, v in enumerate(feeders):
        widths[v] = outer // len(feeders) + (rank < outer % len(feeders))
    for v in range(last - 1, 0, -1):
        widths[v] = widths[v] or max(widths[w] for w in range(v + 1, last) if cell.matrix[v][w])
    return widths


@lru_cache(maxsize=8192)
def _widths(matrix: Matrix, outer: int) -> list[int]:
    return vertex_channels(Cell(matrix, (0,) * (len(matrix) - 2)), outer, outer)


@lru_cache(maxsize=8192)
def _sources(matrix: Matrix) -> list[list[int]]:
    """Vertices that feed each vertex."""
    return [[source for source, row in enumerate(matrix) if row[target]] for target in range(len(matrix))]


def module_hash(cell: Cell) -> str:
    """The benchmark's own key of the pruned cell (the authors' graph_util.hash_module): equal for isomorphic cells."""
    matrix, ops = prune(cell)
    vertices = range(len(matrix))
    labels = (-1, *ops, -2)
    ends = [(sum(matrix[v]), sum(row[v] for row in matrix), labels[v]) for v in vertices]
    hashes = [_md5(str(end)) for end in ends]
    for _ in vertices:
        sources = ["".join(sorted(hashes[w] for w in vertices if matrix[w][v])) for v in vertices]
        targets = ["".join(sorted(hashes[w] for w in vertices if matrix[v][w])) for v in vertices]
        hashes = [_md5(f"{sources[v]}|{targets[v]}|{hashes[v]}") for v in vertices]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _check_digits(text: str, digits: str, allowed: str, what: str) -> None:
    for position, digit in enumerate(digits):
        if digit not in allowed:
            raise SpecError(
                f"nasbench101: {what} digit {position} of {text!r} is {digit!r}; expected one of {', '.join(allowed)}"
            )


def _padded(cell: Cell, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The cell on `MAX_VERTICES` vertices: its interior spread over random places, the others unconnected and with
    random operations.
    """
    places = np.sort(rng.permutation(MAX_VERTICES - 2)[: len(cell.ops)])
    ops = rng.integers(len(OPS), size=MAX_VERTICES - 2)
    ops[places] = cell.ops
    kept = [0, *(places + 1), MAX_VERTICES - 1]
    matrix = np.zeros((MAX_VERTICES, MAX_VERTICES), np.int64)
    matrix[np.ix_(kept, kept)] = cell.matrix
    return matrix, ops


def _conv_bn_relu(build: GraphBuilder, x: int, channels: int, kernel: int) -> int:
    return build.relu(build.batch_norm(build.conv(x, channels, kernel)))


def _halve(build: GraphBuilder, x: int) -> int:
    return build.max_pool(x, 2, 2)


def _head(build: GraphBuilder, x: int, classes: int) -> int:
    return build.output(build.linear(build.global_avg_pool(x), classes))


def _cell(build: GraphBuilder, x: int, cell: Cell, outer: int) -> int:
    sources, widths = _sources(cell.matrix), _widths(cell.matrix, outer)
    values = [x]
    for v, op in enumerate(cell.ops, 1):
        values.append(
            build.subgraph(_vertex, tuple([values[s] for s in sources[v]]), sources[v][0] == 0, op, widths[v])
        )
    result: int = build.subgraph(_output, tuple([values[s] for s in sources[-1]]), sources[-1][0] == 0, outer)
    return result


def _output(build: GraphBuilder, sources: tuple[int, ...], projects: bool, width: int) -> int:
    """Concatenation of vertices; the cell's input, if among them, is the first, projected and added."""
    feeders = sources[1:] if projects else sources
    result = [build.concat(*feeders)] if feeders else []
    if projects:
        result.append(_conv_bn_relu(build, sources[0], width, 1))
    return build.add(*result)


def _vertex(build: GraphBuilder, sources: tuple[int, ...], projects: bool, op: int, width: int) -> int:
    """Sum and operation of an interior vertex, on the first `width` channels of every term: slicing is data movement,
    not a node.
    """
    terms = (*sources[1:], _conv_bn_relu(build, sources[0], width, 1)) if projects else sources
    shape = (width, *build.shape(terms[0])[1:])
    x = terms[0]
    if len(terms) > 1:
        x = build.add_node("Add", terms, shape, in_shapes=(shape,) * len(terms))
    if op == MAXPOOL3X3:
        return build.add_node("MaxPool", (x,), shape, in_shapes=(shape,), **_POOL)
    kernel = 3 if op == CONV3X3 else 1
    pad = kernel // 2
    geometry: dict[str, Attr] = {
        "kernel": (kernel, kernel),
        "stride": (1, 1),
        "padding": ((pad, pad), (pad, pad)),
        "dilation": (1, 1),
        "groups": 1,
    }
    conv = build.add_node("Conv", (x,), shape, ((width, width, kernel, kernel),), (shape,), **geometry)
    return build.relu(build.batch_norm(conv))


_POOL: dict[str, Attr] = {"kernel": (3, 3), "stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
