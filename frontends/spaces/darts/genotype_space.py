"""What the spaces of genotypes share: DARTS, and with it NAS-Bench-301, and NASNet."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph
from frontends.spaces.space import Space

from .genotype import CELLS, Cell, Edge, Genotype, read
from .graph_writer import layers_of, reductions, write

if TYPE_CHECKING:
    import torch

Concats = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class GenotypeSpace(Space[Genotype]):
    """`layers` cells, those at one and two thirds reduction cells, of `channels`, `2 channels` and `4 channels`; no
    auxiliary head.
    """

    nodes: ClassVar[int]
    ops: ClassVar[tuple[str, ...]]  # that a string may name
    searched: ClassVar[tuple[str, ...]]  # that are sampled
    channels: int = 36
    layers: int = 20
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        factor = 2 ** len(reductions(self.layers))
        if any(size % factor for size in self.image[1:]):
            raise SpecError(
                f"{self.name}: image={self.image!r} of {self.layers} layers; expected height and width to be multiples of {factor}"
            )

    @abstractmethod
    def concat(self, cell: Cell) -> tuple[int, ...]:
        """The states that a cell concatenates."""

    @abstractmethod
    def sources(self, cell: Cell, place: int) -> tuple[int, ...]:
        """The states that pair `place` may read, given the other pair of its node."""

    def concats(self, spec: Genotype) -> Concats:
        """The states that both cells concatenate."""
        return self.concat(spec.normal), self.concat(spec.reduce)

    def parse(self, text: str) -> Genotype:
        """The string of a genotype, as the authors' programs print it. Pairs keep their order.

        Raises:
            SpecError: no genotype, or one outside the space.
        """
        spec, concats = read(text, self.name, self.nodes, self.ops)
        for name, cell, concat in zip(CELLS, spec, concats, strict=True):
            for place, edge in enumerate(cell):
                if edge.source not in self.sources(cell, place):
                    raise SpecError(
                        f"{self.name}: both pairs of node {place // 2} in the {name} cell read state {edge.source}; expected different ones"
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
        """The whole network, without what its output does not depend on."""
        write(
            build,
            layers_of(spec, self.concats(spec), self.channels, self.layers),
            self.image,
            self.channels,
            self.classes,
        )

    def module(self, spec: Genotype) -> torch.nn.Module:
        """The whole network in PyTorch, all of it: what a genotype leaves unused is built, as by the authors, but not
        run.
        """
        from .torch_network import Network

        return Network(spec, self.concats(spec), self.channels, self.layers, self.image, self.classes)

    def mutate(self, spec: Genotype, rng: np.random.Generator) -> Genotype:
        """Another operation, or another input, of one pair in one of the two cells; uniformly among all such changes of
        a random pair.
        """
        which, place = int(rng.integers(2)), int(rng.integers(2 * self.nodes))
        cell = spec[which]
        edge = cell[place]
        changes = [Edge(op, edge.source) for op in self.searched if op != edge.op]
        changes += [Edge(edge.op, source) for source in self.sources(cell, place) if source != edge.source]
        changed = self.ordered((*cell[:place], changes[int(rng.integers(len(changes)))], *cell[place + 1 :]))
        return Genotype(changed, spec.reduce) if which == 0 else Genotype(spec.normal, changed)

    def ordered(self, cell: Cell) -> Cell:
        """The cell with the pairs of each node in the order of `enumerate`."""
        return cell

    def cell_graph(self, spec: Genotype) -> CellGraph:
        """Both cells side by side, the normal one first. Nodes of a cell: input_1, input_2, the operations in the order
        of the pairs, output.

        An operation feeds every operation that reads its node, and the output if its node is concatenated; sums are
        implied. This is the encoding with 11 vertices for a cell of DARTS and 13 for one of NASNet that predictors on
        Network Design Spaces use.
        """
        ops: list[str] = []
        edges: list[tuple[int, int]] = []
        for cell in spec:
            start = len(ops)
            ops += ["input_1", "input_2", *(edge.op for edge in cell), "output"]
            reads = [(edge.source, place) for place, edge in enumerate(cell, 2)] + [
                (state, len(cell) + 2) for state in self.concat(cell)
            ]
            edges += [
                (start + origin, start + target)
                for state, target in reads
                for origin in ((state,) if state < 2 else (2 * state - 2, 2 * state - 1))
            ]
        return CellGraph(tuple(ops), tuple(sorted(edges)))
