"""ResNets for small images (He et al. 2016, section 4.2): depth 6n + 2, as Baker et al. (2018) varied them.

Strings are `n=3;f=16;k=3`: blocks in each of the three stages, channels of the first stage, kernel of all convolutions
but the shortcuts'. Widths double from stage to stage, where the size is halved; there the shortcut is a convolution 1x1
with BatchNorm (He et al., option B). Baker et al. ("Accelerating neural architecture search using performance
prediction") say of their TinyImageNet networks of 32 x 32 pixels that blocks, channels (2 to 22) and kernels (3, 5, 7)
were varied, not how wide the later stages are and which shortcuts they have: these are He et al.'s. They speak of 2 to
18 blocks; their table has 1 to 17, and also 24 and 32 channels, so the space has 1 to 18 blocks and these channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product, starmap
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import resample, uniform_crossover
from frontends.spaces.mbconv.blocks import IntegerCode, conv_bn, parse_codes
from frontends.spaces.space import Space

from .graph_parts import conv_bn_relu, conv_name, pooled_classifier
from .spec import ResNetSpec

if TYPE_CHECKING:
    import torch

BLOCKS, FILTERS, KERNELS = tuple(range(1, 19)), (*range(2, 23), 24, 32), (3, 5, 7)
CHOICES = (BLOCKS, FILTERS, KERNELS)
CODES = {key: IntegerCode(1, choices) for key, choices in zip("nfk", CHOICES, strict=True)}
STAGES = 3


@dataclass(frozen=True)
class CifarResNet(Space[ResNetSpec]):
    """The fields are the image and the number of classes; all else is searched."""

    name: ClassVar[str] = "cifar_resnet"
    image: tuple[int, int, int] = (3, 32, 32)
    classes: int = 200

    def parse(self, text: str) -> ResNetSpec:
        """`n=3;f=16;k=3` -> spec.

        Raises:
            SpecError: not of this form, or a number that the space does not have.
        """
        return ResNetSpec(*(numbers[0] for numbers in parse_codes(self.name, text, CODES, "n=3;f=16;k=3")))

    def format(self, spec: ResNetSpec) -> str:
        """`n=3;f=16;k=3`."""
        return f"n={spec.blocks};f={spec.filters};k={spec.kernel}"

    def network(self, build: GraphBuilder, spec: ResNetSpec) -> None:
        """The whole network."""
        x = build.subgraph(conv_bn_relu, build.input(self.image), spec.filters, spec.kernel)
        for channels, stride in _blocks(spec):
            x = build.subgraph(_block, x, channels, spec.kernel, stride)
        build.subgraph(pooled_classifier, x, self.classes)

    def module(self, spec: ResNetSpec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_cifar_resnet import CifarResNetwork

        return CifarResNetwork(_blocks(spec), spec.kernel, self.image[0], self.classes)

    def sample(self, rng: np.random.Generator) -> ResNetSpec:
        """Uniform over all networks."""
        return ResNetSpec(*(choices[int(rng.integers(len(choices)))] for choices in CHOICES))

    def mutate(self, spec: ResNetSpec, rng: np.random.Generator) -> ResNetSpec:
        """Another number in one place of the string."""
        place = int(rng.integers(len(CHOICES)))
        return ResNetSpec(*resample(tuple(spec), place, CHOICES[place], rng))

    def crossover(self, first: ResNetSpec, second: ResNetSpec, rng: np.random.Generator) -> ResNetSpec:
        """Each number from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        return ResNetSpec(*uniform_crossover(tuple(first), tuple(second), rng))

    def enumerate(self) -> Iterator[ResNetSpec]:
        """All 1,242 networks; no two are equal."""
        return starmap(ResNetSpec, product(*CHOICES))

    def count(self) -> int:
        """1,242."""
        return prod(map(len, CHOICES))

    def cell_graph(self, spec: ResNetSpec) -> CellGraph:
        """A chain of the first convolution and the blocks, each named after a convolution: "convolution_3_1_16"."""
        blocks = [(spec.filters, 1), *_blocks(spec)]
        return chain([conv_name(spec.kernel, stride, channels) for channels, stride in blocks])


def _blocks(spec: ResNetSpec) -> list[tuple[int, int]]:
    """Channels and stride of every block."""
    return [
        (spec.filters * 2**stage, 2 if stage and not block else 1)
        for stage in range(STAGES)
        for block in range(spec.blocks)
    ]


def _block(build: GraphBuilder, x: int, channels: int, kernel: int, stride: int) -> int:
    y = conv_bn(build, conv_bn_relu(build, x, channels, kernel, stride), channels, kernel)
    keeps_shape = stride == 1 and build.shape(x)[0] == channels
    return build.relu(build.add(y, x if keeps_shape else conv_bn(build, x, channels, 1, stride)))
