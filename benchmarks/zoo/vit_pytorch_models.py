"""Vision transformers of vit-pytorch, small ones: one of every file of the package that has a network of its own."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from .torch_costs import COLUMNS, Outcome, checked, vector_products

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("vit-pytorch",)
EXCEPTIONS = {
    "ats_vit.ViT": "how many tokens go on depends on their values",
    **vector_products("simple_vit_with_hyper_connections.SimpleViT"),
}

_VIT = {"image_size": 32, "patch_size": 8, "num_classes": 10, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64}
_VIT |= {"dim_head": 16}
_CUBE = {"frames": 4, "frame_patch_size": 2, "image_size": 32, "image_patch_size": 8}
_THREE = {name: value for name, value in _VIT.items() if name not in ("image_size", "patch_size")} | _CUBE
_LINE = {name: value for name, value in _VIT.items() if name not in ("image_size",)} | {"seq_len": 64}
_ND = {name: value for name, value in _VIT.items() if name != "image_size"} | {"ndim": 2, "input_shape": (32, 32)}
_STAGES = {"num_classes": 10, "dim": (16, 32, 32, 32), "depth": (1, 1, 2, 1)}
_GROWING = {"num_classes": 10, "dim": 16, "depth": (1, 1, 2, 1), "heads": (1, 2, 2, 2)}

IMAGE, CLIP, SEQUENCE = (1, 3, 32, 32), (1, 3, 4, 32, 32), (1, 3, 64)
LARGE = (1, 3, 224, 224)
# "file.Class" -> options, shape of the input
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    **{
        f"{file}.{kind}": (_VIT, IMAGE)
        for file, kind in (
            ("attn_residual_with_dca_simple_vit", "SimpleViT"),
            ("deepvit", "DeepViT"),
            ("jet_vit", "JetViT"),
            ("jumbo_vit", "JumboViT"),
            ("learnable_memory_vit", "ViT"),
            ("normalized_vit", "nViT"),
            ("parallel_vit", "ViT"),
            ("rvt", "RvT"),
            ("simple_flash_attn_vit", "SimpleViT"),
            ("simple_uvit", "SimpleUViT"),
            ("simple_vit", "SimpleViT"),
            ("simple_vit_attn_residual", "SimpleViTAttnResidual"),
            ("simple_vit_orthog_residual_update", "SimpleViT"),
            ("simple_vit_with_patch_dropout", "SimpleViT"),
            ("simple_vit_with_qk_norm", "SimpleViT"),
            ("simple_vit_with_register_tokens", "SimpleViT"),
            ("simple_vit_with_relative_proj_pos_bias", "SimpleViT"),
            ("simple_vit_with_specialized_cls", "SimpleViT"),
            ("simple_vit_with_sparse_gating", "SimpleViTWithSparseGating"),
            ("simple_vit_with_value_residual", "SimpleViT"),
            ("vit", "ViT"),
            ("vit_5", "ViT"),
            ("vit_detpool", "ViTDetPool"),
            ("vit_for_small_dataset", "ViT"),
            ("vit_with_decorr", "ViT"),
            ("vit_with_keel_post_ln", "ViT"),
            ("vit_with_patch_dropout", "ViT"),
            ("vit_with_patch_merger", "ViT"),
        )
    },
    "ats_vit.ViT": (_VIT | {"max_tokens_per_depth": (16, 8)}, IMAGE),
    "cait.CaiT": (_VIT | {"cls_depth": 1}, IMAGE),
    "cct.CCT": ({"img_size": 32, "embedding_dim": 32, "num_layers": 2, "num_heads": 2, "num_classes": 10}, IMAGE),
    "cct_3d.CCT": (
        {"img_size": 32, "num_frames": 4, "embedding_dim": 32, "num_layers": 2, "num_heads": 2, "num_classes": 10},
        CLIP,
    ),
    "cross_vit.CrossViT": (
        {"image_size": 48, "num_classes": 10, "sm_dim": 32, "lg_dim": 48, "depth": 1, "lg_enc_depth": 1},
        (1, 3, 48, 48),
    ),
    "crossformer.CrossFormer": ({"num_classes": 10, "dim": (32, 32, 64, 64), "depth": (1, 1, 1, 1)}, LARGE),
    "cvt.CvT": ({"num_classes": 10, "s3_depth": 2}, LARGE),
    "levit.LeViT": (
        {
            "image_size": 224,
            "num_classes": 10,
            "dim": (32, 48),
            "depth": 2,
            "heads": (2, 3),
            "mlp_mult": 2,
            "stages": 2,
        },
        LARGE,
    ),
    "look_vit.LookViT": (
        {"dim": 32, "image_size": 96, "num_classes": 10, "depth": 2, "patch_size": 16},
        (1, 3, 96, 96),
    ),
    "looped_vit.LoopedViT": (
        {"num_classes": 10, "dim": 32, "image_size": 32, "patch_size": 8, "pre_loop_depth": 1, "post_loop_depth": 1}
        | {"num_looped_blocks": 1, "loop_depth": 2, "heads": 2, "mlp_dim": 64},
        IMAGE,
    ),
    "max_vit.MaxViT": ({"num_classes": 10, "dim": 32, "depth": (1, 1)}, (1, 3, 56, 56)),
    "max_vit_with_registers.MaxViT": ({"num_classes": 10, "dim": 32, "depth": (1, 1)}, (1, 3, 56, 56)),
    "mobile_vit.MobileViT": (
        {"image_size": (64, 64), "dims": [16, 24, 32], "num_classes": 10}
        | {"channels": [16, 16, 24, 24, 48, 48, 64, 64, 80, 80, 96]},
        (1, 3, 64, 64),
    ),
    "nest.NesT": (
        {"image_size": 32, "patch_size": 4, "dim": 32, "heads": 2, "num_hierarchies": 2, "block_repeats": (1, 1)}
        | {"num_classes": 10},
        IMAGE,
    ),
    "pit.PiT": (_VIT | {"depth": (1, 1), "patch_size": 4}, IMAGE),
    "regionvit.RegionViT": (_STAGES, LARGE),
    "scalable_vit.ScalableViT": (
        _GROWING | {"reduction_factor": (8, 4, 2, 1), "window_size": (7, 7, 7, 7)},
        LARGE,
    ),
    "sep_vit.SepViT": (_GROWING, LARGE),
    "simple_flash_attn_vit_3d.SimpleViT": (_THREE, CLIP),
    "simple_vit_1d.SimpleViT": (_LINE, SEQUENCE),
    "simple_vit_3d.SimpleViT": (_THREE, CLIP),
    "simple_vit_with_fft.SimpleViT": (_VIT | {"freq_patch_size": 8}, IMAGE),
    "simple_vit_with_hyper_connections.SimpleViT": (_VIT | {"num_residual_streams": 4}, IMAGE),
    "t2t.T2TViT": (
        {name: value for name, value in _VIT.items() if name != "patch_size"} | {"t2t_layers": ((3, 2), (3, 2))},
        IMAGE,
    ),
    "twins_svt.TwinsSVT": ({"num_classes": 10, "s3_depth": 1, "s4_depth": 1}, LARGE),
    "vit_1d.ViT": (_LINE, SEQUENCE),
    "vit_3d.ViT": (_THREE, CLIP),
    "vit_nd.ViTND": (_ND, IMAGE),
    "vit_nd_pope.ViTND": (_ND, IMAGE),
    "vit_nd_rotary.ViTND": (_ND, IMAGE),
    "vivit.ViViT": (
        {name: value for name, value in _THREE.items() if name != "depth"} | {"spatial_depth": 1, "temporal_depth": 1},
        CLIP,
    ),
    "xcit.XCiT": (_VIT | {"cls_depth": 1}, IMAGE),
}


def cases() -> list[str]:
    """All networks, "file.Class"."""
    return list(NETWORKS)


def check(case: str) -> Outcome:
    """All columns for one network."""
    return checked(lambda: build(case))


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network and its input on the default device."""
    file, _, kind = case.partition(".")
    options, shape = NETWORKS[case]
    return getattr(importlib.import_module(f"vit_pytorch.{file}"), kind)(**options), (torch.zeros(shape),)
