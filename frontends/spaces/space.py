"""What every search space offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from cgir.features import GraphBatch
from cgir.graph import Graph, Node, Param

if TYPE_CHECKING:
    import torch

S = TypeVar("S", bound=Hashable)


class Space(ABC, Generic[S]):
    """A search space: a frozen dataclass whose fields are the skeleton around the searched part. Specs are hashable and do not change.

    `graph(spec)` is canonical and isomorphic to the traced `module(spec)`.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not numbers or not all(type(number) is int and number > 0 for number in numbers):
                raise SpecError(f"{self.name}: {field.name}={value!r}; expected positive integers, as in the default {field.default!r}")

    @abstractmethod
    def parse(self, text: str) -> S:
        """The spec a string stands for; SpecError says what is wrong and where."""

    @abstractmethod
    def format(self, spec: S) -> str:
        """The string `parse` reads back."""

    @abstractmethod
    def graph(self, spec: S) -> Graph:
        """The whole network as a canonical graph, without any framework."""

    @abstractmethod
    def module(self, spec: S) -> torch.nn.Module:
        """The whole network in PyTorch, newly initialised."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> S:
        """A spec drawn uniformly from `enumerate()`."""

    @abstractmethod
    def mutate(self, spec: S, rng: np.random.Generator) -> S:
        """Another spec of the space, a small step away."""

    @abstractmethod
    def enumerate(self) -> Iterator[S]:
        """Every spec, in a fixed order."""

    def graphs(self, specs: Iterable[S]) -> GraphBatch:
        """The graphs of many specs, packed."""
        return GraphBatch.from_graphs(map(self.graph, specs))


def chain(build: GraphBuilder, x: int, count: int, cell: Callable[[int], int]) -> int:
    """`count` equal cells in a row. `cell(x)` adds one that keeps the shape of x; the others are copies of its nodes, which is faster."""
    if not count:
        return x
    start = len(build.nodes)
    result = cell(x)
    template = build.nodes[start:]
    size, place = len(template), result - start
    for copy in range(1, count if template else 1):
        first = start + copy * size
        for node in template:
            index = len(build.nodes)
            inputs = tuple([result if source < start else source + copy * size for source in node.inputs])
            params = tuple([Param(f"{index}.{slot}", param.shape) for slot, param in enumerate(node.params)])
            build.nodes.append(Node(node.op, inputs, node.in_shapes, node.shape, params, node.attrs, f"{node.op.lower()}_{index}"))
        result = first + place
    return result
