"""Inverted bottlenecks (Sandler et al. 2018) with squeeze-and-excitation (Hu et al. 2018), and a network of them, in
PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .blocks import Block

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "HardSwish": nn.Hardswish,
    "Sigmoid": nn.Sigmoid,
    "HardSigmoid": nn.Hardsigmoid,
}


def conv_bn(inner: int, outer: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias, BatchNorm."""
    return [nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outer)]


class SqueezeExcite(nn.Module):
    """Scale every channel by a gate computed from the means of all channels."""

    def __init__(self, channels: int, squeeze: int, gate: str) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.relu = nn.ReLU()
        self.expand = nn.Conv2d(squeeze, channels, 1)
        self.gate = ACTIVATIONS[gate]()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y: Tensor = self.gate(self.expand(self.relu(self.reduce(x.mean((2, 3), keepdim=True)))))
        return x * y


class Bottleneck(nn.Module):
    """Expand, depthwise convolution, squeeze-and-excitation, project; with a shortcut where the shape stays."""

    def __init__(self, inner: int, block: Block) -> None:
        super().__init__()
        layers = [] if block.hidden == inner else [*conv_bn(inner, block.hidden), ACTIVATIONS[block.act]()]
        layers += [
            *conv_bn(block.hidden, block.hidden, block.kernel, block.stride, block.hidden),
            ACTIVATIONS[block.act](),
        ]
        if block.squeeze:
            layers.append(SqueezeExcite(block.hidden, block.squeeze, block.gate))
        self.conv = nn.Sequential(*layers, *conv_bn(block.hidden, block.outer))
        self.shortcut = block.keeps_shape(inner)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) -> (B, outer, H/stride, W/stride)."""
        y: Tensor = self.conv(x)
        return y + x if self.shortcut else y


def features(inputs: int, channels: int, act: str, blocks: Sequence[Block]) -> nn.Sequential:
    """A convolution 3x3 that halves the size, from `inputs` to `channels` channels, and the blocks."""
    layers: list[nn.Module] = [*conv_bn(inputs, channels, 3, 2), ACTIVATIONS[act]()]
    for block in blocks:
        layers.append(Bottleneck(channels, block))
        channels = block.outer
    return nn.Sequential(*layers)


class Network(nn.Module):
    """Stem, blocks, convolution 1x1 to `last` channels, global pooling, linear layer: MnasNet and ProxylessNAS."""

    def __init__(self, inputs: int, channels: int, act: str, blocks: Sequence[Block], last: int, classes: int) -> None:
        super().__init__()
        self.features = features(inputs, channels, act, blocks)
        self.out = nn.Sequential(*conv_bn(blocks[-1].outer, last), ACTIVATIONS[act](), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.classifier(self.out(self.features(x)).flatten(1))
        return logits
