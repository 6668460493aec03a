"""Converters of layers: windows, norms, embeddings, recurrent cells, resampling (see `converters`)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from cgir.graph import Attr
from frontends.common.importer import Converter

from .conversion import Conversion
from .typing import IntOrInts, Number, Padding, Tensors


def _tuple(value: IntOrInts, n: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in value) if isinstance(value, Sequence) else (int(value),)
    return values * n if len(values) == 1 else values


def _padding_pairs(padding: Padding, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in total)
    return tuple((p, p) for p in _tuple(padding, len(kernel)))


def _conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    dilation: IntOrInts = 1,
    groups: int = 1,
) -> Conversion:
    """A convolution of any rank."""
    kernel = tuple(weight.shape[2:])
    n = len(kernel)
    dilations = _tuple(dilation, n)
    attrs = {
        "kernel": kernel,
        "stride": _tuple(stride, n),
        "padding": _padding_pairs(padding, kernel, dilations),
        "dilation": dilations,
        "groups": groups,
    }
    return Conversion((input,), attrs, (weight, bias))


def _conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrInts = 1,
    padding: Padding = 0,
    output_padding: IntOrInts = 0,
    groups: int = 1,
    dilation: IntOrInts = 1,
) -> Conversion:
    """A transposed convolution of any rank; its arguments have another order."""
    conversion = _conv(input, weight, bias, stride, padding, dilation, groups)
    return conversion._replace(
        attrs={**conversion.attrs, "output_padding": _tuple(output_padding, len(conversion.attrs["kernel"]))}
    )


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: IntOrInts,
    padding: Padding,
    dilation: IntOrInts,
    transposed: bool,
    output_padding: IntOrInts,
    groups: int,
) -> Conversion:
    """ATen's one operator for all convolutions."""
    if transposed:
        return _conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)._replace(
            op="ConvTranspose"
        )
    return _conv(input, weight, bias, stride, padding, dilation, groups)


def _max_pool(n: int) -> Converter[Conversion]:
    """Max pooling over `n` dimensions."""

    def convert(
        input: Tensor,
        kernel_size: IntOrInts,
        stride: IntOrInts | None = None,
        padding: Padding = 0,
        dilation: IntOrInts = 1,
        ceil_mode: bool = False,
        **_: object,
    ) -> Conversion:
        kernel, dilations = _tuple(kernel_size, n), _tuple(dilation, n)
        attrs = {
            "kernel": kernel,
            "stride": _tuple(stride or kernel, n),
            "padding": _padding_pairs(padding, kernel, dilations),
            "dilation": dilations,
        }
        return Conversion((input,), attrs)

    return convert


def _avg_pool(n: int) -> Converter[Conversion]:
    """Average pooling over `n` dimensions."""

    def convert(
        input: Tensor,
        kernel_size: IntOrInts,
        stride: IntOrInts | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *_: object,
    ) -> Conversion:
        kernel = _tuple(kernel_size, n)
        pairs = _padding_pairs(padding, kernel, (1,) * n)
        attrs: dict[str, Attr] = {"kernel": kernel, "stride": _tuple(stride or kernel, n), "padding": pairs}
        return Conversion((input,), attrs | ({"include_pad": bool(count_include_pad)} if any(map(any, pairs)) else {}))

    return convert


def _lp_pool(n: int) -> Converter[Conversion]:
    """Power-average pooling over `n` dimensions."""

    def convert(
        input: Tensor,
        norm_type: Number,
        kernel_size: IntOrInts,
        stride: IntOrInts | None = None,
        ceil_mode: bool = False,
    ) -> Conversion:
        kernel = _tuple(kernel_size, n)
        return Conversion((input,), {"p": float(norm_type), "kernel": kernel, "stride": _tuple(stride or kernel, n)})

    return convert


def _unfold_or_fold(name: str) -> Converter[Conversion]:
    """`unfold` and `fold`."""

    def convert(
        input: Tensor,
        *args: IntOrInts,
        kernel_size: IntOrInts | None = None,
        dilation: IntOrInts = 1,
        padding: IntOrInts = 0,
        stride: IntOrInts = 1,
        **_: object,
    ) -> Conversion:
        sizes: list[Any] = [kernel_size, dilation, padding, stride]
        positional = args[1:] if name == "fold" else args  # fold's first argument is the output size
        for index, value in enumerate(positional):
            sizes[index] = value
        kernel, dilations = _tuple(sizes[0], 2), _tuple(sizes[1], 2)
        return Conversion(
            (input,),
            {
                "kernel": kernel,
                "stride": _tuple(sizes[3], 2),
                "padding": _padding_pairs(sizes[2], kernel, dilations),
                "dilation": dilations,
            },
        )

    return convert


def _weight_and_bias(
    input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *_: object, **__: object
) -> Conversion:
    """One tensor, a weight and a bias."""
    return Conversion((input,), {}, (weight, bias))


def _running_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: object,
    **__: object,
) -> Conversion:
    """Norms with running statistics, which are not part of the architecture."""
    return Conversion((input,), {}, (weight, bias))


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: object,
    **__: object,
) -> Conversion:
    """Layer normalisation."""
    return Conversion((input,), {"dims": len(normalized_shape)}, (weight, bias))


