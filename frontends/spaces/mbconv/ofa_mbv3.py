"""Once-for-All MobileNetV3 (Cai et al. 2020): the 2 * 10^19 networks within one trained supernet, times 25 image sizes.

Five stages of 2 to 4 inverted bottlenecks; every block has its kernel (3, 5, 7) and expansion (3, 4, 6). Strings are
`ks=5 7 ..;e=4 3 ..;d=2 3 2 4 3;r=224`: kernel and expansion of four blocks a stage, depth of the stages, height and
width of the image. Only the first d blocks of a stage exist, so strings that differ in the others name one network
(`canonical`); a spec keeps all numbers.

`kernels`, `expansions` and `depths` are the choices; other supernets have others, such as expansions 1, 1.5 and 2 and
depths 1, 2 and 3, and as many blocks a stage as the largest depth. Channels of an expansion are rounded to an integer
and then to a multiple of 8. A block of expansion 1 keeps its convolution 1x1, as in the supernet that is measured (the
authors' dynamic_layers.py), unless no other expansion is there.

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
from math import log, prod
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
NUM_STAGES = 7_371  # ways to fill a stage
MOST_STAGES = (1 << 63) - 1  # numpy draws among so many


class Spec(NamedTuple):
    """Kernels and expansions of 5 * 4 blocks, depths of the 5 stages, height and width of the image.

    Several specs may describe one network; `canonical` selects one of them.
    """

    ks: tuple[int, ...]
    e: tuple[float, ...]
    d: tuple[int, ...]
    r: int

    @property
    def deepest(self) -> int:
        """Blocks of a stage that are listed, whether they exist or not."""
        return len(self.ks) // STAGES

    def active(self) -> list[tuple[int, int]]:
        """(stage, index into `ks` and `e`) of every block of the network."""
        return [(stage, self.deepest * stage + block) for stage, depth in enumerate(self.d) for block in range(depth)]


class Choices(NamedTuple):
    """What a block and a stage may be."""

    kernels: tuple[int, ...] = KERNELS
    expansions: tuple[float, ...] = EXPANSIONS
    depths: tuple[int, ...] = DEPTHS

    @property
    def pairs(self) -> tuple[tuple[int, float], ...]:
        """Kernel and expansion of a block."""
        return tuple(product(self.kernels, self.expansions))

    @property
    def num_stages(self) -> int:
        """Ways to fill a stage."""
        count = len(self.kernels) * len(self.expansions)
        return sum(count**depth for depth in self.depths)


DEFAULT = Choices()


def canonical(spec: Spec, choices: Choices = DEFAULT) -> Spec:
    """The spec of the same network with the first kernel and expansion wherever no block exists."""
    positions = {position for _, position in spec.active()}
    first_kernel, first_expansion = choices.kernels[0], choices.expansions[0]
    ks = tuple(kernel if position in positions else first_kernel for position, kernel in enumerate(spec.ks))
    e = tuple(expansion if position in positions else first_expansion for position, expansion in enumerate(spec.e))
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
    kernels: tuple[int, ...] = KERNELS
    expansions: tuple[float, ...] = field(default=EXPANSIONS, metadata={"fractions": True})
    depths: tuple[int, ...] = DEPTHS

    def __post_init__(self) -> None:
        super().__post_init__()
        # 2.0 and 2 are one number, and have one text
        whole = tuple(int(expansion) if expansion == int(expansion) else expansion for expansion in self.expansions)
        object.__setattr__(self, "expansions", whole)
        self._check_choices()
        if len(self.widths) != STAGES + 4:
            raise SpecError(
                f"ofa_mbv3: {len(self.widths)} widths; expected {STAGES + 4}: "
                f"stem, first block, {STAGES} stages, last convolution, feature mix"
            )

    def _check_choices(self) -> None:
        for name, values in self._choices._asdict().items():
            if list(values) != sorted(set(values)):
                raise SpecError(f"ofa_mbv3: {name}={values!r}; expected different numbers in ascending order")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise SpecError(f"ofa_mbv3: kernels={self.kernels!r}; expected odd numbers, so that sizes stay")
        if self.depths[-1] * log(len(self._choices.pairs)) > log(MOST_STAGES / len(self.depths)):
            raise SpecError(
                f"ofa_mbv3: depths={self.depths!r}; there are more than 2^63 ways to fill a stage; take less"
            )

    def parse(self, text: str) -> Spec:
        """`ks=..;e=..;d=..;r=..` -> spec, all numbers kept.

        Raises:
            SpecError: not of this form, or a number that the space does not have.
        """
        places = STAGES * self.depths[-1]
        codes = {
            "ks": IntegerCode(places, self.kernels),
            "e": IntegerCode(places, self.expansions),
            "d": IntegerCode(STAGES, self.depths),
            "r": IntegerCode(1, RESOLUTIONS),
        }
        starts = (f"{key}={codes[key].choices[-1]} .. ({places} numbers)" for key in ("ks", "e"))
        example = f"{';'.join(starts)};d={' '.join([str(self.depths[0])] * STAGES)};r=224"
        ks, e, d, (r,) = parse_codes(self.name, text, codes, example)
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

    def module_names(self, spec: Spec) -> dict[str, str]:
        """Blocks of each stage: `stage1.block0: kernel 5, expansion 6`; the first block of all is in none."""
        names = {}
        for number, (stage, position) in enumerate(spec.active(), 1):
            expansion = str(spec.e[position]).replace(".", ",")  # a path is cut at its dots
            block = f"block{position % spec.deepest}: kernel {spec.ks[position]}, expansion {expansion}"
            names[f"bottleneck{number}"] = f"stage{stage}.{block}"
        return names

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
        codes = tuple(map(int, rng.integers(self._choices.num_stages, size=STAGES)))
        return _spec(codes, RESOLUTIONS[int(rng.integers(len(RESOLUTIONS)))], self._choices)

    def mutate(self, spec: Spec, rng: np.random.Generator) -> Spec:
        """Another kernel or expansion of a block, depth of a stage (new blocks random), or image size; canonical."""
        spec = canonical(spec, self._choices)
        positions = [position for _, position in spec.active()]
        kernels, expansions = (len(positions) * (len(choices) > 1) for choices in self._choices[:2])
        depths = STAGES * (len(self.depths) > 1)
        change = int(rng.integers(kernels + expansions + depths + 1))
        if change < kernels:
            return spec._replace(ks=resample(spec.ks, positions[change], self.kernels, rng))
        if change < kernels + expansions:
            return spec._replace(e=resample(spec.e, positions[change - kernels], self.expansions, rng))
        if change == kernels + expansions + depths:
            return spec._replace(r=resample((spec.r,), 0, RESOLUTIONS, rng)[0])
        d = resample(spec.d, change - kernels - expansions, self.depths, rng)
        return canonical(Spec(*_filled(spec, self._choices, rng), d, spec.r), self._choices)

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
        return canonical(Spec(ks, e, depths, *uniform_crossover((first.r,), (second.r,), rng)), self._choices)

    def enumerate(self) -> Iterator[Spec]:
        """Every network once, canonical, at every image size."""
        count = self._choices.num_stages
        places = [count**place for place in reversed(range(STAGES))]  # product() would list all codes of a stage
        codes = (tuple([index // place % count for place in places]) for index in range(count**STAGES))
        return (_spec(numbers, r, self._choices) for numbers in codes for r in RESOLUTIONS)

    def count(self) -> int:
        """5.4e20 with the default choices."""
        return prod([self._choices.num_stages] * STAGES) * len(RESOLUTIONS)

    def cell_graph(self, spec: Spec) -> CellGraph:
        """A chain of the blocks, named "mbconv_e6_k5" by expansion and kernel; without the image size.

        The name of the first block of a stage ends in "_first".
        """
        names = [
            f"mbconv_e{spec.e[position]}_k{spec.ks[position]}" + "_first" * (position % spec.deepest == 0)
            for _, position in spec.active()
        ]
        return chain(names)

    @cached_property
    def _choices(self) -> Choices:
        return Choices(self.kernels, self.expansions, self.depths)

    @cached_property
    def _channels(self) -> tuple[int, ...]:
        return tuple(make_divisible(channels * self.width) for channels in self.widths)

    def _blocks(self, spec: Spec) -> list[BottleneckSpec]:
        in_channels = self._channels[1]
        blocks = [BottleneckSpec(self._channels[0], in_channels, 3, 1)]  # without expansion
        always_expands = self.expansions != (1,)
        for stage, position in spec.active():
            out_channels, first = self._channels[stage + 2], position % spec.deepest == 0
            kernel, expansion = spec.ks[position], spec.e[position]
            blocks.append(_block(stage, first, in_channels, out_channels, kernel, expansion, always_expands))
            in_channels = out_channels
        return blocks


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that is at most a tenth smaller (the authors' utils/pytorch_modules.py)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@lru_cache(maxsize=4096)
def _block(
    stage: int, first: bool, in_channels: int, out_channels: int, kernel: int, expansion: float, always_expands: bool
) -> BottleneckSpec:
    hidden = make_divisible(round(in_channels * expansion))
    squeeze = make_divisible(hidden // 4) if SQUEEZED[stage] else 0
    stride = STRIDES[stage] if first else 1
    return BottleneckSpec(hidden, out_channels, kernel, stride, squeeze, ACTS[stage], "HardSigmoid", always_expands)


@lru_cache(maxsize=NUM_STAGES)
def _stage(code: int, choices: Choices = DEFAULT) -> tuple[int, tuple[int, ...], tuple[float, ...]]:
    """Depth, kernels and expansions of the stage with this code.

    Codes are ordered by depth, then by the blocks' indices into the pairs of kernel and expansion, read as digits.
    """
    all_pairs = choices.pairs
    for depth in choices.depths:
        if code < len(all_pairs) ** depth:
            break
        code -= len(all_pairs) ** depth
    pairs = [all_pairs[code // len(all_pairs) ** block % len(all_pairs)] for block in reversed(range(depth))]
    pairs += [all_pairs[0]] * (choices.depths[-1] - depth)
    return depth, tuple(kernel for kernel, _ in pairs), tuple(expansion for _, expansion in pairs)


def _spec(codes: tuple[int, ...], r: int, choices: Choices) -> Spec:
    stages = [_stage(code, choices) for code in codes]
    ks = tuple(kernel for _, kernels, _ in stages for kernel in kernels)
    e = tuple(expansion for _, _, expansions in stages for expansion in expansions)
    return Spec(ks, e, tuple(depth for depth, _, _ in stages), r)


def _filled(spec: Spec, choices: Choices, rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Kernels and expansions, random ones wherever no block exists."""
    positions, all_pairs = {position for _, position in spec.active()}, choices.pairs
    sampled = [all_pairs[int(code)] for code in rng.integers(len(all_pairs), size=len(spec.ks))]
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


def _stages(spec: Spec) -> tuple[tuple[tuple[int, ...], tuple[float, ...], int], ...]:
    """Kernels, expansions and depth of each stage."""
    spans = [slice(stage * spec.deepest, (stage + 1) * spec.deepest) for stage in range(STAGES)]
    return tuple((spec.ks[span], spec.e[span], depth) for span, depth in zip(spans, spec.d, strict=True))
