"""open_clip: one model of each kind of tower, image and text together."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .torch_costs import COLUMNS, Outcome, checked

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("open-clip-torch",)
EXCEPTIONS: dict[str, str] = {}
_NAMES = (
    "EVA01-g-14 EVA02-B-16 EVA02-L-14 MobileCLIP-B MobileCLIP-S1 MobileCLIP2-S0 MobileCLIP2-S3 PE-Core-B-16 "
    "PE-Core-T-16-384 RN50 RN50-quickgelu RN101 RN50x4 ViT-B-16 ViT-B-16-quickgelu ViT-B-16-SigLIP "
    "ViT-B-16-SigLIP-i18n-256 ViT-B-16-SigLIP2 ViT-B-16-plus-240 ViT-B-32 ViT-B-32-256 ViT-B-32-quickgelu "
    "ViT-B-32-SigLIP2-256 ViT-H-14 ViT-H-14-CLIPA ViT-L-14 ViT-L-14-336 ViT-L-14-CLIPA ViT-L-16-SigLIP-256 "
    "ViT-M-16-alt ViT-M-32 ViT-S-16 ViT-S-32-alt ViT-SO400M-14-SigLIP ViT-SO400M-16-SigLIP2-256 ViT-bigG-14 "
    "ViT-g-14 ViTamin-S ViTamin-B-LTT ViTamin-L2 coca_ViT-B-32 coca_base convnext_base convnext_base_w "
    "convnext_large_d convnext_xxlarge swin_base_patch4_window7_224 vit_medium_patch16_gap_256 "
    "vit_relpos_medium_patch16_cls_224"
)


def cases() -> list[str]:
    """Names of the configurations."""
    return _NAMES.split()


def check(case: str) -> Outcome:
    """All columns for one model."""
    return checked(lambda: build(case))


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A model with random weights, an image and a text, on the default device."""
    import open_clip

    config = open_clip.get_model_config(case)
    size, length = config["vision_cfg"].get("image_size", 224), config["text_cfg"].get("context_length", 77)
    height, width = (size, size) if isinstance(size, int) else size
    model = open_clip.create_model(case, pretrained=None, pretrained_hf=False, device=torch.get_default_device())
    return model, (torch.zeros(1, 3, height, width), torch.zeros(1, length, dtype=torch.long))
