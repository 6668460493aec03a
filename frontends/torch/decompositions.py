"""Decompositions: functions that are recorded as the calls inside them, by their definition in simpler functions."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from frontends.common.einsum import TensorOps, einsum

from .typing import Args, Function


def _transparent(func: Function) -> Function:
    """A copy of a function of `torch.nn.functional` that always runs its body, so that the calls inside are seen."""
    assert isinstance(func, types.FunctionType)
    names = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    never = dict.fromkeys(names, lambda *_: False)
    copy = types.FunctionType(
        func.__code__, {**func.__globals__, **never}, func.__name__, func.__defaults__, func.__closure__
    )
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy


def _add_product(product: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`addmm` and similar functions: beta * input + alpha * product(*factors)."""

    def decomposition(
        input: Tensor, *factors: Tensor, beta: float = 1, alpha: float = 1, out: Tensor | None = None, **named: Tensor
    ) -> Tensor:
        result = product(*factors, *named.values())
        result = result if alpha == 1 else result * alpha
        return result if beta == 0 else torch.add(result, input if beta == 1 else input * beta)

    return decomposition


def _addbmm(a: Tensor, b: Tensor) -> Tensor:
    return torch.bmm(a, b).sum(0)


def _multi_dot(tensors: Sequence[Tensor], **_: object) -> Tensor:
    return reduce(torch.matmul, tensors)


def _chain_matmul(*tensors: Tensor, **_: object) -> Tensor:
    return reduce(torch.matmul, tensors)


def _stack(tensors: Sequence[Tensor], dim: int = 0, **_: object) -> Tensor:
    return torch.cat([tensor.unsqueeze(dim) for tensor in tensors], dim)


def _broadcast_tensors(*tensors: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    operands = einsum_operands(tensors)
    shape: tuple[int, ...] = torch.broadcast_shapes(*(t.shape for t in operands))  # type: ignore[no-untyped-call]
    return tuple(tensor.expand(shape) for tensor in operands)


def _einsum(equation: str, *operands: Tensor | Sequence[Tensor], **_: object) -> Tensor:
    return einsum(_EINSUM_OPS, equation, *einsum_operands(operands))


def einsum_operands(operands: Args) -> tuple[Tensor, ...]:
    """The operands of `torch.einsum`, which may be handed over as one list."""
    return tuple(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands


def _cdist(x1: Tensor, x2: Tensor, p: float = 2.0, *_: object, **__: object) -> Tensor:
    distances: Tensor = torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
    return distances


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def _loss(distance: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """A loss of `torch.nn.functional` by its definition."""

    def decomposition(
        input: Tensor,
        target: Tensor,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
    ) -> Tensor:
        if size_average is not None or reduce is not None:  # deprecated in favour of `reduction`
            reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        losses = distance(input - target)
        return _reduced(losses if weight is None else losses * weight, reduction)

    return decomposition


def _aten_loss(distance: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda input, target, reduction=1: _reduced(distance(input - target), ("none", "mean", "sum")[reduction])


_EINSUM_OPS = TensorOps[Tensor](
    lambda tensor: tuple(tensor.shape), torch.permute, torch.reshape, torch.sum, torch.matmul, torch.mul
)
# Names without underscores; "F." before one where `torch.nn.functional` orders arguments otherwise.
DECOMPOSITIONS: dict[str, Function] = {
    "F.multi_head_attention_forward": _transparent(F.multi_head_attention_forward),
    "addmm": _add_product(torch.mm),
    "addmv": _add_product(torch.mv),
    "baddbmm": _add_product(torch.bmm),
    "addbmm": _add_product(_addbmm),
    "linalg_multi_dot": _multi_dot,
    "chain_matmul": _chain_matmul,
    "broadcast_tensors": _broadcast_tensors,
    "einsum": _einsum,
    "stack": _stack,
    "cdist": _cdist,
    "F.mse_loss": _loss(torch.square),
    "mse_loss": _aten_loss(torch.square),
    "F.l1_loss": _loss(torch.abs),
    "l1_loss": _aten_loss(torch.abs),
}
