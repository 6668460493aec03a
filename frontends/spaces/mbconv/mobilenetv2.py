"""MobileNetV2 with searched stages, for facial landmarks (Microsoft's archai, 2023): 1.5 * 10^10 networks.

Strings are timm's block strings and two multipliers: `ds_r1_k3_s1_c16 ir_r2_k3_s2_e6_c24 ..;w=1.0;d=0.75`. The six
stages after the first choose kernels (3, 5, 7); all of them but the first an expansion (2 to 6), and all but the first
and the last a number of blocks (1 to 4); stride and channels of a stage are those of MobileNetV2 (Sandler et al. 2018).
`w` multiplies the channels of these stages, rounded to multiples of 8, and `d` the number of blocks, rounded up; stem,
first stage and last convolution keep theirs. Source: archai's tasks/facial_landmark_detection, search_space.py and
model.py; its networks regress 70 points in images of 128 x 128.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import check_text, resample, uniform_crossover
from frontends.spaces.space import Space

from .blocks import BottleneckSpec, features, head
from .ofa_mbv3 import make_divisible

if TYPE_CHECKING:
    import torch

STAGES = 6
STRIDES = (2, 2, 2, 1, 2, 1)
REPEATS = ((2,), *[(1, 2, 3, 4)] * 4, (1,))
KERNELS = ((3, 5, 7),) * STAGES
EXPANSIONS = ((6,), *[(2, 3, 4, 5, 6)] * 5)
MULTIPLIERS = (0.25, 0.5, 0.75, 1.0, 1.25)
CHOICES = tuple(zip(REPEATS, KERNELS, EXPANSIONS, strict=True))  # of each stage
NUMBERS: tuple[tuple[float, ...], ...] = tuple(choices for stage in CHOICES for choices in stage)
STAGE = re.compile(r"ir_r([1-9])_k([1-9])_s[12]_e([1-9])_c[0-9]+")
EXAMPLE = "ds_r1_k3_s1_c16 ir_r2_k3_s2_e6_c24 .. (7 stages);w=1.0;d=0.75"


class Stage(NamedTuple):
    """Choices of a stage: number of blocks before it is multiplied, kernel and expansion."""

    repeats: int
    kernel: int
    expansion: int


class Spec(NamedTuple):
    """Six stages, and multipliers of channels and of blocks."""

    stages: tuple[Stage, ...]
    width: float
    depth: float


@dataclass(frozen=True)
class MobileNetV2(Space[Spec]):
    """`widths` are the channels of the seven stages; a stem before them, a convolution 1x1 to `head` channels after.

    `classes` is the length of the result, by default two coordinates of each of 70 landmarks.
    """

    name: ClassVar[str] = "mobilenetv2"
    stem: int = 32
    widths: tuple[int, ...] = (16, 24, 32, 64, 96, 160, 320)
    head: int = 1280
    image: tuple[int, int, int] = (3, 128, 128)
    classes: int = 140

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != STAGES + 1:
            raise SpecError(f"mobilenetv2: {len(self.widths)} widths; expected {STAGES + 1}, one per stage")

    def parse(self, text: str) -> Spec:
        """Block strings and multipliers -> spec.

        Raises:
            SpecError: not of this form, or a number that the space does not have.
        """
        blocks, *parts = check_text(text, self.name).split(";")
        if len(parts) != 2:
            raise SpecError(f"{self.name}: {len(parts) + 1} parts separated by ';' in {text!r}; expected 3: {EXAMPLE}")
        words = blocks.split(" ")
        if len(words) != STAGES + 1:
            raise SpecError(f"{self.name}: {len(words)} stages in {blocks!r}; expected {STAGES + 1}, as in {EXAMPLE}")
        if words[0] != self._first:
            raise SpecError(f"{self.name}: stage 0 of {blocks!r} is {words[0]!r}; expected {self._first!r}")
        stages = [self._parse_stage(number, word) for number, word in enumerate(words[1:])]
        return Spec(tuple(stages), *(_parse_multiplier(key, part) for key, part in zip("wd", parts, strict=True)))

    def format(self, spec: Spec) -> str:
        """Block strings and multipliers."""
        words = [self._first, *(self._word(number, stage) for number, stage in enumerate(spec.stages))]
        return f"{' '.join(words)};w={spec.width};d={spec.depth}"

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network."""
        x = features(build, self.image, self.stem, "ReLU6", self._blocks(spec))
        build.subgraph(head, x, self.head, "ReLU6", self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch."""
        from .torch_blocks import BottleneckNetwork

        return BottleneckNetwork(self.image[0], self.stem, "ReLU6", self._blocks(spec), self.head, self.classes)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over all strings."""
        return _spec(choices[int(rng.integers(len(choices)))] for choices in (*NUMBERS, MULTIPLIERS, MULTIPLIERS))

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another number of blocks, kernel or expansion of a stage, or another multiplier."""
        choices = (*NUMBERS, MULTIPLIERS, MULTIPLIERS)
        free = [position for position, values in enumerate(choices) if len(values) > 1]
        position = free[int(rng.integers(len(free)))]
        values = (*(number for stage in spec.stages for number in stage), spec.width, spec.depth)
        return _spec(resample(values, position, choices[position], rng))

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each stage, and each multiplier, from one of two.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        stages = uniform_crossover(first.stages, second.stages, rng)
        return Spec(stages, *uniform_crossover((first.width, first.depth), (second.width, second.depth), rng))

    def enumerate(self) -> Iterator[Spec]:
        """All strings; multipliers that are rounded to the same make many of them equal as graphs."""
        return map(_spec, product(*NUMBERS, MULTIPLIERS, MULTIPLIERS))

    def count(self) -> int:
        """1.5e10."""
        return prod(map(len, NUMBERS)) * len(MULTIPLIERS) ** 2

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the blocks of the searched stages, named "mbconv_e6_k5" by expansion and kernel.

        The name of the first block of a stage ends in "_first".
        """
        names = []
        for stage in spec.stages:
            name = f"mbconv_e{stage.expansion}_k{stage.kernel}"
            names += [f"{name}_first"] + [name] * (ceil(stage.repeats * spec.depth) - 1)
        return chain(names)

    @property
    def _first(self) -> str:
        return f"ds_r1_k3_s1_c{self.widths[0]}"

    def _word(self, number: int, stage: Stage) -> str:
        fixed = STRIDES[number], stage.expansion, self.widths[number + 1]
        return "ir_r{}_k{}_s{}_e{}_c{}".format(stage.repeats, stage.kernel, *fixed)

    def _parse_stage(self, number: int, word: str) -> Stage:
        found = STAGE.fullmatch(word)
        stage = Stage(*map(int, found.groups())) if found else None
        if stage is None or self._word(number, stage) != word:
            example = self._word(number, Stage(*(choices[0] for choices in CHOICES[number])))
            raise SpecError(f"mobilenetv2: stage {number + 1} is {word!r}; expected such as {example!r}")
        for value, choices, what in zip(stage, CHOICES[number], ("blocks", "kernel", "expansion"), strict=True):
            if value not in choices:
                expected = ", ".join(map(str, choices))
                raise SpecError(f"mobilenetv2: stage {number + 1} is {word!r}: {what} {value}; expected {expected}")
        return stage

    def _blocks(self, spec: Spec) -> list[BottleneckSpec]:
        blocks, in_channels = [BottleneckSpec(self.stem, self.widths[0], 3, 1, activation="ReLU6")], self.widths[0]
        for stage, width, first in zip(spec.stages, self.widths[1:], STRIDES, strict=True):
            out_channels = make_divisible(width * spec.width)
            for stride in (first, *[1] * (ceil(stage.repeats * spec.depth) - 1)):
                hidden = in_channels * stage.expansion
                blocks.append(BottleneckSpec(hidden, out_channels, stage.kernel, stride, activation="ReLU6"))
                in_channels = out_channels
        return blocks


def _parse_multiplier(key: str, part: str) -> float:
    allowed = {f"{key}={multiplier}": multiplier for multiplier in MULTIPLIERS}
    if part not in allowed:
        raise SpecError(f"mobilenetv2: {part!r} is no multiplier; expected one of {', '.join(allowed)}")
    return allowed[part]


def _spec(values: Iterable[float]) -> Spec:
    """Of the numbers of the stages, three each, and the two multipliers."""
    *numbers, width, depth = values
    stages = (Stage(*map(int, numbers[start : start + 3])) for start in range(0, 3 * STAGES, 3))
    return Spec(tuple(stages), width, depth)
