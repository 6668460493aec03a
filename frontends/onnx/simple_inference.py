"""Types of the results of the most frequent operators on floats, by the rules of ONNX, without its code.

These are two of three nodes of a model; the answer of ONNX's own inference, from another process, takes longer.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from frontends.common.tape import Size

from .tensors import OnnxTensor, ResultType

# operators of one operand whose result is like it
_LIKE_OPERAND = (
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity "
    "LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh"
)
LIKE_OPERAND = frozenset(_LIKE_OPERAND.split())
FLOAT = onnx.TensorProto.FLOAT  # which all versions of these operators allow
BROADCASTING = frozenset(("Add", "Sub", "Mul", "Div"))
NUMPY_BROADCASTING = 7  # opset since which operators broadcast as NumPy does


def simple_type(node: onnx.NodeProto, since_version: int, inputs: Sequence[OnnxTensor | None]) -> ResultType | None:
    """The type of the result of a simple operator; None where ONNX must say, or refuse it.

    Args:
        node: the node.
        since_version: of its operator's definition.
        inputs: its operands, None for those left out.
    """
    if node.domain not in ("", "ai.onnx") or len(node.output) != 1 or not inputs:
        return None
    first = inputs[0]
    if first is None or first.is_sequence or first.elem_type != FLOAT:
        return None
    if len(inputs) == 1:
        return ResultType(first.elem_type, first.size) if node.op_type in LIKE_OPERAND else None
    second = inputs[1]
    if len(inputs) > 2 or second is None or second.is_sequence or second.elem_type != first.elem_type:
        return None
    size = None
    if node.op_type in BROADCASTING and since_version >= NUMPY_BROADCASTING:
        size = _broadcast(first.size, second.size)
    elif node.op_type == "MatMul":
        size = _product(first.size, second.size)
    return None if size is None else ResultType(first.elem_type, size)


def _broadcast(a: Size, b: Size) -> Size | None:
    """The size of two tensors together; None where they do not fit."""
    if a == b:
        return a
    short, long = sorted((a, b), key=len)
    padded = (1,) * (len(long) - len(short)) + short
    if any(m != n and m != 1 and n != 1 for m, n in zip(padded, long, strict=True)):
        return None
    return tuple(n if m == 1 else m for m, n in zip(padded, long, strict=True))


def _product(a: Size, b: Size) -> Size | None:
    """The size of a product of stacks of matrices; None where they do not fit, or one is a vector."""
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        return None
    stack = _broadcast(a[:-2], b[:-2])
    return None if stack is None else (*stack, a[-2], b[-1])
