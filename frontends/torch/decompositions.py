"""Decompositions: functions that are recorded as the calls inside them, by their definition in simpler functions."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from functools import cache, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frontends.common.einsum import TensorOps, einsum

from .typing import Args, Function


@cache
def transparent(func: types.FunctionType) -> types.FunctionType:
    """A copy of one of PyTorch's Python functions that always runs its body, so that the calls inside are seen."""
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
    operands = listed_tensors(tensors)
    shape: tuple[int, ...] = torch.broadcast_shapes(*(t.shape for t in operands))  # type: ignore[no-untyped-call]
    return tuple(tensor.expand(shape) for tensor in operands)


def _einsum(equation: str, *operands: Tensor | Sequence[Tensor], **_: object) -> Tensor:
    return einsum(_EINSUM_OPS, equation, *listed_tensors(operands))


def listed_tensors(operands: Args) -> tuple[Tensor, ...]:
    """The tensors of a function of any number of them, which may be passed as one list."""
    return tuple(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else operands


def _tensordot(a: Tensor, b: Tensor, dims: Any = 2, dims_other: Sequence[int] | None = None, **_: object) -> Tensor:
    """Both forms: of `torch.tensordot`, and of ATen, which has a list of axes for each operand."""
    if dims_other is not None:
        dims = dims, dims_other
    elif not isinstance(dims, Sequence):
        dims = range(a.dim() - int(dims), a.dim()), range(int(dims))
    for axis, other_axis in zip(*dims, strict=True):  # an axis of one element is broadcast
        if b.shape[other_axis] == 1:
            a = a.sum(axis, keepdim=True)
        elif a.shape[axis] == 1:
            b = b.sum(other_axis, keepdim=True)
    letters = [chr(ord("a") + axis) for axis in range(a.dim() + b.dim())]
    term, other = letters[: a.dim()], letters[a.dim() :]
    for axis, other_axis in zip(*dims, strict=True):
        other[other_axis] = term[axis]
    kept = [letter for letter in (*term, *other) if (letter in term) != (letter in other)]
    return einsum(_EINSUM_OPS, f"{''.join(term)},{''.join(other)}->{''.join(kept)}", a, b)


def _sparse_mm(a: Tensor, b: Tensor, reduce: str = "sum") -> Tensor:
    """Sums of products; other reductions have the same products."""
    return torch.mm(a, b)


def _outer(input: Tensor, vec2: Tensor, **_: object) -> Tensor:
    return input.unsqueeze(-1) * vec2


def _cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariance matrix of variables (rows), whose ATen operator looks at the values of the weights."""
    rows = input if input.dim() > 1 else input.view(1, -1)
    given = [weights for weights in (fweights, aweights) if weights is not None]
    weights = reduce(torch.mul, given) if given else None
    total = rows.shape[1] if weights is None else weights.sum()
    spread = total if aweights is None or weights is None else (weights * aweights).sum() / total
    mean = (rows if weights is None else rows * weights).sum(1) / total
    centered = rows - mean.unsqueeze(1)
    product = torch.mm(centered, (centered if weights is None else centered * weights).t().conj())
    normalized = product / (total - correction * (spread if aweights is not None else 1))
    return normalized.squeeze()


def _corrcoef(input: Tensor) -> Tensor:
    """Correlations of variables (rows)."""
    covariance = torch.cov(input)
    if not covariance.dim():
        return covariance / covariance
    deviation = covariance.diagonal().sqrt()
    return (covariance / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clamp(-1, 1)


def _first(input: Tensor, *_: object, **__: object) -> Tensor:
    """What changes the values of the first argument alone, for instance to at most some norm."""
    return input


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


def _meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Each result is one of the tensors along its axis, expanded over the others."""
    vectors = [tensor.reshape(-1) for tensor in listed_tensors(tensors)]
    swapped = indexing == "xy" and len(vectors) > 1
    axes = [1, 0, *range(2, len(vectors))] if swapped else list(range(len(vectors)))
    sizes = [len(vectors[axis]) for axis in axes]
    return tuple(
        vector.reshape([-1 if axis == place else 1 for axis in range(len(sizes))]).expand(sizes)
        for vector, place in zip(vectors, axes, strict=True)
    )


_EINSUM_OPS = TensorOps[Tensor](
    lambda tensor: tuple(tensor.shape), torch.permute, torch.reshape, torch.sum, torch.matmul, torch.mul
)
_FAKE_QUANTIZATIONS = "fake_quantize_per_tensor_affine fake_quantize_per_channel_affine fused_moving_avg_obs_fake_quant"
# Names without underscores; "F." before one where `torch.nn.functional` orders arguments otherwise.
DECOMPOSITIONS: dict[str, Function] = {
    **{
        f"F.{function.__name__}": transparent(function)
        for function in (
            F.multi_head_attention_forward,
            F.embedding_bag,
            F.gumbel_softmax,
            F.softmin,
            torch.functional.stft,
        )
    },
    "addmm": _add_product(torch.mm),
    "addmv": _add_product(torch.mv),
    "baddbmm": _add_product(torch.bmm),
    "addbmm": _add_product(_addbmm),
    "linalg_multi_dot": _multi_dot,
    "chain_matmul": _chain_matmul,
    "broadcast_tensors": _broadcast_tensors,
    "einsum": _einsum,
    "stack": _stack,
    "meshgrid": _meshgrid,
    "tensordot": _tensordot,
    "outer": _outer,
    "ger": _outer,
    "cov": _cov,
    "corrcoef": _corrcoef,
    **dict.fromkeys(("_sparse_mm", "smm", "hspmm"), _sparse_mm),
    "_sparse_addmm": _add_product(torch.mm),
    "embedding_renorm": _first,
    **dict.fromkeys(_FAKE_QUANTIZATIONS.split(), _first),
    "cdist": _cdist,
    "F.mse_loss": _loss(torch.square),
    "mse_loss": _aten_loss(torch.square),
    "F.l1_loss": _loss(torch.abs),
    "l1_loss": _aten_loss(torch.abs),
}
