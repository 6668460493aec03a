"""Every base model of transformers' registry: a small variant of its default configuration, on the meta device."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from contextlib import suppress
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

import cgir
import frontends
from frontends.torch.torchvision_ops import declare

from .torch_costs import CANONICAL, Outcome, canonical_costs, counted, no_opaque, same
from .transformers_configs import CONFIGS, PARTS, by_name
from .transformers_inputs import META, TOKENS, WEIGHTS, inputs_of

MASKED = "with attention mask"
COLUMNS = ("traces", "parameters exact", *CANONICAL, "no Opaque", MASKED)
EXCEPTIONS: dict[str, str] = by_name(
    (
        "dinat layoutlmv2 higgs_audio_v2_tokenizer",
        "needs a package that is not among the tests' (natten, detectron2, torchaudio)",
    ),
    ("bark", "has no forward, only generation"),
    (
        "dbrx jetmoe switch_transformers",
        "loops over the experts that the values of its router select, and has no other implementation of them",
    ),
    (
        "glm5_next glm5_next_text",
        "its indexer keeps the pools of keys that a mask leaves, and packs the mask into one tensor with the keys",
    ),
    ("lightglue", "the number of key points depends on the image's values"),
    ("sam3_video", "the number of objects that it follows depends on what it detects"),
    ("vits", "the length of the speech depends on predicted durations"),
)
EXCEPTIONS |= {
    f"{name}: {MASKED}": why
    for names, why in (
        ("longformer led", "whether tokens attend to all others depends on the mask's values"),
        (
            "fastspeech2_conformer fastspeech2_conformer_with_hifigan",
            "with the length of the speech given it computes a loss, over what the mask's values select",
        ),
        (
            "qwen2_5_omni_thinker qwen3_omni_moe_thinker",
            "fails in PyTorch too: its configuration lacks `vision_start_token_id`, which it reads with a mask",
        ),
        ("qwen4_exp qwen4_exp_text", "its indexer keeps the pools of keys that a mask leaves"),
    )
    for name in names.split()
}
SOLVERS = (
    "minicpm_ocr",
    "minicpmv4_6",
    "minicpmv4_7",
    "olmo_hybrid",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_5_moe_text",
    "qwen3_5_text",
    "qwen3_next",
    "qwen4_exp",
    "qwen4_exp_text",
)
EXCEPTIONS |= {
    f"{name}: no Opaque": "solves a triangular system in its linear attention, which the vocabulary lacks"
    for name in SOLVERS
}

# Fields that say how often a block is repeated -> how often it is here.
DEPTHS = (
    "num_hidden_layers",
    "num_layers",
    "n_layer",
    "n_layers",
    "encoder_layers",
    "decoder_layers",
    "num_encoder_layers",
    "num_decoder_layers",
    "num_attention_layers",
    "depth",
    "encoder_num_hidden_layers",
    "decoder_num_hidden_layers",
)

UNDECORATED = ("LongcatFlashExperts", "Step3p7Experts")
# then the length of the speech is given, otherwise the model predicts it
TRAINING = ("fastspeech2_conformer", "fastspeech2_conformer_with_hifigan")
METHODS = {"glm_image_vqmodel": "encode"}  # classes without a forward

# The first that traces counts.
ATTEMPTS: tuple[dict[str, bool], ...] = ({}, {"masked": True}, {"small": False})


def cases() -> list[str]:
    """All model types of the registry."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    return list(MODEL_MAPPING_NAMES)


def check(case: str) -> Outcome:
    """Trace one model, compare its parameters, and trace it again as texts are usually passed: with their mask."""
    model, raw, attempt = _first(case)
    graph = cgir.canonicalize(raw)
    cgir.verify(graph)
    return {
        "traces": True,
        **counted(model, raw),
        **canonical_costs(graph, raw),
        "no Opaque": no_opaque([graph]),
        MASKED: _masked(case, raw, attempt.get("small", True)),
    }


def _first(case: str) -> tuple[nn.Module, cgir.Graph, Mapping[str, bool]]:
    """The model and its raw graph by the first attempt that succeeds; if none does, the first one's error."""
    errors = []
    for attempt in ATTEMPTS:
        try:
            model, inputs = build(case, **attempt)
            return model, frontends.trace(model, inputs, raw=True), attempt
        except Exception as error:
            errors.append(error)
    raise errors[0]


