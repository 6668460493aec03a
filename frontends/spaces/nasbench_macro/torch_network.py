"""NAS-Bench-Macro's network (Su et al. 2021, section 5 and the authors' train/model.py), in PyTorch."""

from __future__ import annotations

from torch import Tensor, nn

from frontends.spaces.mbconv.torch_blocks import Bottleneck, conv_bn

from .space import Layer


def block(layer: Layer) -> nn.Module:
    """The block of one position; an identity that has to change shape is a 1x1 convolution with BatchNorm."""
    if layer.choice:
        return Bottleneck(layer.inner, layer.block)
    return nn.Identity() if layer.keeps_shape else nn.Sequential(*conv_bn(layer.inner, layer.outer, 1, layer.stride))


class Network(nn.Module):
    """Stem, the searched blocks, 1x1 convolution to `head` channels, global pooling, linear layer."""

    def __init__(self, layers: list[Layer], head: int, image: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(image[0], layers[0].inner, 3), nn.ReLU())
        self.features = nn.Sequential(*map(block, layers))
        self.out = nn.Sequential(*conv_bn(layers[-1].outer, head), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.classifier(self.out(self.features(self.stem(x))).flatten(1))
        return logits
