"""Once-for-All MobileNetV3 (Cai et al. 2020): the 2 * 10^19 networks within one trained supernet, times 25 image sizes.

Five stages of 2 to 4 inverted bottlenecks; every block has its kernel (3, 5, 7) and expansion (3, 4, 6). Strings are
`ks=5 7 ..;e=4 3 ..;d=2 3 2 4 3;r=224`: kernel and expansion of four blocks a stage, depth of the stages, height and
width of the image. Only the first d blocks of a stage exist, so strings that differ in the others name one network
(`canonical`); a spec keeps all numbers.

Costs are those of the published tables on every row. `macs` and `params` (DyNAS-T's, by fvcore, 224 x 224) are `flops /
2` and `num_params` as they are: products of convolutions and linear layers, squeeze-and-excitation's and the
classifier's included; all trained tensors, biases and BatchNorm included. `peak_memory_elems` (MOOFA's, at the row's
image size) is the largest, over the convolutions except squeeze-and-excitation's and the one after global pooling, of
numbers in its input, output and weight, and for a depthwise one those the shortcut around it keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.cell import CellGraph, chain
from frontends.spaces.choices import resample, uniform_crossover
from frontends.spaces.space import Space

from .blocks import BottleneckSpec, IntegerCode, bottleneck, conv_bn, format_codes, parse_codes, pixel_conv, stem

if TYPE_CHECKING:
    import torch

STAGES, DEEPEST = 5, 4
KERNELS, EXPANSIONS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
RESOLUTIONS = tuple(range(128, 225, 4))  # section 3.2; the published labels are at 128, 160, 192 and 224
STRIDES = (2, 2, 2, 1, 2)
ACTS = ("ReLU", "ReLU", "HardSwish", "HardSwish", "HardSwish")
SQUEEZED = (False, True, False, True, True)
CODES = {
    "ks": IntegerCode(STAGES * DEEPEST, KERNELS),
    "e": IntegerCode(STAGES * DEEPEST, EXPANSIONS),
    "d": IntegerCode(STAGES, DEPTHS),
    "r": IntegerCode(1, RESOLUTIONS),
}
EXAMPLE = "ks=5 7 .. (20 numbers);e=4 3 .. (20 numbers);d=2 3 2 4 3;r=224"
PAIRS = tuple(product(KERNELS, EXPANSIONS))
NUM_STAGES: int = sum(len(PAIRS) ** depth for depth in DEPTHS)  # 7,371 ways to fill a stage


class Spec(NamedTuple):
    """Kernels and expansions of 5 * 4 blocks, depths of the 5 stages, height and width of the image.

    Several specs may describe one network; `canonical` selects one of them.
    """

    ks: tuple[int, ...]
    e: tuple[int, ...]
    d: tuple[int, ...]
    r: int

    def active(self) -> list[tuple[int, int]]:
        """(stage, index into `ks` and `e`) of every block of the network."""
        return [(stage, DEEPEST * stage + block) for stage, depth in enumerate(self.d) for block in range(depth)]


def canonical(spec: Spec) -> Spec:
    """The spec of the same network with the smallest kernel and expansion wherever no block exists."""
    positions = {position for _, position in spec.active()}
    ks = tuple(kernel if position in positions else KERNELS[0] for position, kernel in enumerate(spec.ks))
    e = tuple(expansion if position in positions else EXPANSIONS[0] for position, expansion in enumerate(spec.e))
    return Spec(ks, e, spec.d, spec.r)


@dataclass(frozen=True)
class OfaMobileNetV3(Space[Spec]):
    """`widths` are channels of stem, first block, five stages, last convolution and feature mix.

    `width` multiplies them, rounded to multiples of 8; the supernet was trained at two widths.
    """

    name: ClassVar[str] = "ofa_mbv3"
    width: float = field(default=1.0, metadata={"choices": (1.0, 1.2)})
    widths: tuple[int, ...] = (16, 16, 24, 40, 80, 112, 160, 960, 1280)
    classes: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.widths) != STAGES + 4:
            raise SpecError(
                f"ofa_mbv3: {len(self.widths)} widths; expected {STAGES + 4}: "
                f"stem, first block, {STAGES} stages, last convolution, feature mix"
            )

    def parse(self, text: str) -> Spec:
        """`ks=..;e=..;d=..;r=..` -> spec, all numbers kept.

        Raises:
            SpecError: not of this form, or a number that the space does not have.
        """
        ks, e, d, (r,) = parse_codes(self.name, text, CODES, EXAMPLE)
        return Spec(ks, e, d, r)

    def format(self, spec: Spec) -> str:
        """`ks=..;e=..;d=..;r=..`, blocks that do not exist included."""
        return format_codes({"ks": spec.ks, "e": spec.e, "d": spec.d, "r": (spec.r,)})

    def network(self, build: GraphBuilder, spec: Spec) -> None:
        """The whole network at the spec's image size."""
        channels, *_, last, mix = self._channels
        x = build.subgraph(stem, build.input((3, spec.r, spec.r)), channels, "HardSwish")
        for block in self._blocks(spec):
            x = build.subgraph(bottleneck, x, block)
        build.subgraph(_end, x, last, mix, self.classes)

    def module(self, spec: Spec) -> torch.nn.Module:
        """The whole network in PyTorch; it is the same for every image size."""
        from .torch_ofa_mbv3 import OfaMobileNetV3Network

        channels, *_, last, mix = self._channels
        return OfaMobileNetV3Network(channels, self._blocks(spec), last, mix, self.classes)

    def inputs(self, spec: Spec) -> tuple[torch.Tensor, ...]:
        """One image of the spec's size, on the meta device."""
        import torch

        return (torch.empty(1, 3, spec.r, spec.r, device="meta"),)

    def sample(self, rng: np.random.Generator) -> Spec:
        """Uniform over networks and image sizes, canonical.

        89 % of the stages have four blocks; sampling the depths first would give a third of them four.
        """
        codes = tuple(map(int, rng.integers(NUM_STAGES, size=STAGES)))
        return _spec(codes, RESOLUTIONS[int(rng.integers(len(RESOLUTIONS)))])

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another kernel or expansion of a block, depth of a stage (new blocks random), or image size; canonical."""
        spec = canonical(spec)
        positions = [position for _, position in spec.active()]
        change = int(rng.integers(2 * len(positions) + STAGES + 1))
        if change < len(positions):
            return spec._replace(ks=resample(spec.ks, positions[change], KERNELS, rng))
        if change < 2 * len(positions):
            return spec._replace(e=resample(spec.e, positions[change - len(positions)], EXPANSIONS, rng))
        if change == 2 * len(positions) + STAGES:
            return spec._replace(r=resample((spec.r,), 0, RESOLUTIONS, rng)[0])
        depths = resample(spec.d, change - 2 * len(positions), DEPTHS, rng)
        return canonical(Spec(*_filled(spec, rng), depths, spec.r))

    def crossover(self, first: Spec, second: Spec, rng: np.random.Generator) -> Spec:
        """Each stage, with its depth and blocks, and the image size, from one of two; canonical.

        Args:
            first: a parent.
            second: the other one.
            rng: of the choices.
        """
        stages = uniform_crossover(_stages(first), _stages(second), rng)
        ks = tuple(kernel for kernels, _, _ in stages for kernel in kernels)
        e = tuple(expansion for _, expansions, _ in stages for expansion in expansions)
        depths = tuple(depth for _, _, depth in stages)
        return canonical(Spec(ks, e, depths, *uniform_crossover((first.r,), (second.r,), rng)))

    def enumerate(self) -> Iterator[Spec]:
        """Every network once, canonical, at every image size."""
        return (_spec(codes, r) for codes in product(range(NUM_STAGES), repeat=STAGES) for r in RESOLUTIONS)

    def count(self) -> int:
        """5.4e20."""
        return prod([NUM_STAGES] * STAGES) * len(RESOLUTIONS)

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the blocks, named "mbconv_e6_k5" by expansion and kernel; without the image size.

        The name of the first block of a stage ends in "_first".
        """
        names = [
            f"mbconv_e{spec.e[position]}_k{spec.ks[position]}" + "_first" * (position % DEEPEST == 0)
            for _, position in spec.active()
        ]
        return chain(names)

    @cached_property
    def _channels(self) -> tuple[int, ...]:
        return tuple(make_divisible(channels * self.width) for channels in self.widths)

    def _blocks(self, spec: Spec) -> list[BottleneckSpec]:
        in_channels = self._channels[1]
        blocks = [BottleneckSpec(self._channels[0], in_channels, 3, 1)]  # without expansion
        for stage, position in spec.active():
            out_channels = self._channels[stage + 2]
            blocks.append(
                _block(stage, position % DEEPEST == 0, in_channels, out_channels, spec.ks[position], spec.e[position])
            )
            in_channels = out_channels
        return blocks


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that is at most a tenth smaller (the authors' utils/pytorch_modules.py)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@lru_cache(maxsize=4096)
def _block(stage: int, first: bool, in_channels: int, out_channels: int, kernel: int, expansion: int) -> BottleneckSpec:
    hidden = make_divisible(in_channels * expansion)
    squeeze = make_divisible(hidden // 4) if SQUEEZED[stage] else 0
    return BottleneckSpec(
        hidden, out_channels, kernel, STRIDES[stage] if first else 1, squeeze, ACTS[stage], "HardSigmoid"
    )


@lru_cache(maxsize=NUM_STAGES)
def _stage(code: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Depth, kernels and expansions of the stage with this code.

    Codes are ordered by depth, then by the blocks' indices into `PAIRS`, read as digits.
    """
    depth = DEPTHS[0]
    while code >= len(PAIRS) ** depth:
        code -= len(PAIRS) ** depth
        depth += 1
    pairs = [PAIRS[code // len(PAIRS) ** block % len(PAIRS)] for block in reversed(range(depth))]
    pairs += [PAIRS[0]] * (DEEPEST - depth)
    return depth, tuple(kernel for kernel, _ in pairs), tuple(expansion for _, expansion in pairs)


def _spec(codes: tuple[int, ...], r: int) -> Spec:
    stages = [_stage(code) for code in codes]
    ks = tuple(kernel for _, kernels, _ in stages for kernel in kernels)
    e = tuple(expansion for _, _, expansions in stages for expansion in expansions)
    return Spec(ks, e, tuple(depth for depth, _, _ in stages), r)


def _filled(spec: Spec, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernels and expansions, random ones wherever no block exists."""
    positions = {position for _, position in spec.active()}
    sampled = [PAIRS[int(code)] for code in rng.integers(len(PAIRS), size=len(spec.ks))]
    pairs = [
        (spec.ks[position], spec.e[position]) if position in positions else pair
        for position, pair in enumerate(sampled)
    ]
    return tuple(kernel for kernel, _ in pairs), tuple(expansion for _, expansion in pairs)


def _end(build: GraphBuilder, x: int, last: int, mix: int, classes: int) -> int:
    x = build.global_avg_pool(build.relu(conv_bn(build, x, last), "HardSwish"))
    x = build.relu(pixel_conv(build, x, mix, bias=False), "HardSwish")
    logits = build.add_node("Linear", (x,), (classes,), ((classes, mix), (classes,)), in_shapes=((mix,),))
    return build.output(logits)


def _stages(spec: Spec) -> tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...]:
    """Kernels, expansions and depth of each stage."""
    spans = [slice(stage * DEEPEST, (stage + 1) * DEEPEST) for stage in range(STAGES)]
    return tuple((spec.ks[span], spec.e[span], depth) for span, depth in zip(spans, spec.d, strict=True))
