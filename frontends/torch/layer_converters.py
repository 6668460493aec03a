"""Converters of layers: windows, norms, tables, recurrent cells, resampling. See `converters` for what a converter is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from cgir.graph import Attr

Number = int | float | bool


class Conversion(NamedTuple):
    """What a call computes. An empty `op` means the one its name stands for; `dims` are the axes it reduces.

    `like_linear` products are linear layers if their second operand turns out to be a weight.
    """

    inputs: tuple[Any, ...]
    attrs: Mapping[str, Attr] = MappingProxyType({})
    weights: tuple[Tensor | None, ...] = ()
    op: str = ""
    dims: tuple[int, ...] | None = None
    like_linear: bool = False


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in value) if isinstance(value, Sequence) else (int(value),)
    return values * n if len(values) == 1 else values


def _pairs(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple((p, p) for p in _tuple(padding, len(kernel)))


def conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Conversion:
    """Convolutions of any rank."""
    kernel = tuple(weight.shape[2:])
    n = len(kernel)
    wide = _tuple(dilation, n)
    attrs = {
        "kernel": kernel,
        "stride": _tuple(stride, n),
        "padding": _pairs(padding, kernel, wide),
        "dilation": wide,
        "groups": groups,
    }
    return Conversion((input,), attrs, (weight, bias))


def conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Conversion:
    """Transposed convolutions of any rank; the arguments stand in another order."""
    conversion = conv(input, weight, bias, stride, padding, dilation, groups)
    return conversion._replace(
        attrs={**conversion.attrs, "output_padding": _tuple(output_padding, len(conversion.attrs["kernel"]))}
    )


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Conversion:
    """ATen's one convolution for all."""
    if transposed:
        return conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)._replace(
            op="ConvTranspose"
        )
    return conv(input, weight, bias, stride, padding, dilation, groups)


def max_pool(n: int) -> Callable[..., Conversion]:
    """Max pooling over `n` dimensions."""

    def convert(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        **_: Any,
    ) -> Conversion:
        kernel, wide = _tuple(kernel_size, n), _tuple(dilation, n)
        attrs = {
            "kernel": kernel,
            "stride": _tuple(stride or kernel, n),
            "padding": _pairs(padding, kernel, wide),
            "dilation": wide,
        }
        return Conversion((input,), attrs)

    return convert


def avg_pool(n: int) -> Callable[..., Conversion]:
    """Average pooling over `n` dimensions."""

    def convert(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *_: Any,
    ) -> Conversion:
        kernel = _tuple(kernel_size, n)
        pairs = _pairs(padding, kernel, (1,) * n)
        attrs: dict[str, Attr] = {"kernel": kernel, "stride": _tuple(stride or kernel, n), "padding": pairs}
        return Conversion((input,), attrs | ({"include_pad": bool(count_include_pad)} if any(map(any, pairs)) else {}))

    return convert


def lp_pool(n: int) -> Callable[..., Conversion]:
    """Power-average pooling over `n` dimensions."""

    def convert(
        input: Tensor, norm_type: Number, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> Conversion:
        kernel = _tuple(kernel_size, n)
        return Conversion((input,), {"p": float(norm_type), "kernel": kernel, "stride": _tuple(stride or kernel, n)})

    return convert


def sliding(name: str) -> Callable[..., Conversion]:
    """`unfold` and `fold`."""

    def convert(
        input: Tensor,
        *args: Any,
        kernel_size: Any = None,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
        **_: Any,
    ) -> Conversion:
        sizes = [kernel_size, dilation, padding, stride]
        given = args[1:] if name == "fold" else args  # fold's first argument is the output size
        for place, value in enumerate(given):
            sizes[place] = value
        kernel, wide = _tuple(sizes[0], 2), _tuple(sizes[1], 2)
        return Conversion(
            (input,),
            {
                "kernel": kernel,
                "stride": _tuple(sizes[3], 2),
                "padding": _pairs(sizes[2], kernel, wide),
                "dilation": wide,
            },
        )

    return convert


def weighted(input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any) -> Conversion:
    """One tensor, a weight and a bias."""
    return Conversion((input,), {}, (weight, bias))


def running_norm(
    input: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> Conversion:
    """Norms with running statistics, which are no part of the architecture."""
    return Conversion((input,), {}, (weight, bias))


def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any
) -> Conversion:
    """Layer normalisation."""
    return Conversion((input,), {"dims": len(normalized_shape)}, (weight, bias))


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, *_: Any, **__: Any) -> Conversion:
    """Root-mean-square normalisation."""
    return Conversion((input,), {"dims": len(normalized_shape)}, (weight,))


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any
) -> Conversion:
    """Group normalisation."""
    return Conversion((input,), {"groups": int(num_groups)}, (weight, bias))


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int, positions: int, groups: int, eps: float
) -> Conversion:
    """Group normalisation as ATen orders its arguments after decomposition."""
    return Conversion((input,), {"groups": int(groups)}, (weight, bias), op="GroupNorm")


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Conversion:
    """Two tensors, a weight and a bias."""
    return Conversion((input1, input2), {}, (weight, bias))


def table_first(weight: Tensor, indices: Tensor, *_: Any, **__: Any) -> Conversion:
    """Embeddings as ATen orders their arguments."""
    return Conversion((indices,), {}, (weight,))


def embedding_bag(input: Tensor, weight: Tensor, *_: Any, **__: Any) -> Conversion:
    """Embedding bags; table and indices are accepted in either order."""
    return weighted(input, weight) if weight.is_floating_point() else weighted(weight, input)


def recurrent(
    input: Tensor,
    hx: Any,
    weights: Any,
    has_biases: Any,
    layers: Any,
    dropout: float,
    training: bool,
    bidirectional: bool,
    *_: bool,
) -> Conversion:
    """LSTM, GRU and simple RNN over padded sequences."""
    states = tuple(hx) if isinstance(hx, Sequence) else (hx,)
    hidden = weights[1].shape[0] // (weights[0].shape[0] // states[-1].shape[-1])
    return Conversion(
        (input, *states), {"hidden": hidden, "layers": layers, "bidirectional": bool(bidirectional)}, tuple(weights)
    )


def cell(input: Tensor, hx: Any, *weights: Any) -> Conversion:
    """One time step of a recurrent network."""
    states = tuple(hx) if isinstance(hx, Sequence) else (hx,)
    return Conversion((input, *states), {"hidden": states[0].shape[-1], "layers": 1, "bidirectional": False}, weights)


def interpolate(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *_: Any, **__: Any
) -> Conversion:
    """Resizing in a given mode."""
    return Conversion((input,), {"mode": mode})


def upsample(mode: str) -> Callable[..., Conversion]:
    """Resizing by a function that has the mode in its name."""
    return lambda input, *_, **__: Conversion((input,), {"mode": mode})


def padded(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Number | None = None) -> Conversion:
    """`padding` has a pair for every axis here; the recorder keeps those of the spatial axes once it knows which they
    are.
    """
    given = [(int(before), int(after)) for before, after in list(pairwise(pad))[::2]]
    pairs = tuple(reversed(given + [(0, 0)] * (input.dim() - len(given))))
    attrs: dict[str, Attr] = {"padding": pairs, "mode": mode}
    return Conversion((input,), attrs | ({"value": float(value or 0)} if mode == "constant" else {}))


def constant_padded(input: Tensor, pad: Sequence[int], value: Number = 0) -> Conversion:
    """Padding as ATen orders its arguments."""
    return padded(input, pad, "constant", value)
