"""What kind of call a PyTorch function is: its name, its operator, and whether it reads values, makes constants or hides other calls."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cgir.ops import OPS, TORCH_NAMES

from .einsum import Moves, einsum, terms_of
from .torch_ops import RECIPES
from .torch_shapes import RULES

# Answered without looking at the tensor's place in the graph.
_QUERIES = (
    "shape dtype ndim dim size numel nelement stride storage_offset is_contiguous element_size itemsize nbytes is_meta is_cuda is_cpu requires_grad layout "
    "is_floating_point is_complex is_sparse is_quantized is_nested names is_leaf grad grad_fn get_device _version is_inference __hash__ __len__ _is_view "
    "is_mps is_xpu is_sparse_csr is_signed is_conj is_neg untyped_storage result_type is_same_size __repr__ __format__ broadcast_shapes dim_order retain_grad "
    "requires_grad_ register_hook"
)

# Their result depends on values, or has a size that does.
_VALUES = (
    "item tolist numpy nonzero argwhere unique unique_consecutive masked_select equal allclose is_nonzero bincount __bool__ __float__ __int__ __index__ "
    "__complex__ __contains__ __array__ _pack_padded_sequence"
)

_FACTORIES = (
    "zeros ones full empty rand randn randint randperm arange linspace logspace eye zeros_like ones_like full_like empty_like "
    "rand_like randn_like randint_like new_zeros new_ones new_full new_empty new_tensor new_empty_strided new tensor scalar_tensor tril_indices "
    "triu_indices hann_window hamming_window blackman_window bernoulli multinomial normal empty_strided empty_permuted range"
)

_FILLS = "zero_ fill_ normal_ uniform_ bernoulli_ random_ exponential_ trunc_normal_ eye_ constant_"


QUERIES, VALUES, FACTORIES, FILLS = (frozenset(words.split()) for words in (_QUERIES, _VALUES, _FACTORIES, _FILLS))


@dataclass(frozen=True)
class Call:
    """A PyTorch function, classified once. `label` is the name users know it by; `kind` is what the recorder does with it."""

    name: str
    label: str
    op: str | None
    kind: str  # "record", "query", "device", "values", "factory", "fill", "setitem", "setdata", "move", "expand"
    in_place: bool = False
    recipe: Callable[..., Any] | None = None
    rule: Callable[..., Any] | None = None
    expansion: Callable[..., Any] | None = None

    spatial: int | None = None  # number of window dimensions where the name has it (conv2d: 2)
    category: str = "opaque"


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
    return Call(attribute, label, op, "query" if attribute in QUERIES else "record", category=OPS[op].category if op else "opaque")


@cache
def _function(func: Callable[..., Any]) -> Call:
    full = getattr(func, "__name__", type(func).__name__).split(".")[0]
    module = getattr(func, "__module__", None) or "torch"
    dunder = full.startswith("__") and full.endswith("__")
    name = full.strip("_") if dunder else full.rstrip("_").removeprefix("special_").removesuffix("_with_indices")
    if module.startswith("torch._ops.") and not module.endswith("aten"):
        return Call(name, f"{module.removeprefix('torch._ops.')}::{name}", None, "record")
    method = module == "torch._tensor" or isinstance(func, types.MethodDescriptorType | types.WrapperDescriptorType)
    label = f"Tensor.{full}" if method else f"torch.nn.functional.{full}" if module == "torch.nn.functional" else f"torch.{full}"
    kind = _kind(full, name, dunder)
    in_place = full.endswith("_") and not dunder
    scope = "F." if module == "torch.nn.functional" else ""
    recipe = RECIPES.get(scope + name) or RECIPES.get(name)
    rule = None if in_place else RULES.get(scope + name) or RULES.get(name)
    expansion = EXPANSIONS.get(scope + name) or EXPANSIONS.get(name)
    op = _operator(name, dunder)
    window = re.search(r"([123])d$", name)
    return Call(name, label, op, kind, in_place, recipe, rule, expansion, int(window[1]) if window else None, OPS[op].category if op else "opaque")


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
    never = dict.fromkeys(("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"), lambda *_: False)
    copy = types.FunctionType(func.__code__, {**func.__globals__, **never}, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def _addmm(product: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def expansion(input: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1, **_: Any) -> Tensor:
        result = product(a, b)
        result = result if alpha == 1 else result * alpha
        return result if beta == 0 else torch.add(result, input if beta == 1 else input * beta)

    return expansion


def _einsum(equation: str, *operands: Any) -> Tensor:
    return einsum(EINSUM, equation, *_operands(operands))


def _operands(operands: tuple[Any, ...]) -> tuple[Tensor, ...]:
    return tuple(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands


def hides_calls(call: Call, args: tuple[Any, ...]) -> bool:
    """Whether this call is recorded as the calls inside it; of einsums, those that take no diagonal."""
    if call.name != "einsum" or call.kind != "expand":
        return call.kind == "expand"
    try:
        terms_of(args[0], [tensor.dim() for tensor in _operands(args[1:])])
    except (ValueError, AttributeError):  # a diagonal, or operands interleaved with lists of axes
        return False
    return True


EINSUM = Moves(lambda tensor: tuple(tensor.shape), torch.permute, torch.reshape, torch.sum, torch.matmul, torch.mul)
EXPANSIONS: dict[str, Callable[..., Any]] = {
    "F.multi_head_attention_forward": _transparent(F.multi_head_attention_forward),
    "addmm": _addmm(torch.mm), "addmv": _addmm(torch.mv), "baddbmm": _addmm(torch.bmm), "addbmm": _addmm(lambda a, b: torch.bmm(a, b).sum(0)),
    "linalg_multi_dot": lambda tensors, **_: reduce(torch.matmul, tensors), "chain_matmul": lambda *tensors, **_: reduce(torch.matmul, tensors),
    "einsum": _einsum,
}  # fmt: skip
