"""NAS-Bench-Macro (Su et al. 2021): 6,561 networks of eight layers, each an identity or one of two MobileNetV2 blocks.

Strings are one digit per layer: 0 identity, 1 expansion 3 with kernel 3, 2 expansion 6 with kernel 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import check_choices, check_text, uniform_crossover
from frontends.spaces.mbconv.blocks import bottleneck, conv_bn, head
from frontends.spaces.space import Space

from .spec import BOTTLENECKS, NUM_CHOICES, LayerSpec, Spec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NasBenchMacro(Space[Spec]):
    """`stages` are numbers of layers; the first layer of each doubles the channels and halves the size."""

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
        if len(check_text(text, self.name)) != sum(self.stages):
            raise SpecError(
                f"nasbench_macro: {len(text)} characters in {text!r}; expected {sum(self.stages)}, one per block"
            )
        check_choices(text, text, "012", "character", self.name)
        return tuple(map(int, text))

    def format(self, spec: Spec) -> str:
        """A digit per block."""
        return "".join(map(str, spec))

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        x = build.subgraph(_stem, build.input(self.image), self.channels)
        for layer in self._layers(spec):
            x = build.subgraph(_layer, x, layer)
        build.subgraph(head, x, self.head, "ReLU", self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_network import NasBenchMacroNetwork

        return NasBenchMacroNetwork(self._layers(spec), self.head, self.image, self.classes)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over all strings."""
        return tuple(map(int, rng.integers(NUM_CHOICES, size=sum(self.stages))))

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another choice for one block."""
        position = int(rng.integers(len(spec)))
        choice = (spec[position] + int(rng.integers(1, NUM_CHOICES))) % NUM_CHOICES
        return (*spec[:position], choice, *spec[position + 1 :])

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each block from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        return uniform_crossover(first, second, rng)

    def enumerate(self) -> Iterator[Spec]:
        """All strings; identities that keep the shape make many of them equal as graphs."""
        return product(range(NUM_CHOICES), repeat=sum(self.stages))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the blocks, named "identity", "mb_e3_k3" and "mb_e6_k5"."""
        names = ("identity", *(f"mb_e{expansion}_k{kernel}" for expansion, kernel in BOTTLENECKS.values()))
        return chain([names[choice] for choice in spec])

    def _layers(self, spec: Spec) -> list[LayerSpec]:
        shapes = []
        for stage, layers in enumerate(self.stages):
            channels = self.channels * 2 ** (stage + 1)
            shapes += [(channels // 2, channels, 2)] + [(channels, channels, 1)] * (layers - 1)
        return [LayerSpec(choice, *shape) for choice, shape in zip(spec, shapes, strict=True)]


def _stem(build: GraphBuilder, x: int, channels: int) -> int:
    return build.relu(conv_bn(build, x, channels, 3))


def _layer(build: GraphBuilder, x: int, layer: LayerSpec) -> int:
    if layer.choice:
        return bottleneck(build, x, layer.bottleneck)
    return x if layer.keeps_shape else conv_bn(build, x, layer.out_channels, 1, layer.stride)