def _rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, *_: object, **__: object
) -> Conversion:
    """Root-mean-square normalisation."""
    return Conversion((input,), {"dims": len(normalized_shape)}, (weight,))


def _group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, *_: object, **__: object
) -> Conversion:
    """Group normalisation."""
    return Conversion((input,), {"groups": int(num_groups)}, (weight, bias))


def _native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int, positions: int, groups: int, eps: float
) -> Conversion:
    """Group normalisation as ATen orders its arguments after decomposition."""
    return Conversion((input,), {"groups": int(groups)}, (weight, bias), op="GroupNorm")


def _bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Conversion:
    """Two tensors, a weight and a bias."""
    return Conversion((input1, input2), {}, (weight, bias))


def _embedding(input: Tensor, weight: Tensor, *_: object, **__: object) -> Conversion:
    """Embeddings as `torch.nn.functional` orders their arguments."""
    return Conversion((input,), {}, (weight,))


def _embedding_of_aten(weight: Tensor, indices: Tensor, *_: object, **__: object) -> Conversion:
    """Embeddings as ATen orders their arguments."""
    return Conversion((indices,), {}, (weight,))


def _recurrent(
    input: Tensor,
    hx: Tensors,
    weights: Sequence[Tensor],
    has_biases: bool,
    layers: int,
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


def _recurrent_cell(input: Tensor, hx: Tensors, *weights: Tensor | None) -> Conversion:
    """One time step of a recurrent network."""
    states = tuple(hx) if isinstance(hx, Sequence) else (hx,)
    return Conversion((input, *states), {"hidden": states[0].shape[-1], "layers": 1, "bidirectional": False}, weights)


def _with_relu(convert: Converter[Conversion]) -> Converter[Conversion]:
    """A recurrent layer whose activation is not the usual one."""

    def with_relu(*arguments: Any) -> Conversion:
        conversion = convert(*arguments)
        return conversion._replace(attrs={**conversion.attrs, "activations": ("relu",)})

    return with_relu


def _interpolate(
    input: Tensor,
    size: IntOrInts | None = None,
    scale_factor: Number | Sequence[Number] | None = None,
    mode: str = "nearest",
    *_: object,
    **__: object,
) -> Conversion:
    """Resizing in a given mode; "area" is adaptive pooling by another name."""
    if mode == "area":
        return Conversion((input,), op="AdaptiveAvgPool")
    return Conversion((input,), {"mode": mode})


def _upsample(mode: str) -> Converter[Conversion]:
    """Resizing by a function that has the mode in its name."""

    def convert(input: Tensor, *_: object, **__: object) -> Conversion:
        return Conversion((input,), {"mode": mode})

    return convert


def _pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Number | None = None) -> Conversion:
    """`padding` has a pair for every axis here; the tape keeps those of the spatial axes."""
    last_axes = [(int(before), int(after)) for before, after in list(pairwise(pad))[::2]]
    pairs = tuple(reversed(last_axes + [(0, 0)] * (input.dim() - len(last_axes))))
    attrs: dict[str, Attr] = {"padding": pairs, "mode": mode}
    return Conversion((input,), attrs | ({"value": float(value or 0)} if mode == "constant" else {}))


def _constant_pad(input: Tensor, pad: Sequence[int], value: Number = 0) -> Conversion:
    """Padding as ATen orders its arguments."""
    return _pad(input, pad, "constant", value)


CONVERTERS: dict[str, Converter[Conversion]] = {
    **{f"conv{n}d": _conv for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _conv_transpose for n in (1, 2, 3)},
    "convolution": _convolution,
    **{f"max_pool{n}d": _max_pool(n) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _avg_pool(n) for n in (1, 2, 3)},
    **{f"lp_pool{n}d": _lp_pool(n) for n in (1, 2, 3)},
    "F.unfold": _unfold_or_fold("unfold"),
    "im2col": _unfold_or_fold("unfold"),
    "F.fold": _unfold_or_fold("fold"),
    "col2im": _unfold_or_fold("fold"),
    "linear": _weight_and_bias,
    "bilinear": _bilinear,
    "prelu": _weight_and_bias,
    "F.batch_norm": _running_norm,
    "batch_norm": _weight_and_bias,
    "F.instance_norm": _running_norm,
    "instance_norm": _weight_and_bias,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "native_group_norm": _native_group_norm,
    "F.embedding": _embedding,
    "embedding": _embedding_of_aten,
    "embedding_bag": _embedding_of_aten,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh"), _recurrent),
    "rnn_relu": _with_relu(_recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell"), _recurrent_cell),
    "rnn_relu_cell": _with_relu(_recurrent_cell),
    "interpolate": _interpolate,
    "upsample": _interpolate,
    **{
        f"upsample_{mode}{window}": _upsample(mode)
        for mode in ("nearest", "linear", "bilinear", "bicubic", "trilinear")
        for window in ("", "1d", "2d", "3d")
    },
    **{f"upsample_nearest_exact{n}d": _upsample("nearest-exact") for n in (1, 2, 3)},
    "pad": _pad,
    "constant_pad_nd": _constant_pad,
}
