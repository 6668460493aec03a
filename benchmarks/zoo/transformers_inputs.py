"""Inputs of transformers' models: by the names of the forward's parameters, and what single models need besides."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

META = torch.device("meta")
TOKENS = 16  # length of texts
FRAMES = 3000  # length of spectrograms
SAMPLES = 16_000  # length of sounds
Maker = Callable[[Any], Any]  # from a configuration


def by_name(*rows: tuple[str, Any]) -> dict[str, Any]:
    """A table whose rows hold for several names each."""
    return {name: value for names, value in rows for name in names.split()}


def inputs_of(model: Any, config: Any, case: str) -> dict[str, Any]:
    """What the forward needs: its obligatory arguments, the model's main input, and the few that are optional in name only."""
    parameters = inspect.signature(model.forward).parameters
    needed = {name for name, parameter in parameters.items() if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD}
    main = model.main_input_name if isinstance(model.main_input_name, list | tuple) else [model.main_input_name]
    needed |= {name for name in ("input_ids", "decoder_input_ids", "bbox", *main) if name in parameters}
    if "pixel_values" in parameters and not {"past_key_values", "inputs_embeds"} & set(parameters):
        needed.add("pixel_values")
    makers = dict(INPUTS)
    if {"grid_thw", "image_grid_thw"} & needed:
        makers |= dict.fromkeys(("hidden_states", "pixel_values"), _patches)
    if case in FRAMES_FIRST:
        makers |= dict.fromkeys(("input_features", "input_values", "audio_mel"), _frames)
    if case in ONE_CHANNEL:
        makers["input_values"] = lambda config: torch.empty(1, 1, 19_200, device=META)
    return {name: makers[name](config) for name in parameters if name in needed and name in makers} | {
        name: make(config) for name, make in ARGUMENTS.get(case, {}).items()
    }


def _find(config: Any, *names: str, default: Any = None) -> Any:
    """The first of these fields in a configuration or in the configurations inside it."""
    for name in names:
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    for part in vars(config).values():
        if hasattr(part, "to_dict") and (found := _find(part, *names)) is not None:
            return found
    return default


def _ids(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.long, device=META)


def _image(config: Any) -> Tensor:
    size = _find(config, "image_size", "img_size", default=224)
    height, width = (size, size) if isinstance(size, int) else (size["height"], size["width"]) if isinstance(size, Mapping) else size
    return torch.empty(1, _find(config, "num_channels", "in_channels", "in_chans", default=3), height, width, device=META)


def _spectrogram(config: Any) -> Tensor:
    return torch.empty(1, _find(config, "num_mel_bins", "n_mels", "feature_size", default=80), FRAMES, device=META)


_BINS = ("num_mel_bins", "n_mels", "feature_size", "input_feat_size", "input_feat_per_channel", "input_dim")


def _frames(config: Any) -> Tensor:
    return torch.empty(1, FRAMES, _find(config, *_BINS, default=128), device=META)


def _patches(config: Any) -> Tensor:
    """Patches of one image of 8 x 8 patches, flat."""
    size = _find(config, "patch_size", default=14)
    volume = size * size if isinstance(size, int) else size[0] * size[1]
    return torch.empty(
        64, volume * _find(config, "in_channels", "num_channels", "in_chans", default=3) * _find(config, "temporal_patch_size", default=1), device=META
    )


def _hidden(config: Any) -> Tensor:
    return torch.empty(1, TOKENS, _find(config, "hidden_size"), device=META)


def _grid(config: Any) -> Tensor:
    return torch.tensor([[1, 8, 8]])


INPUTS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("input_ids", "decoder_input_ids"), lambda config: _ids(1, TOKENS)),
    "pixel_values": _image,
    "input_features": _spectrogram,
    "input_values": lambda config: torch.empty(1, SAMPLES, device=META),
    "bbox": lambda config: _ids(1, TOKENS, 4),
    "grid_thw": _grid,
    "image_grid_thw": _grid,
    "input_features_mask": lambda config: torch.ones(1, FRAMES, dtype=torch.long),
    "audio_mel_mask": lambda config: torch.zeros(1, FRAMES, dtype=torch.bool),
    "pixel_values_videos": lambda config: torch.empty(1, 4, 3, 224, 224, device=META),
    "qformer_input_ids": lambda config: _ids(1, TOKENS),
}

