"""Configurations of transformers' models, where the default one is incomplete or contradicts itself."""

from __future__ import annotations

from typing import Any


def by_name(*rows: tuple[str, Any]) -> dict[str, Any]:
    """A table whose rows hold for several names each."""
    return {name: value for names, value in rows for name in names.split()}


def _intraclass() -> dict[str, tuple[Any, ...]]:
    """Kernel, stride and padding of the convolutions that look along lines of text, as PP-OCR publishes them."""
    sizes: dict[str, tuple[Any, ...]] = {"reduce_channel": (1, 1, 0), "return_channel": (1, 1, 0)}
    for length, kernel in {"long": 7, "mid": 5, "short": 3}.items():
        pad = kernel // 2
        sizes |= {
            f"vertical_long_to_small_conv_{length}ratio": ((kernel, 1), (1, 1), (pad, 0)),
            f"horizontal_small_to_long_conv_{length}ratio": ((1, kernel), (1, 1), (0, pad)),
            f"symmetric_conv_long_{length}ratio": ((kernel, kernel), (1, 1), (pad, pad)),
        }
    return sizes


_STAGES = ["stage1", "stage2", "stage3", "stage4"]
_LCNET = [
    [[3, 96, 96, 1, True]],
    [[3, 96, 96, 2, False]],
    [[3, 96, 192, 2, False], [3, 192, 192, 1, True]],
    [[3, 192, 384, 2, False]],
]
_REPVIT = {
    "backbone_config": {
        "model_type": "timm_wrapper",
        "num_classes": 2,
        "architecture": "repvit_m1",
        "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    }
}
_PERCEPTION = {
    "embed_dim": 1024,
    "img_size": (14, 14),
    "depth": 2,
    "global_pool": "",
    "use_post_transformer_norm": False,
    "init_values": 0.1,
    "ref_feat_shape": (1, 1),
}
_INDEXER = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 256,
    "indexer_budget": 64,
    "indexer_compress_ratio": 4,
}
_MROPE = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "mrope_section": [8, 12, 12]}
_HUNYUAN = {
    "head_dim": 128,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [16, 16, 16, 16]},
}
# Fields without which the default configuration builds no model.
CONFIGS: dict[str, dict[str, Any]] = {
    **by_name(("big_bird bigbird_pegasus", {"attention_type": "original_full"})),
    **by_name(("chameleon emu3", {"vocabulary_map": {"<image>": 1}})),
    **by_name(
        (
            "autoformer informer time_series_transformer",
            {"prediction_length": 8, "context_length": 16, "num_time_features": 2, "lags_sequence": [1, 2]},
        )
    ),
    **by_name(("hunyuan_v1_dense hunyuan_v1_moe ministral", {"head_dim": 128})),
    **by_name(("glm4v_text glm_image_text", {"rope_parameters": _MROPE})),
    **by_name(("glm4v glm46v glmga glm_image", {"text_config": {"rope_parameters": _MROPE}})),
    "glm4v_moe_text": {"rope_parameters": _MROPE, "head_dim": 128},
    "glm4v_moe": {"text_config": {"rope_parameters": _MROPE, "head_dim": 128}},
    **by_name(("blip-2 instructblip instructblipvideo", {"image_token_id": 5, "video_token_id": 5})),
    "timm_backbone": {"backbone": "resnet18"},
    "esm": {"vocab_size": 33, "pad_token_id": 1},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "aya_vision": {"vision_config": {"model_type": "siglip_vision_model"}},
    "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"], "num_hidden_layers": 2},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"], "num_hidden_layers": 4},
    "nemotron": {"num_key_value_heads": 8},
    "dots1": {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "hunyuan_vl_text": _HUNYUAN,
    "hunyuan_vl": {"text_config": _HUNYUAN},
    "qwen4_exp_text": _INDEXER,
    "qwen4_exp": {"text_config": _INDEXER},
    "step3p7": {"text_config": {"sliding_window": 512}},
    "deepseek_ocr2": {
        "text_config": {"mlp_layer_types": ["dense", "sparse"], "num_hidden_layers": 2, "num_experts_per_tok": 2}
    },
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "cohere_compass": {
        "text_config": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}}
    },
    "granite4_vision": {"deepstack_layer_map": [[0, 0]], "downsample_rate": "1/2"},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8, "kv_n_heads": 8}},
    "oneformer": {"backbone_config": {"model_type": "swin", "out_features": _STAGES}},
    "diffusion_gemma": {"text_config": {"num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 512}},
    "edgetam_vision_model": _REPVIT,
    **by_name(("edgetam edgetam_video", {"vision_config": _REPVIT | {"model_type": "edgetam_vision_model"}})),
    "longcat_flash": {"zero_expert_num": 0},
    "lw_detr": {"projector_scale_factors": [1.0]},
    "moonshine_streaming": {"num_key_value_heads": 8},
    "perception_lm": {
        "vision_config": {
            "model_type": "timm_wrapper",
            "architecture": "vit_pe_core_large_patch14_336",
            "model_args": _PERCEPTION,
        }
    },
    "pp_ocrv6_medium_det": {
        "backbone_config": {"model_type": "hgnet_v2", "out_features": _STAGES},
        "intraclass_block_config": _intraclass(),
        "scale_factor_list": [1, 2, 4, 8],
        "kernel_list": [3, 2, 2],
    },
    "pp_ocrv6_small_det": {
        "backbone_config": {"model_type": "pp_lcnet_v4", "out_features": _STAGES, "block_configs": _LCNET},
        "layer_list_out_channels": (96, 96, 192, 384),
    },
    "qwen3_omni_moe_thinker": {"text_config": {"num_attention_heads": 16}},
    "t5gemma2_encoder": {"text_config": {"dropout_rate": 0.0}},
    "uvdoc": {
        "backbone_config": {"model_type": "uvdoc_backbone", "out_features": [f"stage{index}" for index in range(1, 7)]}
    },
}
# Configurations whose model is one of their parts.
PARTS = {"musicgen": "decoder", "musicgen_melody": "decoder"}