def _masked(case: str, raw: cgir.Graph, small: bool) -> bool | str | None:
    """Whether the call with `input_ids` and `attention_mask` traces, and has the same parameters; None without them."""
    model, inputs = build(case, small, masked=True)
    inner = model.model if isinstance(model, Given) else model
    given = {name: value for name, value in getattr(model, "given", {}).items() if name != "attention_mask"}
    ids = inputs.get("input_ids", given.get("input_ids"))
    if "attention_mask" not in inspect.signature(inner.forward).parameters or ids is None:
        return None
    inputs["attention_mask"] = torch.ones(ids.shape[:2], dtype=torch.long)
    try:
        graph = frontends.trace(Given(inner, given) if given else inner, inputs, raw=True)
    except cgir.CgirError as error:
        return str(error)
    return same(graph.num_params, raw.num_params)


class Given(nn.Module):
    """A model with some of its arguments given: real tensors, for what decides shapes by its values."""

    def __init__(self, model: nn.Module, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.given = model, given

    def forward(self, **inputs: Any) -> Any:
        """The model's own result."""
        return self.model(**inputs, **self.given)


def build(case: str, small: bool = True, masked: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """A model in evaluation mode, and keyword arguments for it.

    `small` has two layers in place of many. `masked` passes an attention mask of ones, else texts have no padding token
    to search for.

    Args:
        case: name in the registry.
        small: two layers instead of the default number.
        masked: whether an attention mask of ones is passed, so that texts are not searched for padding.
    """
    declare()
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    names = MODEL_MAPPING_NAMES[case]
    config = CONFIG_MAPPING[case](**CONFIGS.get(case, {}))
    config = getattr(config, PARTS[case]) if case in PARTS else config
    kind = _class(names if isinstance(names, str) else names[0], config)
    with torch.device("cpu") if case in WEIGHTS else META:
        model: Any = kind(shrunk(config) if small else config)
    if case in METHODS:
        model.forward = getattr(model, METHODS[case])
    inputs = inputs_of(model, config, case)
    group(model)
    # mixtures of experts as grouped products, where the model can; loops over experts depend on values
    with suppress(Exception):
        model.set_experts_implementation("grouped_mm")
    if masked:
        inputs["attention_mask"] = torch.ones(1, TOKENS, dtype=torch.long)
    else:
        for module in model.modules():
            if getattr(getattr(module, "config", None), "pad_token_id", None) is not None:
                with suppress(Exception):  # some configurations insist on one
                    module.config.pad_token_id = None
    given = {name: value for name, value in inputs.items() if not isinstance(value, Tensor) or not value.is_meta}
    model = model.train(case in TRAINING)
    return (
        (Given(model, given), {key: value for key, value in inputs.items() if key not in given})
        if given
        else (model, inputs)
    )


def _class(name: str, config: Any) -> Any:
    """A model class, by the registry's name for it; some are missing from the package's own names."""
    import transformers

    modelling = type(config).__module__.replace(".configuration_", ".modeling_")
    return getattr(transformers, name, None) or getattr(importlib.import_module(modelling), name)


def group(model: nn.Module) -> None:
    """Enable transformers' grouped product for experts whose weights fit it but that lack its decorator."""
    from transformers.integrations import moe

    for module in model.modules():
        if type(module).__name__ in UNDECORATED:
            part: Any = module
            part.has_gate, part.has_bias, part.is_transposed, part.has_post_expert_norm, part._is_expert_parallel = (
                True,
                False,
                False,
                False,
                False,
            )
            part.num_experts = part.gate_up_proj.shape[0]
            if not hasattr(part, "_apply_gate"):
                part._apply_gate = MethodType(moe._default_apply_gate, part)
            part.forward = MethodType(moe.grouped_mm_experts_forward, part)


def shrunk(config: Any) -> Any:
    """The configuration with two layers in place of many, wherever that needs no other change."""
    for value in list(vars(config).values()):
        if hasattr(value, "to_dict"):
            shrunk(value)
    # something is said for every layer
    listed = any(isinstance(value, list | tuple) and len(value) > 2 for value in vars(config).values())
    for name in DEPTHS:
        depth = getattr(config, name, None)
        if isinstance(depth, int) and depth > 2 and not listed:
            setattr(config, name, 2)
    return config
