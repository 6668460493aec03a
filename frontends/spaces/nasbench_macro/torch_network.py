"""NAS-Bench-Macro's network (Su et al. 2021, section 5 and the authors' train/model.py), in PyTorch."""

from __future__ import annotations

from torch import Tensor, nn

from frontends.spaces.mbconv.torch_blocks import InvertedBottleneck, conv_bn

from .spec import LayerSpec


def make_layer(layer: LayerSpec) -> nn.Module:
    """The layer of one position; an identity that has to change shape is a 1x1 convolution with BatchNorm."""
    if layer.choice:
        return InvertedBottleneck(layer.in_channels, layer.bottleneck)
    if layer.keeps_shape:
        return nn.Identity()
    return nn.Sequential(*conv_bn(layer.in_channels, layer.out_channels, 1, layer.stride))


class NasBenchMacroNetwork(nn.Module):
    """Stem, the searched layers, 1x1 convolution, global pooling, linear layer.

    Args:
        layers: the searched part.
        head: channels of the last convolution.
        image: channels, height, width.
        classes: length of the logits.
    """

    def __init__(self, layers: list[LayerSpec], head: int, image: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(image[0], layers[0].in_channels, 3), nn.ReLU())
        self.features = nn.Sequential(*map(make_layer, layers))
        self.out = nn.Sequential(*conv_bn(layers[-1].out_channels, head), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(head, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.classifier(self.out(self.features(self.stem(x))).flatten(1))
        return logits
