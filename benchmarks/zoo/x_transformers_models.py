"""Transformers of x-transformers: one per option of its attention, its layers and its wrappers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .torch_costs import COLUMNS, Outcome, checked, vector_products

__all__ = ["COLUMNS", "EXCEPTIONS", "REQUIRES", "cases", "check"]

REQUIRES = ("x-transformers",)
EXCEPTIONS = vector_products("*/num_residual_streams")
TOKENS, LENGTH, DIM, HEADS = 50, 16, 32, 2

# options of the layers, each alone: attn_*, ff_* and the layers' own
_FLAGS = (
    "alibi_pos_bias attn_add_zero_kv attn_data_dependent_alibi attn_flash attn_gate_value_heads attn_gate_values "
    "attn_head_learned_sink attn_head_scale attn_k_rmsnorm attn_l2_distance attn_laser attn_on_attn "
    "attn_one_kv_head attn_orthog_projected_values attn_post_talking_heads attn_pre_talking_heads attn_qk_norm "
    "attn_qk_rmsnorm attn_selective attn_sigmoid attn_softclamp_logits attn_swiglu_values attn_use_cope "
    "attn_value_rmsnorm cross_residual_attn depth_scale_residual dynamic_pos_bias ff_glu ff_no_bias "
    "ff_post_act_ln ff_relu_squared ff_solu ff_swish gate_residual integrate_layers macaron orthog_residual "
    "polar_pos_emb pre_and_post_norm rel_pos_bias residual_attn rotary_pos_emb rotary_xpos sandwich_norm "
    "shift_tokens softclamp_output unet_skips use_derf use_dynamic_tanh use_layerscale use_rmsnorm use_scalenorm "
    "use_simple_rmsnorm weight_tie_layers"
)
_VALUES: dict[str, Any] = {
    "attn_kv_heads": 1,
    "attn_num_mem_kv": 4,
    "attn_sparse_topk": 4,
    "attn_value_dim_head": 8,
    "num_residual_streams": 2,
    "sandwich_coef": 1,
    "par_ratio": 2,
    "shift_tokens": 1,
}
_TOGETHER: dict[str, dict[str, Any]] = {
    "llama": {"rotary_pos_emb": True, "use_rmsnorm": True, "ff_glu": True, "ff_swish": True, "ff_no_bias": True}
    | {"attn_kv_heads": 1, "attn_flash": True},
    "t5": {"rel_pos_bias": True, "use_simple_rmsnorm": True, "ff_relu_squared": True},
    "value residual": {"add_value_residual": True, "learned_value_residual_mix": True},
}
_WRAPPERS: dict[str, dict[str, Any]] = {
    "num_memory_tokens": {"num_memory_tokens": 4},
    "tie_embedding": {"tie_embedding": True},
    "use_cls_token": {"use_cls_token": True},
    "average_pool_embed": {"average_pool_embed": True},
    "attn_pool": {"attn_pool": True},
    "scaled_sinu_pos_emb": {"scaled_sinu_pos_emb": True},
    "post_emb_norm": {"post_emb_norm": True},
    "emb_dim": {"emb_dim": 24},
    "l2norm_embed": {"l2norm_embed": True},
    "mixture_of_softmax": {"mixture_of_softmax": True},
    "num_output_heads": {"num_output_heads": 2},
    "return_only_embed": {"return_only_embed": True},
}
_OTHERS = ("vision", "continuous", "cross attention", "encoder and decoder", "multi input", "xval", "neo mlp")
_CAUSAL = ("attn_selective", "attn_use_cope", "rotary_xpos")


def cases() -> list[str]:
    """Options of a decoder's and of an encoder's layers, of the wrapper, and other networks."""
    options = list(dict.fromkeys((*_FLAGS.split(), *_VALUES, *_TOGETHER)))
    return [
        *(f"decoder/{name}" for name in options),
        *(f"encoder/{name}" for name in options if name not in _CAUSAL),
        *(f"wrapper/{name}" for name in _WRAPPERS),
        *(f"other/{name}" for name in _OTHERS),
    ]


def check(case: str) -> Outcome:
    """All columns for one network."""
    return checked(lambda: build(case))


def build(case: str) -> tuple[nn.Module, tuple[Any, ...]]:
    """A network of two layers and its input, on the default device."""
    import x_transformers

    kind, _, name = case.partition("/")
    if kind == "other":
        return _other(name)
    options = _TOGETHER.get(name) or {name: _VALUES.get(name, True)}
    layers = x_transformers.Encoder if kind == "encoder" else x_transformers.Decoder
    wrapped = _WRAPPERS[name] if kind == "wrapper" else {}
    model = x_transformers.TransformerWrapper(
        num_tokens=TOKENS,
        max_seq_len=LENGTH,
        attn_layers=layers(dim=DIM, depth=2, heads=HEADS, attn_dim_head=16, **({} if wrapped else options)),
        **wrapped,
    )
    return model, (_ids(),)


def _ids() -> torch.Tensor:
    return torch.zeros(1, LENGTH, dtype=torch.long)


def _other(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    import x_transformers

    sizes = {"dim": DIM, "depth": 2, "heads": HEADS, "attn_dim_head": 16}
    if name == "vision":
        encoder = x_transformers.Encoder(**sizes)
        image = {"image_size": 32, "patch_size": 8, "num_classes": 10}
        return x_transformers.ViTransformerWrapper(**image, attn_layers=encoder), (torch.zeros(1, 3, 32, 32),)
    if name == "continuous":
        encoder = x_transformers.Encoder(**sizes)
        wrapped = x_transformers.ContinuousTransformerWrapper(
            dim_in=8, dim_out=5, max_seq_len=LENGTH, attn_layers=encoder
        )
        return wrapped, (torch.zeros(1, LENGTH, 8),)
    if name == "cross attention":
        return x_transformers.CrossAttender(**sizes), (torch.zeros(1, LENGTH, DIM), torch.zeros(1, 9, DIM))
    if name == "multi input":
        tokens = {"color": 10, "shape": 20}
        decoder = x_transformers.Decoder(**sizes)
        model = x_transformers.MultiInputTransformerWrapper(num_tokens=tokens, max_seq_len=LENGTH, attn_layers=decoder)
        return model, ({name: _ids() for name in tokens},)
    if name == "xval":
        decoder = x_transformers.Decoder(**sizes)
        model = x_transformers.XValTransformerWrapper(
            num_tokens=TOKENS, numerical_token_id=3, max_seq_len=LENGTH, attn_layers=decoder
        )
        return model, (_ids(), torch.zeros(1, LENGTH))
    if name == "neo mlp":
        return x_transformers.NeoMLP(dim_in=5, dim_out=7, dim_hidden=16, depth=2, dim_model=DIM), (torch.zeros(1, 5),)
    parts = {f"{part}_{key}": value for part in ("enc", "dec") for key, value in sizes.items() if key != "dim"}
    vocabulary = {
        "enc_num_tokens": TOKENS,
        "enc_max_seq_len": LENGTH,
        "dec_num_tokens": TOKENS,
        "dec_max_seq_len": LENGTH,
    }
    return x_transformers.XTransformer(dim=DIM, **parts, **vocabulary), (_ids(), _ids())
