"""NAS-Bench-101 (Ying et al. 2019): 423,624 cells of at most 7 vertices and 9 edges, operations on the vertices.

Strings are `ADJACENCY_ROWMAJOR:INTERIOR_OPS`, V*V digits 0/1 and V-2 digits of `OPS`; input and output vertex are
implied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from cgir.graph import Attr
from cgir.typing import IntArray
from frontends.spaces.cell import CellGraph
from frontends.spaces.space import Space

from .cell import (
    CONV3X3,
    MAX_VERTICES,
    MAXPOOL3X3,
    OPS,
    AdjacencyMatrix,
    Cell,
    format_cell,
    module_hash,
    parse_cell,
    prune,
    vertex_channels,
)
from .enumeration import unique_cells

if TYPE_CHECKING:
    import torch

POOL: dict[str, Attr] = {"kernel": (3, 3), "stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}


def check_image(space: str, image: tuple[int, int, int], stacks: int) -> None:
    """SpecError if nothing is left of an image that every stack but the first halves.

    Args:
        space: its name, in the message.
        image: channels, height, width.
        stacks: number of them.
    """
    if min(image[1:]) < 2 ** (stacks - 1):
        raise SpecError(
            f"{space}: image={image!r} in {stacks} stacks; expected height and width of at least {2 ** (stacks - 1)}"
        )


@dataclass(frozen=True)
class NasBench101(Space[Cell]):
    """`stacks` stacks of `cells` cells, channels doubled and size halved from one stack to the next."""

    name: ClassVar[str] = "nasbench101"
    channels: int = 128
    stacks: int = 3
    cells: int = 3
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_image(self.name, self.image, self.stacks)

    def parse(self, text: str) -> Cell:
        """`ADJACENCY_ROWMAJOR:INTERIOR_OPS` -> cell, not pruned.

        Raises:
            SpecError: the string is malformed, or the cell is outside the space.
        """
        return parse_cell(text, self.name)

    def format(self, spec: Cell) -> str:
        """The two columns of the published table, joined by a colon."""
        return format_cell(spec)

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

    def module_names(self, spec: Cell) -> dict[str, str]:
        """Vertices of each cell, and its output: `cell3.vertex 2: conv1x1`."""
        ops = prune(spec).ops
        names = {f"output{cell}": f"cell{cell}.output" for cell in range(self.stacks * self.cells)}
        for cell in range(self.stacks * self.cells):
            for vertex, op in enumerate(ops, 1):
                names[f"vertex{cell * len(ops) + vertex - 1}"] = f"cell{cell}.vertex {vertex}: {OPS[op]}"
        return names

    def module(self, spec: Cell) -> torch.nn.Module:
        """The whole network of the pruned cell, in PyTorch."""
        from .torch_network import NasBench101Network

        return NasBench101Network(prune(spec), self.channels, self.stacks, self.cells, self.image, self.classes)

    def sample(self, rng: np.random.Generator) -> Cell:
        """Uniform over the 423,624 unique cells; the first call enumerates them, in a few seconds."""
        cells = unique_cells(MAX_VERTICES)
        return cells[int(rng.integers(len(cells)))]

    def mutate(self, spec: Cell, rng: np.random.Generator) -> Cell:
        """A cell that is not isomorphic: one edge flips and one operation changes on average.

        Each possible edge flips with probability 1 / (number of possible edges), each operation is drawn again with
        probability 1 / (number of operations); repeated until the cell is valid and another one.
        """
        before = module_hash(spec)
        while True:
            matrix, ops = _padded(prune(spec), rng)
            flips = rng.random(matrix.shape) < 1 / np.count_nonzero(np.triu(np.ones_like(matrix), 1))
            matrix ^= np.triu(flips, 1)
            resampled = rng.random(len(ops)) < 1 / len(ops)
            ops[resampled] = rng.integers(len(OPS), size=int(resampled.sum()))
            try:
                cell = prune(Cell(tuple(tuple(map(int, row)) for row in matrix), tuple(map(int, ops))))
            except SpecError:
                continue
            if module_hash(cell) != before:
                return cell

    def enumerate(self, max_vertices: int = MAX_VERTICES) -> Iterator[Cell]:
        """Every cell of at most `max_vertices` vertices once, up to isomorphism."""
        cells = unique_cells(max_vertices)
        return map(cells.__getitem__, range(len(cells)))

    def count(self) -> int:
        """423,624."""
        return len(unique_cells(MAX_VERTICES))

    def cell_graph(self, spec: Cell) -> CellGraph:
        """The cell itself, not pruned: at most seven nodes."""
        edges = tuple((i, j) for i, row in enumerate(spec.matrix) for j, edge in enumerate(row) if edge)
        return CellGraph(("input", *(OPS[op] for op in spec.ops), "output"), edges)


@lru_cache(maxsize=8192)
def _channels(matrix: AdjacencyMatrix, out_channels: int) -> list[int]:
    """`vertex_channels` by the matrix alone; the input is projected, so its channels do not matter."""
    return vertex_channels(Cell(matrix, (0,) * (len(matrix) - 2)), out_channels, out_channels)


@lru_cache(maxsize=8192)
def _sources(matrix: AdjacencyMatrix) -> list[list[int]]:
    """Vertices that feed each vertex."""
    return [[source for source, row in enumerate(matrix) if row[target]] for target in range(len(matrix))]


def _padded(cell: Cell, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Adjacency matrix and operations of the cell on `MAX_VERTICES` vertices.

    Its interior is spread over random vertices; the others are unconnected and have random operations.
    """
    interior = np.sort(rng.permutation(MAX_VERTICES - 2)[: len(cell.ops)])
    ops = rng.integers(len(OPS), size=MAX_VERTICES - 2)
    ops[interior] = cell.ops
    live = [0, *(interior + 1), MAX_VERTICES - 1]
    matrix = np.zeros((MAX_VERTICES, MAX_VERTICES), np.int64)
    matrix[np.ix_(live, live)] = cell.matrix
    return matrix, ops


