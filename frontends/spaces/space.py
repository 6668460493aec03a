"""`Space`: the interface of a search space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from math import prod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np

from cgir.batch_builder import BatchBuilder
from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch

from .cell import CellGraph
from .cell_kinds import pack_cells

if TYPE_CHECKING:
    import torch

_LARGEST, _MOST_NUMBERS = (1 << 63) - 1, 64  # numbers in a field of a skeleton
_REPEATED = ("cells", "stacks", "layers", "stages", "depths")  # fields that multiply the nodes of a network
_MOST_CELLS = 100_000
S = TypeVar("S", bound=Hashable)


class Space(ABC, Generic[S]):
    """A search space: a frozen dataclass whose fields are the skeleton around the searched part.

    Specs, the points of the space, are hashable and immutable. `graph(spec)` is canonical and isomorphic to the traced
    `module(spec)`. Fields are positive integers or tuples of them, also fractions where they declare
    `metadata={"fractions": True}`, or declare `metadata={"choices": ...}`.
    """

    name: ClassVar[str]
    image: tuple[int, int, int]

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value, choices = getattr(self, field.name), field.metadata.get("choices")
            numbers = value if isinstance(value, tuple) else (value,)
            if field.name == "image" and len(numbers) != 3:
                raise SpecError(f"{self.name}: image={value!r}; expected channels, height, width")
            if choices and value not in choices:
                raise SpecError(f"{self.name}: {field.name}={value!r}; expected one of {', '.join(map(repr, choices))}")
            if (
                any(type(number) in (int, float) and number > _LARGEST for number in numbers)
                or len(numbers) > _MOST_NUMBERS
            ):
                raise SpecError(
                    f"{self.name}: {field.name} is too large; expected up to {_MOST_NUMBERS} 63-bit integers"
                )
            is_of_kind = field.default is MISSING or isinstance(value, tuple) is isinstance(field.default, tuple)
            types, what = ((int, float), "numbers") if field.metadata.get("fractions") else ((int,), "integers")
            are_sizes = bool(numbers) and all(type(number) in types and number > 0 for number in numbers)
            if not choices and not (is_of_kind and are_sizes):
                raise SpecError(
                    f"{self.name}: {field.name}={value!r}; "
                    f"expected positive {what}, as in the default {field.default!r}"
                )
        repeated = [field.name for field in fields(self) if field.name in _REPEATED]  # type: ignore[arg-type]
        values = [getattr(self, name) for name in repeated]
        repeats = prod(sum(value) if isinstance(value, tuple) else value for value in values)
        if repeats > _MOST_CELLS:
            raise SpecError(f"{self.name}: a skeleton of {repeats:,} cells or layers; expected at most {_MOST_CELLS:,}")

    @abstractmethod
    def parse(self, text: str) -> S:
        """The spec of a string.

        Raises:
            SpecError: the string is no spec of this space; says what is wrong and where.
        """

    @abstractmethod
    def format(self, spec: S) -> str:
        """The string `parse` reads back."""

    @abstractmethod
    def network(self, build: GraphBuilder, spec: S) -> None:
        """Write the whole network, canonical, from Input to Output; parts that occur again by `build.subgraph`."""

    @abstractmethod
    def module(self, spec: S) -> torch.nn.Module:
        """The whole network in PyTorch, newly initialised."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> S:
        """A random spec, uniform over `enumerate()`."""

    @abstractmethod
    def mutate(self, spec: S, rng: np.random.Generator) -> S:
        """Another spec of the space, a small change away."""

    def crossover(self, first: S, second: S, rng: np.random.Generator) -> S:
        """A spec with each choice from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.

        Raises:
            SpecError: the space has no such thing.
        """
        raise SpecError(f"{self.name}: two networks cannot be crossed in this space; use crossover=0")

    @abstractmethod
    def enumerate(self) -> Iterator[S]:
        """Every spec, in a fixed order."""

    def count(self) -> int | None:
        """How many specs `enumerate()` gives; None: without end. Here they are counted, so large spaces compute it."""
        return sum(1 for _ in self.enumerate())

    @abstractmethod
    def cell_graph(self, spec: S) -> CellGraph:
        """The graph of the searched part alone, operators on nodes, as the literature on predictors encodes it."""

    def module_names(self, spec: S) -> Mapping[str, str]:
        """Names of the subgraphs of `network` in drawings and explanations, by the module paths that they have without.

        A subgraph that has no name here is called by its function and a number, as `stem0`.
        """
        return {}

    def graph(self, spec: S) -> Graph:
        """The whole network as a canonical graph, without any framework."""
        build = GraphBuilder(self.name, self.module_names(spec))
        self.network(build, spec)
        return build.build()

    def graphs(self, specs: Iterable[S]) -> GraphBatch:
        """The graphs of many specs as arrays, compiled without an object per node; equal to packing them one by one."""
        build = BatchBuilder()
        for spec in specs:
            self.network(build, spec)
            build.end()
        return build.batch()

    def cell_graphs(self, specs: Iterable[S], skip_nodes: bool = True, pruned: bool = True) -> GraphBatch:
        """The cell graphs of many specs as arrays, without dead nodes; encoders read them as they read networks.

        There is a node for each operator; one that reads several sums them. Kinds and their nominal shapes:
        `cell_kinds`. Of a cell without a path from an input to an output only its inputs and outputs are left, without
        edges, unless all nodes are kept.

        Args:
            specs: points of the space.
            skip_nodes: whether skips are nodes; else they are contracted as identities are in networks, and an edge may
                occur twice.
            pruned: False: with zero operations and nodes on no path, which benchmarks run all the same: measured
                latencies depend on them.

        Raises:
            SpecError: an operator of a cell has no node kind.
        """
        cells = (self.cell_graph(spec).pruned() if pruned else self.cell_graph(spec) for spec in specs)
        return pack_cells(cells if skip_nodes else (cell.contracted() for cell in cells))

    def inputs(self, spec: S) -> tuple[torch.Tensor, ...]:
        """What `module(spec)` is called with, on the meta device: a batch of one image."""
        import torch

        return (torch.empty(1, *self.image, device="meta"),)
