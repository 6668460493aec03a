"""All unique NAS-Bench-101 cells as an index: orbits of wirings and of operations under renaming of interior vertices.

A cell is kept when its wiring is the smallest of its orbit (as a number, a bit per vertex pair) and its operations are
the smallest under the wiring's automorphisms. Nothing is hashed, so the counts are exact.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, permutations, product

import numpy as np

from cgir.typing import IntArray

from .space import MAX_EDGES, OPS, Cell, Matrix


class CellIndex:
    """A sequence of unique cells, made on demand: `starts[i]` cells precede wiring i, whose operations are rows of
    `choices[group[i]]`.
    """

    def __init__(self, vertices: int) -> None:
        pairs = list(combinations(range(vertices), 2))
        renamings = [(0, *order, vertices - 1) for order in permutations(range(1, vertices - 1))]
        self.vertices, self.pairs = vertices, pairs
        self.wirings = _smallest(_live(pairs, vertices), pairs, renamings)
        symmetric = np.stack([_renamed(self.wirings, pairs, p) == self.wirings for p in renamings], 1)
        groups, self.group = np.unique(symmetric, axis=0, return_inverse=True)
        self.choices = [
            _operations(vertices - 2, [p for p, holds in zip(renamings, row, strict=True) if holds]) for row in groups
        ]
        sizes = np.asarray([len(rows) for rows in self.choices])[self.group]
        self.starts = np.concatenate([[0], np.cumsum(sizes)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, number: int) -> Cell:
        if not 0 <= number < len(self):
            raise IndexError(number)
        wiring = int(np.searchsorted(self.starts, number, side="right")) - 1
        ops = self.choices[self.group[wiring]][number - int(self.starts[wiring])]
        return Cell(_matrix(int(self.wirings[wiring]), self.vertices), tuple(ops.tolist()))


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
def _matrix(code: int, vertices: int) -> Matrix:
    bits = iter(range(vertices * vertices))
    return tuple(tuple(code >> next(bits) & 1 if i < j else 0 for j in range(vertices)) for i in range(vertices))


@lru_cache(maxsize=8)
def unique_cells(max_vertices: int) -> UniqueCells:
    """All unique cells of 2 .. `max_vertices` vertices."""
    return UniqueCells(max_vertices)


def _live(pairs: list[tuple[int, int]], vertices: int) -> IntArray:
    """Wirings in which every vertex has a way in and a way out, hence lies on a path from input to output."""
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


def _renamed(codes: IntArray, pairs: list[tuple[int, int]], renaming: tuple[int, ...]) -> IntArray:
    """Wirings after vertex v became `renaming[v]`; those that are then not upper triangular become 2^62, larger than
    any wiring.
    """
    place = {pair: bit for bit, pair in enumerate(pairs)}
    result = np.zeros_like(codes)
    for bit, (i, j) in enumerate(pairs):
        target = place.get((renaming[i], renaming[j]))
        present = codes >> bit & 1
        result |= present << (62 if target is None else target)
    return np.minimum(result, np.int64(1) << 62)


def _smallest(codes: IntArray, pairs: list[tuple[int, int]], renamings: list[tuple[int, ...]]) -> IntArray:
    """Those codes that no renaming makes smaller."""
    for renaming in renamings:
        codes = codes[_renamed(codes, pairs, renaming) >= codes]
    return codes


def _operations(interior: int, symmetries: list[tuple[int, ...]]) -> IntArray:
    """(n, interior): one row of operations for each orbit under the wiring's symmetries."""
    rows = np.asarray(list(product(range(len(OPS)), repeat=interior)), np.int64)
    number = _number(rows)
    keep = np.ones(len(rows), bool)
    for renaming in symmetries:
        order = np.argsort(renaming[1:-1])
        keep &= number[_number(rows[:, order])] >= number
    return rows[keep]


def _number(rows: IntArray) -> IntArray:
    """Place of each row among all rows in lexicographic order."""
    result: IntArray = rows @ len(OPS) ** np.arange(rows.shape[1] - 1, -1, -1)
    return result
