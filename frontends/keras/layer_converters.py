"""Converters of Keras layers with weights of their own: convolutions, dense layers, norms, and the activations that come
with them.

A converter takes the walk, the layer and the values it is called on, and returns the value of its result.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, prod
from typing import Any

from cgir import Param
from frontends.common.einsum import einsum, parse_equation, tape_ops
from frontends.common.tape import Size, Value

from .importer import UnfollowedError, Walk

Pairs = tuple[tuple[int, int], ...]

# functions of keras.activations that are one operator without settings
PLAIN = {
    "relu": "ReLU", "relu6": "ReLU6", "sigmoid": "Sigmoid", "tanh": "Tanh", "silu": "SiLU", "softplus": "Softplus", "softsign": "Softsign", "selu": "SELU",
    "exponential": "Exp", "hard_sigmoid": "HardSigmoid", "hard_silu": "HardSwish", "mish": "Mish", "log_sigmoid": "LogSigmoid", "hard_tanh": "HardTanh",
    "tanh_shrink": "TanhShrink",
}  # fmt: skip


def activated(walk: Walk, function: Any, value: Value) -> Value:
    """The activation of a layer: one of Keras's functions, a layer, or any function of Keras operations."""
    name = getattr(function, "__name__", "")
    if function is None or name == "linear":
        return value
    if hasattr(function, "compute_output_spec"):
        result: Value = walk.call(function, value)
        return result
    if name in PLAIN and function.__module__.startswith("keras."):
        return walk.same(PLAIN[name], name, value)
    try:
        entered: Value = walk.enter(function, value)
    except UnfollowedError:
        if not function.__module__.startswith("keras."):
            raise
        return walk.same("Opaque", f"keras.{name}", value)
    return entered


def activation(walk: Walk, layer: Any, value: Value) -> Value:
    """`Activation("gelu")`."""
    return activated(walk, layer.activation, value)


# --- windows


