"""Shared by the spaces of inverted bottlenecks: the block, the layers around it, and strings of integer codes.

The block is MobileNetV2's (Sandler et al. 2018), with squeeze-and-excitation (Hu et al. 2018) after the depthwise
convolution as in MnasNet and MobileNetV3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cgir.builder import GraphBuilder
from cgir.errors import SpecError
from frontends.spaces.choices import check_text


class BottleneckSpec(NamedTuple):
    """An inverted bottleneck: expansion (1x1), depthwise convolution, projection (1x1).

    Attributes:
        hidden_channels: of the depthwise convolution.
        out_channels: of the projection.
        kernel: height and width of the depthwise kernel.
        stride: of the depthwise convolution.
        squeeze_channels: in the middle of squeeze-and-excitation, 0 where there is none.
        activation: operator after the first two convolutions.
        gate: operator that ends squeeze-and-excitation.
        always_expands: whether there is an expansion also where the input has as many channels as the hidden ones.
    """

    hidden_channels: int
    out_channels: int
    kernel: int
    stride: int
    squeeze_channels: int = 0
    activation: str = "ReLU"
    gate: str = "Sigmoid"
    always_expands: bool = False

    def has_expansion(self, in_channels: int) -> bool:
        """Whether the block begins with a convolution 1x1."""
        return self.always_expands or self.hidden_channels != in_channels

    def has_shortcut(self, in_channels: int) -> bool:
        """Whether the block has a shortcut: where its input and output have the same shape."""
        return self.stride == 1 and self.out_channels == in_channels


class IntegerCode(NamedTuple):
    """One part of a spec string, `key=3 5 7`: how many numbers, and what each of them may be, mostly integers."""

    length: int
    choices: tuple[float, ...]


def parse_codes(space: str, text: str, codes: Mapping[str, IntegerCode], example: str) -> list[tuple[Any, ...]]:
    """The numbers of `key=3 5 7;key=..`, a tuple of its choices for every key.

    Args:
        space: name of the search space, for errors.
        text: the string.
        codes: what is expected, in order.
        example: a valid string, for errors.

    Raises:
        SpecError: another key, another number of numbers, or a number that is not one of the choices.
    """
    parts = check_text(text, space).strip().split(";")
    if len(parts) != len(codes):
        raise SpecError(
            f"{space}: {len(parts)} parts separated by ';' in {text!r}; expected {len(codes)}, as in {example}"
        )
    values = []
    for index, (part, (key, (length, choices))) in enumerate(zip(parts, codes.items(), strict=True)):
        name, _, numbers = part.partition("=")
        words = numbers.split()
        if name != key:
            raise SpecError(f"{space}: part {index} of {text!r} is {part!r}; expected {key}=, as in {example}")
        if len(words) != length:
            raise SpecError(
                f"{space}: {len(words)} numbers in {part!r} of {text!r}; expected {length}, as in {example}"
            )
        allowed = {str(choice): choice for choice in choices}
        for position, word in enumerate(words):
            if word not in allowed:
                raise SpecError(
                    f"{space}: number {position} of {key} in {text!r} is {word!r}; expected one of {', '.join(allowed)}"
                )
        values.append(tuple([allowed[word] for word in words]))
    return values


def format_codes(values: Mapping[str, Sequence[float]]) -> str:
    """The string that `parse_codes` reads back."""
    return ";".join(f"{key}={' '.join(map(str, numbers))}" for key, numbers in values.items())


def conv_bn(build: GraphBuilder, x: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> int:
    """Convolution without bias, BatchNorm.

    Args:
        build: builder of the graph.
        x: its input.
        channels: of the result.
        kernel: height and width of the kernel.
        stride: of the convolution.
        groups: of the convolution.
    """
    return build.batch_norm(build.conv(x, channels, kernel, stride, groups=groups))


def stem(build: GraphBuilder, x: int, channels: int, activation: str) -> int:
    """Convolution 3x3 that halves the size, BatchNorm, activation.

    Args:
        build: builder of the graph.
        x: its input.
        channels: of the result.
        activation: operator.
    """
    return build.relu(conv_bn(build, x, channels, 3, 2), activation)


def features(
    build: GraphBuilder, image: tuple[int, int, int], channels: int, activation: str, blocks: Iterable[BottleneckSpec]
) -> int:
    """Input, stem and inverted bottlenecks, in order.

    Args:
        build: builder of the graph.
        image: channels, height, width.
        channels: of the stem.
        activation: of the stem, an operator.
        blocks: the bottlenecks.
    """
    x: int = build.subgraph(stem, build.input(image), channels, activation)
    for block in blocks:
        x = build.subgraph(bottleneck, x, block)
    return x


def head(build: GraphBuilder, x: int, channels: int, activation: str, classes: int) -> int:
    """Convolution 1x1, BatchNorm, activation, global pooling, linear layer, output.

    Args:
        build: builder of the graph.
        x: its input.
        channels: of the convolution.
        activation: operator.
        classes: length of the logits.
    """
    x = build.global_avg_pool(build.relu(conv_bn(build, x, channels), activation))
    return build.output(build.linear(x, classes))


def bottleneck(build: GraphBuilder, x: int, block: BottleneckSpec) -> int:
    """Expand, depthwise convolution, squeeze-and-excitation, project; with a shortcut where the shape stays.

    Args:
        build: builder of the graph.
        x: its input.
        block: the bottleneck.
    """
    in_channels, hidden = build.shape(x)[0], block.hidden_channels
    y = build.relu(conv_bn(build, x, hidden), block.activation) if block.has_expansion(in_channels) else x
    y = build.relu(conv_bn(build, y, hidden, block.kernel, block.stride, groups=hidden), block.activation)
    if block.squeeze_channels:
        y = _squeeze_excite(build, y, block)
    y = conv_bn(build, y, block.out_channels)
    return build.add(y, x) if block.has_shortcut(in_channels) else y


def pixel_conv(build: GraphBuilder, x: int, channels: int, bias: bool) -> int:
    """Convolution 1x1 of the one pixel that global pooling returns.

    Args:
        build: builder of the graph.
        x: its input.
        channels: of the result.
        bias: whether the convolution has one.
    """
    in_channels = build.shape(x)[0]
    params = ((channels, in_channels, 1, 1), (channels,)) if bias else ((channels, in_channels, 1, 1),)
    geometry = {"kernel": (1, 1), "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    return build.add_node("Conv", (x,), (channels, 1, 1), params, ((in_channels, 1, 1),), **geometry)


def _squeeze_excite(build: GraphBuilder, x: int, block: BottleneckSpec) -> int:
    y = build.relu(pixel_conv(build, build.global_avg_pool(x), block.squeeze_channels, bias=True))
    y = build.relu(pixel_conv(build, y, block.hidden_channels, bias=True), block.gate)
    return build.add_node("Mul", (x, y), build.shape(x))
