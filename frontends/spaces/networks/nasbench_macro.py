"""NAS-Bench-Macro's network (Su et al. 2021, section 5 and the authors' train/model.py), in PyTorch."""

from __future__ import annotations

from torch import Tensor, nn

from ..nasbench_macro import BLOCKS, Layer


def conv_bn(inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias, BatchNorm."""
    return [nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outer)]


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project; with a shortcut where the shape stays."""

    def __init__(self, layer: Layer, expand: int, kernel: int) -> None:
        super().__init__()
        hidden = layer.inner * expand
        self.conv = nn.Sequential(
            *conv_bn(layer.inner, hidden, 1), nn.ReLU(),
            *conv_bn(hidden, hidden, kernel, layer.stride, hidden), nn.ReLU(),
            *conv_bn(hidden, layer.outer, 1),
        )  # fmt: skip
        self.shortcut = layer.keeps_shape

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) -> (B, outer, H/stride, W/stride)."""
        y: Tensor = self.conv(x)
        return y + x if self.shortcut else y


def block(layer: Layer) -> nn.Module:
    """The block of one position; an identity that has to change shape is a 1x1 convolution with BatchNorm."""
    if layer.choice:
        return InvertedResidual(layer, *BLOCKS[layer.choice])
    return nn.Identity() if layer.keeps_shape else nn.Sequential(*conv_bn(layer.inner, layer.outer, 1, layer.stride))


class Network(nn.Module):
    """Stem, the searched blocks, 1x1 convolution to `head` channels, global pooling, linear layer."""

    def __init__(self, layers: list[Layer], head: int, image: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(image[0], layers[0].inner, 3), nn.ReLU())
        self.features = nn.Sequential(*map(block, layers))
        self.out = nn.Sequential(*conv_bn(layers[-1].outer, head, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        return self.classifier(self.out(self.features(self.stem(x))).flatten(1))
