"""Converters of Keras operations (`keras.ops`), the nodes between layers. A converter takes the walk, the operation and the
arguments of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Unpack

import keras
from keras import Variable, tree

from cgir.graph import Attr
from cgir.ops import KERAS_NAMES
from frontends.common import einsum as sums
from frontends.common.tape import CallFields, Value

from .importer import UnfollowedError, Walk
from .layer_converters import normalised, windows
from .movement_converters import MOVES
from .weightless_layer_converters import pooled

ARITHMETIC = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Maximum", "Minimum", "Compare")


def default(walk: Walk, operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Any operation: its tensors are operands, a number next to one is the attribute `scalar`, unknown names are
    opaque.
    """
    op = KERAS_NAMES.get(type(operation).__name__)
    if op is None:
        return walk.opaque(operation, *args, **kwargs)
    leaves = tree.flatten((args, kwargs))
    operands = [
        walk.value(leaf) for leaf in leaves if isinstance(leaf, Value | Variable) or getattr(leaf, "shape", ()) != ()
    ]
    numbers = [
        leaf
        for leaf in leaves
        if isinstance(leaf, int | float)
        or (hasattr(leaf, "shape") and leaf.shape == () and not isinstance(leaf, Value))
    ]
    attrs: dict[str, Attr] = {}
    if op in ARITHMETIC and len(operands) == 1 and len(numbers) == 1:
        op, attrs = _scalar(op, float(numbers[0]), reverse=leaves[0] is numbers[0])
    return results(walk, op, operation, operands, walk.specs(operation, *args, **kwargs), attrs=attrs)


def results(
    walk: Walk, op: str, operation: Any, operands: Sequence[Value], specs: Sequence[Any], **fields: Unpack[CallFields]
) -> Any:
    """A node with the results that Keras announces; one of them alone is no list."""
    values = walk.several(
        op, operation.name, operands, [tuple(spec.shape) for spec in specs], [spec.dtype for spec in specs], **fields
    )
    return values[0] if len(values) == 1 else values


def _scalar(op: str, number: float, reverse: bool) -> tuple[str, dict[str, Attr]]:
    """The one form of arithmetic with a number: x - c is Add, x / c is Mul, a number in front is `reverse`."""
    if op == "Sub" and not reverse:
        op, number = "Add", -number
    elif op == "Div" and not reverse and number:
        op, number = "Mul", 1 / number
    attrs: dict[str, Attr] = {"scalar": number}
    return op, attrs | ({"reverse": True} if reverse and op in ("Sub", "Div", "Pow", "Mod", "FloorDiv") else {})


def square(walk: Walk, operation: Any, value: Value) -> Value:
    """x ** 2."""
    return walk.same("Pow", operation.name, value, attrs={"scalar": 2.0})


def plain(op: str, **names: str) -> Callable[..., Value]:
    """Functions of one tensor with settings: attribute of the node -> attribute of the operation."""

    def convert(walk: Walk, operation: Any, value: Value) -> Value:
        attrs = {key: float(getattr(operation, name)) for key, name in names.items()}
        return walk.same(op, operation.name, value, attrs=attrs)

    return convert


def gelu(walk: Walk, operation: Any, value: Value) -> Value:
    """GELU, exact or with tanh."""
    return walk.same("GELU", operation.name, value, attrs={"tanh": True} if operation.approximate else {})


def along(op: str) -> Callable[..., Value]:
    """Softmax and its like, over one axis or several."""

    def convert(walk: Walk, operation: Any, value: Value) -> Value:
        axis = operation.axis
        extent = prod(
            value.size[a]
            for a in (axis if isinstance(axis, Sequence) else range(len(value.size)) if axis is None else [axis])
        )
        spec = walk.specs(operation, value)[0]
        return walk.apply(op, operation.name, [value], tuple(spec.shape), attrs={"size": extent})

    return convert


def clip(walk: Walk, operation: Any, value: Value) -> Value:
    """Both bounds."""
    bounds = operation.x_min, operation.x_max
    if not all(isinstance(bound, int | float) for bound in bounds):
        operands = [value, *(walk.value(bound) for bound in bounds)]
        return walk.apply("Clip", operation.name, operands, value.size)
    if bounds == (0, 6):
        return walk.same("ReLU6", operation.name, value)
    return walk.same("Clip", operation.name, value, attrs={"min": float(bounds[0]), "max": float(bounds[1])})


