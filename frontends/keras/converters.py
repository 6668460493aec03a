"""Converters of Keras operations (`keras.ops`), the calls between layers.

A converter takes the importer, the operation and the arguments of the call, and returns the value of its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NoReturn, Unpack

import keras
from keras import Variable, tree

from cgir.graph import Attr
from cgir.ops import KERAS_NAMES
from frontends.common.einsum import einsum, emit_matmul, parse_equation, tape_ops
from frontends.common.kernel_shapes import permute_params
from frontends.common.tape import CallFields, OpCall, Operand, Size, Value

from .graph_walk import KerasConverter, KerasImporter, TensorLike, UnfollowedError, Values
from .layer_converters import emit_norm, spatial_part, window_padding, with_output_padding
from .movement_converters import MOVEMENT_CONVERTERS
from .weightless_layer_converters import emit_pool

ARITHMETIC = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Maximum", "Minimum", "Compare")


def _default(importer: KerasImporter, operation: keras.Operation, *args: object, **kwargs: Any) -> Values:
    """Any operation: tensors are operands, a number next to one is the attribute `scalar`; unknown ones are opaque."""
    op = KERAS_NAMES.get(type(operation).__name__)
    if op is None:
        return importer.emit_opaque(operation, *args, **kwargs)
    leaves = tree.flatten((args, kwargs))
    operands = [
        importer.to_value(leaf)
        for leaf in leaves
        if isinstance(leaf, Value | Variable) or getattr(leaf, "shape", ()) != ()
    ]
    numbers = [
        leaf
        for leaf in leaves
        if isinstance(leaf, int | float)
        or (hasattr(leaf, "shape") and leaf.shape == () and not isinstance(leaf, Value))
    ]
    attrs: dict[str, Attr] = {}
    if op in ARITHMETIC and len(operands) == 1 and len(numbers) == 1:
        op, attrs = _scalar_form(op, float(numbers[0]), reverse=leaves[0] is numbers[0])
    specs = importer.result_specs(operation, *args, **kwargs)
    return _emit_specs(importer, op, operation, operands, specs, attrs=attrs)


def _emit_specs(
    importer: KerasImporter,
    op: str,
    operation: keras.Operation,
    operands: Sequence[Value],
    specs: Sequence[keras.KerasTensor],
    **fields: Unpack[CallFields],
) -> Values:
    """A node with the results that `specs` describe: a value if there is one, else a list."""
    values = importer.emit_results(
        op, operation.name, operands, [tuple(spec.shape) for spec in specs], [spec.dtype for spec in specs], **fields
    )
    return values[0] if len(values) == 1 else values


def _scalar_form(op: str, number: float, reverse: bool) -> tuple[str, dict[str, Attr]]:
    """Canonical form of arithmetic with a number: x - c is Add, x / c is Mul, a number in front is `reverse`."""
    if op == "Sub" and not reverse:
        op, number = "Add", -number
    elif op == "Div" and not reverse and number:
        op, number = "Mul", 1 / number
    attrs: dict[str, Attr] = {"scalar": number}
    return op, attrs | ({"reverse": True} if reverse and op in ("Sub", "Div", "Pow", "Mod", "FloorDiv") else {})


def _square(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
    """x ** 2."""
    return importer.emit_unary("Pow", operation.name, value, attrs={"scalar": 2.0})


def _with_floats(op: str, **names: str) -> KerasConverter:
    """Functions of one tensor with settings: attribute of the node -> attribute of the operation."""

    def convert(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
        attrs = {key: float(getattr(operation, name)) for key, name in names.items()}
        return importer.emit_unary(op, operation.name, value, attrs=attrs)

    return convert


def _gelu(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
    """GELU, exact or with tanh."""
    return importer.emit_unary("GELU", operation.name, value, attrs={"tanh": True} if operation.approximate else {})


def _along_axes(op: str) -> KerasConverter:
    """Softmax and similar functions over one axis or several."""

    def convert(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
        axis = operation.axis
        extent = prod(
            value.size[a]
            for a in (axis if isinstance(axis, Sequence) else range(len(value.size)) if axis is None else [axis])
        )
        spec = importer.result_specs(operation, value)[0]
        return importer.emit(op, operation.name, [value], tuple(spec.shape), attrs={"size": extent})

    return convert


def _clip(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
    """Both bounds."""
    bounds = operation.x_min, operation.x_max
    if not all(isinstance(bound, int | float) for bound in bounds):
        operands = [value, *(importer.to_value(bound) for bound in bounds)]
        return importer.emit("Clip", operation.name, operands, value.size)
    if bounds == (0, 6):
        return importer.emit_unary("ReLU6", operation.name, value)
    return importer.emit_unary("Clip", operation.name, value, attrs={"min": float(bounds[0]), "max": float(bounds[1])})


def _reduce(importer: KerasImporter, operation: keras.Operation, value: TensorLike, **_: object) -> Values:
    """Sums, means and extremes over some or all axes."""
    value = importer.to_value(value)
    axis, rank = operation.axis, len(value.size)
    reduced = (
        tuple(range(rank))
        if axis is None
        else tuple(a % rank for a in (axis if isinstance(axis, Sequence) else [axis]))
    )
    return _emit_specs(
        importer,
        KERAS_NAMES[type(operation).__name__],
        operation,
        [value],
        importer.result_specs(operation, value),
        attrs={"dims": len(reduced)},
        reduced_axes=reduced,
    )


# --- products


def _matmul(importer: KerasImporter, operation: keras.Operation, a: TensorLike, b: TensorLike) -> Value:
    """Matrix products of any ranks."""
    a, b = importer.to_value(a), importer.to_value(b)
    return emit_matmul(importer.tape, operation.name, a, b, tuple(importer.result_specs(operation, a, b)[0].shape))


def _einsum(importer: KerasImporter, operation: keras.Operation, *operands: TensorLike, **_: object) -> Values:
    """An einsum as matrix products; one that takes a diagonal is opaque."""
    values = [importer.to_value(operand) for operand in operands]
    try:
        parse_equation(operation.subscripts, [len(value.size) for value in values])
    except ValueError:
        return importer.emit_opaque(operation, *values)
    return einsum(tape_ops(importer.tape), operation.subscripts, *values)


def _tensordot(importer: KerasImporter, operation: keras.Operation, a: TensorLike, b: TensorLike) -> Value:
    """A product over the last axes of one and the first of the other, or over given axes."""
    a, b = importer.to_value(a), importer.to_value(b)
    axes = (
        operation.axes
        if not isinstance(operation.axes, int)
        else (range(len(a.size) - operation.axes, len(a.size)), range(operation.axes))
    )
    first, second = (
        [axis % len(value.size) for axis in (spec if isinstance(spec, Sequence) else [spec])]
        for value, spec in zip((a, b), axes, strict=True)
    )
    return _contract(importer, a, b, first, second)


def _contract(importer: KerasImporter, a: Value, b: Value, first: Sequence[int], second: Sequence[int]) -> Value:
    """The product summed over the given axes of both operands."""
    letters = [chr(97 + i) for i in range(len(a.size) + len(b.size))]
    left, right = letters[: len(a.size)], letters[len(a.size) :]
    for axis_a, axis_b in zip(first, second, strict=True):
        right[axis_b] = left[axis_a]
    result = [c for c in left if c not in right] + [c for c in right if c not in left]
    product: Value = einsum(tape_ops(importer.tape), f"{''.join(left)},{''.join(right)}->{''.join(result)}", a, b)
    return product


def _dot(importer: KerasImporter, operation: keras.Operation, a: TensorLike, b: TensorLike) -> Value:
    """NumPy's `dot` and `inner`: the last axis of one with the last but one, or the last, of the other."""
    a, b = importer.to_value(a), importer.to_value(b)
    if not a.size or not b.size:
        return importer.emit("Mul", operation.name, [a, b], a.size or b.size)
    other = len(b.size) - 2 if type(operation).__name__ == "Dot" and len(b.size) > 1 else len(b.size) - 1
    return _contract(importer, a, b, [len(a.size) - 1], [other])


