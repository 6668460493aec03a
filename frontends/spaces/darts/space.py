"""DARTS (Liu et al. 2019): 1.08e18 pairs of cells of four nodes, each the sum of operations on two earlier states.

The two states of a node are different.
Strings are `Genotype(normal=[('op', state), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))`.
The defaults are the authors' CIFAR network, which the label table `darts_cifar10` was measured on as well.
NAS-Bench-301 (Zela et al. 2022) trained the same cells with channels=32, layers=8; `from_nasbench301` reads its
configurations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from math import prod
from typing import ClassVar

import numpy as np

from cgir.errors import SpecError

from .genotype import CELLS, Cell, Edge, Genotype
from .genotype_space import GenotypeSpace
from .graph_writer import all_nodes

OPS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
NODES = 4
CONFIG_PREFIX = "NetworkSelectorDatasetInfo:darts:"


@dataclass(frozen=True)
class Darts(GenotypeSpace):
    """`layers` cells, those at one and two thirds reduction cells; every node is concatenated.

    A published number of parameters counts all that was built, also what a `none` leaves without effect: the sum over
    `module(spec)`. The graph has what the output depends on. The table's `flops_M` is the count of the tool thop:
    multiply-adds, 4 for each value that a BatchNorm returns, 1 for each of an average pooling, 65 for each of the last
    mean over 8 x 8 positions.
    """

    name: ClassVar[str] = "darts"
    nodes: ClassVar[int] = NODES
    ops: ClassVar[tuple[str, ...]] = OPS
    sampled_ops: ClassVar[tuple[str, ...]] = OPS[1:]

    def concat(self, cell: Cell) -> tuple[int, ...]:
        """All nodes."""
        return all_nodes(cell)

    def format_concat(self, cell: Cell) -> str:
        """As the authors' `genotype()` makes it."""
        return f"range(2, {len(cell) // 2 + 2})"

    def sources(self, cell: Cell, pair: int) -> tuple[int, ...]:
        """Every earlier state but the one the other pair of the node reads."""
        return tuple(state for state in range(pair // 2 + 2) if state != cell[pair ^ 1].source)

    def ordered(self, cell: Cell) -> Cell:
        """The two pairs of each node by their inputs."""
        return tuple(
            edge
            for start in range(0, len(cell), 2)
            for edge in sorted(cell[start : start + 2], key=lambda edge: edge.source)
        )

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Uniform over `enumerate()`: seven operations, `none` is not among them."""
        choices = _choices()
        cells = [tuple(edge for pairs in choices for edge in pairs[int(rng.integers(len(pairs)))]) for _ in CELLS]
        return Genotype(cells[0], cells[1])

    def enumerate(self) -> Iterator[Genotype]:
        """All (180 * 7^8)^2 genotypes without `none`, pairs in the order of their inputs."""
        for normal in _cells():
            for reduce in _cells():
                yield Genotype(normal, reduce)

    def count(self) -> int:
        """(180 * 7^8)^2."""
        return prod(map(len, _choices())) ** 2


def from_nasbench301(config: Mapping[str, object]) -> Genotype:
    """The genotype of a NAS-Bench-301 configuration, pairs in the order of their inputs.

    Source: the benchmark's nasbench301/representations.py.
    `...:edge_normal_E` is the operation on edge E, where the edges into node k are numbered after those into node k -
    1, by their input; `...:inputs_node_normal_S` says which two states state S > 2 reads, as "0_2". Other keys are
    ignored.

    Args:
        config: the `optimized_hyperparamater_config` of a training, or a ConfigSpace dictionary.

    Raises:
        SpecError: a key is missing, or its value is not one of the space.
    """
    cells = [_cell_of_config(config, cell) for cell in CELLS]
    return Genotype(cells[0], cells[1])


def _cell_of_config(config: Mapping[str, object], cell: str) -> Cell:
    edges: list[Edge] = []
    first = 0
    for state in range(2, NODES + 2):
        key = f"{CONFIG_PREFIX}inputs_node_{cell}_{state}"
        pairs = {f"{a}_{b}": (a, b) for a, b in combinations(range(state), 2)}
        chosen = "0_1" if state == 2 else config.get(key)
        if not isinstance(chosen, str) or chosen not in pairs:
            raise SpecError(f"darts: {key} is {chosen!r}; expected one of {', '.join(pairs)}")
        for source in pairs[chosen]:
            key = f"{CONFIG_PREFIX}edge_{cell}_{first + source}"
            op = config.get(key)
            if not isinstance(op, str) or op not in OPS[1:]:
                raise SpecError(f"darts: {key} is {op!r}; expected one of {', '.join(OPS[1:])}")
            edges.append(Edge(op, source))
        first += state
    return tuple(edges)


@lru_cache(maxsize=1)
def _choices() -> list[list[tuple[Edge, Edge]]]:
    """For each node all choices of its two pairs."""
    return [
        [
            (Edge(first_op, a), Edge(second_op, b))
            for a, b in combinations(range(state), 2)
            for first_op, second_op in product(OPS[1:], repeat=2)
        ]
        for state in range(2, NODES + 2)
    ]


def _cells() -> Iterator[Cell]:
    return (tuple(edge for pair in pairs for edge in pair) for pairs in product(*_choices()))
