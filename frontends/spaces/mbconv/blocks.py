"""What the spaces of inverted bottlenecks share: the block, the layers around it, and strings of numbers.

The block is MobileNetV2's (Sandler et al. 2018), with squeeze-and-excitation (Hu et al. 2018) after the depthwise
convolution as in MnasNet and MobileNetV3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cgir.builder import GraphBuilder
from cgir.errors import SpecError


class Block(NamedTuple):
    """An inverted bottleneck that leads to `outer` channels; where `hidden` are as many as come in, nothing expands.

    `squeeze` are the channels in the middle of squeeze-and-excitation, 0 where there is none; `act` and `gate` are
    names of operators.
    """

    hidden: int
    outer: int
    kernel: int
    stride: int
    squeeze: int = 0
    act: str = "ReLU"
    gate: str = "Sigmoid"

    def keeps_shape(self, inner: int) -> bool:
        """Whether a shortcut leads around the block that `inner` channels enter."""
        return self.stride == 1 and self.outer == inner


class Numbers(NamedTuple):
    """One part of a string, `key=3 5 7`: how many numbers, and which."""

    size: int
    choices: tuple[int, ...]


def read(space: str, text: str, form: Mapping[str, Numbers], example: str) -> list[tuple[int, ...]]:
    """The numbers of `key=3 5 7;key=..`, a tuple for every key of `form`.

    Raises:
        SpecError: another key, another number of numbers, or a number that is not one of the choices.
    """
    parts = text.strip().split(";")
    if len(parts) != len(form):
        raise SpecError(
            f"{space}: {len(parts)} parts separated by ';' in {text!r}; expected {len(form)}, as in {example}"
        )
    found = []
    for place, (part, (key, (size, choices))) in enumerate(zip(parts, form.items(), strict=True)):
        name, _, values = part.partition("=")
        words = values.split()
        if name != key:
            raise SpecError(f"{space}: part {place} of {text!r} is {part!r}; expected {key}=, as in {example}")
        if len(words) != size:
            raise SpecError(f"{space}: {len(words)} numbers in {part!r} of {text!r}; expected {size}, as in {example}")
        allowed = {str(choice): choice for choice in choices}
        for position, word in enumerate(words):
            if word not in allowed:
                raise SpecError(
                    f"{space}: number {position} of {key} in {text!r} is {word!r}; expected one of {', '.join(allowed)}"
                )
        found.append(tuple([allowed[word] for word in words]))
    return found


def write(values: Mapping[str, Sequence[int]]) -> str:
    """The string that `read` reads back."""
    return ";".join(f"{key}={' '.join(map(str, numbers))}" for key, numbers in values.items())


def redrawn(values: tuple[int, ...], place: int, choices: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """`values` with another of the choices at `place`."""
    others = [choice for choice in choices if choice != values[place]]
    return (*values[:place], others[int(rng.integers(len(others)))], *values[place + 1 :])


def conv_bn(build: GraphBuilder, x: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> int:
    """Convolution without bias, BatchNorm."""
    return build.batch_norm(build.conv(x, channels, kernel, stride, groups=groups))


def stem(build: GraphBuilder, x: int, channels: int, act: str) -> int:
    """Convolution 3x3 that halves the size, BatchNorm, activation."""
    return build.relu(conv_bn(build, x, channels, 3, 2), act)


def head(build: GraphBuilder, x: int, channels: int, act: str, classes: int) -> int:
    """Convolution 1x1, BatchNorm, activation, global pooling, linear layer, output."""
    x = build.global_avg_pool(build.relu(conv_bn(build, x, channels), act))
    return build.output(build.linear(x, classes))


def bottleneck(build: GraphBuilder, x: int, block: Block) -> int:
    """Expand, depthwise convolution, squeeze-and-excitation, project; with a shortcut where the shape stays."""
    inner = build.shape(x)[0]
    y = x if block.hidden == inner else build.relu(conv_bn(build, x, block.hidden), block.act)
    y = build.relu(conv_bn(build, y, block.hidden, block.kernel, block.stride, groups=block.hidden), block.act)
    if block.squeeze:
        y = _squeeze_excite(build, y, block)
    y = conv_bn(build, y, block.outer)
    return build.add(y, x) if block.keeps_shape(inner) else y


def pixel_conv(build: GraphBuilder, x: int, channels: int, bias: bool) -> int:
    """Convolution 1x1 of what global pooling left, one pixel."""
    inner = build.shape(x)[0]
    params = ((channels, inner, 1, 1), (channels,)) if bias else ((channels, inner, 1, 1),)
    geometry = {"kernel": (1, 1), "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    return build.add_node("Conv", (x,), (channels, 1, 1), params, ((inner, 1, 1),), **geometry)


def _squeeze_excite(build: GraphBuilder, x: int, block: Block) -> int:
    y = build.relu(pixel_conv(build, build.global_avg_pool(x), block.squeeze, bias=True))
    y = build.relu(pixel_conv(build, y, block.hidden, bias=True), block.gate)
    return build.add_node("Mul", (x, y), build.shape(x))
