"""Converters of ONNX operators: one small function per family, and the table of all of them.

A converter takes an `OnnxCall` and returns the values of the node's results. Operators without one take all their
tensors as data. Settings that differ between opsets are read from attributes or inputs, as in the node's
opset.
"""

from __future__ import annotations

from math import isclose, prod

import numpy as np
import onnx

from cgir.graph import Attr
from cgir.ops import ONNX_NAMES
from frontends.common.tape import Value

from . import (
    gather_converters,
    layer_converters,
    matmul_converters,
    movement_converters,
    sequence_layer_converters,
)
from .calls import OnnxCall, OnnxConverter
from .graph_walk import STANDARD_DOMAINS
from .matmul_converters import as_bias
from .movement_converters import unary
from .tensors import OnnxTensor

MAX_FLOAT = 3e38  # exporters write "no bound" as the largest float

# standard operators that the vocabulary does not have and that multiply nothing
_WITHOUT_PRODUCTS = (
    "Bernoulli Compress GlobalLpPool Hardmax MaxRoiPool MaxUnpool MeanVarianceNormalization "
    "Multinomial NegativeLogLikelihoodLoss NonMaxSuppression NonZero RegexFullMatch RoiAlign SoftmaxCrossEntropyLoss "
    "StringConcat StringNormalizer StringSplit SwiGLU TfIdfVectorizer Unique"
)
WITHOUT_PRODUCTS = frozenset(_WITHOUT_PRODUCTS.split())


def converter_of(node: onnx.NodeProto) -> OnnxConverter:
    """The converter of a node's operator, `_default` for operators without one."""
    return CONVERTERS.get(node.op_type, _default) if node.domain in STANDARD_DOMAINS else _default


def _default(call: OnnxCall) -> list[Value]:
    """All tensors as data; operators that the vocabulary does not have are opaque."""
    domain = "" if call.node.domain in STANDARD_DOMAINS else call.node.domain
    op = "Opaque" if domain else ONNX_NAMES.get(call.op_type, "Opaque")
    attrs: dict[str, Attr] = {"flops": 0} if op == "Opaque" and not domain and call.op_type in WITHOUT_PRODUCTS else {}
    return call.emit(op, call.present_inputs, attrs, display_name=f"{domain or 'onnx'}.{call.op_type}")


def _with_float(op: str, name: str, onnx_name: str, default: float) -> OnnxConverter:
    """Functions of one tensor with a number: attribute `name` of the node is attribute `onnx_name` of the operator."""
    return lambda call: call.emit_unary(op, **{name: float(call.attr(onnx_name, default))})


def _source(call: OnnxCall) -> list[Value]:
    """Constants that depend on sizes and random numbers only."""
    return [call.tape.constant(call.name, size) for size in call.sizes]


# --- arithmetic


def _binary(op: str) -> OnnxConverter:
    """Sums, products and the like; constants that are one number everywhere are scalars whatever their size."""

    def emit(call: OnnxCall) -> list[Value]:
        if len(call.present_inputs) == 1:
            return call.emit_unary("Identity")
        tensors = call.present_inputs
        if len(tensors) == 2:
            tensors = [_uniform_as_scalar(call, tensor) for tensor in tensors]
            if op == "Add":
                tensors = [as_bias(call.tape, *pair) for pair in (tensors, tensors[::-1])]
        return call.emit(op, [_scalar_or_tensor(call, tensor) for tensor in tensors])

    return emit


def _uniform_as_scalar(call: OnnxCall, tensor: OnnxTensor) -> OnnxTensor:
    """A constant of one number everywhere as that number, where the other operand has the size of the result.

    Folding leaves such zeros and ones of norms without weights.
    """
    data, sizes = tensor.data, [other.size for other in call.present_inputs if other is not tensor]
    if (
        tensor.is_param
        or tensor.explicit_shape
        or data is None
        or data.size < 2
        or sizes != [call.sizes[0]]
        or not np.all(data == data.reshape(-1)[0])
    ):
        return tensor
    return OnnxTensor(tensor.name, tensor.elem_type, (), data.reshape(-1)[0])


def _scalar_or_tensor(call: OnnxCall, tensor: OnnxTensor) -> OnnxTensor | Value:
    """A constant of one element as a constant of no axes, any other tensor as it is."""
    if tensor.scalar is None or len(tensor.size) > len(call.sizes[0]) or tensor.value is not None:
        return tensor
    return call.tape.constant(tensor.name, (), tensor.scalar)


def _compare(call: OnnxCall) -> list[Value]:
    left, right = call.require_input(0), call.require_input(1)
    if right.scalar is not None or left.scalar is not None:
        tensor, number = (left, right.scalar) if right.scalar is not None else (right, left.scalar)
        if not tensor.static:
            return call.emit("Compare", [tensor], {"scalar": number})
    return call.emit("Compare", [left, right])


def _mean(call: OnnxCall) -> list[Value]:
    """The mean of any number of tensors: their sum, divided."""
    total = call.emit("Add", call.present_inputs)
    num_tensors = len(call.present_inputs)
    return call.emit("Mul", total, {"scalar": 1 / num_tensors}) if num_tensors > 1 else total


