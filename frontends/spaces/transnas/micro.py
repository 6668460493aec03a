"""TransNAS-Bench-101's cell-level space (Duan et al. 2021): 4,096 cells, operations on edges between four nodes.

Strings are `64-41414-1_30_321`: channels after the stem, layout, and nodes 1 to 3 with an operation for every earlier
node (0 zeroize, 1 skip, 2 conv1x1, 3 conv3x3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph
from frontends.spaces.choices import check_text, uniform_crossover
from frontends.spaces.edge_cell import EDGES, edge_cell_graph

from .common import TransNas
from .tasks import OPS, TransNasBackbone

LAYOUT = (4, 1, 4, 1, 4)
PREFIX = "64-41414-"

Spec = tuple[int, ...]  # the code of every edge in `edge_cell.EDGES`


@dataclass(frozen=True)
class TransNasMicro(TransNas[Spec]):
    """Five modules of `cells` equal cells.

    The first cell of the first, third and fifth module doubles the channels and halves height and width.
    Strings always begin with the benchmark's 64 channels, whatever `channels` the skeleton has.
    """

    name: ClassVar[str] = "transnas_micro"

    def parse(self, text: str) -> Spec:
        """The benchmark's string -> codes of the six edges.

        Raises:
            SpecError: not of the form `64-41414-a_bc_def`, or a code that is not 0, 1, 2 or 3.
        """
        if not check_text(text, self.name).startswith(PREFIX):
            raise SpecError(
                f"{self.name}: {text!r} begins with {text[: len(PREFIX)]!r}; "
                f"expected {PREFIX!r}, as in 64-41414-1_30_321"
            )
        nodes = text.removeprefix(PREFIX).split("_")
        if len(nodes) != 3:
            raise SpecError(
                f"{self.name}: {len(nodes)} nodes separated by '_' in {text!r}; expected 3, as in 64-41414-1_30_321"
            )
        for number, node in enumerate(nodes, 1):
            if len(node) != number or not set(node) <= set("0123"):
                raise SpecError(
                    f"{self.name}: node {number} of {text!r} is {node!r}; "
                    f"expected {number} operations, each 0, 1, 2 or 3"
                )
        return tuple(map(int, "".join(nodes)))

    def format(self, spec: Spec) -> str:
        """The benchmark's string."""
        a, *rest = map(str, spec)
        return f"{PREFIX}{a}_{''.join(rest[:2])}_{''.join(rest[2:])}"

    def backbone(self, spec: Spec) -> TransNasBackbone:
        """The layout is the same for all cells."""
        return TransNasBackbone(LAYOUT, tuple(OPS[code] for code in spec), self.channels, self.cells)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over the 4,096 strings."""
        return tuple(rng.integers(len(OPS), size=len(EDGES)).tolist())

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another operation on one edge."""
        edge = int(rng.integers(len(spec)))
        code = (spec[edge] + int(rng.integers(1, len(OPS)))) % len(OPS)
        return (*spec[:edge], code, *spec[edge + 1 :])

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each edge from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        return uniform_crossover(first, second, rng)

    def enumerate(self) -> Iterator[Spec]:
        """All 4,096 strings; in 169 of them the output does not depend on the input."""
        return product(range(len(OPS)), repeat=len(EDGES))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """Eight nodes: the input, the operations of the six edges in the order of the string, the output."""
        return edge_cell_graph(tuple(OPS[code] for code in spec))