_FRAMES_FIRST = (
    "audio-spectrogram-transformer canary cohere_asr parakeet_ctc parakeet_encoder parakeet_rnnt parakeet_tdt lasr_ctc lasr_encoder granite_speech5_ctc "
    "granite_speech5_encoder gemma4_audio gemma3n_audio nemotron3_5_asr nemotron3_5_transcribe_asr_audio nemotron3_5_transcribe_audio "
    "fun_asr_nano_encoder nemotron3_diarization nemotron3_diarization_audio nemotron_asr_streaming nemotron_asr_streaming_encoder wav2vec2-bert "
    "seamless_m4t seamless_m4t_v2 speech_to_text"
)
_ONE_CHANNEL = (
    "dac encodec mimi mimi_encoder pe_audio pe_audio_encoder pe_audio_video_encoder pocket_tts_audio_tokenizer pocket_tts_audio_tokenizer_encoder "
    "vibevoice_acoustic_tokenizer xcodec"
)
FRAMES_FIRST, ONE_CHANNEL = frozenset(_FRAMES_FIRST.split()), frozenset(_ONE_CHANNEL.split())
# Models that compute with numbers in buffers while they run: built with weights.
WEIGHTS = (
    "encodec",
    "mimi",
    "mimi_encoder",
    "mimi_decoder",
    "pocket_tts_audio_tokenizer_decoder",
    "pocket_tts_audio_tokenizer",
    "pocket_tts_audio_tokenizer_encoder",
    "longformer",
    "led",
    "hunyuan_vl_vision",
)
_MROPE = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5, "mrope_section": [8, 12, 12]}
_HUNYUAN = {"head_dim": 128, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [16, 16, 16, 16]}}
# Fields without which the default configuration builds no model.
CONFIGS: dict[str, dict[str, Any]] = {
    **by_name(("big_bird bigbird_pegasus", {"attention_type": "original_full"})),
    **by_name(("chameleon emu3", {"vocabulary_map": {"<image>": 1}})),
    **by_name(("autoformer informer time_series_transformer", {"prediction_length": 8, "context_length": 16, "num_time_features": 2, "lags_sequence": [1, 2]})),
    **by_name(("hunyuan_v1_dense hunyuan_v1_moe ministral", {"head_dim": 128})),
    **by_name(("glm4v_text glm_image_text", {"rope_parameters": _MROPE})),
    **by_name(("glm4v glm46v glmga glm_image", {"text_config": {"rope_parameters": _MROPE}})),
    "glm4v_moe_text": {"rope_parameters": _MROPE, "head_dim": 128}, "glm4v_moe": {"text_config": {"rope_parameters": _MROPE, "head_dim": 128}},
    **by_name(("blip-2 instructblip instructblipvideo", {"image_token_id": 5, "video_token_id": 5})),
    "timm_backbone": {"backbone": "resnet18"},
    "esm": {"vocab_size": 33, "pad_token_id": 1}, "deepseek_v2": {"num_experts_per_tok": 2},
    "aya_vision": {"vision_config": {"model_type": "siglip_vision_model"}}, "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"], "num_hidden_layers": 2},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"], "num_hidden_layers": 4},
    "nemotron": {"num_key_value_heads": 8}, "dots1": {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "hunyuan_vl_text": _HUNYUAN, "hunyuan_vl": {"text_config": _HUNYUAN},
    "qwen4_exp_text": {"token_budget": 64, "compress_ratio": 4}, "qwen4_exp": {"text_config": {"token_budget": 64, "compress_ratio": 4}},
    "step3p7": {"text_config": {"sliding_window": 512}},
    "deepseek_ocr2": {"text_config": {"mlp_layer_types": ["dense", "sparse"], "num_hidden_layers": 2, "num_experts_per_tok": 2}},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "cohere_compass": {"text_config": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}}},
    "granite4_vision": {"deepstack_layer_map": [[0, 0]], "downsample_rate": "1/2"},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8, "kv_n_heads": 8}},
    "oneformer": {"backbone_config": {"model_type": "swin"}},
}  # fmt: skip
# Configurations whose model is one of their parts.
PARTS = {"musicgen": "decoder", "musicgen_melody": "decoder"}


def _float(*shape: int) -> Callable[[Any], Tensor]:
    return lambda config: torch.empty(shape, device=META)


def _given(value: Any) -> Callable[[Any], Any]:
    return lambda config: value