def _outer(importer: KerasImporter, operation: keras.Operation, a: TensorLike, b: TensorLike) -> Value:
    """Every product of two elements."""
    a, b = importer.to_value(a), importer.to_value(b)
    return importer.emit(
        "MatMul", operation.name, [a, b], tuple(importer.result_specs(operation, a, b)[0].shape), attrs={"inner": 1}
    )


def _attention(
    importer: KerasImporter,
    operation: keras.Operation,
    query: Value,
    key: Value,
    value: Value,
    bias: TensorLike | None = None,
    mask: TensorLike | None = None,
    scale: float | None = None,
) -> Value:
    """Scaled dot-product attention of (batch, positions, heads, width)."""
    heads = query.size[2]
    parts = []
    for part in (query, key, value):
        if part.size[2] != heads:
            part = importer.emit(
                "Expand", "repeat", [part], (*part.size[:2], heads, part.size[3]), axis_map={0: 0, 1: 1, 3: 3}
            )
        parts.append(importer.transpose(part, (0, 2, 1, 3)))
    masks = [importer.to_value(item) for item in (bias, mask) if item is not None]
    size = (*parts[0].size[:-1], parts[2].size[-1])
    out = importer.emit(
        "Attention", operation.name, [*parts, *masks], size, attrs={"causal": bool(operation.is_causal)}
    )
    return importer.transpose(out, (0, 2, 1, 3))