def windows(size: Size, kernel: Size, stride: Size, dilation: Size, padding: str) -> Pairs:
    """Padding of every spatial axis as TensorFlow computes it: "same" puts the odd element behind, "causal" everything
    in front.
    """
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "causal":
        return tuple((r - 1, 0) for r in reach)
    total = [max((ceil(n / s) - 1) * s + r - n, 0) for n, s, r in zip(size, stride, reach, strict=True)]
    return tuple((t // 2, t - t // 2) for t in total)


def is_last(layer: Any) -> bool:
    """Whether the layer has its channels on the last axis."""
    return bool(layer.data_format == "channels_last")


def spatial(size: Size, last: bool) -> Size:
    """The window axes of an image or a sequence."""
    return size[1:-1] if last else size[2:]


def _weights(walk: Walk, kernel: Any, shape: Size, bias: Any) -> tuple[Param, ...]:
    return (walk.param(kernel, shape), *((walk.param(bias),) if bias is not None else ()))


def _conv_attrs(layer: Any, size: Size, groups: int) -> dict[str, Any]:
    kernel, stride, dilation = tuple(layer.kernel_size), tuple(layer.strides), tuple(layer.dilation_rate)
    padding = windows(spatial(size, is_last(layer)), kernel, stride, dilation, layer.padding)
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def conv(walk: Walk, layer: Any, value: Value) -> Value:
    """Convolutions of any rank; Keras keeps their kernels as (*kernel, in, out)."""
    kernel = layer._kernel
    weights = _weights(walk, kernel, (kernel.shape[-1], kernel.shape[-2], *kernel.shape[:-2]), layer.bias)
    attrs = _conv_attrs(layer, value.size, layer.groups)
    out = walk.apply(
        "Conv",
        layer.name,
        [value],
        tuple(layer.compute_output_shape(value.size)),
        params=weights,
        attrs=attrs,
        channels_last=is_last(layer),
    )
    return activated(walk, layer.activation, out)


def depthwise(walk: Walk, layer: Any, value: Value) -> Value:
    """One group per channel; the kernel is (*kernel, in, multiplier)."""
    *kernel, channels, multiplier = layer.kernel.shape
    weights = _weights(walk, layer.kernel, (channels * multiplier, 1, *kernel), layer.bias)
    attrs = _conv_attrs(layer, value.size, channels)
    out = walk.apply(
        "Conv",
        layer.name,
        [value],
        tuple(layer.compute_output_shape(value.size)),
        params=weights,
        attrs=attrs,
        channels_last=is_last(layer),
    )
    return activated(walk, layer.activation, out)


def separable(walk: Walk, layer: Any, value: Value) -> Value:
    """A depthwise and a pointwise convolution."""
    *kernel, channels, multiplier = layer.depthwise_kernel.shape
    size, ones = tuple(layer.compute_output_shape(value.size)), (1,) * len(kernel)
    middle = (*size[:-1], channels * multiplier) if is_last(layer) else (size[0], channels * multiplier, *size[2:])
    weights = _weights(walk, layer.depthwise_kernel, (channels * multiplier, 1, *kernel), None)
    attrs = _conv_attrs(layer, value.size, channels)
    out = walk.apply(
        "Conv", f"{layer.name}.depthwise", [value], middle, params=weights, attrs=attrs, channels_last=is_last(layer)
    )
    weights = _weights(walk, layer.pointwise_kernel, (layer.filters, channels * multiplier, *ones), layer.bias)
    attrs = {"kernel": ones, "stride": ones, "padding": ((0, 0),) * len(ones), "dilation": ones, "groups": 1}
    out = walk.apply(
        "Conv", f"{layer.name}.pointwise", [out], size, params=weights, attrs=attrs, channels_last=is_last(layer)
    )
    return activated(walk, layer.activation, out)


def conv_transpose(walk: Walk, layer: Any, value: Value) -> Value:
    """The gradient of a convolution: what that one pads is cropped, what its windows do not reach is `output_padding`."""
    *kernel, outer, inner = layer.kernel.shape
    size = tuple(layer.compute_output_shape(value.size))
    attrs = _conv_attrs(layer, size, 1)
    before, after = spatial(value.size, is_last(layer)), spatial(size, is_last(layer))
    reached = [
        (n - 1) * s - sum(pair) + d * (k - 1) + 1
        for n, s, pair, d, k in zip(
            before, attrs["stride"], attrs["padding"], attrs["dilation"], attrs["kernel"], strict=True
        )
    ]
    attrs["output_padding"] = tuple(n - r for n, r in zip(after, reached, strict=True))
    weights = _weights(walk, layer.kernel, (inner, outer, *kernel), layer.bias)
    out = walk.apply(
        "ConvTranspose", layer.name, [value], size, params=weights, attrs=attrs, channels_last=is_last(layer)
    )
    return activated(walk, layer.activation, out)


# --- dense layers and tables


def linear(walk: Walk, name: str, value: Value, kernel: Any, bias: Any, outer: int, transposed: bool = False) -> Value:
    """A linear layer over the last axis, whatever the rank that Keras gives its kernel; `transposed` kernels are (out,
    in) already.
    """
    inner = value.size[-1]
    weights = _weights(walk, kernel, (outer, inner), None) + ((walk.param(bias, (outer,)),) if bias is not None else ())
    assert transposed or prod(kernel.shape) == inner * outer
    return walk.apply("Linear", name, [value], (*value.size[:-1], outer), params=weights)


def dense(walk: Walk, layer: Any, value: Value) -> Value:
    """`Dense`, over the last axis."""
    return activated(walk, layer.activation, linear(walk, layer.name, value, layer._kernel, layer.bias, layer.units))


def einsum_dense(walk: Walk, layer: Any, value: Value) -> Value:
    """`EinsumDense`: a linear layer where the equation contracts the last axes with the kernel's first, else products
    as `einsum` has them.
    """
    kernel = layer._kernel
    (left, right), result = parse_equation(layer.equation, [len(value.size), len(kernel.shape)])
    inner = "".join(c for c in left if c in right)
    new = right[len(inner) :]
    if left.endswith(inner) and right == inner + new and result == left[: len(left) - len(inner)] + new:
        free = value.size[: len(left) - len(inner)]
        flat = walk.reshape(value, (*free, prod(value.size[len(free) :])))
        shape = kernel.shape[len(inner) :]
        own = layer.bias is None or tuple(layer.bias.shape) == tuple(shape)
        out = walk.reshape(
            linear(walk, layer.name, flat, kernel, layer.bias if own else None, prod(shape)), (*free, *shape)
        )
    else:
        own = False
        out = einsum(tape_ops(walk.tape), layer.equation, value, walk.value(kernel))
    if layer.bias is not None and not own:
        out = walk.apply("Add", "bias", [out, walk.value(layer.bias)], out.size)
    return activated(walk, layer.activation, out)


def embedding(walk: Walk, layer: Any, value: Value) -> Value:
    """A table of vectors."""
    return walk.apply(
        "Embedding",
        layer.name,
        [value],
        (*value.size, layer.output_dim),
        "float32",
        params=(walk.param(layer._embeddings),),
    )


def reversible_embedding(walk: Walk, layer: Any, value: Value, reverse: bool = False) -> Value:
    """A table of vectors, or the product with all of them."""
    if not reverse:
        return embedding(walk, layer, value)
    table = layer._embeddings if layer.tie_weights else layer.reverse_embeddings
    out = linear(walk, layer.name, value, table, None, layer.input_dim)
    if layer.logit_soft_cap is not None:
        out = walk.same("Mul", "scale", out, attrs={"scalar": 1 / layer.logit_soft_cap})
        out = walk.same("Mul", "scale", walk.same("Tanh", "tanh", out), attrs={"scalar": float(layer.logit_soft_cap)})
    return out


# --- norms


def _affine(walk: Walk, *weights: Any) -> tuple[Param, ...]:
    return tuple(walk.param(weight) for weight in weights if weight is not None)


def _on_axis(walk: Walk, value: Value, axis: int, make: Callable[[Value, bool], Value]) -> Value:
    """A norm whose channels are on any axis: the second and the last are as they are, others are brought to the end and
    back.
    """
    rank = len(value.size)
    if axis % rank in (1, rank - 1):
        return make(value, axis % rank == rank - 1)
    order = [*(a for a in range(rank) if a != axis), axis]
    return walk.transpose(make(walk.transpose(value, order), True), [order.index(a) for a in range(rank)])


def batch_norm(walk: Walk, layer: Any, value: Value) -> Value:
    """Batch normalisation; the moving statistics are no part of the architecture."""
    weights = _affine(walk, layer.gamma, layer.beta)
    return _on_axis(
        walk,
        value,
        layer.axis,
        lambda value, last: walk.same("BatchNorm", layer.name, value, params=weights, channels_last=last),
    )


def group_norm(walk: Walk, layer: Any, value: Value) -> Value:
    """Group normalisation; Keras has resolved `groups=-1` to one per channel."""
    weights, attrs = _affine(walk, layer.gamma, layer.beta), {"groups": layer.groups}
    return _on_axis(
        walk,
        value,
        layer.axis,
        lambda value, last: walk.same("GroupNorm", layer.name, value, params=weights, attrs=attrs, channels_last=last),
    )


def layer_norm(walk: Walk, layer: Any, value: Value) -> Value:
    """Layer normalisation over any axes, which are brought to the end where they are not there."""
    rms = type(layer).__name__ == "RMSNormalization"
    weights = _affine(walk, layer.scale) if rms else _affine(walk, layer.gamma, layer.beta)
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    return normalised(walk, "RMSNorm" if rms or layer.rms_scaling else "LayerNorm", layer.name, value, axes, weights)


def normalised(walk: Walk, op: str, name: str, value: Value, axes: Any, weights: tuple[Param, ...]) -> Value:
    """A norm over the given axes of one example."""
    rank = len(value.size)
    axes = sorted(axis % rank for axis in axes)
    order = [axis for axis in range(rank) if axis not in axes] + axes
    out = walk.same(op, name, walk.transpose(value, order), params=weights, attrs={"dims": len(axes)})
    return walk.transpose(out, [order.index(axis) for axis in range(rank)])


def unit_norm(walk: Walk, layer: Any, value: Value) -> Value:
    """Division by the L2 norm."""
    return walk.same("L2Norm", layer.name, value)


def wrapped(walk: Walk, layer: Any, value: Value) -> Value:
    """Wrappers that change nothing at inference."""
    result: Value = walk.call(layer.layer, value)
    return result


# --- activations with settings


def relu(walk: Walk, layer: Any, value: Value) -> Value:
    """ReLU with its slope, its maximum and its threshold, as Keras computes them."""
    slope, top, threshold = float(layer.negative_slope or 0), layer.max_value, float(layer.threshold or 0)
    if slope and top is None and not threshold:
        return walk.same("LeakyReLU", layer.name, value, attrs={"slope": slope})
    if slope or (threshold and top is not None):
        result: Value = walk.opaque(layer, value)[0]
        return result
    if threshold:
        return walk.same("Threshold", layer.name, value)
    if top == 6:
        return walk.same("ReLU6", layer.name, value)
    out = walk.same("ReLU", layer.name, value)
    return out if top is None else walk.same("Clip", f"{layer.name}.clip", out, attrs={"min": 0.0, "max": float(top)})


def leaky_relu(walk: Walk, layer: Any, value: Value) -> Value:
    """Leaky ReLU."""
    return walk.same("LeakyReLU", layer.name, value, attrs={"slope": float(layer.negative_slope)})


def with_alpha(op: str) -> Callable[..., Value]:
    """ELU and CELU."""
    return lambda walk, layer, value: walk.same(op, layer.name, value, attrs={"alpha": float(layer.alpha)})


def prelu(walk: Walk, layer: Any, value: Value) -> Value:
    """PReLU; a slope per channel is a vector."""
    shape = tuple(layer.alpha.shape)
    per_channel = prod(shape) == max(shape)
    weight = walk.param(layer.alpha, (max(shape),) if per_channel else shape)
    order = {"channels_last": shape[-1] == max(shape)} if per_channel and len(shape) > 1 else {}
    return walk.same("PReLU", layer.name, value, params=(weight,), **order)


def softmax(walk: Walk, layer: Any, value: Value, *_: Any) -> Value:
    """Softmax over one axis, or over several flattened into one."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    return walk.same("Softmax", layer.name, value, attrs={"size": prod(value.size[axis] for axis in axes)})


LAYER_CONVERTERS: dict[str, Callable[..., Any]] = {
    "BaseConv": conv, "BaseDepthwiseConv": depthwise, "BaseSeparableConv": separable, "BaseConvTranspose": conv_transpose,
    "Dense": dense, "EinsumDense": einsum_dense, "Embedding": embedding, "ReversibleEmbedding": reversible_embedding,
    "BatchNormalization": batch_norm, "GroupNormalization": group_norm, "LayerNormalization": layer_norm, "RMSNormalization": layer_norm,
    "UnitNormalization": unit_norm, "SpectralNormalization": wrapped,
    "Activation": activation, "ReLU": relu, "LeakyReLU": leaky_relu, "ELU": with_alpha("ELU"), "PReLU": prelu, "Softmax": softmax,
}  # fmt: skip