def reduction(walk: Walk, operation: Any, value: Any, **_: Any) -> Any:
    """Sums, means and extremes over some or all axes."""
    value = walk.value(value)
    axis, rank = operation.axis, len(value.size)
    dims = (
        tuple(range(rank))
        if axis is None
        else tuple(a % rank for a in (axis if isinstance(axis, Sequence) else [axis]))
    )
    return results(
        walk,
        KERAS_NAMES[type(operation).__name__],
        operation,
        [value],
        walk.specs(operation, value),
        attrs={"dims": len(dims)},
        reduced_axes=dims,
    )


# --- products


def matmul(walk: Walk, operation: Any, a: Any, b: Any) -> Value:
    """Matrix products of any ranks."""
    a, b = walk.value(a), walk.value(b)
    return sums.emit_matmul(walk.tape, operation.name, a, b, tuple(walk.specs(operation, a, b)[0].shape))


def einsum(walk: Walk, operation: Any, *operands: Any, **_: Any) -> Any:
    """An einsum as the products that it is; one that takes a diagonal stays whole."""
    values = [walk.value(operand) for operand in operands]
    try:
        sums.parse_equation(operation.subscripts, [len(value.size) for value in values])
    except ValueError:
        return walk.opaque(operation, *values)
    return sums.einsum(sums.tape_ops(walk.tape), operation.subscripts, *values)


def tensordot(walk: Walk, operation: Any, a: Any, b: Any) -> Value:
    """A product over the last axes of one and the first of the other, or over given axes."""
    a, b = walk.value(a), walk.value(b)
    axes = (
        operation.axes
        if not isinstance(operation.axes, int)
        else (range(len(a.size) - operation.axes, len(a.size)), range(operation.axes))
    )
    first, second = (
        [axis % len(value.size) for axis in (own if isinstance(own, Sequence) else [own])]
        for value, own in zip((a, b), axes, strict=True)
    )
    return _contracted(walk, a, b, first, second)


def _contracted(walk: Walk, a: Value, b: Value, first: Sequence[int], second: Sequence[int]) -> Value:
    """The product summed over the given axes of either operand."""
    letters = [chr(97 + i) for i in range(len(a.size) + len(b.size))]
    left, right = letters[: len(a.size)], letters[len(a.size) :]
    for one, other in zip(first, second, strict=True):
        right[other] = left[one]
    free = [c for c in left if c not in right] + [c for c in right if c not in left]
    return sums.einsum(sums.tape_ops(walk.tape), f"{''.join(left)},{''.join(right)}->{''.join(free)}", a, b)


def dot(walk: Walk, operation: Any, a: Any, b: Any) -> Any:
    """NumPy's `dot` and `inner`: the last axis of one with the last but one, or the last, of the other."""
    a, b = walk.value(a), walk.value(b)
    if not a.size or not b.size:
        return walk.apply("Mul", operation.name, [a, b], a.size or b.size)
    other = len(b.size) - 2 if type(operation).__name__ == "Dot" and len(b.size) > 1 else len(b.size) - 1
    return _contracted(walk, a, b, [len(a.size) - 1], [other])


def outer(walk: Walk, operation: Any, a: Any, b: Any) -> Value:
    """Every product of two elements."""
    a, b = walk.value(a), walk.value(b)
    return walk.apply("MatMul", operation.name, [a, b], tuple(walk.specs(operation, a, b)[0].shape), attrs={"inner": 1})


def attention(
    walk: Walk,
    operation: Any,
    query: Value,
    key: Value,
    value: Value,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
) -> Value:
    """Scaled dot-product attention of (batch, positions, heads, width)."""
    heads = query.size[2]
    parts = []
    for part in (query, key, value):
        if part.size[2] != heads:
            part = walk.apply(
                "Expand", "repeat", [part], (*part.size[:2], heads, part.size[3]), axis_map={0: 0, 1: 1, 3: 3}
            )
        parts.append(walk.transpose(part, (0, 2, 1, 3)))
    masks = [walk.value(item) for item in (bias, mask) if item is not None]
    size = (*parts[0].size[:-1], parts[2].size[-1])
    out = walk.apply("Attention", operation.name, [*parts, *masks], size, attrs={"causal": bool(operation.is_causal)})
    return walk.transpose(out, (0, 2, 1, 3))


# --- layers as functions


