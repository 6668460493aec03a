"""NAS-Bench-Macro (Su et al. 2021): 6,561 networks of eight blocks, each an identity or one of two MobileNetV2 blocks.

Strings are one digit per block: 0 identity, 1 expansion 3 with kernel 3, 2 expansion 6 with kernel 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.mbconv.blocks import Block, bottleneck, conv_bn, head
from frontends.spaces.space import Space

if TYPE_CHECKING:
    import torch

BLOCKS = {1: (3, 3), 2: (6, 5)}  # choice -> (expansion, kernel)
CHOICES = 3

Spec = tuple[int, ...]


class Layer(NamedTuple):
    """One block in its place: what was chosen, and the shape change its position asks for."""

    choice: int
    inner: int
    outer: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether a shortcut can go around the block."""
        return self.inner == self.outer and self.stride == 1

    @property
    def block(self) -> Block:
        """The inverted bottleneck that was chosen."""
        expand, kernel = BLOCKS[self.choice]
        return Block(self.inner * expand, self.outer, kernel, self.stride)


@dataclass(frozen=True)
class NasBenchMacro(Space[Spec]):
    """`stages` gives the number of blocks per stage; the first block of each doubles the channels and halves the size."""

    name: ClassVar[str] = "nasbench_macro"
    channels: int = 32
    stages: tuple[int, ...] = (2, 3, 3)
    head: int = 1280
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def parse(self, text: str) -> Spec:
        """A digit per block -> choices.

        Raises:
            SpecError: another number of digits than blocks, or a digit that is not 0, 1 or 2.
        """
        if len(text) != sum(self.stages):
            raise SpecError(
                f"nasbench_macro: {len(text)} characters in {text!r}; expected {sum(self.stages)}, one per block"
            )
        for position, digit in enumerate(text):
            if digit not in "012":
                raise SpecError(f"nasbench_macro: character {position} of {text!r} is {digit!r}; expected 0, 1 or 2")
        return tuple(map(int, text))

    def format(self, spec: Spec) -> str:
        """A digit per block."""
        return "".join(map(str, spec))

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        x = build.subgraph(_stem, build.input(self.image), self.channels)
        for layer in self._layers(spec):
            x = build.subgraph(_block, x, layer)
        build.subgraph(head, x, self.head, "ReLU", self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_network import Network

        return Network(self._layers(spec), self.head, self.image, self.classes)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over all strings."""
        return tuple(map(int, rng.integers(CHOICES, size=sum(self.stages))))

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another choice for one block."""
        place = int(rng.integers(len(spec)))
        return (*spec[:place], (spec[place] + int(rng.integers(1, CHOICES))) % CHOICES, *spec[place + 1 :])

    def enumerate(self) -> Iterator[Spec]:
        """All strings; identities that keep the shape make many of them equal as graphs."""
        return product(range(CHOICES), repeat=sum(self.stages))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the blocks, named "identity", "mb_e3_k3" and "mb_e6_k5"."""
        names = ("identity", *(f"mb_e{expand}_k{kernel}" for expand, kernel in BLOCKS.values()))
        return chain([names[choice] for choice in spec])

    def _layers(self, spec: Spec) -> list[Layer]:
        places = []
        for stage, blocks in enumerate(self.stages):
            outer = self.channels * 2 ** (stage + 1)
            places += [(outer // 2, outer, 2)] + [(outer, outer, 1)] * (blocks - 1)
        return [Layer(choice, *place) for choice, place in zip(spec, places, strict=True)]


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    return build.relu(conv_bn(build, x, channels, 3))


def _block(build: GraphBuilder, x: int, layer: Layer) -> int:
    if layer.choice:
        return bottleneck(build, x, layer.block)
    return x if layer.keeps_shape else conv_bn(build, x, layer.outer, 1, layer.stride)
