"""ResNet-50, ViT-B/16 and MobileNetV3-Small in plain PyTorch, to demonstrate, time and test tracing.

(B, C, H, W) is an image of C channels, (B, T, C) a sequence of T tokens of width C.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """The residual block of ResNet-50, stride on the 3x3 convolution.

    Args:
        in_channels: of the input; the output has `4 * width`.
        width: channels of the 3x3 convolution.
        stride: of the 3x3 convolution.
    """

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 * width, H / stride, W / stride)."""
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


def resnet50(classes: int = 1000) -> nn.Module:
    """ResNet-50 (He et al. 2016), 25,557,032 parameters and 4.09 billion multiply-adds at 224 x 224."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for block in range(depth):
            layers.append(Bottleneck(channels, 64 << stage, 2 if stage and not block else 1))
            channels = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes))


class Attention(nn.Module):
    """Multi-head self-attention with one projection to query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        out: Tensor = self.proj(attended)
        return out


class EncoderBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        mlp = (nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm2, self.mlp = nn.LayerNorm(width), nn.Sequential(*mlp)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attention(self.norm1(x))
        residual: Tensor = self.mlp(self.norm2(x))
        return x + residual


class VisionTransformer(nn.Module):
    """ViT (Dosovitskiy et al. 2021) with a class token.

    Args:
        image: pixels a side.
        patch: pixels a side of one patch.
        width: of the tokens.
        depth: number of blocks.
        heads: of each attention.
        classes: number of logits.
    """

    def __init__(self, image: int, patch: int, width: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return logits


def vit_b16(classes: int = 1000) -> nn.Module:
    """ViT-B/16, 86,567,656 parameters and 17.56 billion multiply-adds at 224 x 224."""
    return VisionTransformer(224, 16, 768, 12, 12, classes)


class InvertedResidual(nn.Module):
    """MobileNetV3's block: expand, depthwise, squeeze-and-excite, project.

    Args:
        in_channels: of the input.
        width: channels of the depthwise convolution.
        out_channels: of the output.
        kernel: window of the depthwise convolution.
        stride: of the depthwise convolution.
        squeeze: whether there is a squeeze-and-excite module.
        swish: Hardswish instead of ReLU.
    """

    def __init__(
        self, in_channels: int, width: int, out_channels: int, kernel: int, stride: int, squeeze: bool, swish: bool
    ) -> None:
        super().__init__()
        act: type[nn.Module] = nn.Hardswish if swish else nn.ReLU
        expand: list[nn.Module] = []
        if width != in_channels:
            expand = [nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width), act()]
        depthwise = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False)
        self.expand = nn.Sequential(*expand, depthwise, nn.BatchNorm2d(width), act())
        reduced = max(8, (width // 4 + 4) // 8 * 8)
        self.squeeze = (
            nn.Sequential(nn.Conv2d(width, reduced, 1), nn.ReLU(), nn.Conv2d(reduced, width, 1), nn.Hardsigmoid())
            if squeeze
            else None
        )
        self.project = nn.Sequential(nn.Conv2d(width, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)."""
        out: Tensor = self.expand(x)
        if self.squeeze is not None:
            out = out * self.squeeze(F.adaptive_avg_pool2d(out, 1))
        out = self.project(out)
        return x + out if self.residual else out


# width, out_channels, kernel, stride, squeeze-and-excite, hard swish
MOBILENET_V3_SMALL = (
    (16, 16, 3, 2, True, False),
    (72, 24, 3, 2, False, False),
    (88, 24, 3, 1, False, False),
    (96, 40, 5, 2, True, True),
    (240, 40, 5, 1, True, True),
    (240, 40, 5, 1, True, True),
    (120, 48, 5, 1, True, True),
    (144, 48, 5, 1, True, True),
    (288, 96, 5, 2, True, True),
    (576, 96, 5, 1, True, True),
    (576, 96, 5, 1, True, True),
)


def mobilenet_v3_small(classes: int = 1000) -> nn.Module:
    """MobileNetV3-Small (Howard et al. 2019): 2,542,856 parameters."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()]
    channels = 16
    for width, out_channels, kernel, stride, squeeze, swish in MOBILENET_V3_SMALL:
        layers.append(InvertedResidual(channels, width, out_channels, kernel, stride, squeeze, swish))
        channels = out_channels
    layers += [
        nn.Conv2d(channels, 576, 1, bias=False),
        nn.BatchNorm2d(576),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
    return nn.Sequential(*layers, nn.Linear(576, 1024), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1024, classes))