def conv(walk: Walk, operation: Any, value: Value, kernel: Any) -> Any:
    """A convolution with a weight of a custom layer; kernels that are computed are not followed."""
    last = (operation.data_format or keras.config.image_data_format()) == "channels_last"
    rank = len(value.size) - 2
    if not isinstance(kernel, Variable):
        return walk.opaque(operation, value, kernel)
    depthwise = type(operation).__name__ == "DepthwiseConv"
    *window, inner, outer = kernel.shape
    channels = value.size[-1 if last else 1]
    shape = (inner * outer, 1, *window) if depthwise else (outer, inner, *window)
    stride, dilation = (
        tuple(n) if isinstance(n, Sequence) else (n,) * rank for n in (operation.strides, operation.dilation_rate)
    )
    padding = windows(value.size[1:-1] if last else value.size[2:], tuple(window), stride, dilation, operation.padding)
    attrs = {
        "kernel": tuple(window),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": channels if depthwise else channels // inner,
    }
    size = tuple(walk.specs(operation, value, kernel)[0].shape)
    return walk.apply(
        "Conv", operation.name, [value], size, params=(walk.param(kernel, shape),), attrs=attrs, channels_last=last
    )


def pool(walk: Walk, operation: Any, value: Value) -> Value:
    """Pooling as a function."""
    last = (operation.data_format or keras.config.image_data_format()) == "channels_last"
    return pooled(
        walk,
        operation,
        value,
        type(operation).__name__ == "MaxPool",
        operation.pool_size,
        operation.strides,
        operation.padding,
        last,
    )


def adaptive(op: str) -> Callable[..., Value]:
    """Pooling to a given size as a function."""

    def convert(walk: Walk, operation: Any, value: Value) -> Value:
        last = (operation.data_format or keras.config.image_data_format()) == "channels_last"
        return walk.apply(op, operation.name, [value], tuple(walk.specs(operation, value)[0].shape), channels_last=last)

    return convert


def batch_norm(
    walk: Walk, operation: Any, value: Value, mean: Any, variance: Any, offset: Any = None, scale: Any = None
) -> Any:
    """Batch normalisation as a function; statistics that are computed make it opaque."""
    if any(isinstance(item, Value) for item in (mean, variance, offset, scale)):
        return walk.opaque(operation, value, mean, variance, offset=offset, scale=scale)
    weights = tuple(walk.param(weight) for weight in (scale, offset) if isinstance(weight, Variable))
    return walk.same(
        "BatchNorm",
        operation.name,
        value,
        params=weights,
        channels_last=operation.axis % len(value.size) == len(value.size) - 1,
    )


def norm(op: str) -> Callable[..., Value]:
    """LayerNorm and RMSNorm as functions."""

    def convert(walk: Walk, operation: Any, value: Value, *weights: Any, **named: Any) -> Value:
        own = [weight for weight in (*weights, *named.values()) if isinstance(weight, Variable)]
        axes = operation.axis if isinstance(operation.axis, Sequence) else [operation.axis]
        return normalised(walk, op, operation.name, value, axes, tuple(walk.param(weight) for weight in own))

    return convert


def relu(walk: Walk, operation: Any, value: Value) -> Any:
    """The operation behind `keras.activations.relu`, which has the settings of the layer."""
    return walk.layers["ReLU"](walk, operation, value)


def control(walk: Walk, operation: Any, *_: Any, **__: Any) -> Any:
    """Branches and loops, whose bodies are Python functions that Keras has not recorded."""
    raise UnfollowedError(
        f"{walk.where()}: keras.ops {type(operation).__name__} is control flow, which only the TensorFlow frontend follows"
    )


_REDUCTIONS = "Mean Nanmean Sum Nansum Prod Max Amax Nanmax Min Amin Nanmin Argmax Argmin Var Std Logsumexp Any All CountNonzero Norm"
_CONTROL = "Cond Switch WhileLoop ForiLoop Scan AssociativeScan Map VectorizedMap"
OP_CONVERTERS: dict[str, Callable[..., Any]] = {
    **MOVES, "Operation": default, "Square": square, "Gelu": gelu, "ReLU": relu, "Clip": clip,
    "LeakyRelu": plain("LeakyReLU", slope="negative_slope"), "Elu": plain("ELU", alpha="alpha"), "Celu": plain("CELU", alpha="alpha"),
    "Softmax": along("Softmax"), "LogSoftmax": along("LogSoftmax"), "Glu": along("GLU"), **dict.fromkeys(_REDUCTIONS.split(), reduction),
    "Matmul": matmul, "Einsum": einsum, "Tensordot": tensordot, "Dot": dot, "Inner": dot, "Outer": outer, "DotProductAttention": attention,
    "Conv": conv, "DepthwiseConv": conv, "MaxPool": pool, "AveragePool": pool,
    "AdaptiveMaxPool": adaptive("AdaptiveMaxPool"), "AdaptiveAveragePool": adaptive("AdaptiveAvgPool"),
    "BatchNorm": batch_norm, "LayerNorm": norm("LayerNorm"), "RMSNorm": norm("RMSNorm"), **dict.fromkeys(_CONTROL.split(), control),
}  # fmt: skip
