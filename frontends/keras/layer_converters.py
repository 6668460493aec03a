"""Converters of Keras layers with weights: convolutions, dense layers, norms, and their activations.

A converter takes the importer, the layer and the values it is called on, and returns the value of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any, TypeAlias

import keras

from cgir import Param
from cgir.graph import Attr
from frontends.common.einsum import einsum, parse_equation, tape_ops
from frontends.common.tape import Size, Value

from .graph_walk import KerasConverter, KerasImporter, UnfollowedError

Pairs: TypeAlias = tuple[tuple[int, int], ...]

# functions of keras.activations that are one operator without settings
UNARY_ACTIVATIONS = {
    "relu": "ReLU", "relu6": "ReLU6", "sigmoid": "Sigmoid", "tanh": "Tanh", "silu": "SiLU", "softplus": "Softplus",
    "softsign": "Softsign", "selu": "SELU",
    "exponential": "Exp", "hard_sigmoid": "HardSigmoid", "hard_silu": "HardSwish", "mish": "Mish",
    "log_sigmoid": "LogSigmoid", "hard_tanh": "HardTanh",
    "tanh_shrink": "TanhShrink",
}  # fmt: skip


def apply_activation(
    importer: KerasImporter, function: Callable[..., object] | keras.Layer | None, value: Value
) -> Value:
    """The activation of a layer: one of Keras's functions, a layer, or any function of Keras operations.

    Args:
        importer: of the model.
        function: the activation, None for none.
        value: that it is applied to.
    """
    name = getattr(function, "__name__", "")
    if function is None or name == "linear":
        return value
    if hasattr(function, "compute_output_spec"):
        result: Value = importer.import_call(function, value)
        return result
    if name in UNARY_ACTIVATIONS and function.__module__.startswith("keras."):
        return importer.emit_unary(UNARY_ACTIVATIONS[name], name, value)
    try:
        activated: Value = importer.trace_code(function, value)
    except UnfollowedError:
        if not function.__module__.startswith("keras."):
            raise
        return importer.emit_unary("Opaque", f"keras.{name}", value, attrs={"flops": 0})
    return activated


def _activation(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """`Activation("gelu")`."""
    return apply_activation(importer, layer.activation, value)


# --- windows


def window_padding(size: Size, kernel: Size, stride: Size, dilation: Size, padding: str) -> Pairs:
    """Padding of every window axis as TensorFlow computes it.

    Args:
        size: of the window axes of the image.
        kernel: of the window.
        stride: of the window.
        dilation: of the window.
        padding: "valid", "same" (the odd element behind), or "causal" (all of it in front).
    """
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "causal":
        return tuple((r - 1, 0) for r in reach)
    total = [max((ceil(n / s) - 1) * s + r - n, 0) for n, s, r in zip(size, stride, reach, strict=True)]
    return tuple((t // 2, t - t // 2) for t in total)


def channels_last(layer: keras.Layer) -> bool:
    """Whether the layer has its channels on the last axis."""
    return bool(layer.data_format == "channels_last")


def spatial_part(size: Size, last: bool) -> Size:
    """The window axes of an image or a sequence."""
    return size[1:-1] if last else size[2:]


def _params(
    importer: KerasImporter, kernel: keras.Variable, shape: Size, bias: keras.Variable | None
) -> tuple[Param, ...]:
    """A kernel of this shape, and the bias unless it is None."""
    return (importer.param(kernel, shape), *((importer.param(bias),) if bias is not None else ()))


def _conv_attrs(layer: keras.Layer, size: Size, groups: int) -> dict[str, Attr]:
    """Attributes of a convolution of an image of this size."""
    kernel, stride, dilation = tuple(layer.kernel_size), tuple(layer.strides), tuple(layer.dilation_rate)
    padding = window_padding(spatial_part(size, channels_last(layer)), kernel, stride, dilation, layer.padding)
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _conv(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Convolutions of any rank; Keras keeps their kernels as (*kernel, in, out)."""
    kernel = layer._kernel
    weights = _params(importer, kernel, (kernel.shape[-1], kernel.shape[-2], *kernel.shape[:-2]), layer.bias)
    attrs = _conv_attrs(layer, value.size, layer.groups)
    out = importer.emit(
        "Conv",
        layer.name,
        [value],
        tuple(layer.compute_output_shape(value.size)),
        params=weights,
        attrs=attrs,
        channels_last=channels_last(layer),
    )
    return apply_activation(importer, layer.activation, out)


