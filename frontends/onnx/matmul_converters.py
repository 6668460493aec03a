"""Converters of ONNX matrix products."""

from __future__ import annotations

from math import prod

from cgir import Node, Param
from frontends.common import einsum
from frontends.common.tape import Tape, Value

from .calls import OnnxCall, OnnxConverter
from .tensors import OnnxTensor, as_param, weight_value

PRODUCTS = ("MatMul", "Linear", "Conv", "ConvTranspose")
BETWEEN_PRODUCT_AND_BIAS = ("Reshape", "Transpose", "Cast", "Identity", "Mul")  # a Mul with the scale of a quantisation


def _factor(tape: Tape, tensor: OnnxTensor) -> Value:
    """The value of a factor; a constant one with axes is a weight."""
    return weight_value(tape, tensor) if tensor.value is None and len(tensor.size) >= 1 else tensor.to_value(tape)


def _matmul(call: OnnxCall) -> list[Value]:
    a, b = (_factor(call.tape, call.require_input(slot)) for slot in (0, 1))
    return [einsum.emit_matmul(call.tape, call.name, a, b, call.sizes[0])]


def as_bias(tape: Tape, tensor: OnnxTensor, product: OnnxTensor) -> OnnxTensor:
    """One element that is added to a product of weights with one output channel, as the parameter that it is.

    Args:
        tape: with the product.
        tensor: one operand of the sum, returned unchanged unless it is such a bias.
        product: the other operand.
    """
    is_element = tensor.value is None and tensor.is_weight and not tensor.is_param and tensor.is_floating
    if not is_element or not tensor.size or prod(tensor.size) != 1 or product.value is None:
        return tensor
    node = tape.nodes[product.value.node]
    while node.op in BETWEEN_PRODUCT_AND_BIAS and node.inputs:
        node = tape.nodes[node.inputs[0]]
    if node.op not in PRODUCTS or node.shape[:1] != (1,) or not (node.params or _reads_weight(tape, node)):
        return tensor
    return OnnxTensor(tensor.name, tensor.elem_type, tensor.size, tensor.data, is_param=True)


def _reads_weight(tape: Tape, node: Node) -> bool:
    """Whether a product has a parameter among its factors, in whatever arrangement."""
    for index in node.inputs:
        source = tape.nodes[index]
        while len(source.inputs) == 1:
            source = tape.nodes[source.inputs[0]]
        if source.op == "Param":
            return True
    return False


def _matrix_transpose(tape: Tape, value: Value) -> Value:
    """The last two axes exchanged."""
    rank = len(value.size)
    order = [*range(rank - 2), rank - 1, rank - 2]
    return tape.apply(
        "Transpose",
        "transpose",
        [value],
        [tuple(value.size[axis] for axis in order)],
        axis_map={old: new for new, old in enumerate(order)},
    )[0]


def _scale(call: OnnxCall, value: Value, factor: float) -> Value:
    """A value times a number; the value itself if that is 1."""
    return value if factor == 1 else call.emit("Mul", [value], {"scalar": factor}, sizes=[value.size])[0]


def _gemm(call: OnnxCall) -> list[Value]:
    """A linear layer where the second factor is a matrix of weights, else a product and a sum."""
    a, b, c = call.require_input(0), call.require_input(1), call.input(2)
    alpha, beta = float(call.attr("alpha", 1.0)), float(call.attr("beta", 1.0))
    weight = as_param(call.tape, b)
    left = _factor(call.tape, a)
    left = _matrix_transpose(call.tape, left) if call.attr("transA", 0) else left
    out_features = call.sizes[0][-1]
    bias = None if c is None else as_param(call.tape, c)
    if (
        weight is not None
        and alpha == 1
        and beta == 1
        and not a.static
        and (c is None or (bias is not None and prod(bias.shape) == out_features))
    ):
        params = [Param(weight.id, weight.shape if call.attr("transB", 0) else weight.shape[::-1])]
        params += [] if bias is None else [Param(bias.id, (out_features,))]
        return call.emit("Linear", [left], weights=params)
    right = _factor(call.tape, b)
    value = einsum.emit_matmul(
        call.tape,
        call.name,
        left,
        _matrix_transpose(call.tape, right) if call.attr("transB", 0) else right,
        call.sizes[0],
    )
    value = _scale(call, value, alpha)
    if c is None or beta == 0:
        return [value]
    addend = weight_value(call.tape, c) if c.value is None and c.is_floating else c.to_value(call.tape)
    return call.emit("Add", [value, _scale(call, addend, beta)], name="add")


def _einsum(call: OnnxCall) -> list[Value]:
    values = [_factor(call.tape, tensor) for tensor in call.present_inputs]
    equation = call.attr("equation", "")
    try:
        einsum.parse_equation(equation, [len(value.size) for value in values])
    except ValueError:  # a diagonal
        return call.emit("Opaque", values, display_name="onnx.Einsum")
    return [einsum.einsum(einsum.tape_ops(call.tape), equation, *values)]


CONVERTERS: dict[str, OnnxConverter] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
}