# --- layers as functions


def _channels_last(operation: keras.Operation) -> bool:
    """Whether an operation on images has its channels on the last axis."""
    return bool((operation.data_format or keras.config.image_data_format()) == "channels_last")


def _conv(importer: KerasImporter, operation: keras.Operation, value: Value, kernel: TensorLike) -> Values:
    """A convolution with a weight of a custom layer, or with a kernel that is computed."""
    kernel = kernel if isinstance(kernel, Variable) else importer.to_value(kernel)
    kind = type(operation).__name__
    depthwise, transposed = kind == "DepthwiseConv", kind == "ConvTranspose"
    *window, in_channels, out_channels = kernel.size if isinstance(kernel, Value) else kernel.shape
    size = tuple(importer.result_specs(operation, value, kernel)[0].shape)
    attrs = _conv_attrs(operation, window, value.size, size, in_channels)
    n = len(window)
    order = (n, n + 1, *range(n)) if depthwise else (n + 1, n, *range(n))
    shape = (in_channels * out_channels, 1, *window) if depthwise else (out_channels, in_channels, *window)
    params = (importer.param(kernel, shape),) if isinstance(kernel, Variable) else ()
    operands = [Operand(value, value.size)]
    if isinstance(kernel, Value):
        permute_params(importer.tape, kernel.node, order)
        kernel = importer.transpose(kernel, order)
        operands.append(Operand(kernel, kernel.size, is_weight=True))
    op, last = "ConvTranspose" if transposed else "Conv", _channels_last(operation)
    call = OpCall(op, operation.name, operands, attrs, params, channels_last=last)
    [result] = importer.tape.emit_values(call, [size])
    return result


def _conv_attrs(
    operation: keras.Operation, window: Sequence[int], size: Size, result_size: Size, in_channels: int
) -> dict[str, Attr]:
    """Attributes of a convolution as a function.

    Args:
        operation: the convolution.
        window: size of its kernel's window.
        size: of the image.
        result_size: of the result.
        in_channels: channels of the image that a channel of the result reads; of a depthwise one, all of them.
    """
    last, rank, kind = _channels_last(operation), len(window), type(operation).__name__
    stride, dilation = (
        tuple(n) if isinstance(n, Sequence) else (n,) * rank for n in (operation.strides, operation.dilation_rate)
    )
    before, after = spatial_part(size, last), spatial_part(result_size, last)
    transposed = kind == "ConvTranspose"
    channels = size[-1 if last else 1]
    attrs: dict[str, Attr] = {
        "kernel": tuple(window),
        "stride": stride,
        "padding": window_padding(after if transposed else before, tuple(window), stride, dilation, operation.padding),
        "dilation": dilation,
        "groups": 1 if transposed else channels if kind == "DepthwiseConv" else channels // in_channels,
    }
    return with_output_padding(attrs, before, after) if transposed else attrs


def _separable_conv(importer: KerasImporter, operation: keras.Operation, value: Value, *kernels: TensorLike) -> Values:
    """A depthwise convolution, then a pointwise one."""

    def separable(x: Any, depthwise: Any, pointwise: Any) -> Any:
        data_format = operation.data_format
        between = keras.ops.depthwise_conv(
            x, depthwise, operation.strides, operation.padding, data_format, operation.dilation_rate
        )
        return keras.ops.conv(between, pointwise, 1, "valid", data_format)

    result: Values = importer.trace_code(separable, value, *kernels)
    return result


