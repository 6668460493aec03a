"""Every model of timm and torchvision, without weights on the meta device: traced, and counted against PyTorch itself.

Of torchvision's detectors it is what runs before boxes are selected by their values, all parameters included
(`Detector`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import frontends
from frontends.torch.torchvision_ops import declare

from .torch_costs import COLUMNS, META, Outcome, compared, counted, measured

__all__ = ["COLUMNS", "EXCEPTIONS", "Detector", "build", "cases", "check"]

EXCEPTIONS: dict[str, str] = {}
VIDEO = {"mvit": (3, 16, 224, 224), "s3d": (3, 14, 224, 224)}  # others take clips of 16 frames of 112 x 112


def cases() -> list[str]:
    """All models, "timm/..." then "torchvision/..."."""
    declare()
    import timm
    import torchvision

    return [f"timm/{name}" for name in timm.list_models()] + [
        f"torchvision/{name}" for name in torchvision.models.list_models()
    ]


def check(case: str) -> Outcome:
    """Trace one model and compare what it costs."""
    model, inputs = build(case)
    raw = frontends.trace(model, inputs, raw=True)
    return compared(raw, counted(model, raw), measured(model, inputs, META))


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A model in evaluation mode without weights, and inputs of its usual size."""
    declare()
    library, _, name = case.partition("/")
    model = _on_meta(lambda: _timm(name) if library == "timm" else _torchvision(name)).eval()
    return model, _timm_inputs(model) if library == "timm" else _torchvision_inputs(name)


def _on_meta(make: Any) -> nn.Module:
    """Some models compute with numbers while they are built; those are built with weights."""
    try:
        with META:
            model: nn.Module = make()
    except RuntimeError:
        model = make()
    return model


class Detector(nn.Module):
    """The backbone and heads of a detector, without transforms, anchors and selection of boxes.

    Heads of R-CNNs get features of 1,000 pooled boxes.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, pooled: Tensor, regions: Tensor) -> list[Any]:
        """Outputs of the heads from images (B, 3, H, W) and pooled box features (N, C, 7, 7).

        Mask and keypoint heads get features (N, C, 14, 14).

        Args:
            images: (B, 3, H, W).
            pooled: (N, C, 7, 7) features of boxes.
            regions: (N, C, 14, 14) features of boxes.
        """
        model = self.model
        features = model.backbone(images)
        levels = [features] if isinstance(features, Tensor) else list(features.values())
        if not hasattr(model, "rpn"):
            return [model.head(levels)]
        heads = model.roi_heads
        results = [model.rpn.head(levels), heads.box_predictor(heads.box_head(pooled))]
        parts = [
            (getattr(heads, f"{kind}_head"), getattr(heads, f"{kind}_predictor"))
            for kind in ("mask", "keypoint")
            if getattr(heads, f"has_{kind}")()
        ]
        return results + [predictor(head(regions)) for head, predictor in parts]


def _timm(name: str) -> Any:
    import timm

    return timm.create_model(name)


def _timm_inputs(model: Any) -> tuple[Any, ...]:
    return (_image(1, *model.pretrained_cfg["input_size"]),)


def _torchvision(name: str) -> Any:
    import torchvision

    options: dict[str, Any] = (
        {"init_weights": False} if name.removeprefix("quantized_") in ("googlenet", "inception_v3") else {}
    )
    if (
        "rcnn" in name
        or "retina" in name
        or "fcos" in name
        or "ssd" in name
        or "deeplab" in name
        or "fcn" in name
        or "lraspp" in name
    ):
        options["weights_backbone"] = None
    model = torchvision.models.get_model(name, weights=None, **options)
    return Detector(model) if name in torchvision.models.list_models(module=torchvision.models.detection) else model


def _torchvision_inputs(name: str) -> tuple[Any, ...]:
    import torchvision

    kinds = {
        kind: torchvision.models.list_models(module=getattr(torchvision.models, kind))
        for kind in ("detection", "segmentation", "video", "optical_flow")
    }
    if name in kinds["detection"]:
        return _image(1, 3, 320, 320), _image(1000, 256, 7, 7), _image(1000, 256, 14, 14)
    if name in kinds["optical_flow"]:
        return _image(1, 3, 520, 960), _image(1, 3, 520, 960)
    if name in kinds["video"]:
        return (_image(1, *VIDEO.get(name.partition("_")[0], (3, 16, 112, 112))),)
    if name in kinds["segmentation"]:
        return (_image(1, 3, 520, 520),)
    return (_image(1, 3, 299, 299) if "inception" in name else _image(1, 3, 224, 224),)


def _image(*shape: int) -> Tensor:
    return torch.empty(shape, device=META)
