"""All unique NAS-Bench-101 cells, by orbits under permutations of the interior vertices.

An adjacency matrix is a code, an integer with a bit per pair of vertices. A cell is kept when its code is the smallest
of its orbit and its operations are the smallest under the automorphisms of the matrix. Nothing is hashed, so the counts
are exact.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, permutations, product

import numpy as np

from cgir.typing import IntArray

from .cell import MAX_EDGES, OPS, AdjacencyMatrix, Cell


class CellIndex:
    """The unique cells of one size as a sequence, each made when it is read.

    `starts[i]` cells precede adjacency matrix i, whose operations are the rows of `choices[group[i]]`.
    """

    def __init__(self, vertices: int) -> None:
        pairs = list(combinations(range(vertices), 2))
        relabellings = [(0, *order, vertices - 1) for order in permutations(range(1, vertices - 1))]
        self.vertices, self.pairs = vertices, pairs
        self.codes = _orbit_minima(_connected(pairs, vertices), pairs, relabellings)
        symmetric = np.stack([_relabel(self.codes, pairs, p) == self.codes for p in relabellings], 1)
        groups, self.group = np.unique(symmetric, axis=0, return_inverse=True)
        self.choices = [
            _operations(vertices - 2, [p for p, holds in zip(relabellings, row, strict=True) if holds])
            for row in groups
        ]
        sizes = np.asarray([len(rows) for rows in self.choices])[self.group]
        self.starts = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, number: int) -> Cell:
        if not 0 <= number < len(self):
            raise IndexError(number)
        index = int(np.searchsorted(self.starts, number, side="right")) - 1
        ops = self.choices[self.group[index]][number - int(self.starts[index])]
        return Cell(_matrix(int(self.codes[index]), self.vertices), tuple(ops.tolist()))


class UniqueCells:
    """The cells of all sizes up to a number of vertices, small ones first."""

    def __init__(self, max_vertices: int) -> None:
        self.sizes = [CellIndex(vertices) for vertices in range(2, max_vertices + 1)]

    def __len__(self) -> int:
        return sum(map(len, self.sizes))

    def __getitem__(self, number: int) -> Cell:
        for cells in self.sizes:
            if number < len(cells):
                return cells[number]
            number -= len(cells)
        raise IndexError(number)


@lru_cache(maxsize=8192)
def _matrix(code: int, vertices: int) -> AdjacencyMatrix:
    bits = iter(range(vertices * vertices))
    return tuple(tuple(code >> next(bits) & 1 if i < j else 0 for j in range(vertices)) for i in range(vertices))


@lru_cache(maxsize=8)
def unique_cells(max_vertices: int) -> UniqueCells:
    """All unique cells of 2 .. `max_vertices` vertices."""
    return UniqueCells(max_vertices)


def _connected(pairs: list[tuple[int, int]], vertices: int) -> IntArray:
    """Codes in which every vertex has a predecessor and a successor, hence lies on a path from input to output."""
    codes = np.arange(1 << len(pairs), dtype=np.int64)
    codes = codes[np.bitwise_count(codes) <= MAX_EDGES]
    for vertex in range(vertices):
        into = sum(1 << bit for bit, (_, j) in enumerate(pairs) if j == vertex)
        out = sum(1 << bit for bit, (i, _) in enumerate(pairs) if i == vertex)
        alive = np.ones(len(codes), bool)
        if vertex > 0:
            alive &= (codes & into) != 0
        if vertex < vertices - 1:
            alive &= (codes & out) != 0
        codes = codes[alive]
    return codes


def _relabel(codes: IntArray, pairs: list[tuple[int, int]], relabelling: tuple[int, ...]) -> IntArray:
    """Codes after vertex v became `relabelling[v]`; 2^62, larger than any code, where not upper triangular then."""
    bit_of = {pair: bit for bit, pair in enumerate(pairs)}
    result = np.zeros_like(codes)
    for bit, (i, j) in enumerate(pairs):
        target = bit_of.get((relabelling[i], relabelling[j]))
        present = codes >> bit & 1
        result |= present << (62 if target is None else target)
    return np.minimum(result, np.int64(1) << 62)


def _orbit_minima(codes: IntArray, pairs: list[tuple[int, int]], relabellings: list[tuple[int, ...]]) -> IntArray:
    """Those codes that no relabelling makes smaller."""
    for relabelling in relabellings:
        codes = codes[_relabel(codes, pairs, relabelling) >= codes]
    return codes


def _operations(interior: int, symmetries: list[tuple[int, ...]]) -> IntArray:
    """(n, interior): one row of operations for each orbit under the symmetries of an adjacency matrix."""
    rows = np.asarray(list(product(range(len(OPS)), repeat=interior)), np.int64)
    rank = _lexicographic_rank(rows)
    keep = np.ones(len(rows), bool)
    for relabelling in symmetries:
        order = np.argsort(relabelling[1:-1])
        keep &= rank[_lexicographic_rank(rows[:, order])] >= rank
    return rows[keep]


def _lexicographic_rank(rows: IntArray) -> IntArray:
    """Rank of each row among all rows in lexicographic order."""
    result: IntArray = rows @ len(OPS) ** np.arange(rows.shape[1] - 1, -1, -1)
    return result