def _pool(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
    """Pooling as a function."""
    last = _channels_last(operation)
    return emit_pool(
        importer,
        operation,
        value,
        type(operation).__name__ == "MaxPool",
        operation.pool_size,
        operation.strides,
        operation.padding,
        last,
    )


def _adaptive_pool(op: str) -> KerasConverter:
    """Pooling to a given size as a function."""

    def convert(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
        last = _channels_last(operation)
        return importer.emit(
            op, operation.name, [value], tuple(importer.result_specs(operation, value)[0].shape), channels_last=last
        )

    return convert


def _batch_norm(
    importer: KerasImporter,
    operation: keras.Operation,
    value: Value,
    mean: TensorLike,
    variance: TensorLike,
    offset: TensorLike | None = None,
    scale: TensorLike | None = None,
) -> Values:
    """Batch normalisation as a function; statistics that are computed make it opaque."""
    if any(isinstance(item, Value) for item in (mean, variance, offset, scale)):
        return importer.emit_opaque(operation, value, mean, variance, offset=offset, scale=scale)
    weights = tuple(importer.param(weight) for weight in (scale, offset) if isinstance(weight, Variable))
    return importer.emit_unary(
        "BatchNorm",
        operation.name,
        value,
        params=weights,
        channels_last=operation.axis % len(value.size) == len(value.size) - 1,
    )


def _norm(op: str) -> KerasConverter:
    """LayerNorm and RMSNorm as functions."""

    def convert(
        importer: KerasImporter,
        operation: keras.Operation,
        value: Value,
        *weights: TensorLike | None,
        **named: TensorLike | None,
    ) -> Value:
        variables = [weight for weight in (*weights, *named.values()) if isinstance(weight, Variable)]
        axes = operation.axis if isinstance(operation.axis, Sequence) else [operation.axis]
        return emit_norm(
            importer, op, operation.name, value, axes, tuple(importer.param(weight) for weight in variables)
        )

    return convert


def _relu(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
    """The operation behind `keras.activations.relu`, which has the settings of the layer."""
    result: Value = importer.layer_converters["ReLU"](importer, operation, value)
    return result


def _control_flow(importer: KerasImporter, operation: keras.Operation, *_: object, **__: object) -> NoReturn:
    """Branches and loops, whose bodies are Python functions that Keras has not recorded."""
    raise UnfollowedError(
        f"{importer.location()}: keras.ops {type(operation).__name__} is control flow, "
        "which only the TensorFlow frontend follows"
    )


_REDUCTIONS = (
    "Mean Nanmean Sum Nansum Prod Max Amax Nanmax Min Amin Nanmin Argmax Argmin Var Std Logsumexp Any All "
    "CountNonzero Norm"
)
_CONTROL = "Cond Switch WhileLoop ForiLoop Scan AssociativeScan Map VectorizedMap"
OP_CONVERTERS: dict[str, KerasConverter] = {
    **MOVEMENT_CONVERTERS,
    "Operation": _default,
    "Square": _square,
    "Gelu": _gelu,
    "ReLU": _relu,
    "Clip": _clip,
    "LeakyRelu": _with_floats("LeakyReLU", slope="negative_slope"),
    "Elu": _with_floats("ELU", alpha="alpha"),
    "Celu": _with_floats("CELU", alpha="alpha"),
    "Softmax": _along_axes("Softmax"),
    "LogSoftmax": _along_axes("LogSoftmax"),
    "Glu": _along_axes("GLU"),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    "Matmul": _matmul,
    "Einsum": _einsum,
    "Tensordot": _tensordot,
    "Dot": _dot,
    "Inner": _dot,
    "Outer": _outer,
    "DotProductAttention": _attention,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "SeparableConv": _separable_conv,
    "DepthwiseConv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "AdaptiveMaxPool": _adaptive_pool("AdaptiveMaxPool"),
    "AdaptiveAveragePool": _adaptive_pool("AdaptiveAvgPool"),
    "BatchNorm": _batch_norm,
    "LayerNorm": _norm("LayerNorm"),
    "RMSNorm": _norm("RMSNorm"),
    **dict.fromkeys(_CONTROL.split(), _control_flow),
}
