"""MnasNet (Tan et al. 2019): seven stages of equal inverted bottlenecks, 3.8 * 10^14 networks.

Every stage chooses expansion (1, 3, 4, 6), kernel (3, 5, 7), number of blocks (1 to 4) and squeeze-and-excitation (0,
1), and the network the height and width of its image. Strings are `e=1 6 ..;k=3 3 ..;l=1 2 ..;se=0 0 ..;r=224`, seven
numbers each. Widths and strides are a skeleton.

Expansion 1 is the paper's SepConv, a depthwise and a 1x1 convolution. The paper's search also has plain convolutions
and other widths; it has no expansion 4, which Once-for-All's stacks have. Squeeze-and-excitation has a quarter of the
block's input channels in the middle, as in the authors' mnasnet_model.py; convolutions are padded alike on both sides,
as in timm and torchvision (the authors pad as TensorFlow does, which changes neither parameters nor FLOPs). MnasNet-A1
and -B1 are `A1` and `B1`, B1 with `widths=B1_WIDTHS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product, starmap
from math import prod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import resample, uniform_crossover
from frontends.spaces.space import Space

from .blocks import BottleneckSpec, IntegerCode, features, format_codes, head, parse_codes

if TYPE_CHECKING:
    import torch

STAGES = 7
STRIDES = (1, 2, 2, 2, 1, 2, 1)
EXPANSIONS, KERNELS, LAYERS, SQUEEZED = (1, 3, 4, 6), (3, 5, 7), (1, 2, 3, 4), (0, 1)
RESOLUTIONS = (96, 128, 160, 192, 224)  # figure 5
CHOICES = {"e": EXPANSIONS, "k": KERNELS, "l": LAYERS, "se": SQUEEZED}
CODES = {key: IntegerCode(STAGES, choices) for key, choices in CHOICES.items()} | {"r": IntegerCode(1, RESOLUTIONS)}
A1 = "e=1 6 3 6 6 6 6;k=3 3 5 3 3 5 3;l=1 2 3 4 2 3 1;se=0 0 1 0 1 1 0;r=224"
B1 = "e=1 3 3 6 6 6 6;k=3 3 5 5 3 5 3;l=1 3 3 3 2 4 1;se=0 0 0 0 0 0 0;r=224"
B1_WIDTHS = (16, 24, 40, 80, 96, 192, 320)


class Stage(NamedTuple):
    """Settings of all blocks of a stage, in the order of the string."""

    expansion: int
    kernel: int
    layers: int
    squeezed: int


class Spec(NamedTuple):
    """Seven stages, and height and width of the image."""

    stages: tuple[Stage, ...]
    r: int


@dataclass(frozen=True)
class MnasNet(Space[Spec]):
    """`widths` are the channels of the stages; a stem before them, a convolution 1x1 to `head` channels after."""

    name: ClassVar[str] = "mnasnet"
    stem: int = 32
    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 160, 320)
    head: int = 1280
    classes: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != STAGES:
            raise SpecError(f"mnasnet: {len(self.widths)} widths; expected {STAGES}, one per stage")

    def parse(self, text: str) -> Spec:
        """`e=..;k=..;l=..;se=..;r=..` -> spec.

        Raises:
            SpecError: not of this form, or a number that the space does not have.
        """
        *rows, (r,) = parse_codes(self.name, text, CODES, A1)
        return Spec(tuple(Stage(*column) for column in zip(*rows, strict=True)), r)

    def format(self, spec: Spec) -> str:
        """`e=..;k=..;l=..;se=..;r=..`."""
        return format_codes(dict(zip(CHOICES, zip(*spec.stages, strict=True), strict=True)) | {"r": (spec.r,)})

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network at the spec's image size."""
        x = features(build, (3, spec.r, spec.r), self.stem, "ReLU", self._blocks(spec))
        build.subgraph(head, x, self.head, "ReLU", self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch; it is the same for every image size."""
        from .torch_blocks import BottleneckNetwork

        return BottleneckNetwork(3, self.stem, "ReLU", self._blocks(spec), self.head, self.classes)

    def inputs(self, spec: Spec) -> tuple[torch.Tensor, ...]:
        """One image of the spec's size, on the meta device."""
        import torch

        return (torch.empty(1, 3, spec.r, spec.r, device="meta"),)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over networks and image sizes."""
        rows = [[choices[int(i)] for i in rng.integers(len(choices), size=STAGES)] for choices in CHOICES.values()]
        return Spec(
            tuple(Stage(*column) for column in zip(*rows, strict=True)),
            RESOLUTIONS[int(rng.integers(len(RESOLUTIONS)))],
        )

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another number in one place of the string."""
        row, stage_index = divmod(int(rng.integers(len(CHOICES) * STAGES + 1)), STAGES)
        if row == len(CHOICES):
            return spec._replace(r=resample((spec.r,), 0, RESOLUTIONS, rng)[0])
        stage = Stage(*resample(spec.stages[stage_index], row, tuple(CHOICES.values())[row], rng))
        return spec._replace(stages=(*spec.stages[:stage_index], stage, *spec.stages[stage_index + 1 :]))

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each stage, and the image size, from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        return Spec(
            uniform_crossover(first.stages, second.stages, rng), *uniform_crossover((first.r,), (second.r,), rng)
        )

    def enumerate(self) -> Iterator[Spec]:
        """Every network at every image size; no two are equal, unless the skeleton gives two stages one width."""
        stages = starmap(Stage, product(*CHOICES.values()))
        return (Spec(chosen, r) for chosen in product(stages, repeat=STAGES) for r in RESOLUTIONS)

    def count(self) -> int:
        """3.8e14."""
        return prod([*map(len, CHOICES.values())] * STAGES) * len(RESOLUTIONS)

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the blocks, named "sepconv_k3" or "mbconv_e6_k5"; without the image size.

        "_se" follows where there is squeeze-and-excitation, then "_first" for the first block of a stage.
        """
        names = []
        for stage in spec.stages:
            kind = "sepconv" if stage.expansion == 1 else f"mbconv_e{stage.expansion}"
            name = f"{kind}_k{stage.kernel}" + "_se" * stage.squeezed
            names += [name + "_first"] + [name] * (stage.layers - 1)
        return chain(names)

    def _blocks(self, spec: Spec) -> list[BottleneckSpec]:
        in_channels, blocks = self.stem, []
        for stage, out_channels, first in zip(spec.stages, self.widths, STRIDES, strict=True):
            for stride in (first, *[1] * (stage.layers - 1)):
                blocks.append(
                    BottleneckSpec(
                        in_channels * stage.expansion,
                        out_channels,
                        stage.kernel,
                        stride,
                        stage.squeezed * max(1, in_channels // 4),
                    )
                )
                in_channels = out_channels
        return blocks