def _depthwise_conv(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """One group per channel; the kernel is (*kernel, in, multiplier)."""
    *kernel, channels, multiplier = layer.kernel.shape
    weights = _params(importer, layer.kernel, (channels * multiplier, 1, *kernel), layer.bias)
    attrs = _conv_attrs(layer, value.size, channels)
    out = importer.emit(
        "Conv",
        layer.name,
        [value],
        tuple(layer.compute_output_shape(value.size)),
        params=weights,
        attrs=attrs,
        channels_last=channels_last(layer),
    )
    return apply_activation(importer, layer.activation, out)


def _separable_conv(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """A depthwise and a pointwise convolution."""
    *kernel, channels, multiplier = layer.depthwise_kernel.shape
    size, ones = tuple(layer.compute_output_shape(value.size)), (1,) * len(kernel)
    middle = (
        (*size[:-1], channels * multiplier) if channels_last(layer) else (size[0], channels * multiplier, *size[2:])
    )
    weights = _params(importer, layer.depthwise_kernel, (channels * multiplier, 1, *kernel), None)
    attrs = _conv_attrs(layer, value.size, channels)
    out = importer.emit(
        "Conv",
        f"{layer.name}.depthwise",
        [value],
        middle,
        params=weights,
        attrs=attrs,
        channels_last=channels_last(layer),
    )
    weights = _params(importer, layer.pointwise_kernel, (layer.filters, channels * multiplier, *ones), layer.bias)
    attrs = {"kernel": ones, "stride": ones, "padding": ((0, 0),) * len(ones), "dilation": ones, "groups": 1}
    out = importer.emit(
        "Conv", f"{layer.name}.pointwise", [out], size, params=weights, attrs=attrs, channels_last=channels_last(layer)
    )
    return apply_activation(importer, layer.activation, out)


def with_output_padding(attrs: dict[str, Any], before: Size, after: Size) -> dict[str, Attr]:
    """Attributes of a transposed convolution, `output_padding` included.

    Args:
        attrs: of the convolution whose gradient it is.
        before: size of the window axes before it.
        after: the same after it.
    """
    reached = [
        (n - 1) * s - sum(pair) + d * (k - 1) + 1
        for n, s, pair, d, k in zip(
            before, attrs["stride"], attrs["padding"], attrs["dilation"], attrs["kernel"], strict=True
        )
    ]
    return {**attrs, "output_padding": tuple(n - r for n, r in zip(after, reached, strict=True))}


def _conv_transpose(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """The gradient of a convolution: its padding is cropped, what its windows do not reach is `output_padding`."""
    *kernel, out_channels, in_channels = layer.kernel.shape
    size = tuple(layer.compute_output_shape(value.size))
    before, after = spatial_part(value.size, channels_last(layer)), spatial_part(size, channels_last(layer))
    attrs = with_output_padding(_conv_attrs(layer, size, 1), before, after)
    weights = _params(importer, layer.kernel, (in_channels, out_channels, *kernel), layer.bias)
    out = importer.emit(
        "ConvTranspose", layer.name, [value], size, params=weights, attrs=attrs, channels_last=channels_last(layer)
    )
    return apply_activation(importer, layer.activation, out)


# --- dense layers and tables


def emit_linear(
    importer: KerasImporter,
    name: str,
    value: Value,
    kernel: keras.Variable,
    bias: keras.Variable | None,
    out_features: int,
) -> Value:
    """A linear layer over the last axis, for a kernel of any rank.

    Args:
        importer: of the model.
        name: of the node.
        value: its input.
        kernel: its weight, of in_features x out_features elements.
        bias: None if it has none.
        out_features: extent of the result's last axis.
    """
    in_features = value.size[-1]
    weights = _params(importer, kernel, (out_features, in_features), None) + (
        (importer.param(bias, (out_features,)),) if bias is not None else ()
    )
    assert prod(kernel.shape) == in_features * out_features
    return importer.emit("Linear", name, [value], (*value.size[:-1], out_features), params=weights)


def _dense(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """`Dense`, over the last axis."""
    return apply_activation(
        importer, layer.activation, emit_linear(importer, layer.name, value, layer._kernel, layer.bias, layer.units)
    )


def _einsum_dense(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """`EinsumDense`: a linear layer if the equation contracts the last axes with the kernel's first, else products."""
    kernel = layer._kernel
    (left, right), result = parse_equation(layer.equation, [len(value.size), len(kernel.shape)])
    contracted = "".join(c for c in left if c in right)
    lead_letters, new_letters = left[: len(left) - len(contracted)], right[len(contracted) :]
    if left == lead_letters + contracted and right == contracted + new_letters and result == lead_letters + new_letters:
        lead = value.size[: len(lead_letters)]
        flat = importer.reshape(value, (*lead, prod(value.size[len(lead_letters) :])))
        shape = kernel.shape[len(contracted) :]
        has_linear_bias = layer.bias is None or tuple(layer.bias.shape) == tuple(shape)
        out = importer.reshape(
            emit_linear(importer, layer.name, flat, kernel, layer.bias if has_linear_bias else None, prod(shape)),
            (*lead, *shape),
        )
    else:
        has_linear_bias = False
        out = einsum(tape_ops(importer.tape), layer.equation, value, importer.to_value(kernel))
    if layer.bias is not None and not has_linear_bias:
        out = importer.emit("Add", "bias", [out, importer.to_value(layer.bias)], out.size)
    return apply_activation(importer, layer.activation, out)


def _embedding(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """A table of vectors."""
    return importer.emit(
        "Embedding",
        layer.name,
        [value],
        (*value.size, layer.output_dim),
        "float32",
        params=(importer.param(layer._embeddings),),
    )


def _reversible_embedding(importer: KerasImporter, layer: keras.Layer, value: Value, reverse: bool = False) -> Value:
    """A table of vectors, or the product with all of them."""
    if not reverse:
        return _embedding(importer, layer, value)
    table = layer._embeddings if layer.tie_weights else layer.reverse_embeddings
    out = emit_linear(importer, layer.name, value, table, None, layer.input_dim)
    if layer.logit_soft_cap is not None:
        out = importer.emit_unary("Mul", "scale", out, attrs={"scalar": 1 / layer.logit_soft_cap})
        out = importer.emit_unary(
            "Mul", "scale", importer.emit_unary("Tanh", "tanh", out), attrs={"scalar": float(layer.logit_soft_cap)}
        )
    return out


# --- norms


def _affine(importer: KerasImporter, *weights: keras.Variable | None) -> tuple[Param, ...]:
    """The weights that are not None, as parameters."""
    return tuple(importer.param(weight) for weight in weights if weight is not None)


def _on_axis(importer: KerasImporter, value: Value, axis: int, emit: Callable[[Value, bool], Value]) -> Value:
    """A norm with its channels on any axis, which is brought to the end and back if it is neither second nor last."""
    rank = len(value.size)
    if axis % rank in (1, rank - 1):
        return emit(value, axis % rank == rank - 1)
    order = [*(a for a in range(rank) if a != axis), axis]
    return importer.transpose(emit(importer.transpose(value, order), True), [order.index(a) for a in range(rank)])


def _batch_norm(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Batch normalisation; the moving statistics are not part of the architecture."""
    weights = _affine(importer, layer.gamma, layer.beta)
    return _on_axis(
        importer,
        value,
        layer.axis,
        lambda value, last: importer.emit_unary("BatchNorm", layer.name, value, params=weights, channels_last=last),
    )


def _group_norm(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Group normalisation; Keras has resolved `groups=-1` to one per channel."""
    weights, attrs = _affine(importer, layer.gamma, layer.beta), {"groups": layer.groups}
    return _on_axis(
        importer,
        value,
        layer.axis,
        lambda value, last: importer.emit_unary(
            "GroupNorm", layer.name, value, params=weights, attrs=attrs, channels_last=last
        ),
    )


def _layer_norm(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Layer normalisation over any axes, which are brought to the end where they are not there."""
    rms = type(layer).__name__ == "RMSNormalization"
    weights = _affine(importer, layer.scale) if rms else _affine(importer, layer.gamma, layer.beta)
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    return emit_norm(importer, "RMSNorm" if rms or layer.rms_scaling else "LayerNorm", layer.name, value, axes, weights)


def emit_norm(
    importer: KerasImporter, op: str, name: str, value: Value, axes: Sequence[int], weights: tuple[Param, ...]
) -> Value:
    """A norm over some axes, which are brought to the end and back.

    Args:
        importer: of the model.
        op: name of the operator in `cgir.ops`.
        name: of the node.
        value: its input.
        axes: that are normalised over.
        weights: parameters of the node.
    """
    rank = len(value.size)
    axes = sorted(axis % rank for axis in axes)
    order = [axis for axis in range(rank) if axis not in axes] + axes
    out = importer.emit_unary(op, name, importer.transpose(value, order), params=weights, attrs={"dims": len(axes)})
    return importer.transpose(out, [order.index(axis) for axis in range(rank)])


def _unit_norm(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Division by the L2 norm."""
    return importer.emit_unary("L2Norm", layer.name, value)


def _inner_layer(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Wrappers that change nothing at inference."""
    result: Value = importer.import_call(layer.layer, value)
    return result


# --- activations with settings


def _relu(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """ReLU with its slope, its maximum and its threshold, as Keras computes them."""
    slope, max_value, threshold = float(layer.negative_slope or 0), layer.max_value, float(layer.threshold or 0)
    if slope and max_value is None and not threshold:
        return importer.emit_unary("LeakyReLU", layer.name, value, attrs={"slope": slope})
    if slope or (threshold and max_value is not None):
        result: Value = importer.emit_opaque(layer, value)[0]
        return result
    if threshold:
        return importer.emit_unary("Threshold", layer.name, value)
    if max_value == 6:
        return importer.emit_unary("ReLU6", layer.name, value)
    out = importer.emit_unary("ReLU", layer.name, value)
    if max_value is None:
        return out
    return importer.emit_unary("Clip", f"{layer.name}.clip", out, attrs={"min": 0.0, "max": float(max_value)})


def _leaky_relu(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Leaky ReLU."""
    return importer.emit_unary("LeakyReLU", layer.name, value, attrs={"slope": float(layer.negative_slope)})


def _with_alpha(op: str) -> KerasConverter:
    """ELU and CELU."""
    return lambda importer, layer, value: importer.emit_unary(
        op, layer.name, value, attrs={"alpha": float(layer.alpha)}
    )


def _prelu(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """PReLU; a slope per channel is a vector."""
    shape = tuple(layer.alpha.shape)
    per_channel = prod(shape) == max(shape)
    weight = importer.param(layer.alpha, (max(shape),) if per_channel else shape)
    order = {"channels_last": shape[-1] == max(shape)} if per_channel and len(shape) > 1 else {}
    return importer.emit_unary("PReLU", layer.name, value, params=(weight,), **order)


def _softmax(importer: KerasImporter, layer: keras.Layer, value: Value, *_: object) -> Value:
    """Softmax over one axis, or over several flattened into one."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    return importer.emit_unary("Softmax", layer.name, value, attrs={"size": prod(value.size[axis] for axis in axes)})


LAYER_CONVERTERS: dict[str, KerasConverter] = {
    "BaseConv": _conv,
    "BaseDepthwiseConv": _depthwise_conv,
    "BaseSeparableConv": _separable_conv,
    "BaseConvTranspose": _conv_transpose,
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    "Embedding": _embedding,
    "ReversibleEmbedding": _reversible_embedding,
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _layer_norm,
    "UnitNormalization": _unit_norm,
    "SpectralNormalization": _inner_layer,
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _with_alpha("ELU"),
    "PReLU": _prelu,
    "Softmax": _softmax,
}
