"""diffusers: autoencoders, U-Nets, transformers and adapters in their default sizes, transformers with two blocks."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from .torch_costs import COLUMNS, Outcome, checked

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("diffusers",)
EXCEPTIONS: dict[str, str] = {
    "AutoencoderOobleck: no Opaque": "weights are normalised by one operator, which the vocabulary lacks",
    "MochiTransformer3DModel": "attends to the words that the mask keeps: how many there are depends on its values",
}

_DEPTHS = ("num_layers", "num_single_layers", "n_layers", "num_refiner_layers")
_IMAGE = {"sample": (1, 3, 64, 64)}
_VIDEO = {"sample": (1, 3, 9, 64, 64)}
_STAGES = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
_FLUX = {"hidden_states": (1, 64, 64), "timestep": "time", "img_ids": (64, 3), "txt_ids": (16, 3)}
_SIZES = {"original_size": (1, 2), "target_size": (1, 2), "crop_coords": (1, 2)}
# class, or class and what is special -> options, inputs: a shape, "time" (one step), ("ids", shape), or a value as
# the only one of a list
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "AsymmetricAutoencoderKL": ({}, _IMAGE),
    "AutoencoderDC": ({}, _IMAGE),
    "AutoencoderKL": (_STAGES | {"layers_per_block": 2}, _IMAGE),
    "AutoencoderKLCogVideoX": ({}, _VIDEO),
    "AutoencoderKLCosmos": ({}, _VIDEO),
    "AutoencoderKLFlux2": ({}, _IMAGE),
    "AutoencoderKLHunyuanVideo": ({}, _VIDEO),
    "AutoencoderKLKVAE": ({}, _IMAGE),
    "AutoencoderKLLTXVideo": ({}, _VIDEO),
    "AutoencoderKLMagvit": ({}, _VIDEO),
    "AutoencoderKLMochi": ({}, {"sample": (1, 3, 7, 64, 64)}),
    "AutoencoderKLQwenImage": ({}, _VIDEO),
    "AutoencoderKLTemporalDecoder": (
        {"block_out_channels": (32, 64), "down_block_types": ("DownEncoderBlock2D",) * 2},
        _IMAGE,
    ),
    "AutoencoderKLWan": ({}, _VIDEO),
    "AutoencoderOobleck": ({}, {"sample": (1, 2, 4096)}),
    "AutoencoderTiny": ({}, _IMAGE),
    "AutoencoderVidTok": ({}, {"sample": (1, 3, 16, 64, 64)}),
    "VQModel": (_STAGES, {"sample": (1, 3, 32, 32)}),
    "T2IAdapter": ({}, {"x": (1, 3, 512, 512)}),
    "UNet1DModel": (
        {"in_channels": 14, "out_channels": 14, "layers_per_block": 1, "block_out_channels": (32, 64, 128)}
        | {"down_block_types": ("DownResnetBlock1D",) * 3, "up_block_types": ("UpResnetBlock1D",) * 2}
        | {"mid_block_type": "MidResTemporalBlock1D", "out_block_type": "OutConv1DBlock", "act_fn": "swish"}
        | {"use_timestep_embedding": True, "time_embedding_type": "positional"},
        {"sample": (1, 14, 16), "timestep": "time"},
    ),
    "UNet2DModel": ({}, {"sample": (1, 3, 64, 64), "timestep": "time"}),
    "UNet2DModel classes": (
        {"num_class_embeds": 10},
        {"sample": (1, 3, 64, 64), "timestep": "time", "class_labels": "time"},
    ),
    "UNet2DConditionModel": (
        {},
        {"sample": (1, 4, 64, 64), "timestep": "time", "encoder_hidden_states": (1, 77, 1280)},
    ),
    "UNet2DConditionModel linear": (
        {"use_linear_projection": True, "cross_attention_dim": 768, "attention_head_dim": (5, 10, 20, 20)},
        {"sample": (1, 4, 64, 64), "timestep": "time", "encoder_hidden_states": (1, 77, 768)},
    ),
    "UNet3DConditionModel": (
        {},
        {"sample": (1, 4, 4, 32, 32), "timestep": "time", "encoder_hidden_states": (1, 77, 1024)},
    ),
    "UNetSpatioTemporalConditionModel": (
        {"block_out_channels": (32, 64), "cross_attention_dim": 32, "num_attention_heads": (2, 4)}
        | {"down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal")}
        | {"up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal")},
        {
            "sample": (1, 4, 8, 32, 32),
            "timestep": "time",
            "encoder_hidden_states": (1, 1, 32),
            "added_time_ids": (1, 3),
        },
    ),
    "Kandinsky3UNet": (
        {},
        {
            "sample": (1, 4, 32, 32),
            "timestep": "time",
            "encoder_hidden_states": (1, 77, 4096),
            "encoder_attention_mask": (1, 77),
        },
    ),
    "StableCascadeUNet": (
        {"conditioning_dim": 2048, "block_out_channels": (2048, 2048), "num_attention_heads": (32, 32)}
        | {"down_num_layers_per_block": (2, 2), "up_num_layers_per_block": (2, 2), "down_blocks_repeat_mappers": (1, 1)}
        | {"up_blocks_repeat_mappers": (1, 1), "clip_text_in_channels": 1280, "clip_image_in_channels": 768}
        | {"block_types_per_layer": (("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),) * 2},
        {"sample": (1, 16, 24, 24), "timestep_ratio": (1,), "clip_text_pooled": (1, 1, 1280)},
    ),
    "UVit2DModel": (
        {"num_hidden_layers": 2},
        {"input_ids": ("ids", (1, 16, 16)), "encoder_hidden_states": (1, 77, 768), "pooled_text_emb": (1, 768)}
        | {"micro_conds": (1, 5)},
    ),
    "ControlNetModel": (
        {},
        {
            "sample": (1, 4, 64, 64),
            "timestep": "time",
            "encoder_hidden_states": (1, 77, 1280),
            "controlnet_cond": (1, 3, 512, 512),
        },
    ),
    "PriorTransformer": (
        {},
        {
            "hidden_states": (1, 768),
            "timestep": "time",
            "proj_embedding": (1, 768),
            "encoder_hidden_states": (1, 77, 768),
        },
    ),
    "DiTTransformer2DModel": ({}, {"hidden_states": (1, 4, 32, 32), "timestep": "time", "class_labels": "time"}),
    "PixArtTransformer2DModel": (
        {"sample_size": 32, "caption_channels": 4096},
        {"hidden_states": (1, 4, 32, 32), "timestep": "time", "encoder_hidden_states": (1, 120, 4096)}
        | {"added_cond_kwargs": [{"resolution": None, "aspect_ratio": None}]},
    ),
    "Transformer2DModel": (
        {"in_channels": 32, "num_attention_heads": 2, "attention_head_dim": 16, "cross_attention_dim": 24},
        {"hidden_states": (1, 32, 16, 16), "encoder_hidden_states": (1, 9, 24)},
    ),
    "TransformerTemporalModel": (
        {"in_channels": 32, "num_attention_heads": 2, "attention_head_dim": 16},
        {"hidden_states": (4, 32, 8, 8), "num_frames": [4]},
    ),
    "SD3Transformer2DModel": (
        {},
        {"hidden_states": (1, 16, 64, 64), "encoder_hidden_states": (1, 77, 4096), "pooled_projections": (1, 2048)}
        | {"timestep": "time"},
    ),
    "FluxTransformer2DModel": ({}, _FLUX | {"encoder_hidden_states": (1, 16, 4096), "pooled_projections": (1, 768)}),
    "FluxTransformer2DModel guided": (
        {"guidance_embeds": True},
        _FLUX | {"encoder_hidden_states": (1, 16, 4096), "pooled_projections": (1, 768), "guidance": (1,)},
    ),
    "Flux2Transformer2DModel": (
        {},
        {"hidden_states": (1, 64, 128), "encoder_hidden_states": (1, 16, 15360), "timestep": "time", "guidance": (1,)}
        | {"img_ids": (64, 4), "txt_ids": (16, 4)},
    ),
    "ChromaTransformer2DModel": ({}, _FLUX | {"encoder_hidden_states": (1, 16, 4096)}),
    "OvisImageTransformer2DModel": ({}, _FLUX | {"encoder_hidden_states": (1, 16, 2048)}),
    "LongCatImageTransformer2DModel": ({}, _FLUX | {"encoder_hidden_states": (1, 16, 3584)}),
    "AuraFlowTransformer2DModel": (
        {"num_mmdit_layers": 1, "num_single_dit_layers": 1},
        {"hidden_states": (1, 4, 64, 64), "encoder_hidden_states": (1, 77, 2048), "timestep": (1,)},
    ),
    "CogVideoXTransformer3DModel": (
        {},
        {"hidden_states": (1, 13, 16, 60, 90), "encoder_hidden_states": (1, 226, 4096), "timestep": "time"},
    ),
    "CogView3PlusTransformer2DModel": (
        {},
        {"hidden_states": (1, 16, 32, 32), "encoder_hidden_states": (1, 224, 4096), "timestep": "time", **_SIZES},
    ),
    "CogView4Transformer2DModel": (
        {},
        {"hidden_states": (1, 16, 32, 32), "encoder_hidden_states": (1, 16, 4096), "timestep": "time", **_SIZES},
    ),
    "LTXVideoTransformer3DModel": (
        {},
        {"hidden_states": (1, 128, 128), "encoder_hidden_states": (1, 16, 4096), "timestep": "time"}
        | {"encoder_attention_mask": (1, 16), "num_frames": [2], "height": [8], "width": [8]},
    ),
    "MochiTransformer3DModel": (
        {},
        {"hidden_states": (1, 12, 2, 16, 16), "encoder_hidden_states": (1, 256, 4096), "timestep": "time"}
        | {"encoder_attention_mask": (1, 256)},
    ),
    "SanaTransformer2DModel": (
        {},
        {"hidden_states": (1, 32, 32, 32), "encoder_hidden_states": (1, 77, 2304), "timestep": "time"},
    ),
    "HunyuanVideoTransformer3DModel": (
        {},
        {"hidden_states": (1, 16, 2, 16, 16), "timestep": "time", "encoder_hidden_states": (1, 16, 4096)}
        | {"encoder_attention_mask": (1, 16), "pooled_projections": (1, 768), "guidance": (1,)},
    ),
    "HunyuanDiT2DModel": (
        {"sample_size": 16, "in_channels": 4, "patch_size": 2, "num_attention_heads": 2, "attention_head_dim": 16}
        | {"cross_attention_dim": 32, "cross_attention_dim_t5": 32, "pooled_projection_dim": 32, "hidden_size": 32}
        | {"text_len": 9, "text_len_t5": 9},
        {"hidden_states": (1, 4, 16, 16), "timestep": (1,), "encoder_hidden_states": (1, 9, 32)}
        | {"text_embedding_mask": (1, 9), "encoder_hidden_states_t5": (1, 9, 32), "text_embedding_mask_t5": (1, 9)}
        | {"image_meta_size": (1, 6), "style": "time", "image_rotary_emb": ((64, 16), (64, 16))},
    ),
    "WanTransformer3DModel": (
        {},
        {"hidden_states": (1, 16, 2, 16, 16), "timestep": "time", "encoder_hidden_states": (1, 64, 4096)},
    ),
    "SkyReelsV2Transformer3DModel": (
        {},
        {"hidden_states": (1, 16, 2, 16, 16), "timestep": "time", "encoder_hidden_states": (1, 64, 4096)},
    ),
    "CosmosTransformer3DModel": (
        {},
        {"hidden_states": (1, 16, 2, 16, 16), "timestep": (1,), "encoder_hidden_states": (1, 16, 1024)}
        | {"padding_mask": (1, 1, 16, 16)},
    ),
    "StableAudioDiTModel": (
        {},
        {"hidden_states": (1, 64, 128), "timestep": (1,), "encoder_hidden_states": (1, 16, 768)}
        | {"global_hidden_states": (1, 1, 1536)},
    ),
    "QwenImageTransformer2DModel": (
        {},
        {"hidden_states": (1, 64, 64), "encoder_hidden_states": (1, 16, 3584), "timestep": (1,)}
        | {"encoder_hidden_states_mask": (1, 16), "img_shapes": [[(1, 8, 8)]]},
    ),
    "PRXTransformer2DModel": (
        {"depth": 2},
        {"hidden_states": (1, 16, 32, 32), "timestep": (1,), "encoder_hidden_states": (1, 16, 2304)},
    ),
}


def cases() -> list[str]:
    """All models."""
    return list(MODELS)


def check(case: str) -> Outcome:
    """All columns for one model."""
    return checked(lambda: build(case))


def build(case: str) -> tuple[nn.Module, dict[str, Any]]:
    """A model with random weights and its inputs, on the default device."""
    import diffusers

    options, inputs = MODELS[case]
    kind = getattr(diffusers, case.partition(" ")[0])
    known = inspect.signature(kind.__init__).parameters
    small = {name: 2 for name in _DEPTHS if name in known and "Transformer" in case}
    return kind(**small, **options), {name: _input(value) for name, value in inputs.items()}


def _input(value: Any) -> Any:
    if isinstance(value, list):
        return value[0]
    if value == "time":
        return torch.zeros(1, dtype=torch.long)
    if value[0] == "ids":
        return torch.zeros(value[1], dtype=torch.long)
    return tuple(map(torch.zeros, value)) if isinstance(value[0], tuple) else torch.zeros(value)
