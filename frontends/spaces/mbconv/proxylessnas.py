"""ProxylessNAS (Cai et al. 2019): 21 inverted bottlenecks of expansion 3 or 6 and kernel 3, 5 or 7, or left out.

There are 2.2 * 10^17 strings.
Strings are the authors' names of the 21 choices (search/modules/mix_op.py), separated by spaces: `5x5_MBConv3
3x3_MBConv3 Zero ..`. `Zero` leaves the shortcut alone, so a block that changes the shape cannot be `Zero`. `MOBILE` is
the published network for phones, whose skeleton is the default; that of the one for GPUs is `stem=40, widths=(24, 32,
56, 112, 128, 256, 432), head=1728`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import check_text, resample, uniform_crossover
from frontends.spaces.space import Space

from .blocks import BottleneckSpec, features, head

if TYPE_CHECKING:
    import torch

STAGES = (4, 4, 4, 4, 4, 1)
STRIDES = (2, 2, 2, 1, 2, 1)
FIRSTS = frozenset(sum(STAGES[:stage]) for stage in range(len(STAGES)))
OPS = {f"{kernel}x{kernel}_MBConv{expansion}": (kernel, expansion) for kernel in (3, 5, 7) for expansion in (3, 6)}
ZERO = "Zero"
MOBILE = (
    "5x5_MBConv3 3x3_MBConv3 Zero Zero 7x7_MBConv3 3x3_MBConv3 5x5_MBConv3 5x5_MBConv3 "
    "7x7_MBConv6 5x5_MBConv3 5x5_MBConv3 5x5_MBConv3 5x5_MBConv6 5x5_MBConv3 5x5_MBConv3 5x5_MBConv3 "
    "7x7_MBConv6 7x7_MBConv6 7x7_MBConv3 7x7_MBConv3 7x7_MBConv6"
)
Spec = tuple[str, ...]  # the choice of every block


@dataclass(frozen=True)
class ProxylessNas(Space[Spec]):
    """`widths` are the channels of the first block, which does not expand, and of the six stages.

    The stages have 4, 4, 4, 4, 4 and 1 searched blocks.
    """

    name: ClassVar[str] = "proxylessnas"
    stem: int = 32
    widths: tuple[int, ...] = (16, 32, 40, 80, 96, 192, 320)
    head: int = 1280
    image: tuple[int, int, int] = (3, 224, 224)
    classes: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != len(STAGES) + 1:
            raise SpecError(
                f"proxylessnas: {len(self.widths)} widths; "
                f"expected {len(STAGES) + 1}: the first block's and one per stage"
            )

    def parse(self, text: str) -> Spec:
        """Names of the choices -> spec.

        Raises:
            SpecError: another number of names than blocks, an unknown name, or `Zero` where the block changes the
                shape.
        """
        spec = tuple(check_text(text, self.name).split())
        if len(spec) != sum(STAGES):
            raise SpecError(
                f"proxylessnas: {len(spec)} names in {text!r}; "
                f"expected {sum(STAGES)} separated by spaces, one per block"
            )
        for position, op in enumerate(spec):
            if op not in _choices(position):
                raise SpecError(
                    f"proxylessnas: name {position} of {text!r} is {op!r}; "
                    f"expected one of {', '.join(_choices(position))}"
                )
        return spec

    def format(self, spec: Spec) -> str:
        """Names of the choices."""
        return " ".join(spec)

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        x = features(build, self.image, self.stem, "ReLU6", self._blocks(spec))
        build.subgraph(head, x, self.head, "ReLU6", self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_blocks import BottleneckNetwork

        return BottleneckNetwork(self.image[0], self.stem, "ReLU6", self._blocks(spec), self.head, self.classes)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over strings."""
        return tuple(choices[int(rng.integers(len(choices)))] for choices in map(_choices, range(sum(STAGES))))

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another choice for one block; always another network."""
        position = int(rng.integers(len(spec)))
        return resample(spec, position, _choices(position), rng)

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each block from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        return uniform_crossover(first, second, rng)

    def enumerate(self) -> Iterator[Spec]:
        """All strings; those that differ in where a stage has its `Zero` are one network."""
        return product(*map(_choices, range(sum(STAGES))))

    def count(self) -> int:
        """The strings, not the networks."""
        return prod(len(_choices(position)) for position in range(sum(STAGES)))

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the 21 choices under their names, `Zero` as "identity": what is left of it is the shortcut."""
        return chain([op if op != ZERO else "identity" for op in spec])

    def _blocks(self, spec: Spec) -> list[BottleneckSpec]:
        in_channels = self.widths[0]
        blocks = [BottleneckSpec(self.stem, in_channels, 3, 1, activation="ReLU6")]
        stages = [
            (width, stride)
            for width, stride, count in zip(self.widths[1:], STRIDES, STAGES, strict=True)
            for _ in range(count)
        ]
        for position, (op, (out_channels, stride)) in enumerate(zip(spec, stages, strict=True)):
            if op != ZERO:
                kernel, expansion = OPS[op]
                blocks.append(
                    BottleneckSpec(
                        in_channels * expansion,
                        out_channels,
                        kernel,
                        stride if position in FIRSTS else 1,
                        activation="ReLU6",
                    )
                )
                in_channels = out_channels
        return blocks


def _choices(position: int) -> tuple[str, ...]:
    """Choices of a block: the first of a stage changes the shape and cannot be left out."""
    return tuple(OPS) if position in FIRSTS else (*OPS, ZERO)
