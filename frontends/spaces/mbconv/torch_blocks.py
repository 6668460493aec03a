"""Inverted bottlenecks (Sandler et al. 2018) with squeeze-and-excitation (Hu et al. 2018), in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .blocks import BottleneckSpec

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "HardSwish": nn.Hardswish,
    "Sigmoid": nn.Sigmoid,
    "HardSigmoid": nn.Hardsigmoid,
}


def conv_bn(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias, BatchNorm.

    Args:
        in_channels: channels it reads.
        out_channels: channels it returns.
        kernel: height and width of the kernel, odd; padded by half of it.
        stride: of the convolution.
        groups: of the convolution.
    """
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


class SqueezeExcite(nn.Module):
    """Scale every channel by a gate computed from the means of all channels.

    Args:
        channels: of input and output.
        squeeze: channels in the middle.
        gate: operator that ends the branch, a key of `ACTIVATIONS`.
    """

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


class InvertedBottleneck(nn.Module):
    """Expand, depthwise convolution, squeeze-and-excitation, project; with a shortcut where the shape stays."""

    def __init__(self, in_channels: int, block: BottleneckSpec) -> None:
        super().__init__()
        layers = (
            [*conv_bn(in_channels, block.hidden_channels), ACTIVATIONS[block.activation]()]
            if block.has_expansion(in_channels)
            else []
        )
        layers += [
            *conv_bn(block.hidden_channels, block.hidden_channels, block.kernel, block.stride, block.hidden_channels),
            ACTIVATIONS[block.activation](),
        ]
        if block.squeeze_channels:
            layers.append(SqueezeExcite(block.hidden_channels, block.squeeze_channels, block.gate))
        self.conv = nn.Sequential(*layers, *conv_bn(block.hidden_channels, block.out_channels))
        self.shortcut = block.has_shortcut(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride)."""
        y: Tensor = self.conv(x)
        return y + x if self.shortcut else y


def features(in_channels: int, channels: int, activation: str, blocks: Sequence[BottleneckSpec]) -> nn.Sequential:
    """A convolution 3x3 that halves the size, and the blocks.

    Args:
        in_channels: of the image.
        channels: of the convolution.
        activation: after the convolution, a key of `ACTIVATIONS`.
        blocks: inverted bottlenecks, in order.
    """
    layers: list[nn.Module] = [*conv_bn(in_channels, channels, 3, 2), ACTIVATIONS[activation]()]
    for block in blocks:
        layers.append(InvertedBottleneck(channels, block))
        channels = block.out_channels
    return nn.Sequential(*layers)


class BottleneckNetwork(nn.Module):
    """MnasNet and ProxylessNAS: stem, blocks, convolution 1x1, global pooling, linear layer.

    Args:
        in_channels: of the image.
        channels: of the stem.
        activation: of stem and last convolution, a key of `ACTIVATIONS`.
        blocks: inverted bottlenecks, in order.
        last: channels of the last convolution.
        classes: length of the logits.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        activation: str,
        blocks: Sequence[BottleneckSpec],
        last: int,
        classes: int,
    ) -> None:
        super().__init__()
        self.features = features(in_channels, channels, activation, blocks)
        self.out = nn.Sequential(
            *conv_bn(blocks[-1].out_channels, last), ACTIVATIONS[activation](), nn.AdaptiveAvgPool2d(1)
        )
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.classifier(self.out(self.features(x)).flatten(1))
        return logits