def _clip(call: OnnxCall) -> list[Value]:
    bounds: dict[str, float] = {}
    for slot, name in ((1, "min"), (2, "max")):
        tensor = call.input(slot)
        bound = call.attr(name) if tensor is None else tensor.scalar
        if tensor is not None and bound is None:
            return call.emit("Clip", call.present_inputs)
        if bound is not None and abs(bound) < MAX_FLOAT:
            bounds[name] = float(bound)
    return call.emit_unary("ReLU6") if bounds == {"min": 0, "max": 6} else call.emit_unary("Clip", **bounds)


def _hard_sigmoid(call: OnnxCall) -> list[Value]:
    alpha, beta = float(call.attr("alpha", 0.2)), float(call.attr("beta", 0.5))
    is_default = isclose(alpha, 1 / 6, rel_tol=1e-3) and isclose(beta, 0.5, rel_tol=1e-3)
    return call.emit_unary("HardSigmoid", **({} if is_default else {"alpha": alpha, "beta": beta}))


def _swish(call: OnnxCall) -> list[Value]:
    alpha = float(call.attr("alpha", 1.0))
    return call.emit_unary("SiLU", **({} if alpha == 1 else {"alpha": alpha}))


def _gelu(call: OnnxCall) -> list[Value]:
    return call.emit_unary("GELU", **({"tanh": True} if call.attr("approximate", "none") == "tanh" else {}))


def _shrink(call: OnnxCall) -> list[Value]:
    return call.emit_unary("SoftShrink" if call.attr("bias", 0.0) else "HardShrink")


def _softmax(op: str) -> OnnxConverter:
    """Softmax over one axis; before opset 13 over all axes from `axis` on."""

    def emit(call: OnnxCall) -> list[Value]:
        size = call.require_input(0).size
        axis = call.attr("axis", 1 if call.since_version < 13 else -1)
        extent = prod(size[axis:]) if call.since_version < 13 else size[axis] if size else 1
        return call.emit_unary(op, size=extent)

    return emit


def _where(call: OnnxCall) -> list[Value]:
    return call.emit("Where", [_scalar_or_tensor(call, tensor) for tensor in call.present_inputs])


# --- reductions


def _reduce(op: str) -> OnnxConverter:
    def emit(call: OnnxCall) -> list[Value]:
        rank = len(call.require_input(0).size)
        axes = call.attr_or_input("axes", 1)
        if not axes and call.attr("noop_with_empty_axes", 0):
            return call.emit_unary("Identity")
        reduced = tuple(axis % max(rank, 1) for axis in axes) if axes else tuple(range(rank))
        return call.emit(op, [call.require_input(0)], {"dims": len(reduced)}, reduced_axes=reduced)

    return emit


def _reduce_sum_square(call: OnnxCall) -> list[Value]:
    data = call.require_input(0)
    [square] = call.emit("Pow", [data], {"scalar": 2.0}, sizes=[data.size])
    call.inputs[0] = OnnxTensor(data.name, data.elem_type, data.size, value=square)
    return _reduce("Sum")(call)


def _reduce_log_sum(call: OnnxCall) -> list[Value]:
    return call.emit("Log", _reduce("Sum")(call))


def _arg_max(call: OnnxCall) -> list[Value]:
    data = call.require_input(0)
    axis = call.attr("axis", 0) % max(len(data.size), 1)
    return call.emit("ArgMax", [data], {"dims": 1}, reduced_axes=(axis,))


def _dropout(call: OnnxCall) -> list[Value]:
    result = call.emit("Dropout", [call.require_input(0)], sizes=call.sizes[:1])
    return result + [call.tape.constant("mask", size) for size in call.sizes[1:]]


REDUCTIONS = {
    "Mean": "Mean",
    "Sum": "Sum",
    "Prod": "Prod",
    "Max": "ReduceMax",
    "Min": "ReduceMin",
    "L1": "Norm",
    "L2": "Norm",
    "LogSumExp": "LogSumExp",
}
_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mod")
_COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
_SOURCES = (
    "Constant ConstantOfShape EyeLike RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Shape Size "
    "HannWindow HammingWindow BlackmanWindow MelWeightMatrix"
)
CONVERTERS: dict[str, OnnxConverter] = {
    **layer_converters.CONVERTERS,
    **sequence_layer_converters.CONVERTERS,
    **matmul_converters.CONVERTERS,
    **movement_converters.CONVERTERS,
    **gather_converters.CONVERTERS,
    **{name: _binary(ONNX_NAMES[name]) for name in _BINARY},
    **dict.fromkeys(_COMPARISONS, _compare),
    "Mean": _mean,
    "Where": _where,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "Swish": _swish,
    "Gelu": _gelu,
    "Shrink": _shrink,
    "LeakyRelu": _with_float("LeakyReLU", "slope", "alpha", 0.01),
    "Elu": _with_float("ELU", "alpha", "alpha", 1.0),
    "Celu": _with_float("CELU", "alpha", "alpha", 1.0),
    "Softmax": _softmax("Softmax"),
    "LogSoftmax": _softmax("LogSoftmax"),
    **{f"Reduce{name}": _reduce(op) for name, op in REDUCTIONS.items()},
    "ReduceSumSquare": _reduce_sum_square,
    "ReduceLogSum": _reduce_log_sum,
    "ArgMax": _arg_max,
    "ArgMin": _arg_max,
    "OneHot": unary("OneHot"),
    "Dropout": _dropout,
    "TopK": unary("Sort"),
    "CumSum": unary("CumSum"),
    **dict.fromkeys(("Cast", "CastLike", "BitCast"), unary("Cast")),
    **dict.fromkeys(_SOURCES.split(), _source),
}
