"""kornia: descriptors, detectors, restoration and vision networks, and its differentiable filters."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .torch_costs import COLUMNS, CPU, Outcome, checked

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("kornia",)
EXCEPTIONS: dict[str, str] = {
    "filters/GuidedBlur: no Opaque": "solves a linear system for every pixel, which the vocabulary lacks",
}

PATCH, GREY, IMAGE = (1, 1, 32, 32), (1, 1, 64, 64), (1, 3, 64, 64)
LARGE = (1, 3, 224, 224)
Kornia = Any


def _made(part: str, name: str, **options: Any) -> Callable[[Kornia], nn.Module]:
    """Builds a class of one part of kornia with these options."""

    def make(kornia: Kornia) -> nn.Module:
        module: nn.Module = getattr(operator.attrgetter(part)(kornia), name)(**options)
        return module

    return make


# name -> how it is built, shape of the input
NETWORKS: dict[str, tuple[Callable[[Kornia], nn.Module], tuple[int, ...]]] = {
    **{
        f"feature/{name}": (_made("feature", name, pretrained=False), PATCH)
        for name in ("HardNet", "HardNet8", "HyNet", "SOSNet", "TFeat", "OriNet")
    },
    "feature/KeyNet": (lambda kornia: kornia.feature.KeyNet(pretrained=False), GREY),
    "feature/DeFMO": (lambda kornia: kornia.feature.DeFMO(pretrained=False), (1, 6, 64, 64)),
    "feature/SOLD2 backbone": (lambda kornia: kornia.feature.SOLD2_detector(pretrained=False).model, (1, 1, 128, 128)),
    "feature/XFeatModel": (lambda kornia: kornia.feature.XFeatModel(), GREY),
    "feature/DISK heatmap": (lambda kornia: kornia.feature.DISK().unet, IMAGE),
    "feature/LoFTR backbone": (lambda kornia: kornia.feature.LoFTR(pretrained=None).backbone, GREY),
    "feature/SIFTDescriptor": (lambda kornia: kornia.feature.SIFTDescriptor(32), PATCH),
    "feature/DenseSIFTDescriptor": (lambda kornia: kornia.feature.DenseSIFTDescriptor(), GREY),
    "feature/BlobHessian": (lambda kornia: kornia.feature.BlobHessian(), GREY),
    "feature/CornerHarris": (lambda kornia: kornia.feature.CornerHarris(0.04), GREY),
    "feature/CornerGFTT": (lambda kornia: kornia.feature.CornerGFTT(), GREY),
    "feature/PatchAffineShapeEstimator": (lambda kornia: kornia.feature.PatchAffineShapeEstimator(32), PATCH),
    "feature/PatchDominantGradientOrientation": (
        lambda kornia: kornia.feature.PatchDominantGradientOrientation(32),
        PATCH,
    ),
    "models/DexiNed": (lambda kornia: kornia.models.dexined.DexiNed(pretrained=False), IMAGE),
    "models/RRDBNet": (lambda kornia: kornia.models.RRDBNet(3, 3, num_block=2), IMAGE),
    "models/SmallSRNet": (lambda kornia: kornia.models.small_sr.SmallSRNet(3, pretrained=False), GREY),
    "models/VisionTransformer": (
        lambda kornia: kornia.models.vit.VisionTransformer(image_size=64, embed_dim=64, depth=2, num_heads=4),
        IMAGE,
    ),
    **{
        f"models/MobileViT {mode}": (_made("models.vit_mobile", "MobileViT", mode=mode), (1, 3, 256, 256))
        for mode in ("xxs", "xs", "s")
    },
    "models/TinyViT": (lambda kornia: kornia.contrib.TinyViT.from_config("5m"), LARGE),
    **{
        f"models/EfficientViT {size}": (_made("models.efficient_vit.backbone", f"efficientvit_backbone_{size}"), LARGE)
        for size in ("b0", "b1", "l0")
    },
    "models/SAM image encoder": (
        lambda kornia: kornia.models.sam.Sam.from_config(kornia.models.sam.SamConfig("mobile_sam")).image_encoder,
        (1, 3, 1024, 1024),
    ),
    "models/RTDETR": (
        lambda kornia: kornia.models.rt_detr.RTDETR.from_config(kornia.models.rt_detr.RTDETRConfig("resnet18d", 80)),
        (1, 3, 320, 320),
    ),
    "models/YuNet": (lambda kornia: kornia.models.yunet.YuNet("test", pretrained=False), (1, 3, 64, 64)),
    "filters/GaussianBlur2d": (lambda kornia: kornia.filters.GaussianBlur2d((5, 5), (1.5, 1.5)), IMAGE),
    "filters/BoxBlur": (lambda kornia: kornia.filters.BoxBlur((3, 3)), IMAGE),
    "filters/BlurPool2D": (lambda kornia: kornia.filters.BlurPool2D(3), IMAGE),
    "filters/MaxBlurPool2D": (lambda kornia: kornia.filters.MaxBlurPool2D(3), IMAGE),
    "filters/MedianBlur": (lambda kornia: kornia.filters.MedianBlur((3, 3)), IMAGE),
    "filters/BilateralBlur": (lambda kornia: kornia.filters.BilateralBlur((3, 3), 0.1, (1.5, 1.5)), IMAGE),
    "filters/GuidedBlur": (lambda kornia: _Pair(kornia.filters.GuidedBlur(3, 0.01)), IMAGE),
    "filters/Laplacian": (lambda kornia: kornia.filters.Laplacian(5), IMAGE),
    "filters/Sobel": (lambda kornia: kornia.filters.Sobel(), IMAGE),
    "filters/SpatialGradient": (lambda kornia: kornia.filters.SpatialGradient(), IMAGE),
    "filters/SpatialGradient3d": (lambda kornia: kornia.filters.SpatialGradient3d(), (1, 1, 8, 16, 16)),
    "filters/UnsharpMask": (lambda kornia: kornia.filters.UnsharpMask((3, 3), (1.5, 1.5)), IMAGE),
    "filters/MotionBlur": (lambda kornia: kornia.filters.MotionBlur(5, 35.0, 0.5), IMAGE),
    **{
        f"color/{name}": (_made("color", name), IMAGE)
        for name in ("RgbToGrayscale", "RgbToHsv", "RgbToLab", "RgbToLinearRgb", "RgbToYcbcr", "RgbToXyz", "Sepia")
    },
    "enhance/Normalize": (
        lambda kornia: kornia.enhance.Normalize(torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.2, 0.2])),
        IMAGE,
    ),
    "enhance/AdjustContrast": (lambda kornia: kornia.enhance.AdjustContrast(0.5), IMAGE),
    "losses/SSIMLoss": (lambda kornia: _Pair(kornia.losses.SSIMLoss(5)), IMAGE),
    "losses/MS_SSIMLoss": (lambda kornia: _Pair(kornia.losses.MS_SSIMLoss()), IMAGE),
}


class _Pair(nn.Module):
    """What takes two images, between one and its mirror image."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, images: torch.Tensor) -> Any:
        return self.loss(images, images.flip(-1))


def cases() -> list[str]:
    """All networks."""
    return list(NETWORKS)


def check(case: str) -> Outcome:
    """All columns for one network."""
    return checked(lambda: build(case), devices=(CPU,))  # the library runs other code where there are no values


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network with random weights and its input, on the default device."""
    import kornia
    import kornia.contrib

    for part in ("dexined", "efficient_vit", "rt_detr", "sam", "small_sr", "vit", "vit_mobile", "yunet"):
        importlib.import_module(f"kornia.models.{part}")
    make, shape = NETWORKS[case]
    return make(kornia), (torch.rand(shape),)
