"""Shape inference by rule, for functions whose meta kernels are slow: PyTorch runs most of them as Python.

A rule returns an empty meta tensor, or None where PyTorch has to run the call, and raise its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from .typing import Number, TensorOrNumber, Tensors

ShapeRule: TypeAlias = Callable[..., Tensor | tuple[Tensor, ...] | None]


def _like(tensor: Tensor, size: Sequence[int] | None = None) -> Tensor:
    return torch.empty(tensor.shape if size is None else size, dtype=tensor.dtype, device="meta")


def _unary(input: Tensor, *args: object, **named: object) -> Tensor | None:
    """Activations: same shape; with `inplace` the tensor itself, as PyTorch returns it."""
    if not input.is_floating_point() or named.get("dtype") is not None:
        return None
    return input if named.get("inplace") or True in [a is True for a in args] else _like(input)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor | None:
    return input if inplace or not training else _like(input)


def _binary(input: TensorOrNumber, other: TensorOrNumber, *args: object, **named: object) -> Tensor | None:
    if args or named or not isinstance(input, Tensor) or not input.is_floating_point():
        return None
    if isinstance(other, int | float):
        return _like(input)
    if not isinstance(other, Tensor) or other.dtype != input.dtype:
        return None
    return _like(input) if input.shape == other.shape else None


def _clamp(input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor | None:
    bounds = [bound for bound in (min, max) if bound is not None]
    are_scalars = all(
        isinstance(bound, int | float) or (isinstance(bound, Tensor) and bound.dim() == 0) for bound in bounds
    )
    return _like(input) if bounds and are_scalars and input.is_floating_point() and input.dim() else None


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    fits = (
        weight.dim() == 2
        and input.shape[-1:] == weight.shape[1:]
        and input.is_floating_point()
        and input.dtype == weight.dtype
        and (bias is None or (bias.shape == weight.shape[:1] and bias.dtype == input.dtype))
    )
    return _like(input, (*input.shape[:-1], weight.shape[0])) if fits else None


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: object,
    **__: object,
) -> Tensor | None:
    vectors = [t for t in (running_mean, running_var, weight, bias) if t is not None]
    fits = input.dim() > 1 and all(t.shape == input.shape[1:2] for t in vectors)
    return _like(input) if fits else None


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: object,
    **__: object,
) -> Tensor | None:
    size = tuple(normalized_shape)
    fits = (
        size
        and input.shape[-len(size) :] == size
        and all(t.shape == size and t.dtype == input.dtype for t in (weight, bias) if isinstance(t, Tensor))
    )
    return _like(input) if fits else None


def _group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, *_: object, **__: object
) -> Tensor | None:
    fits = (
        input.dim() > 1
        and not input.shape[1] % num_groups
        and all(t.shape == input.shape[1:2] for t in (weight, bias) if t is not None)
    )
    return _like(input) if fits else None


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: object, **named: object
) -> Tensor | None:
    compatible = (
        query.dtype == key.dtype == value.dtype
        and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
        and query.dim() > 1
    )
    if (
        not compatible
        or query.shape[-1] != key.shape[-1]
        or key.shape[-2] != value.shape[-2]
        or attn_mask is not None
        or named.get("enable_gqa")
    ):
        return None
    return _like(query, (*query.shape[:-1], value.shape[-1]))


def _adaptive_pool(num_spatial_dims: int) -> Callable[..., Tensor | None]:
    def rule(input: Tensor, output_size: int | Sequence[int | None], **named: object) -> Tensor | None:
        sizes = (output_size,) * num_spatial_dims if isinstance(output_size, int) else tuple(output_size)
        ranks = (num_spatial_dims + 1, num_spatial_dims + 2)
        if named.get("return_indices") or len(sizes) != num_spatial_dims or input.dim() not in ranks:
            return None
        spatial = (n if s is None else s for n, s in zip(input.shape[-num_spatial_dims:], sizes, strict=True))
        return _like(input, (*input.shape[:-num_spatial_dims], *spatial))

    return rule


def _cat(tensors: Sequence[Tensor], dim: int = 0, **named: object) -> Tensor | None:
    first = tensors[0]
    if named or first.dim() == 0 or not -first.dim() <= dim < first.dim():
        return None
    axis = dim % first.dim()
    sizes = [list(t.shape) for t in tensors]
    total = sum(size[axis] for size in sizes if len(size) > axis)
    for size in sizes:
        size[axis : axis + 1] = [total]
    fits = all(size == sizes[0] for size in sizes) and all(t.dtype == first.dtype for t in tensors)
    return _like(first, sizes[0]) if fits else None


def _recurrent(gates: int) -> ShapeRule:
    """LSTM, GRU and simple RNN: the meta kernels loop over time steps."""

    def rule(
        input: Tensor,
        hx: Tensors,
        weights: Sequence[Tensor],
        has_biases: bool,
        layers: int,
        dropout: float,
        training: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...] | None:
        states = tuple(hx) if isinstance(hx, Sequence) else (hx,)
        directions = 2 if bidirectional else 1
        fits = input.dim() == 3 and input.shape[-1] == weights[0].shape[1] and not weights[0].shape[0] % gates
        if not fits or states[0].shape[:2] != (layers * directions, input.shape[0 if batch_first else 1]):
            return None
        output = _like(input, (*input.shape[:2], directions * states[0].shape[-1]))
        return (output, *(_like(state) for state in states))

    return rule


def _istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor | None:
    """The meta kernel looks at the values of the window."""
    if not input.is_complex() or input.dim() not in (2, 3):
        return None
    full = n_fft + (hop_length or n_fft // 4) * (input.shape[-1] - 1)
    start = n_fft // 2 if center else 0
    end = full - start if length is None else start + length
    dtype = input.dtype if return_complex else input.dtype.to_real()
    return torch.empty((*input.shape[:-2], end - start), dtype=dtype, device="meta")


def _grouped_matmul(a: Tensor, b: Tensor, offs: Tensor | None = None, **named: object) -> Tensor | None:
    """Products of groups of rows with a matrix each, as in mixtures of experts.

    PyTorch's meta kernel accepts bfloat16 only.
    """
    if a.shape[-1] != b.shape[-2] or named.get("out_dtype") is not None:
        return None
    groups: list[int] = []
    if a.dim() == b.dim() == 2 and offs is not None:
        groups = [offs.shape[0]]
    elif a.dim() == b.dim() == 3:
        groups = [a.shape[0]]
    return _like(a, (*groups, a.shape[-2], b.shape[-1]))


def _broadcast(input: Tensor, other: Tensor, *_: object, **__: object) -> Tensor:
    shape: tuple[int, ...] = torch.broadcast_shapes(input.shape, other.shape)  # type: ignore[no-untyped-call]
    return _like(input, shape)


UNARY = (
    "relu gelu silu mish sigmoid logsigmoid hardsigmoid hardswish tanh softplus softsign softmax log_softmax elu "
    "selu celu relu6 leaky_relu hardtanh exp sqrt rsqrt abs neg erf"
)
SHAPE_RULES: dict[str, ShapeRule] = {
    **dict.fromkeys(UNARY.split(), _unary),
    **dict.fromkeys(("F.dropout", "F.dropout1d", "F.dropout2d", "F.dropout3d"), _dropout),
    **dict.fromkeys(("add", "sub", "mul", "div"), _binary),
    **dict.fromkeys(("clamp", "clip"), _clamp),
    "linear": _linear,
    "F.batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    "group_norm": _group_norm,
    **dict.fromkeys(("_grouped_mm", "grouped_mm"), _grouped_matmul),
    "scaled_dot_product_attention": _attention,
    "binomial": _broadcast,  # these two have no meta kernel
    "_sample_dirichlet": _unary,
    **dict.fromkeys(("cat", "concat"), _cat),
    **{f"adaptive_{kind}_pool{n}d": _adaptive_pool(n) for kind in ("avg", "max") for n in (1, 2, 3)},
    "istft": _istft,
    "lstm": _recurrent(4),
    "gru": _recurrent(3),
    **dict.fromkeys(("rnn_tanh", "rnn_relu"), _recurrent(1)),
}
