"""segmentation_models_pytorch: every decoder on encoders of several families, and one decoder on the other encoders."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .torch_costs import COLUMNS, Outcome, checked

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("segmentation-models-pytorch",)
EXCEPTIONS: dict[str, str] = {}

_DECODERS = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet DeepLabV3 DeepLabV3Plus PAN UPerNet Segformer"
_EVERYWHERE = "resnet18 efficientnet-b0 mobilenet_v2 tu-regnetx_002 mit_b0"
_ENCODERS = (
    "resnet50 resnext50_32x4d dpn68 dpn92 vgg11 vgg16_bn senet154 se_resnet50 se_resnext50_32x4d densenet121 "
    "inceptionresnetv2 inceptionv4 efficientnet-b3 xception timm-efficientnet-b0 timm-tf_efficientnet_lite0 "
    "timm-skresnet18 timm-skresnext50_32x4d mit_b2 mobileone_s0 mobileone_s4 tu-resnet18 tu-convnext_atto "
    "tu-mobilenetv3_small_100 tu-hrnet_w18_small tu-res2net50_26w_4s tu-swin_tiny_patch4_window7_224 "
    "tu-edgenext_small"
)
# blocks that these decoders need and the encoder lacks
_UNSUITED = {("UnetPlusPlus", "mit_b0"), ("Linknet", "mit_b0"), ("DeepLabV3", "mit_b0"), ("DeepLabV3Plus", "mit_b0")}
_UNSUITED |= {("PAN", "mit_b0")}
SIZE = 224


def cases() -> list[str]:
    """Decoder and encoder, "decoder/encoder"."""
    pairs = [(decoder, encoder) for decoder in _DECODERS.split() for encoder in _EVERYWHERE.split()]
    found = [f"{decoder}/{encoder}" for decoder, encoder in pairs if (decoder, encoder) not in _UNSUITED]
    return [*found, *(f"Unet/{encoder}" for encoder in _ENCODERS.split()), "DPT/tu-vit_base_patch16_224.augreg_in21k"]


def check(case: str) -> Outcome:
    """All columns for one network."""
    return checked(lambda: build(case))


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network with random weights and an image, on the default device."""
    import segmentation_models_pytorch

    decoder, _, encoder = case.partition("/")
    kind = getattr(segmentation_models_pytorch, decoder)
    return kind(encoder, encoder_weights=None, classes=3), (torch.zeros(1, 3, SIZE, SIZE),)