def _conv_bn_relu(build: GraphBuilder, x: int, channels: int, kernel: int) -> int:
    return build.relu(build.batch_norm(build.conv(x, channels, kernel)))


def _halve(build: GraphBuilder, x: int) -> int:
    return build.max_pool(x, 2, 2)


def _head(build: GraphBuilder, x: int, classes: int) -> int:
    return build.output(build.linear(build.global_avg_pool(x), classes))


def _cell(build: GraphBuilder, x: int, cell: Cell, out_channels: int) -> int:
    sources, channels = _sources(cell.matrix), _channels(cell.matrix, out_channels)
    values = [x]
    for v, op in enumerate(cell.ops, 1):
        values.append(
            build.subgraph(_vertex, tuple([values[s] for s in sources[v]]), sources[v][0] == 0, op, channels[v])
        )
    result: int = build.subgraph(_output, tuple([values[s] for s in sources[-1]]), sources[-1][0] == 0, out_channels)
    return result


def _output(build: GraphBuilder, sources: tuple[int, ...], has_input: bool, channels: int) -> int:
    """Concatenation of vertices; the cell's input, if among them, is the first, projected and added."""
    feeders = sources[1:] if has_input else sources
    result = [build.concat(*feeders)] if feeders else []
    if has_input:
        result.append(_conv_bn_relu(build, sources[0], channels, 1))
    return build.add(*result)


def _vertex(build: GraphBuilder, sources: tuple[int, ...], has_input: bool, op: int, channels: int) -> int:
    """Sum and operation of an interior vertex, on the first `channels` channels of every term.

    Slicing is data movement, not a node.
    """
    terms = (*sources[1:], _conv_bn_relu(build, sources[0], channels, 1)) if has_input else sources
    shape = (channels, *build.shape(terms[0])[1:])
    x = terms[0]
    if len(terms) > 1:
        x = build.add_node("Add", terms, shape, in_shapes=(shape,) * len(terms))
    if op == MAXPOOL3X3:
        return build.add_node("MaxPool", (x,), shape, in_shapes=(shape,), **POOL)
    kernel = 3 if op == CONV3X3 else 1
    pad = kernel // 2
    geometry: dict[str, Attr] = {
        "kernel": (kernel, kernel),
        "stride": (1, 1),
        "padding": ((pad, pad), (pad, pad)),
        "dilation": (1, 1),
        "groups": 1,
    }
    conv = build.add_node("Conv", (x,), shape, ((channels, channels, kernel, kernel),), (shape,), **geometry)
    return build.relu(build.batch_norm(conv))
