"""Networks of Once-for-All MobileNetV3 (Cai et al. 2020, the authors' networks/mobilenet_v3.py), in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .blocks import BottleneckSpec
from .torch_blocks import conv_bn, features


class OfaMobileNetV3Network(nn.Module):
    """Stem, blocks, convolution 1x1, global pooling, convolution 1x1, linear layer.

    Args:
        channels: of the stem.
        blocks: inverted bottlenecks, in order.
        last: channels of the convolution before pooling.
        mix: channels of the convolution after it.
        classes: length of the logits.
    """

    def __init__(self, channels: int, blocks: Sequence[BottleneckSpec], last: int, mix: int, classes: int) -> None:
        super().__init__()
        self.features = features(3, channels, "HardSwish", blocks)
        self.final_expand = nn.Sequential(*conv_bn(blocks[-1].out_channels, last), nn.Hardswish())
        self.feature_mix = nn.Sequential(nn.Conv2d(last, mix, 1, bias=False), nn.Hardswish())
        self.classifier = nn.Linear(mix, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, classes)."""
        x = self.final_expand(self.features(x)).mean((2, 3), keepdim=True)
        logits: Tensor = self.classifier(self.feature_mix(x).flatten(1))
        return logits