def _series(config: Any) -> dict[str, Any]:
    past = config.context_length + max(config.lags_sequence)
    shapes = {"past_values": (past,), "past_time_features": (past, 2), "past_observed_mask": (past,), "future_values": (8,), "future_time_features": (8, 2)}
    return {name: torch.empty(1, *shape, device=META) for name, shape in shapes.items()}


_VIDEO = {"pixel_values": _float(1, 8, 3, 224, 224)}
_PAIR = {"pixel_values": _float(1, 2, 3, 480, 640)}
_MONO = {"input_values": _float(1, 1, 19_200)}
_NAMES = ("past_values", "past_time_features", "past_observed_mask", "future_values", "future_time_features")
_SERIES = {name: (lambda config, name=name: _series(config)[name]) for name in _NAMES}
_BERT = {"encoder_hidden_states": _float(1, 50, 1408), "query_embeds": _float(1, 32, 768)}
ARGUMENTS: dict[str, dict[str, Callable[[Any], Any]]] = {
    **by_name(("align kosmos-2 bridgetower vilt", {"pixel_values": _image})),
    **by_name(("autoformer informer time_series_transformer", _SERIES)),
    **by_name(("timesformer xclip", _VIDEO)),
    **by_name(("efficientloftr lightglue superglue", _PAIR)),
    "videomae": {"pixel_values": _float(1, 16, 3, 224, 224)}, "vjepa2": {"pixel_values_videos": _float(1, 64, 3, 256, 256)},
    "audio-spectrogram-transformer": {"input_values": _float(1, 1024, 128)},
    "audioflamingo3_encoder": {"input_features_mask": lambda config: torch.ones(1, 3000, dtype=torch.long)},
    "blip_2_qformer": _BERT,
    "clap": {"input_features": _float(1, 1, 1001, 64), "is_longer": _given(torch.tensor([[False]]))},
    "clvp": {"input_features": _float(1, 80, 100)},
    "decision_transformer": {"states": _float(1, 20, 17), "actions": _float(1, 20, 4), "rewards": _float(1, 20, 1), "returns_to_go": _float(1, 20, 1),
                             "timesteps": lambda config: _ids(1, 20), "attention_mask": lambda config: torch.ones(1, 20, dtype=torch.long)},
    "depth_pro": {"pixel_values": _float(1, 3, 1536, 1536)},
    "dia": {"decoder_input_ids": lambda config: _ids(1, TOKENS, 9)},
    **by_name(("flaubert xlm", {"lengths": _given(torch.tensor([TOKENS]))})),
    "fun_asr_nano_encoder": {"input_features": _float(1, 300, 560), "input_features_mask": lambda config: torch.ones(1, 300, dtype=torch.long)},
    **by_name(("granite_speech5_ctc granite_speech5_encoder", {"input_features": _float(1, 300, 320)})),
    **by_name(("instructblip", {"qformer_attention_mask": lambda config: torch.ones(1, TOKENS, dtype=torch.long)})),
    "instructblipvideo": _VIDEO | {"qformer_attention_mask": lambda config: torch.ones(1, TOKENS, dtype=torch.long)},
    "kimi_k25_vision": {"pixel_values": _float(64, 3, 14, 14)},
    **by_name(("inkling2_vision", {"pixel_values": _float(64, 40, 40, 3)})),
    "kyutai_speech_to_text": {"input_ids": lambda config: _ids(1, TOKENS, config.num_codebooks + 1)},
    "lw_detr": {"pixel_mask": lambda config: torch.ones(1, 224, 224, dtype=torch.long)},
    "lxmert": {"visual_feats": _float(1, 10, 2048), "visual_pos": _float(1, 10, 4)},
    **by_name(("mimi_decoder pocket_tts_audio_tokenizer_decoder", {"latents": lambda config: torch.empty(1, _find(config, "hidden_size"), 20, device=META)})),
    "muse_spark_audio": {"input_values": _float(1, 19_200)},
    "neomme": {"pixel_values": _float(64, 3072)},
    "omdet-turbo": {"classes_input_ids": lambda config: _ids(3, 8), "classes_attention_mask": lambda config: torch.ones(3, 8, dtype=torch.long),
                    "tasks_input_ids": lambda config: _ids(1, 8), "tasks_attention_mask": lambda config: torch.ones(1, 8, dtype=torch.long),
                    "classes_structure": _given(torch.tensor([3]))},
    "patchtsmixer": {"past_values": lambda config: torch.empty(1, config.context_length, config.num_input_channels, device=META)},
    "patchtst": {"past_values": lambda config: torch.empty(1, config.context_length, config.num_input_channels, device=META)},
    "pe_audio_video": _MONO, "xcodec": _MONO,
    "perceiver": {"inputs": _float(1, 50, 768)},
    "seggpt": dict.fromkeys(("pixel_values", "prompt_pixel_values", "prompt_masks"), _float(1, 3, 448, 448)),
    **by_name(("siglip2 siglip2_vision_model", {"pixel_values": _float(1, 256, 768), "spatial_shapes": _given(torch.tensor([[16, 16]])),
                                                          "pixel_attention_mask": lambda config: torch.ones(1, 256, dtype=torch.long)})),
    "timesfm": {"past_values": _float(1, 512), "past_values_padding": lambda config: torch.zeros(1, 512), "freq": lambda config: _ids(1, 1)},
    "timesfm2_5": {"past_values": _float(1, 512), "past_values_padding": lambda config: torch.zeros(1, 512, dtype=torch.long)},
    "udop": {"pixel_values": _image},
    "univnet": {"input_features": _float(1, 100, 100)},
    "video_llama_3_vision": {"merge_sizes": _given(torch.tensor([2]))},
    **by_name(("videoprism videoprism_vision_model", {"pixel_values_videos": _float(1, 16, 3, 288, 288)})),
    **by_name(("vibevoice_acoustic_tokenizer vibevoice_acoustic_tokenizer_encoder", _MONO | {"hidden_states": _float(1, 1, 19_200)})),
    "vibevoice_acoustic_tokenizer_decoder": {"hidden_states": lambda config: torch.empty(1, config.hidden_size, 10, device=META)},
    "wav2vec2-bert": {"input_features": _float(1, 300, 160)},
    **by_name(("neucodec xcodec2", {"input_values": _float(1, 1, 32_000), "input_features": _float(1, 100, 160)})),
    "speecht5": {"input_values": _float(1, TOKENS, 768), "decoder_input_values": _float(1, TOKENS, 768)},
    "oneformer": {"task_inputs": lambda config: _ids(1, 77)},
    "gemma4_vision": {"pixel_values": _float(1, 81, 768), "pixel_position_ids": _given(torch.cartesian_prod(torch.arange(9), torch.arange(9))[None])},
    **by_name(("muse_glimmer_vision muse_spark_vision", {"pixel_values": _float(64, 1176)})),
    **by_name(("musicgen musicgen_melody", {"input_ids": lambda config: _ids(4, TOKENS)})),
    **by_name(("pe_video pe_video_encoder", {"pixel_values_videos": _float(1, 4, 3, 336, 336)})),
    "pe_audio_video_encoder": _MONO | {"pixel_values_videos": _float(1, 4, 3, 336, 336)},
    **by_name(("minicpm_ocr_vision minicpmv4_7_vision", {"pixel_values": _float(1, 3, 16, 4096), "target_sizes": _given(torch.tensor([[16, 16]]))})),
    "tvp": {"pixel_values": _float(1, 1, 3, 448, 448)}, "vivit": {"pixel_values": _float(1, 32, 3, 224, 224)},
    "vilt": {"pixel_values": _float(1, 3, 384, 384), "pixel_mask": lambda config: torch.ones(1, 384, 384, dtype=torch.long)},
    "rf_detr": {"pixel_values": _float(1, 3, 560, 560)}, "pi0": {"action_embeds": _float(1, 50, 1024)},
    "voxtral_realtime": {"input_features": _float(1, 128, 128)},
    "muse_glimmer_assistant": {"noise_embeds": _hidden, "context_hidden_states": _float(1, TOKENS, 33_280)},
    "nemotron3_5_transcribe_word_timestamp": {"inputs_embeds": _hidden},
    "idefics": {"pixel_values": _float(1, 1, 3, 224, 224), "image_attention_mask": lambda config: torch.ones(1, TOKENS, 1, dtype=torch.long)},
    "kosmos-2": {"pixel_values": _image, "input_ids": lambda config: _ids(1, 80), "image_embeds_position_mask": _given(torch.arange(80)[None] < 64)},
    "xmod": {"lang_ids": lambda config: torch.zeros(1, dtype=torch.long)},
}  # fmt: skip
