"""LSTM language models of Penn Treebank (Baker et al. 2018): 280 numbers of layers and of hidden units.

Strings are `l=2;h=90`: 2 to 5 layers, 10 to 1,390 hidden units in steps of 20. The authors' table, lstm_ptb.csv, lists
no more. Assumed are the data set's vocabulary of 10,000 words, an embedding of 400 as in other models of this data, a
decoder with weights of its own, and the number of `steps`. The layers, with their loop over a sequence, are one node,
as in traced networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product, starmap
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.graph import Shape
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import resample, uniform_crossover
from frontends.spaces.mbconv.blocks import IntegerCode, format_codes, parse_codes
from frontends.spaces.space import Space

if TYPE_CHECKING:
    import torch

LAYERS, HIDDEN = (2, 3, 4, 5), tuple(range(10, 1400, 20))
CODES = {"l": IntegerCode(1, LAYERS), "h": IntegerCode(1, HIDDEN)}
CHOICES: tuple[tuple[int, ...], ...] = (LAYERS, HIDDEN)
EXAMPLE = "l=2;h=90"


class Spec(NamedTuple):
    """Number of layers, and of hidden units in each."""

    layers: int
    hidden: int


@dataclass(frozen=True)
class Lstm(Space[Spec]):
    """Embedding, the layers, and a decoder; for sequences of `steps` words."""

    name: ClassVar[str] = "lstm"
    vocabulary: int = 10_000
    embedding: int = 400
    steps: int = 35

    def parse(self, text: str) -> Spec:
        """`l=..;h=..` -> spec.

        Raises:
            SpecError: not of this form, or a number that the space does not have.
        """
        return Spec(*(number for (number,) in parse_codes(self.name, text, CODES, EXAMPLE)))

    def format(self, spec: Spec) -> str:
        """`l=..;h=..`."""
        return format_codes({"l": (spec.layers,), "h": (spec.hidden,)})

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        x = build.input((self.steps,))
        x = build.add_node("Embedding", (x,), (self.embedding, self.steps), ((self.vocabulary, self.embedding),))
        x = build.subgraph(_layers, x, spec.layers, spec.hidden)
        build.output(build.linear(x, self.vocabulary))

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch, without dropout."""
        from .torch_network import LstmNetwork

        return LstmNetwork(self.vocabulary, self.embedding, spec.layers, spec.hidden)

    def inputs(self, spec: Spec) -> tuple[torch.Tensor, ...]:
        """Words (1, steps), on the meta device."""
        import torch

        return (torch.empty(1, self.steps, dtype=torch.int64, device="meta"),)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over the 280."""
        return Spec(*(choices[int(rng.integers(len(choices)))] for choices in CHOICES))

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another number of layers, or of hidden units."""
        position = int(rng.integers(2))
        return Spec(*resample(tuple(spec), position, CHOICES[position], rng))

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each number from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        return Spec(*uniform_crossover(tuple(first), tuple(second), rng))

    def enumerate(self) -> Iterator[Spec]:
        """All 280, by the number of layers."""
        return starmap(Spec, product(*CHOICES))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the layers, named "lstm_HIDDEN"."""
        return chain([f"lstm_{spec.hidden}"] * spec.layers)


def _layers(build: GraphBuilder, x: int, layers: int, hidden: int) -> int:
    embedding, steps = build.shape(x)
    weights: tuple[Shape, ...] = ()
    for in_features in (embedding, *(hidden,) * (layers - 1)):
        weights += ((4 * hidden, in_features), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))
    return build.add_node("LSTM", (x,), (hidden, steps), weights, hidden=hidden, layers=layers, bidirectional=False)
