"""MONAI's networks for medical images, in two and three dimensions, small ones where the size can be said."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from .torch_costs import COLUMNS, Outcome, checked

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("monai",)
EXCEPTIONS: dict[str, str] = {
    "Quicknat: no Opaque": "puts values back where max pooling took them (max_unpool2d), which the vocabulary lacks",
}

_ONE = {"in_channels": 1, "out_channels": 2}
_STEPS = {"channels": (8, 16, 32), "strides": (2, 2)}
_EQUAL = {"channels": (8, 16, 32), "strides": (1, 2, 2)}
_DIFFUSION = {"channels": (8, 16), "attention_levels": (False, True), "num_res_blocks": 1, "norm_num_groups": 4}
_KERNELS = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
_PATCHES = {
    "img_size": (32, 32),
    "patch_size": (8, 8),
    "hidden_size": 32,
    "mlp_dim": 64,
    "num_layers": 2,
    "num_heads": 4,
}
_CUBES = _PATCHES | {"img_size": (32, 32, 32), "patch_size": (8, 8, 8)}
FLAT, SOLID, PAIR = (1, 1, 32, 32), (1, 1, 32, 32, 32), (1, 2, 32, 32)
WIDE, DEEP = (1, 1, 64, 64), (1, 1, 64, 64, 64)
COLOUR = (1, 3, 64, 64)
Network = tuple[str, dict[str, Any], tuple[Any, ...]]
# name -> class, options, shapes of the inputs
NETWORKS: dict[str, Network] = {
    "AHNet 2d": ("AHNet", {"spatial_dims": 2, "upsample_mode": "nearest"}, ((1, 1, 128, 128),)),
    "AHNet 3d": ("AHNet", {"spatial_dims": 3, "upsample_mode": "trilinear"}, ((1, 1, 128, 128, 64),)),
    "AttentionUnet": ("AttentionUnet", {"spatial_dims": 2, **_ONE, **_STEPS}, (FLAT,)),
    "AutoEncoder": ("AutoEncoder", {"spatial_dims": 2, **_ONE, **_EQUAL, "num_res_units": 2}, (FLAT,)),
    "AutoencoderKL": ("AutoencoderKL", {"spatial_dims": 2, **_ONE, **_DIFFUSION}, (FLAT,)),
    "BasicUNet 2d": ("BasicUNet", {"spatial_dims": 2, "features": (8, 8, 16, 16, 32, 8)}, (FLAT,)),
    "BasicUNet 3d": ("BasicUNet", {"features": (8, 8, 16, 16, 32, 8)}, (SOLID,)),
    "BasicUNet upsampled": ("BasicUNet", {"features": (8, 8, 16, 16, 32, 8), "upsample": "nontrainable"}, (SOLID,)),
    "BasicUNetPlusPlus": ("BasicUNetPlusPlus", {"spatial_dims": 2, "features": (8, 8, 16, 16, 32, 8)}, (FLAT,)),
    "BasicUNetPlusPlus supervised": (
        "BasicUNetPlusPlus",
        {"spatial_dims": 2, "features": (8, 8, 16, 16, 32, 8), "deep_supervision": True},
        (FLAT,),
    ),
    "Classifier": ("Classifier", {"in_shape": (1, 32, 32), "classes": 3, **_STEPS}, (FLAT,)),
    "Critic": ("Critic", {"in_shape": (1, 32, 32), **_STEPS}, (FLAT,)),
    "Discriminator": ("Discriminator", {"in_shape": (1, 32, 32), **_STEPS}, (FLAT,)),
    "DAF3D": ("DAF3D", _ONE, (DEEP,)),
    **{
        f"DenseNet{depth}": (f"DenseNet{depth}", {"spatial_dims": 2, **_ONE}, (WIDE,)) for depth in (121, 169, 201, 264)
    },
    "DenseNet121 3d": ("DenseNet121", {"spatial_dims": 3, **_ONE}, (DEEP,)),
    "DiffusionModelUNet": (
        "DiffusionModelUNet",
        {"spatial_dims": 2, **_ONE, **_DIFFUSION, "num_head_channels": 8},
        (FLAT, "time"),
    ),
    "DiffusionModelUNet conditioned": (
        "DiffusionModelUNet",
        {"spatial_dims": 3, **_ONE, **_DIFFUSION, "num_head_channels": 8, "with_conditioning": True}
        | {"cross_attention_dim": 12},
        ((1, 1, 16, 16, 16), "time", (1, 5, 12)),
    ),
    "DiffusionModelUNet updown": (
        "DiffusionModelUNet",
        {"spatial_dims": 2, **_ONE, **_DIFFUSION, "num_head_channels": 8, "resblock_updown": True},
        (FLAT, "time"),
    ),
    "DynUNet": ("DynUNet", {"spatial_dims": 3, **_ONE, **_KERNELS}, (SOLID,)),
    "DynUNet supervised": (
        "DynUNet",
        {"spatial_dims": 2, **_ONE, "deep_supervision": True, "res_block": True, "kernel_size": [3] * 4}
        | {"strides": [1, 2, 2, 2], "upsample_kernel_size": [2] * 3},
        (FLAT,),
    ),
    **{
        f"EfficientNet {name}": (
            "EfficientNetBN",
            {"model_name": f"efficientnet-{name}", "pretrained": False},
            (COLOUR,),
        )
        for name in ("b0", "b2")
    },
    "EfficientNet 3d": (
        "EfficientNetBN",
        {"model_name": "efficientnet-b0", "pretrained": False, "spatial_dims": 3, "in_channels": 1},
        (DEEP,),
    ),
    "FlexibleUNet efficientnet": (
        "FlexibleUNet",
        {"in_channels": 3, "out_channels": 2, "backbone": "efficientnet-b0"},
        (COLOUR,),
    ),
    "FlexibleUNet resnet": ("FlexibleUNet", {"in_channels": 3, "out_channels": 2, "backbone": "resnet18"}, (COLOUR,)),
    "FullyConnectedNet": (
        "FullyConnectedNet",
        {"in_channels": 10, "out_channels": 3, "hidden_channels": [8, 8]},
        ((1, 10),),
    ),
    "VarFullyConnectedNet": (
        "VarFullyConnectedNet",
        {"in_channels": 10, "out_channels": 3, "latent_size": 4, "encode_channels": [8], "decode_channels": [8]},
        ((1, 10),),
    ),
    "Generator": ("Generator", {"latent_shape": (10,), "start_shape": (8, 4, 4), **_STEPS}, ((1, 10),)),
    "GlobalNet": (
        "GlobalNet",
        {"image_size": [16, 16], "spatial_dims": 2, "in_channels": 2, "num_channel_initial": 8, "depth": 2},
        ((1, 2, 16, 16),),
    ),
    "LocalNet": (
        "LocalNet",
        {"spatial_dims": 2, "in_channels": 2, "num_channel_initial": 8, "extract_levels": (0, 1), "out_channels": 2},
        (PAIR,),
    ),
    "RegUNet": (
        "RegUNet",
        {"spatial_dims": 2, "in_channels": 2, "num_channel_initial": 8, "depth": 2, "out_channels": 2},
        (PAIR,),
    ),
    "HighResNet": ("HighResNet", {}, (SOLID,)),
    "HoVerNet": ("HoVerNet", {"out_classes": 5}, ((1, 3, 256, 256),)),
    "HoVerNet original": ("HoVerNet", {"mode": "original", "out_classes": 5}, ((1, 3, 270, 270),)),
    "MILModel": ("MILModel", {"num_classes": 3, "pretrained": False, "mil_mode": "att"}, ((1, 4, 3, 64, 64),)),
    "MILModel transformer": (
        "MILModel",
        {"num_classes": 3, "pretrained": False, "mil_mode": "att_trans_pyramid"},
        ((1, 4, 3, 64, 64),),
    ),
    **{f"MedNeXt {size}": (f"MedNeXt{size}", {}, (SOLID,)) for size in ("S", "B", "M", "L")},
    "PatchDiscriminator": (
        "PatchDiscriminator",
        {"spatial_dims": 2, "channels": 8, "in_channels": 1, "num_layers_d": 2},
        (WIDE,),
    ),
    "MultiScalePatchDiscriminator": (
        "MultiScalePatchDiscriminator",
        {"num_d": 2, "num_layers_d": 2, "spatial_dims": 2, "channels": 8, "in_channels": 1, "minimum_size_im": 64},
        (WIDE,),
    ),
    "Quicknat": ("Quicknat", {"num_channels": 1, "num_filters": 8, "se_block": None}, (WIDE,)),
    "Regressor": ("Regressor", {"in_shape": (1, 32, 32), "out_shape": (2,), **_STEPS}, (FLAT,)),
    **{
        f"ResNet{depth} 3d": (f"resnet{depth}", {"n_input_channels": 1, "num_classes": 3}, (SOLID,))
        for depth in (10, 18, 50)
    },
    "ResNet34 2d": ("resnet34", {"spatial_dims": 2, "n_input_channels": 1, "num_classes": 3}, (WIDE,)),
    "Restormer": (
        "restormer.Restormer",
        {"in_channels": 1, "out_channels": 1, "dim": 8, "num_blocks": (1, 1, 1, 1), "heads": (1, 1, 2, 2)}
        | {"num_refinement_blocks": 1},
        (WIDE,),
    ),
    "SENet154": ("SENet154", {"spatial_dims": 2, "in_channels": 1, "num_classes": 3}, (WIDE,)),
    "SEResNet50 3d": ("SEResNet50", {"spatial_dims": 3, "in_channels": 1, "num_classes": 3}, (DEEP,)),
    "SEResNext50": ("SEResNext50", {"spatial_dims": 2, "in_channels": 1, "num_classes": 3}, (WIDE,)),
    "SPADEAutoencoderKL": (
        "SPADEAutoencoderKL",
        {"spatial_dims": 2, "label_nc": 3, **_ONE, **_DIFFUSION},
        (FLAT, (1, 3, 32, 32)),
    ),
    "SPADEDiffusionModelUNet": (
        "SPADEDiffusionModelUNet",
        {"spatial_dims": 2, "label_nc": 3, **_ONE, **_DIFFUSION, "num_head_channels": 8},
        (FLAT, "time", (1, 3, 32, 32)),
    ),
    "SegResNet": ("SegResNet", {}, (SOLID,)),
    "SegResNet 2d": ("SegResNet", {"spatial_dims": 2, "upsample_mode": "deconv"}, (FLAT,)),
    "SegResNetVAE": ("SegResNetVAE", {"input_image_size": (32, 32, 32)}, (SOLID,)),
    "SegResNetDS": ("SegResNetDS", {"init_filters": 8, "dsdepth": 2}, (SOLID,)),
    "SwinUNETR": ("SwinUNETR", {**_ONE, "feature_size": 12}, (DEEP,)),
    "SwinUNETR 2d v2": ("SwinUNETR", {**_ONE, "feature_size": 12, "spatial_dims": 2, "use_v2": True}, (WIDE,)),
    "UNETR": ("UNETR", {**_ONE, "img_size": (32, 32, 32), "hidden_size": 48, "mlp_dim": 96, "num_heads": 4}, (SOLID,)),
    "UNet": ("UNet", {"spatial_dims": 2, **_ONE, **_STEPS}, (FLAT,)),
    "UNet residual": ("UNet", {"spatial_dims": 3, **_ONE, **_STEPS, "num_res_units": 2}, (SOLID,)),
    "UNet batch normalised": ("UNet", {"spatial_dims": 2, **_ONE, **_STEPS, "norm": "BATCH", "act": "RELU"}, (FLAT,)),
    "VNet": ("VNet", {}, (SOLID,)),
    "VQVAE": (
        "VQVAE",
        {"spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": (8, 16), "num_res_channels": (8, 16)}
        | {"num_res_layers": 1, "downsample_parameters": ((2, 4, 1, 1),) * 2, "num_embeddings": 16, "embedding_dim": 8}
        | {"upsample_parameters": ((2, 4, 1, 1, 0),) * 2},
        (FLAT,),
    ),
    "VarAutoEncoder": (
        "VarAutoEncoder",
        {"spatial_dims": 2, "in_shape": (1, 32, 32), "out_channels": 1, "latent_size": 4, **_EQUAL},
        (FLAT,),
    ),
    "ViT": ("ViT", {"in_channels": 1, **_CUBES, "classification": True}, (SOLID,)),
    "ViT 2d": ("ViT", {"in_channels": 1, **_PATCHES, "spatial_dims": 2, "proj_type": "perceptron"}, (FLAT,)),
    "ViTAutoEnc": ("ViTAutoEnc", {"in_channels": 1, **_CUBES, "patch_size": (16, 16, 16)}, (SOLID,)),
    "MaskedAutoEncoderViT": (
        "MaskedAutoEncoderViT",
        {"in_channels": 1, **_PATCHES, "spatial_dims": 2, "decoder_hidden_size": 32, "decoder_num_layers": 1}
        | {"decoder_num_heads": 4, "decoder_mlp_dim": 64},
        (FLAT,),
    ),
    "DecoderOnlyTransformer": (
        "DecoderOnlyTransformer",
        {"num_tokens": 20, "max_seq_len": 16, "attn_layers_dim": 16, "attn_layers_depth": 2, "attn_layers_heads": 2},
        ("tokens",),
    ),
    "VoxelMorphUNet": (
        "VoxelMorphUNet",
        {
            "spatial_dims": 2,
            "in_channels": 2,
            "unet_out_channels": 8,
            "channels": (8, 8, 16, 16),
            "final_conv_channels": (8,),
        },
        (PAIR,),
    ),
    "TorchVisionFCModel": ("TorchVisionFCModel", {"model_name": "resnet18", "num_classes": 3}, ((1, 3, 224, 224),)),
    "ControlNet": (
        "ControlNet",
        {"spatial_dims": 2, "in_channels": 1, **_DIFFUSION, "num_head_channels": 8}
        | {"conditioning_embedding_in_channels": 1, "conditioning_embedding_num_channels": (8,)},
        (FLAT, "time", FLAT),
    ),
}


def cases() -> list[str]:
    """All networks."""
    return list(NETWORKS)


def check(case: str) -> Outcome:
    """All columns for one network."""
    return checked(lambda: build(case))


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network with random weights and its inputs, on the default device."""
    path, options, shapes = NETWORKS[case]
    file, _, kind = f".{path}".rpartition(".")
    nets = importlib.import_module(f"monai.networks.nets{file}")
    return getattr(nets, kind)(**options), tuple(_input(shape) for shape in shapes)


def _input(shape: Any) -> Tensor:
    if shape == "time":
        return torch.zeros(1, dtype=torch.long)
    return torch.zeros(1, 16, dtype=torch.long) if shape == "tokens" else torch.zeros(shape)
