"""Cell specs of NAS-Bench-101 (Ying et al. 2019): operations on vertices, pruning, channels of every vertex, hash."""

from __future__ import annotations

from functools import lru_cache
from hashlib import md5
from math import isqrt
from typing import NamedTuple

from cgir.errors import SpecError
from frontends.spaces.choices import check_choices, check_text

OPS = ("conv3x3", "conv1x1", "maxpool3x3")
CONV3X3, CONV1X1, MAXPOOL3X3 = range(3)
MAX_VERTICES, MAX_EDGES = 7, 9

AdjacencyMatrix = tuple[tuple[int, ...], ...]  # [i][j] is 1 where vertex i feeds vertex j > i


class Cell(NamedTuple):
    """A directed acyclic graph; `ops[v - 1]` is the operation of interior vertex v, an index into `OPS`."""

    matrix: AdjacencyMatrix
    ops: tuple[int, ...]

    @property
    def num_edges(self) -> int:
        """Edges between vertices."""
        return sum(map(sum, self.matrix))


def parse_cell(text: str, space: str) -> Cell:
    """`ADJACENCY_ROWMAJOR:INTERIOR_OPS` -> cell, not pruned; `space` is the name in errors.

    Raises:
        SpecError: the string is malformed, or the cell is outside NAS-Bench-101.
    """
    digits, colon, ops = check_text(text, space).partition(":")
    size = isqrt(len(digits))
    if not colon:
        raise SpecError(f"{space}: no ':' in {text!r}; expected ADJACENCY_ROWMAJOR:INTERIOR_OPS")
    if size * size != len(digits) or not 2 <= size <= MAX_VERTICES:
        raise SpecError(
            f"{space}: the adjacency matrix of {text!r} has {len(digits)} digits; "
            f"expected V*V for 2 <= V <= {MAX_VERTICES}"
        )
    if len(ops) != size - 2:
        raise SpecError(
            f"{space}: {len(ops)} operations after the ':' of {text!r}; its {size} vertices need {size - 2}"
        )
    check_choices(text, digits, "01", "adjacency digit", space)
    check_choices(text, ops, "012", "operation digit", space)
    rows = tuple(tuple(map(int, digits[start : start + size])) for start in range(0, size * size, size))
    cell = Cell(rows, tuple(map(int, ops)))
    prune(cell, space)
    return cell


def format_cell(cell: Cell) -> str:
    """The two columns of the published table, joined by a colon."""
    return "".join(str(edge) for row in cell.matrix for edge in row) + ":" + "".join(map(str, cell.ops))


def prune(cell: Cell, space: str = "nasbench101") -> Cell:
    """The cell without vertices that are on no path from input to output, as the benchmark builds it.

    `space` is the name in errors.

    Raises:
        SpecError: the matrix is not upper triangular, nothing connects input and output, or more than 9 edges are left.
    """
    live = _live_vertices(cell.matrix, space)
    if len(live) == len(cell.matrix):
        return cell
    matrix = tuple(tuple(cell.matrix[i][j] for j in live) for i in live)
    return Cell(matrix, tuple(cell.ops[v - 1] for v in live[1:-1]))


@lru_cache(maxsize=8192)
def _live_vertices(matrix: AdjacencyMatrix, space: str) -> list[int]:
    """Vertices on a path from input to output, in order; raises as `prune` does."""
    size = len(matrix)
    wrong = [(i, j) for i in range(size) for j in range(i + 1) if matrix[i][j]]
    if wrong:
        raise SpecError(f"{space}: edge {wrong[0][0]} -> {wrong[0][1]} in {matrix}; edges must lead to a later vertex")
    reached, useful = {0}, {size - 1}
    for j in range(1, size):
        if any(matrix[i][j] for i in reached):
            reached.add(j)
    for i in range(size - 2, -1, -1):
        if any(matrix[i][j] for j in useful):
            useful.add(i)
    live = sorted(reached & useful)
    if 0 not in live or size - 1 not in live:
        raise SpecError(f"{space}: no path from the input to the output vertex in {matrix}")
    edges = sum(matrix[i][j] for i in live for j in live)
    if edges > MAX_EDGES:
        raise SpecError(
            f"{space}: {edges} edges between the live vertices {live} of {matrix}; the space allows {MAX_EDGES}"
        )
    return live


def vertex_channels(cell: Cell, in_channels: int, out_channels: int) -> list[int]:
    """Channels of every vertex, as in the authors' model_builder.compute_vertex_channels.

    Those of the output are split over the interior vertices that feed it, the remainder one each to the first. Every
    other interior vertex gets the maximum of those it feeds, so channels never grow along an edge.

    Args:
        cell: a pruned cell.
        in_channels: channels of the cell's input.
        out_channels: channels of its output.

    Raises:
        SpecError: fewer output channels than interior vertices that feed the output.
    """
    last = len(cell.matrix) - 1
    feeders = [v for v in range(1, last) if cell.matrix[v][last]]
    if len(feeders) > out_channels:
        raise SpecError(
            f"nasbench101: {out_channels} channels cannot be split over {len(feeders)} vertices; "
            "give the skeleton more channels"
        )
    channels = [in_channels, *[0] * (last - 1), out_channels]
    for rank, v in enumerate(feeders):
        channels[v] = out_channels // len(feeders) + (rank < out_channels % len(feeders))
    for v in range(last - 1, 0, -1):
        channels[v] = channels[v] or max(channels[w] for w in range(v + 1, last) if cell.matrix[v][w])
    return channels


def module_hash(cell: Cell) -> str:
    """The benchmark's own key of the pruned cell (the authors' graph_util.hash_module): equal for isomorphic cells."""
    matrix, ops = prune(cell)
    vertices = range(len(matrix))
    labels = (-1, *ops, -2)
    degrees = [(sum(matrix[v]), sum(row[v] for row in matrix), labels[v]) for v in vertices]
    hashes = [_md5(str(degree)) for degree in degrees]
    for _ in vertices:
        sources = ["".join(sorted(hashes[w] for w in vertices if matrix[w][v])) for v in vertices]
        targets = ["".join(sorted(hashes[w] for w in vertices if matrix[v][w])) for v in vertices]
        hashes = [_md5(f"{sources[v]}|{targets[v]}|{hashes[v]}") for v in vertices]
    return _md5(str(sorted(hashes)))


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
