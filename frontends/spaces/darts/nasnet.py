"""NASNet's cells (Zoph et al. 2018, section 3.1) as DARTS builds them: five nodes, thirteen operations.

A node is the sum of operations on any two earlier states.
Strings are DARTS' genotypes, the concatenated nodes as a list: `normal_concat=[4, 5, 6]`. NASNet-A and AmoebaNet-A are
in the space as DARTS' authors wrote them down (`NASNet` and `AmoebaNet` in their cnn/genotypes.py). Operations that
DARTS lacks are built as in Network Design Spaces (Radosavovic et al. 2019), whose table 1 also says which spaces of
this kind concatenate what. The controller's choice between sum and concatenation in a node, which all published cells
decide for the sum, is not part of the space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import ClassVar

import numpy as np

from .genotype import CELLS, Cell, Edge, Genotype
from .genotype_space import GenotypeSpace
from .graph_writer import all_nodes, loose_ends

OPS = (
    "skip_connect", "conv_3x1_1x3", "conv_7x1_1x7", "dil_conv_3x3",
    "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5", "max_pool_7x7",
    "conv_1x1", "conv_3x3", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7",
)  # fmt: skip
NODES = 5


@dataclass(frozen=True)
class NasNet(GenotypeSpace):
    """A cell `concatenates` its "loose" nodes, which no other node reads, or "all".

    NASNet and AmoebaNet take the loose ones, PNAS and ENAS all.
    """

    name: ClassVar[str] = "nasnet"
    nodes: ClassVar[int] = NODES
    ops: ClassVar[tuple[str, ...]] = OPS
    sampled_ops: ClassVar[tuple[str, ...]] = OPS
    concatenates: str = field(default="loose", metadata={"choices": ("loose", "all")})

    def concat(self, cell: Cell) -> tuple[int, ...]:
        """The loose ends, or all nodes."""
        return loose_ends(cell) if self.concatenates == "loose" else all_nodes(cell)

    def sources(self, cell: Cell, pair: int) -> tuple[int, ...]:
        """Every earlier state."""
        return tuple(range(pair // 2 + 2))

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Uniform over `enumerate()`."""
        cells = [
            tuple(Edge(OPS[int(rng.integers(len(OPS)))], int(rng.integers(pair // 2 + 2))) for pair in range(2 * NODES))
            for _ in CELLS
        ]
        return Genotype(cells[0], cells[1])

    def enumerate(self) -> Iterator[Genotype]:
        """All 5.1e33 genotypes as written: the order of a node's two pairs, which means nothing, makes two of one."""
        for normal in _cells():
            for reduce in _cells():
                yield Genotype(normal, reduce)

    def count(self) -> int:
        """5.1e33."""
        return prod(map(len, _choices())) ** 2


def _cells() -> Iterator[Cell]:
    return product(*_choices())


def _choices() -> list[list[Edge]]:
    """For each pair all operations on all states before its node."""
    return [[Edge(op, source) for op in OPS for source in range(pair // 2 + 2)] for pair in range(2 * NODES)]
