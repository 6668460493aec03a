"""Constant folding of ONNX operators, in terms of `frontends.common.constant_folding`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from onnx import helper, numpy_helper

from cgir.typing import AnyArray
from frontends.common.constant_folding import LIMIT, Folded, fold

from .calls import OnnxCall

Results: TypeAlias = list[AnyArray] | None
FoldRule: TypeAlias = Callable[[OnnxCall, list[AnyArray]], Folded]

# operators whose operands are those of the function, without attributes
FUNCTION_NAMES = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "Neg": "neg", "Abs": "abs", "Sign": "sign",
    "Sqrt": "sqrt", "Exp": "exp",
    "Log": "log",
    "Floor": "floor", "Ceil": "ceil", "Round": "round", "Reciprocal": "reciprocal", "Max": "max", "Min": "min",
    "Sum": "add", "Equal": "equal", "Less": "less",
    "LessOrEqual": "less_equal", "Greater": "greater", "GreaterOrEqual": "greater_equal", "And": "and", "Or": "or",
    "Xor": "xor", "Not": "not",
    "Where": "where", "Identity": "identity", "Range": "range", "NonZero": "nonzero", "GatherND": "gather_nd",
    "Tile": "tile",
}  # fmt: skip


def fold_call(call: OnnxCall, all_known: bool = False) -> Results:
    """The contents of a node's results, where those of its operands are known and few; None otherwise.

    With `all_known`, so do the contents of the example inputs and of parameters, which otherwise stay what they are.
    """
    if call.op_type == "Shape":
        size = np.array(call.require_input(0).size, dtype=np.int64)
        return [size[call.attr("start", 0) : call.attr("end")]]
    if call.op_type == "Size":
        return [np.array(np.prod(call.require_input(0).size, dtype=object), dtype=np.int64)]
    if call.op_type == "Constant":
        return _constant(call)
    operands = call.present_inputs[:1] if call.op_type == "CastLike" else call.present_inputs
    known = [tensor.known_value if all_known else None if tensor.is_param else tensor.data for tensor in operands]
    arrays = [array for array in known if array is not None]
    if len(arrays) < len(operands):
        return None
    if any(array.dtype.kind in "OUS" for array in arrays):
        return None
    fold_rule = FOLD_RULES.get(call.op_type)
    if fold_rule is None and call.op_type not in FUNCTION_NAMES:
        return None
    result = fold_rule(call, arrays) if fold_rule else fold(FUNCTION_NAMES[call.op_type], *arrays)
    if result is None:
        return None
    return list(result) if isinstance(result, list) else [np.asarray(result)]


def _constant(call: OnnxCall) -> Results:
    for name in ("value_int", "value_float", "value_ints"):
        value = call.attr(name)
        if value is not None and np.size(value) <= LIMIT:
            return [np.array(value, dtype=np.float32 if "float" in name else np.int64)]
    return None


def _axes(call: OnnxCall, slot: int = 1) -> tuple[int, ...] | None:
    axes = call.attr_or_input("axes", slot)
    return None if axes is None else tuple(int(a) for a in axes)


def _reduce(name: str) -> FoldRule:
    def rule(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
        axes = _axes(call) or None
        if axes is None and call.attr("noop_with_empty_axes", 0):
            return arrays[0]
        return fold(name, arrays[0], axes=axes, keep=bool(call.attr("keepdims", 1)))

    return rule


def _reshape(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    return fold("reshape", arrays[0], size=call.sizes[0])


def _slice(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    if call.since_version < 10:
        return fold("slice", arrays[0], starts=call.attr("starts"), ends=call.attr("ends"), axes=call.attr("axes"))
    operands = [None if tensor is None else tensor.ints() for tensor in call.inputs[1:]] + [None] * 4
    return fold("slice", arrays[0], starts=operands[0], ends=operands[1], axes=operands[2], steps=operands[3])


def _split(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    axis = call.attr("axis", 0)
    return fold("split", arrays[0], sizes=[size[axis] for size in call.sizes], axis=axis)


def _full(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    value = call.attr("value")
    number = np.float32(0) if value is None else numpy_helper.to_array(value).reshape(())
    return fold("full", size=call.sizes[0], value=number)


def _cast(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    elem_type = call.require_input(1).elem_type if call.op_type == "CastLike" else call.attr("to")
    dtype = helper.tensor_dtype_to_np_dtype(elem_type)
    return None if np.dtype(dtype).kind in "OUS" else fold("cast", arrays[0], dtype=dtype)


def _clip(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    low, high = (call.attr(name) if call.since_version < 11 else None for name in ("min", "max"))
    if call.since_version >= 11:
        low, high = (None if (tensor := call.input(slot)) is None else tensor.data for slot in (1, 2))
    return fold("clip", arrays[0], a_min=low, a_max=high)


def _argmax(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    result = fold("argmax", arrays[0] if call.op_type == "ArgMax" else -arrays[0], axis=call.attr("axis", 0))
    return None if result is None else np.asarray(result).reshape(call.sizes[0])


def _cumsum(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    if call.attr("exclusive", 0) or call.attr("reverse", 0):
        return None
    return fold("cumsum", arrays[0], axis=int(arrays[1].reshape(())))


def _trilu(call: OnnxCall, arrays: list[AnyArray]) -> Folded:
    diagonal = int(arrays[1].reshape(())) if len(arrays) > 1 else 0
    return fold("trilu", arrays[0], k=diagonal, upper=bool(call.attr("upper", 1)))


FOLD_RULES: dict[str, FoldRule] = {
    **{f"Reduce{name}": _reduce(name.lower()) for name in ("Sum", "Prod", "Mean")}, "ReduceMax": _reduce("reduce_max"),
    "ReduceMin": _reduce("reduce_min"),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _reshape),
    "Slice": _slice, "Split": _split, "ConstantOfShape": _full, "Cast": _cast, "CastLike": _cast, "Clip": _clip,
    "ArgMax": _argmax, "ArgMin": _argmax,
    "Concat": lambda call, arrays: fold("concat", *arrays, axis=call.attr("axis", 1)),
    "Gather": lambda call, arrays: fold("gather", *arrays, axis=call.attr("axis", 0)),
    "Expand": lambda call, arrays: fold("expand", arrays[0], size=call.sizes[0]),
    "Transpose": lambda call, arrays: fold("transpose", arrays[0], perm=call.attr("perm")),
    "Relu": lambda call, arrays: fold("max", arrays[0], np.zeros_like(arrays[0])),
    "Mod": lambda call, arrays: fold("mod", *arrays, fmod=bool(call.attr("fmod", 0))),
    "CumSum": _cumsum, "Trilu": _trilu,
}  # fmt: skip
