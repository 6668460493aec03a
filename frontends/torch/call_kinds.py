"""What kind of call a PyTorch function is: its name, its operator, and whether it reads values, makes constants or
hides other calls.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cgir.ops import OPS, TORCH_NAMES
from frontends.common.einsum import TensorOps, einsum, parse_equation

from .converters import CONVERTERS
from .meta_shapes import RULES

# Answered without looking at the tensor's place in the graph.
_QUERIES = (
    "shape dtype ndim dim size numel nelement stride storage_offset is_contiguous element_size itemsize nbytes is_meta is_cuda is_cpu requires_grad layout "
    "is_floating_point is_complex is_sparse is_quantized is_nested names is_leaf grad grad_fn get_device _version is_inference __hash__ __len__ _is_view "
    "is_mps is_xpu is_sparse_csr is_signed is_conj is_neg untyped_storage result_type is_same_size __repr__ __format__ broadcast_shapes dim_order retain_grad "
    "requires_grad_ register_hook"
)

# Their result depends on values, or has a size that does.
_VALUES = (
    "item _local_scalar_dense tolist numpy nonzero argwhere unique unique_consecutive masked_select equal allclose is_nonzero bincount __bool__ "
    "__float__ __int__ __index__ __complex__ __contains__ __array__ _pack_padded_sequence"
)

_FACTORIES = (
    "zeros ones full empty rand randn randint randperm arange linspace logspace eye zeros_like ones_like full_like empty_like "
    "rand_like randn_like randint_like new_zeros new_ones new_full new_empty new_tensor new_empty_strided new tensor scalar_tensor tril_indices "
    "triu_indices fill hann_window hamming_window blackman_window bernoulli multinomial normal empty_strided empty_permuted range"
)

_FILLS = "zero_ fill_ normal_ uniform_ bernoulli_ random_ exponential_ trunc_normal_ eye_ constant_ kaiming_uniform_ kaiming_normal_"


# What ATen calls operators inside PyTorch and after decomposition.
ATEN = {
    **dict.fromkeys(("_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "_native_batch_norm_legit_functional", "native_batch_norm",
                     "_batch_norm_with_update", "_batch_norm_with_update_functional", "_batch_norm_no_update", "cudnn_batch_norm"), "batch_norm"),
    **dict.fromkeys(("_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
                     "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_fused_attention_overrideable", "_scaled_dot_product_attention_math",
                     "_scaled_dot_product_attention_math_for_mps"), "scaled_dot_product_attention"),
    "native_layer_norm": "layer_norm", "_fused_rms_norm": "rms_norm", "_softmax": "softmax", "_log_softmax": "log_softmax", "_convolution": "convolution",
    "_safe_softmax": "softmax", "_cdist_forward": "cdist", "_euclidean_dist": "cdist",
    **{f"_adaptive_avg_pool{n}": f"adaptive_avg_pool{n}" for n in ("2d", "3d")}, "_embedding_bag": "embedding_bag",
    "_embedding_bag_forward_only": "embedding_bag",
    "_unsafe_view": "view", "_reshape_alias": "view", "_reshape_copy": "reshape", "_to_copy": "to", "_unsafe_index": "index", "_unsafe_index_put": "index_put",
    "_index_put_impl": "index_put", "_unsafe_masked_index": "index", "grid_sampler": "grid_sample",
    "grid_sampler_2d": "grid_sample", "grid_sampler_3d": "grid_sample",
    "affine_grid_generator": "affine_grid", "feature_dropout": "dropout", "_upsample_bilinear2d_aa": "upsample_bilinear2d",
    "_upsample_bicubic2d_aa": "upsample_bicubic2d",
    "_upsample_nearest_exact1d": "upsample_nearest-exact1d", "_upsample_nearest_exact2d": "upsample_nearest-exact2d",
    "_upsample_nearest_exact3d": "upsample_nearest-exact3d", "_trilinear": "bilinear", "reflection_pad1d": "pad", "_pad_circular": "pad",
    **{f"{kind}_copy": kind for kind in ("view", "permute", "transpose", "expand", "slice", "select", "squeeze", "unsqueeze", "split", "split_with_sizes",
                                         "unbind", "t", "diagonal", "unfold", "as_strided", "detach", "alias")},
}  # fmt: skip

QUERIES, VALUES, FACTORIES, FILLS = (frozenset(words.split()) for words in (_QUERIES, _VALUES, _FACTORIES, _FILLS))


@dataclass(frozen=True)
class Call:
    """A PyTorch function, classified once. `label` is the name users know it by; `kind` is what the recorder does with
    it.
    """

    name: str
    label: str
    op: str | None
    # "record", "control", "query", "device", "values", "factory", "fill", "setitem", "setdata", "move", "expand"
    kind: str
    in_place: bool = False
    converter: Callable[..., Any] | None = None
    rule: Callable[..., Any] | None = None
    expansion: Callable[..., Any] | None = None

    spatial: int | None = None  # number of window dimensions where the name has it (conv2d: 2)
    category: str = "opaque"

    @cached_property
    def sized(self) -> bool:
        """Whether arguments besides the first may be sizes."""
        return self.category in ("movement", "resample") or self.kind == "factory"


def describe(func: Callable[..., Any]) -> Call:
    """Classify what a `TorchFunctionMode` was handed."""
    if isinstance(func, types.MethodWrapperType):  # a property of Tensor, read or written
        attribute = getattr(func.__self__, "__name__", "")
        return _property(attribute, func.__name__)
    return _function(func)


@cache
def _property(attribute: str, access: str) -> Call:
    label = f"Tensor.{attribute}"
    if access == "__set__":
        return Call(attribute, label, "Identity", "setdata" if attribute == "data" else "query")
    if attribute == "device":
        return Call(attribute, label, None, "device")
    op = TORCH_NAMES.get(attribute)
    return Call(
        attribute,
        label,
        op,
        "query" if attribute in QUERIES else "record",
        category=OPS[op].category if op else "opaque",
    )


@cache
def _function(func: Callable[..., Any]) -> Call:
    full = getattr(func, "__name__", type(func).__name__).split(".")[0]
    module = getattr(func, "__module__", None) or "torch"
    dunder = full.startswith("__") and full.endswith("__")
    name = full.strip("_") if dunder else full.rstrip("_").removeprefix("special_").removesuffix("_with_indices")
    if module == "torch.ops.higher_order":
        return Call(name, name, None, "control")
    composite = name in ATEN  # returns what the backward pass needs besides the result, so that no shape rule fits
    name = ATEN.get(name, name)
    if module.startswith("torch._ops.") and not module.endswith("aten"):
        return Call(name, f"{module.removeprefix('torch._ops.')}::{name}", None, "record")
    method = module == "torch._tensor" or isinstance(func, types.MethodDescriptorType | types.WrapperDescriptorType)
    label = (
        f"Tensor.{full}"
        if method
        else f"torch.nn.functional.{full}"
        if module == "torch.nn.functional"
        else f"torch.{full}"
    )
    kind = _kind(full, name, dunder)
    in_place = full.endswith("_") and not dunder
    scope = "F." if module == "torch.nn.functional" else ""
    converter = CONVERTERS.get(scope + name) or CONVERTERS.get(name)
    rule = None if in_place or composite else RULES.get(scope + name) or RULES.get(name)
    if (
        isinstance(func, torch._ops.OpOverload)
        and len(func._schema.returns) != 1
        and name not in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    ):
        rule = None  # results that the Python function leaves out
    expansion = EXPANSIONS.get(scope + name) or EXPANSIONS.get(name)
    op = _operator(name, dunder)
    window = re.search(r"([123])d$", name)
    return Call(
        name,
        label,
        op,
        kind,
        in_place,
        converter,
        rule,
        expansion,
        int(window[1]) if window else None,
        OPS[op].category if op else "opaque",
    )


def _operator(name: str, dunder: bool) -> str | None:
    found = TORCH_NAMES.get(name)
    if found is None and dunder and name[:1] in "ir":  # __iand__, __rmul__ ...
        found = TORCH_NAMES.get(name[1:])
    return found


def _kind(full: str, name: str, dunder: bool) -> str:
    if full in QUERIES:
        return "query"
    if full in VALUES:
        return "values"
    if full in FACTORIES and not dunder:
        return "factory"
    if full in FILLS:
        return "fill"
    if full == "__setitem__":
        return "setitem"
    if name in ("to", "cpu", "cuda", "xpu", "mps"):
        return "move"
    return "expand" if name in EXPANSIONS or f"F.{name}" in EXPANSIONS else "record"


def _transparent(func: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a function of `torch.nn.functional` that runs its body, so that the calls inside are seen one by one."""
    assert isinstance(func, types.FunctionType)
    never = dict.fromkeys(
        ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"), lambda *_: False
    )
    copy = types.FunctionType(
        func.__code__, {**func.__globals__, **never}, func.__name__, func.__defaults__, func.__closure__
    )
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def _addmm(product: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def expansion(
        input: Tensor, *factors: Tensor, beta: float = 1, alpha: float = 1, out: Any = None, **named: Tensor
    ) -> Tensor:
        result = product(*factors, *named.values())
        result = result if alpha == 1 else result * alpha
        return result if beta == 0 else torch.add(result, input if beta == 1 else input * beta)

    return expansion


def _stack(tensors: Any, dim: int = 0, **_: Any) -> Tensor:
    return torch.cat([tensor.unsqueeze(dim) for tensor in tensors], dim)


def _einsum(equation: str, *operands: Any, **_: Any) -> Tensor:
    return einsum(EINSUM, equation, *_operands(operands))


def _operands(operands: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, *_: Any, **__: Any) -> Tensor:
    return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def _loss(distance: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """A loss of `torch.nn.functional` by its definition."""

    def expansion(
        input: Tensor,
        target: Tensor,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> Tensor:
        if size_average is not None or reduce is not None:  # as before `reduction` was there
            reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        losses = distance(input - target)
        return _reduced(losses if weight is None else losses * weight, reduction)

    return expansion


def _aten_loss(distance: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda input, target, reduction=1: _reduced(distance(input - target), ("none", "mean", "sum")[reduction])


def hides_calls(call: Call, args: tuple[Any, ...]) -> bool:
    """Whether this call is recorded as the calls inside it; of einsums, those that take no diagonal."""
    if call.name != "einsum" or call.kind != "expand":
        return call.kind == "expand"
    try:
        parse_equation(args[0], [tensor.dim() for tensor in _operands(args[1:])])
    except (ValueError, AttributeError):  # a diagonal, or operands interleaved with lists of axes
        return False
    return True


EINSUM = TensorOps(lambda tensor: tuple(tensor.shape), torch.permute, torch.reshape, torch.sum, torch.matmul, torch.mul)
EXPANSIONS: dict[str, Callable[..., Any]] = {
    "F.multi_head_attention_forward": _transparent(F.multi_head_attention_forward),
    "addmm": _addmm(torch.mm), "addmv": _addmm(torch.mv), "baddbmm": _addmm(torch.bmm), "addbmm": _addmm(lambda a, b: torch.bmm(a, b).sum(0)),
    "linalg_multi_dot": lambda tensors, **_: reduce(torch.matmul, tensors), "chain_matmul": lambda *tensors, **_: reduce(torch.matmul, tensors),
    "einsum": _einsum, "stack": _stack, "cdist": _cdist,
    "F.mse_loss": _loss(torch.square), "mse_loss": _aten_loss(torch.square), "l1_loss": _aten_loss(torch.abs), "F.l1_loss": _loss(torch.abs),
}  # fmt: skip
