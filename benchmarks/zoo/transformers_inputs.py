"""Inputs of transformers' models: by the names of the forward's parameters, and what single models need besides."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .transformers_configs import by_name

META = torch.device("meta")
TOKENS = 16  # length of texts
FRAMES = 3000  # length of spectrograms
SAMPLES = 16_000  # length of sounds


def inputs_of(model: Any, config: Any, case: str) -> dict[str, Any]:
    """Required arguments of `forward`, the model's main input, and the few that are optional in name only.

    Args:
        model: on the meta device.
        config: of the model.
        case: its name in the registry.
    """
    parameters = inspect.signature(model.forward).parameters
    needed = {
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
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
    height, width = (
        (size, size)
        if isinstance(size, int)
        else (size["height"], size["width"])
        if isinstance(size, Mapping)
        else size
    )
    return torch.empty(
        1, _find(config, "num_channels", "in_channels", "in_chans", default=3), height, width, device=META
    )


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
        64,
        volume
        * _find(config, "in_channels", "num_channels", "in_chans", default=3)
        * _find(config, "temporal_patch_size", default=1),
        device=META,
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
    "audio-spectrogram-transformer canary cohere_asr parakeet_ctc parakeet_encoder parakeet_rnnt parakeet_tdt "
    "lasr_ctc lasr_encoder granite_speech5_ctc "
    "granite_speech5_encoder gemma4_audio gemma3n_audio nemotron3_5_asr nemotron3_5_transcribe_asr_audio "
    "nemotron3_5_transcribe_audio "
    "fun_asr_nano_encoder nemotron3_diarization nemotron3_diarization_audio nemotron_asr_streaming "
    "nemotron_asr_streaming_encoder wav2vec2-bert "
    "seamless_m4t seamless_m4t_v2 speech_to_text"
)
_ONE_CHANNEL = (
    "dac encodec mimi mimi_encoder pe_audio pe_audio_encoder pe_audio_video_encoder pocket_tts_audio_tokenizer "
    "pocket_tts_audio_tokenizer_encoder "
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


def _float(*shape: int) -> Callable[[Any], Tensor]:
    return lambda config: torch.empty(shape, device=META)


def _given(value: Any) -> Callable[[Any], Any]:
    return lambda config: value


def _series(config: Any) -> dict[str, Any]:
    past = config.context_length + max(config.lags_sequence)
    shapes = {
        "past_values": (past,),
        "past_time_features": (past, 2),
        "past_observed_mask": (past,),
        "future_values": (8,),
        "future_time_features": (8, 2),
    }
    return {name: torch.empty(1, *shape, device=META) for name, shape in shapes.items()}


def _empty_session(config: Any) -> Any:
    import transformers

    return getattr(transformers, type(config).__name__.replace("Config", "InferenceSession"))(
        video_height=64, video_width=64, dtype=torch.float32
    )


def _prompted_session(config: Any) -> Any:
    """The state of a video with a text that says which objects to follow."""
    session = _empty_session(config)
    session.prompts, session.prompt_input_ids = {0: "cat"}, {0: torch.zeros(1, 32, dtype=torch.long)}
    session.prompt_attention_masks = {0: torch.ones(1, 32, dtype=torch.long)}
    return session


def _session(config: Any) -> Any:
    """The state of a video in which one object was marked by a point on the first frame."""
    session = _empty_session(config)
    point = {"point_coords": torch.zeros(1, 1, 1, 2), "point_labels": torch.ones(1, 1, 1, dtype=torch.int32)}
    session.add_point_inputs(session.obj_id_to_idx(1), 0, point)
    session.obj_with_new_inputs = [1]
    return session


_VIDEO = {"pixel_values": _float(1, 8, 3, 224, 224)}
_PAIR = {"pixel_values": _float(1, 2, 3, 480, 640)}
_MONO = {"input_values": _float(1, 1, 19_200)}
_NAMES = ("past_values", "past_time_features", "past_observed_mask", "future_values", "future_time_features")
_SERIES = {name: (lambda config, name=name: _series(config)[name]) for name in _NAMES}
_BERT = {"encoder_hidden_states": _float(1, 50, 1408), "query_embeds": _float(1, 32, 768)}
_SPEECH = {
    "duration_labels": _given(torch.full((1, TOKENS), 2)),
    "spectrogram_labels": _given(torch.zeros(1, 2 * TOKENS, 80)),
    "pitch_labels": _given(torch.zeros(1, TOKENS, 1)),
    "energy_labels": _given(torch.zeros(1, TOKENS, 1)),
}
ARGUMENTS: dict[str, dict[str, Callable[[Any], Any]]] = {
    **by_name(("align kosmos-2 bridgetower vilt", {"pixel_values": _image})),
    **by_name(("autoformer informer time_series_transformer", _SERIES)),
    **by_name(("timesformer xclip", _VIDEO)),
    **by_name(("efficientloftr lightglue superglue", _PAIR)),
    "videomae": {"pixel_values": _float(1, 16, 3, 224, 224)},
    "vjepa2": {"pixel_values_videos": _float(1, 64, 3, 256, 256)},
    "audio-spectrogram-transformer": {"input_values": _float(1, 1024, 128)},
    "audioflamingo3_encoder": {"input_features_mask": lambda config: torch.ones(1, 3000, dtype=torch.long)},
    "blip_2_qformer": _BERT,
    "clap": {"input_features": _float(1, 1, 1001, 64), "is_longer": _given(torch.tensor([[False]]))},
    "clvp": {"input_features": _float(1, 80, 100)},
    "decision_transformer": {
        "states": _float(1, 20, 17),
        "actions": _float(1, 20, 4),
        "rewards": _float(1, 20, 1),
        "returns_to_go": _float(1, 20, 1),
        "timesteps": lambda config: _ids(1, 20),
        "attention_mask": lambda config: torch.ones(1, 20, dtype=torch.long),
    },
    "depth_pro": {"pixel_values": _float(1, 3, 1536, 1536)},
    "dia": {"decoder_input_ids": lambda config: _ids(1, TOKENS, 9)},
    **by_name(("flaubert xlm", {"lengths": _given(torch.tensor([TOKENS]))})),
    "fun_asr_nano_encoder": {
        "input_features": _float(1, 300, 560),
        "input_features_mask": lambda config: torch.ones(1, 300, dtype=torch.long),
    },
    **by_name(("granite_speech5_ctc granite_speech5_encoder", {"input_features": _float(1, 300, 320)})),
    **by_name(("instructblip", {"qformer_attention_mask": lambda config: torch.ones(1, TOKENS, dtype=torch.long)})),
    "instructblipvideo": _VIDEO | {"qformer_attention_mask": lambda config: torch.ones(1, TOKENS, dtype=torch.long)},
    "kimi_k25_vision": {"pixel_values": _float(64, 3, 14, 14)},
    **by_name(("inkling2_vision", {"pixel_values": _float(64, 40, 40, 3)})),
    "kyutai_speech_to_text": {"input_ids": lambda config: _ids(1, TOKENS, config.num_codebooks + 1)},
    "lw_detr": {"pixel_mask": lambda config: torch.ones(1, 224, 224, dtype=torch.long)},
    "lxmert": {"visual_feats": _float(1, 10, 2048), "visual_pos": _float(1, 10, 4)},
    **by_name(
        (
            "mimi_decoder pocket_tts_audio_tokenizer_decoder",
            {"latents": lambda config: torch.empty(1, _find(config, "hidden_size"), 20, device=META)},
        )
    ),
    "muse_spark_audio": {"input_values": _float(1, 19_200)},
    "neomme": {
        "pixel_values": _float(64, 3072),
        "input_ids": lambda config: torch.tensor([[config.image_token_id] * 64 + [2] * TOKENS]),
    },
    "omdet-turbo": {
        "classes_input_ids": _given(torch.arange(24).reshape(3, 8)),
        "classes_attention_mask": _given(torch.ones(3, 8, dtype=torch.long)),
        "tasks_input_ids": _given(torch.arange(8)[None]),
        "tasks_attention_mask": _given(torch.ones(1, 8, dtype=torch.long)),
        "classes_structure": _given(torch.tensor([3])),
    },
    "patchtsmixer": {
        "past_values": lambda config: torch.empty(1, config.context_length, config.num_input_channels, device=META)
    },
    "patchtst": {
        "past_values": lambda config: torch.empty(1, config.context_length, config.num_input_channels, device=META)
    },
    "pe_audio_video": _MONO,
    "xcodec": _MONO,
    "perceiver": {"inputs": _float(1, 50, 768)},
    "seggpt": dict.fromkeys(("pixel_values", "prompt_pixel_values", "prompt_masks"), _float(1, 3, 448, 448)),
    **by_name(
        (
            "siglip2 siglip2_vision_model",
            {
                "pixel_values": _float(1, 256, 768),
                "spatial_shapes": _given(torch.tensor([[16, 16]])),
                "pixel_attention_mask": lambda config: torch.ones(1, 256, dtype=torch.long),
            },
        )
    ),
    "timesfm": {
        "past_values": _float(1, 512),
        "past_values_padding": lambda config: torch.zeros(1, 512),
        "freq": lambda config: _ids(1, 1),
    },
    "timesfm2_5": {
        "past_values": _float(1, 512),
        "past_values_padding": lambda config: torch.zeros(1, 512, dtype=torch.long),
    },
    "udop": {"pixel_values": _image, "bbox": _given(torch.full((1, TOKENS, 4), 0.3))},
    "univnet": {"input_features": _float(1, 100, 100)},
    "video_llama_3_vision": {"merge_sizes": _given(torch.tensor([2]))},
    **by_name(("videoprism videoprism_vision_model", {"pixel_values_videos": _float(1, 16, 3, 288, 288)})),
    **by_name(
        (
            "vibevoice_acoustic_tokenizer vibevoice_acoustic_tokenizer_encoder",
            _MONO | {"hidden_states": _float(1, 1, 19_200)},
        )
    ),
    "vibevoice_acoustic_tokenizer_decoder": {
        "hidden_states": lambda config: torch.empty(1, config.hidden_size, 10, device=META)
    },
    "wav2vec2-bert": {"input_features": _float(1, 300, 160)},
    **by_name(("neucodec xcodec2", {"input_values": _float(1, 1, 32_000), "input_features": _float(1, 100, 160)})),
    "speecht5": {"input_values": _float(1, TOKENS, 768), "decoder_input_values": _float(1, TOKENS, 768)},
    "oneformer": {"task_inputs": lambda config: _ids(1, 77)},
    "gemma4_vision": {
        "pixel_values": _float(1, 81, 768),
        "pixel_position_ids": _given(torch.cartesian_prod(torch.arange(9), torch.arange(9))[None]),
    },
    **by_name(("muse_glimmer_vision muse_spark_vision", {"pixel_values": _float(64, 1176)})),
    **by_name(("musicgen musicgen_melody", {"input_ids": lambda config: _ids(4, TOKENS)})),
    **by_name(("pe_video pe_video_encoder", {"pixel_values_videos": _float(1, 4, 3, 336, 336)})),
    "pe_audio_video_encoder": _MONO | {"pixel_values_videos": _float(1, 4, 3, 336, 336)},
    **by_name(
        (
            "minicpm_ocr_vision minicpmv4_7_vision",
            {"pixel_values": _float(1, 3, 16, 4096), "target_sizes": _given(torch.tensor([[16, 16]]))},
        )
    ),
    "tvp": {"pixel_values": _float(1, 1, 3, 448, 448)},
    "vivit": {"pixel_values": _float(1, 32, 3, 224, 224)},
    "vilt": {
        "pixel_values": _float(1, 3, 384, 384),
        "pixel_mask": lambda config: torch.ones(1, 384, 384, dtype=torch.long),
    },
    "rf_detr": {"pixel_values": _float(1, 3, 560, 560)},
    "pi0": {
        "action_embeds": _float(1, 50, 1024),
        "pixel_values": _float(1, 1, 3, 224, 224),
        "pixel_attention_mask": _given(torch.ones(1, 1, dtype=torch.bool)),
    },
    "blt": {"patch_lengths": _given(torch.tensor([[1, 3, 4, 4, 4]])), "use_cache": _given(False)},
    "diffusion_gemma": {"decoder_input_ids": lambda config: _ids(1, TOKENS)},
    **by_name(("edgetam edgetam_vision_model", {"pixel_values": _float(1, 3, 1024, 1024)})),
    **by_name(("edgetam_video sam2_video", {"inference_session": _session, "frame": _float(3, 1024, 1024)})),
    "sam3_video": {"inference_session": _prompted_session, "frame": _float(3, 1008, 1008)},
    "sam3_tracker_video": {"inference_session": _session, "frame": _float(3, 1008, 1008)},
    **by_name(("fastspeech2_conformer fastspeech2_conformer_with_hifigan", _SPEECH)),
    "glm_image_vqmodel": {"hidden_states": lambda config: torch.empty(1, config.latent_channels, 16, 16, device=META)},
    "higgs_audio_v2": {
        "input_ids": lambda config: torch.tensor([[5] * 8 + [config.audio_token_id] * 8]),
        "audio_input_ids": lambda config: _ids(1, 8, config.num_codebooks),
    },
    "voxtral_realtime": {"input_features": _float(1, 128, 128)},
    "muse_glimmer_assistant": {"noise_embeds": _hidden, "context_hidden_states": _float(1, TOKENS, 33_280)},
    "nemotron3_5_transcribe_word_timestamp": {"inputs_embeds": _hidden},
    "idefics": {
        "pixel_values": _float(1, 1, 3, 224, 224),
        "image_attention_mask": lambda config: torch.ones(1, TOKENS, 1, dtype=torch.long),
    },
    "kosmos-2": {
        "pixel_values": _image,
        "input_ids": lambda config: _ids(1, 80),
        "image_embeds_position_mask": _given(torch.arange(80)[None] < 64),
    },
    "voxtral_realtime_text": {"t_cond": lambda config: torch.empty(1, 1, config.hidden_size, device=META)},
    "xmod": {"lang_ids": lambda config: torch.zeros(1, dtype=torch.long)},
}
