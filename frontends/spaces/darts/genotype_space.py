"""Base class of the search spaces of genotypes: DARTS, and with it NAS-Bench-301, and NASNet."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph
from frontends.spaces.choices import uniform_crossover
from frontends.spaces.space import Space

from .genotype import CELLS, Cell, Edge, Genotype, parse_genotype
from .graph_writer import PlacedCell, compile_network, module_names, reduction_layers, write_network

if TYPE_CHECKING:
    import torch

Concats = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class GenotypeSpace(Space[Genotype]):
    """`layers` cells of `channels`, twice and four times as many; without auxiliary head.

    Those at one and two thirds of the depth are reduction cells, which double the channels.
    """

    nodes: ClassVar[int]
    ops: ClassVar[tuple[str, ...]]  # that a string may name
    sampled_ops: ClassVar[tuple[str, ...]]
    channels: int = 36
    layers: int = 20
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        factor = 2 ** len(reduction_layers(self.layers))
        if any(size % factor for size in self.image[1:]):
            raise SpecError(
                f"{self.name}: image={self.image!r} of {self.layers} layers; "
                f"expected height and width to be multiples of {factor}"
            )

    @abstractmethod
    def concat(self, cell: Cell) -> tuple[int, ...]:
        """The states that a cell concatenates."""

    @abstractmethod
    def sources(self, cell: Cell, pair: int) -> tuple[int, ...]:
        """The states that a pair, given by its index, may read, given the other pair of its node."""

    def concats(self, spec: Genotype) -> Concats:
        """The states that both cells concatenate."""
        return self.concat(spec.normal), self.concat(spec.reduce)

    def parse(self, text: str) -> Genotype:
        """The string of a genotype, as the authors' programs print it. Pairs keep their order.

        Raises:
            SpecError: no genotype, or one outside the space.
        """
        spec, concats = parse_genotype(text, self.name, self.nodes, self.ops)
        for name, cell, concat in zip(CELLS, spec, concats, strict=True):
            for pair, edge in enumerate(cell):
                if edge.source not in self.sources(cell, pair):
                    raise SpecError(
                        f"{self.name}: both pairs of node {pair // 2} in the {name} cell read state {edge.source}; "
                        "expected different ones"
                    )
            if sorted(concat) != list(self.concat(cell)):
                raise SpecError(f"{self.name}: {name}_concat is {list(concat)}; expected {list(self.concat(cell))}")
        return spec

    def format(self, spec: Genotype) -> str:
        """The string of a genotype."""
        fields = (
            f"{name}={[tuple(edge) for edge in cell]}, {name}_concat={self.format_concat(cell)}"
            for name, cell in zip(CELLS, spec, strict=True)
        )
        return f"Genotype({', '.join(fields)})"

    def format_concat(self, cell: Cell) -> str:
        """The concatenated states as written in strings."""
        return str(list(self.concat(cell)))

    def network(self, build: GraphBuilder, spec: Genotype) -> None:
        """The whole network, without nodes that its output does not depend on."""
        write_network(build, self._cells(spec), self.image, self.channels, self.classes)

    def module_names(self, spec: Genotype) -> dict[str, str]:
        """Cells and their edges: `cell2 (reduction).edge 0->3: max_pool_3x3`, states counted from both inputs on."""
        return module_names(spec, self._cells(spec), self.layers)

    def _cells(self, spec: Genotype) -> list[tuple[int, PlacedCell]] | None:
        return compile_network(spec, self.concats(spec), self.channels, self.layers)

    def module(self, spec: Genotype) -> torch.nn.Module:
        """The whole network in PyTorch; what a genotype leaves unused is built, as by the authors, but not run."""
        from .torch_network import DartsNetwork

        return DartsNetwork(spec, self.concats(spec), self.channels, self.layers, self.image, self.classes)

    def mutate(self, spec: Genotype, rng: np.random.Generator) -> Genotype:
        """Another operation, or another input, of a random pair of one of the cells; uniform over all such changes."""
        which, pair = int(rng.integers(2)), int(rng.integers(2 * self.nodes))
        cell = spec[which]
        edge = cell[pair]
        edges = [Edge(op, edge.source) for op in self.sampled_ops if op != edge.op]
        edges += [Edge(edge.op, source) for source in self.sources(cell, pair) if source != edge.source]
        changed = self.ordered((*cell[:pair], edges[int(rng.integers(len(edges)))], *cell[pair + 1 :]))
        return Genotype(changed, spec.reduce) if which == 0 else Genotype(spec.normal, changed)

    def crossover(self, first: Genotype, second: Genotype, rng: np.random.Generator) -> Genotype:
        """The pairs of each node from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        cells = zip(first, second, strict=True)
        return Genotype(*(self.ordered(_joined(uniform_crossover(_nodes(a), _nodes(b), rng))) for a, b in cells))

    def ordered(self, cell: Cell) -> Cell:
        """The cell with the pairs of each node in the order of `enumerate`."""
        return cell

    def cell_graph(self, spec: Genotype) -> CellGraph:
        """Both cells side by side, the normal one first.

        Nodes of a cell: input_1, input_2, the operations in the order of the pairs, output.
        An operation feeds every operation that reads its node, and the output if its node is concatenated; sums are
        implied. This is the encoding with 11 vertices for a cell of DARTS and 13 for one of NASNet that predictors on
        Network Design Spaces use.
        """
        ops: list[str] = []
        edges: list[tuple[int, int]] = []
        for cell in spec:
            start = len(ops)
            ops += ["input_1", "input_2", *(edge.op for edge in cell), "output"]
            uses = [(edge.source, node) for node, edge in enumerate(cell, 2)]
            uses += [(state, len(cell) + 2) for state in self.concat(cell)]
            edges += [
                (start + source, start + target)
                for state, target in uses
                for source in ((state,) if state < 2 else (2 * state - 2, 2 * state - 1))
            ]
        return CellGraph(tuple(ops), tuple(sorted(edges)))


def _nodes(cell: Cell) -> tuple[Cell, ...]:
    """The two pairs of each node."""
    return tuple(cell[first : first + 2] for first in range(0, len(cell), 2))


def _joined(nodes: tuple[Cell, ...]) -> Cell:
    return tuple(edge for pairs in nodes for edge in pairs)
