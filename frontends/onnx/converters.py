"""How each ONNX operator becomes nodes: one small function per family. Layers with weights are in `onnx_layers`.

A function takes a `Call` and returns the values of the node's results. Operators without one take all their tensors as
data. What differs between opsets is read from attributes or inputs, whichever the definition of the node's opset has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isclose, prod
from typing import Any

import numpy as np

from cgir.graph import Attr
from cgir.ops import ONNX_NAMES
from frontends.common.tape import ProvenanceHint, Value

from . import layer_converters as layers
from . import matmul_converters as products
from .tensors import Call, Tensor, TransposeOf

Emitted = list[Value]
MAX_FLOAT = 3e38  # exporters write "no bound" as the largest float


def generic(call: Call) -> Emitted:
    """All tensors as data; operators that the table does not know are opaque."""
    domain = call.node.domain if call.node.domain not in ("", "ai.onnx") else ""
    op = ONNX_NAMES.get(call.op, "Opaque") if not domain else "Opaque"
    return call.emit(op, call.tensors, display_name=f"{domain or 'onnx'}.{call.op}")


def _first(op: str) -> Callable[[Call], Emitted]:
    """Only the first operand is data."""
    return lambda call: call.same(op)


def _parts(call: Call) -> Emitted:
    """A node for each part, so that what is computed from one of them alone can be told."""
    axes = {axis: axis for axis in range(len(call.need(0).size))}
    return [call.emit("Slice", [call.need(0)], {"part": True}, sizes=[size], axis_map=axes)[0] for size in call.sizes]


def _scalar(op: str, name: str, default: float) -> Callable[[Call], Emitted]:
    return lambda call: call.same(op, **{name: float(call.attr({"slope": "alpha"}.get(name, name), default))})


def _source(call: Call) -> Emitted:
    """Constants that are made from nothing but sizes and random numbers."""
    return [call.tape.constant(call.name, size) for size in call.sizes]


# --- arithmetic


def _binary(op: str) -> Callable[[Call], Emitted]:
    """Sums, products and the like; constants that are one number everywhere are scalars whatever their size."""

    def emit(call: Call) -> Emitted:
        if len(call.tensors) == 1:
            return call.same("Identity")
        tensors = [_uniform(call, tensor) for tensor in call.tensors] if len(call.tensors) == 2 else call.tensors
        return call.emit(op, [_as_scalar(call, tensor) for tensor in tensors])

    return emit


def _uniform(call: Call, tensor: Tensor) -> Tensor:
    """A constant of one number everywhere, as folding leaves the zeros and ones of norms without weights, where the
    other operand has the size.
    """
    data, sizes = tensor.data, [other.size for other in call.tensors if other is not tensor]
    if (
        tensor.param
        or tensor.kept
        or data is None
        or data.size < 2
        or sizes != [call.sizes[0]]
        or not np.all(data == data.reshape(-1)[0])
    ):
        return tensor
    return Tensor(tensor.name, tensor.elem, (), data.reshape(-1)[0])


def _as_scalar(call: Call, tensor: Tensor) -> Tensor | Value:
    if tensor.scalar is None or len(tensor.size) > len(call.sizes[0]) or tensor.value is not None:
        return tensor
    return call.tape.constant(tensor.name, (), tensor.scalar)


def _compare(call: Call) -> Emitted:
    left, right = call.need(0), call.need(1)
    if right.scalar is not None or left.scalar is not None:
        tensor, number = (left, right.scalar) if right.scalar is not None else (right, left.scalar)
        if not tensor.static:
            return call.emit("Compare", [tensor], {"scalar": number})
    return call.emit("Compare", [left, right])


def _mean_of_many(call: Call) -> Emitted:
    total = call.emit("Add", call.tensors)
    return call.emit("Mul", total, {"scalar": 1 / len(call.tensors)}) if len(call.tensors) > 1 else total


def _clip(call: Call) -> Emitted:
    bounds: dict[str, float] = {}
    for slot, name in ((1, "min"), (2, "max")):
        tensor = call.get(slot)
        bound = call.attr(name) if tensor is None else tensor.scalar
        if tensor is not None and bound is None:
            return call.emit("Clip", call.tensors)
        if bound is not None and abs(bound) < MAX_FLOAT:
            bounds[name] = float(bound)
    return call.same("ReLU6") if bounds == {"min": 0, "max": 6} else call.same("Clip", **bounds)


def _hard_sigmoid(call: Call) -> Emitted:
    alpha, beta = float(call.attr("alpha", 0.2)), float(call.attr("beta", 0.5))
    plain = isclose(alpha, 1 / 6, rel_tol=1e-3) and isclose(beta, 0.5, rel_tol=1e-3)
    return call.same("HardSigmoid", **({} if plain else {"alpha": alpha, "beta": beta}))


def _swish(call: Call) -> Emitted:
    alpha = float(call.attr("alpha", 1.0))
    return call.same("SiLU", **({} if alpha == 1 else {"alpha": alpha}))


def _gelu(call: Call) -> Emitted:
    return call.same("GELU", **({"tanh": True} if call.attr("approximate", "none") == "tanh" else {}))


def _shrink(call: Call) -> Emitted:
    return call.same("SoftShrink" if call.attr("bias", 0.0) else "HardShrink")


def _softmax(op: str) -> Callable[[Call], Emitted]:
    """Before opset 13 all axes from `axis` on were one."""

    def emit(call: Call) -> Emitted:
        size = call.need(0).size
        axis = call.attr("axis", 1 if call.version < 13 else -1)
        extent = prod(size[axis:]) if call.version < 13 else size[axis] if size else 1
        return call.same(op, size=extent)

    return emit


def _where(call: Call) -> Emitted:
    return call.emit("Where", [_as_scalar(call, tensor) for tensor in call.tensors])


# --- reductions


def _reduce(op: str) -> Callable[[Call], Emitted]:
    def emit(call: Call) -> Emitted:
        rank = len(call.need(0).size)
        axes = call.setting("axes", 1)
        if not axes and call.attr("noop_with_empty_axes", 0):
            return call.same("Identity")
        dims = tuple(axis % max(rank, 1) for axis in axes) if axes else tuple(range(rank))
        return call.emit(op, [call.need(0)], {"dims": len(dims)}, reduced_axes=dims)

    return emit


def _reduce_after(before: str, op: str, attrs: dict[str, Attr]) -> Callable[[Call], Emitted]:
    """A reduction of a function of the tensor."""

    def emit(call: Call) -> Emitted:
        inner = call.need(0)
        value = call.emit(before, [inner], attrs, sizes=[inner.size])[0]
        call.given[0] = Tensor(inner.name, inner.elem, inner.size, value=value)
        return _reduce(op)(call)

    return emit


def _reduce_log_sum(call: Call) -> Emitted:
    return call.emit("Log", _reduce("Sum")(call))


def _arg(call: Call) -> Emitted:
    rank = len(call.need(0).size)
    return call.emit("ArgMax", [call.need(0)], {"dims": 1}, reduced_axes=(call.attr("axis", 0) % max(rank, 1),))


# --- movement and picking


def _transpose(call: Call) -> Emitted:
    order = call.attr("perm") or list(range(len(call.need(0).size)))[::-1]
    source = call.need(0).read(call.tape)
    result = call.emit("Transpose", [source], axis_map={old: new for new, old in enumerate(order)})[0]
    result.provenance = TransposeOf(source, tuple(order))
    if isinstance(source.provenance, TransposeOf) and all(
        source.provenance.order[axis] == place for place, axis in enumerate(order)
    ):
        # it is as before: what a reshape between the two has cut can be found again
        result.layout = source.provenance.source.layout
    return [result]


def _squeeze(call: Call) -> Emitted:
    """Axes of size 1 fall away; ONNX names them, or means all."""
    size = call.need(0).size
    axes = call.setting("axes", 1)
    gone = (
        {axis for axis, n in enumerate(size) if n == 1} if axes is None else {axis % max(len(size), 1) for axis in axes}
    )
    kept = [axis for axis in range(len(size)) if axis not in gone]
    return call.emit("Reshape", [call.need(0)], axis_map={old: new for new, old in enumerate(kept)})


def _unsqueeze(call: Call) -> Emitted:
    rank = len(call.sizes[0])
    made = {axis % rank for axis in call.setting("axes", 1, ())}
    return call.emit(
        "Reshape", [call.need(0)], axis_map=dict(enumerate(axis for axis in range(rank) if axis not in made))
    )


def _steps(indices: Any) -> tuple[int, ...] | None:
    """The step of indices that are evenly spaced in row-major order, or the two of overlapping windows (windows,
    elements), first + i step + j.
    """
    flat = indices.reshape(-1)
    steps = np.unique(np.diff(flat))
    if steps.size == 1 and steps[0] != 0:
        return (int(steps[0]),)
    if indices.ndim != 2 or min(indices.shape) < 2:
        return None
    step = int(indices[1, 0] - indices[0, 0])
    expected = indices[0, 0] + step * np.arange(indices.shape[0])[:, None] + np.arange(indices.shape[1])
    return (step, 1) if step > 0 and np.array_equal(indices, expected) else None


def _strided(call: Call, data: Tensor, axis: int) -> Emitted:
    """Evenly spaced elements of an axis, as `as_strided` and slices are written: a slice, and a reshape if it has more
    axes.
    """
    count, size = call.need(1).data.size, data.size
    value = data.read(call.tape)
    if count != size[axis]:
        value = call.emit(
            "Slice",
            [value],
            {"part": True},
            sizes=[(*size[:axis], count, *size[axis + 1 :])],
            axis_map={a: a for a in range(len(size))},
        )[0]
    return call.emit("Reshape", [value])


def _windows(call: Call, data: Tensor, axis: int) -> Emitted:
    """Windows of an axis, `Tensor.unfold`, which puts their elements last."""
    size, (count, length), rank = data.size, call.need(1).size, len(data.size)
    value = call.emit("Unfold", [data], sizes=[(*size[:axis], count, *size[axis + 1 :], length)])
    result = call.emit(
        "Transpose", value, axis_map={**{a: a if a <= axis else a + 1 for a in range(rank)}, rank: axis + 1}
    )[0]
    # with stride 1 these may be the rows of `_sliding` as well
    if axis == 2 and rank == 4 and _steps(call.need(1).data.T) == (1, 1):
        result.provenance = UnfoldRows(data.read(call.tape), count, 1)
    return [result]


@dataclass(frozen=True, slots=True)
class UnfoldRows(ProvenanceHint):
    """An image of which only the rows of sliding windows have been taken, left on the value."""

    image: Value
    kernel: int
    stride: int


def _sliding(call: Call, data: Tensor, axis: int, steps: tuple[int, ...]) -> Emitted:
    """`torch.nn.functional.unfold` as exporters write it: elements of windows of the rows (axis 2), then of the columns
    (axis 4).
    """
    indices, size = call.need(1), data.size
    value = data.read(call.tape)
    kernel, stride = indices.size[0], steps[0] if len(steps) > 1 else indices.size[0]
    if axis == 2 and len(size) == 4:
        result = call.emit("Gather", [value, indices], axis_map={0: 0, 1: 1, 3: 4})[0]
        result.provenance = UnfoldRows(value, kernel, stride)
        return [result]
    if axis != 4 or len(size) != 5 or not isinstance(value.provenance, UnfoldRows):
        return []
    rows, (batch, channels, height, down, _), across = value.provenance, size, indices.size[1]
    attrs: dict[str, Attr] = {
        "kernel": (height, kernel),
        "stride": (rows.stride, stride),
        "padding": ((0, 0), (0, 0)),
        "dilation": (1, 1),
    }
    result = call.emit("Unfold", [rows.image], attrs, sizes=[(batch, channels * height * kernel, down * across)])[0]
    result = call.emit("Reshape", [result], sizes=[(batch, channels, height, kernel, down, across)])[0]
    return call.emit("Transpose", [result], axis_map={0: 0, 1: 1, 2: 2, 3: 4, 4: 3, 5: 5})


def _gather(call: Call) -> Emitted:
    data, indices = call.need(0), call.need(1)
    rank = len(data.size)
    axis = call.attr("axis", 0) % max(rank, 1)
    if (data.param or data.weight) and rank == 2 and axis == 0 and not indices.static:
        return call.emit("Embedding", [indices], weights=[data])
    shift = len(indices.size) - 1
    axes = {old: old if old < axis else old + shift for old in range(rank) if old != axis}
    if data.static:
        return call.emit("Gather", [data, indices])
    if indices.data is not None and indices.data.size == 1:
        return call.emit("Slice", [data], {"part": True}, axis_map=axes | ({axis: axis} if shift == 0 else {}))
    inside = axis == 4 and data.value is not None and isinstance(data.value.provenance, UnfoldRows)
    if indices.data is not None and not inside and (steps := _steps(indices.data)) is not None:
        return _strided(call, data, axis) if len(steps) == 1 else _windows(call, data, axis)
    if indices.data is not None and indices.data.ndim == 2 and (steps := _steps(indices.data.T)) is not None:
        if steps == (1,) and indices.data.size == data.size[axis]:
            return call.emit("Reshape", [data])  # the axis cut in two
        result = _sliding(call, data, axis, steps)
        if result:
            return result
    return call.emit("Gather", [data, indices], axis_map=axes | ({axis: axis} if shift == 0 else {}))


def _scatter_nd(call: Call) -> Emitted:
    data, indices, updates = call.need(0), call.need(1), call.need(2)
    # indices must differ: everything is overwritten
    if prod(updates.size) == prod(data.size) and call.attr("reduction", "none") == "none":
        return call.emit("Reshape", [updates])
    return call.emit("Scatter", [data, updates, indices])


def _one_hot(call: Call) -> Emitted:
    return call.same("OneHot")


def _dropout(call: Call) -> Emitted:
    result = call.emit("Dropout", [call.need(0)], sizes=call.sizes[:1])
    return result + [call.tape.constant("mask", size) for size in call.sizes[1:]]


def _top_k(call: Call) -> Emitted:
    return call.same("Sort")


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
CONVERTERS: dict[str, Callable[[Call], Emitted]] = {
    **layers.CONVERTERS, **products.CONVERTERS,
    **{name: _binary(ONNX_NAMES[name]) for name in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mod")},
    **dict.fromkeys(("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"), _compare), "Mean": _mean_of_many, "Where": _where,
    "Clip": _clip, "HardSigmoid": _hard_sigmoid, "Swish": _swish, "Gelu": _gelu, "Shrink": _shrink,
    "LeakyRelu": _scalar("LeakyReLU", "slope", 0.01), "Elu": _scalar("ELU", "alpha", 1.0), "Celu": _scalar("CELU", "alpha", 1.0),
    "Softmax": _softmax("Softmax"), "LogSoftmax": _softmax("LogSoftmax"),
    **{f"Reduce{name}": _reduce(op) for name, op in REDUCTIONS.items()},
    "ReduceSumSquare": _reduce_after("Pow", "Sum", {"scalar": 2.0}), "ReduceLogSum": _reduce_log_sum, "ArgMax": _arg, "ArgMin": _arg,
    "Transpose": _transpose, "Gather": _gather, "ScatterND": _scatter_nd, "OneHot": _one_hot, "Dropout": _dropout, "TopK": _top_k, "CumSum": _first("CumSum"),
    **dict.fromkeys(("Reshape", "Flatten"), _first("Reshape")),
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, **dict.fromkeys(("Slice", "Split", "CenterCropPad"), _parts),
    **dict.fromkeys(("Expand", "Tile"), _first("Expand")), **dict.fromkeys(("Trilu", "ReverseSequence", "DepthToSpace", "SpaceToDepth"), _first("Shuffle")),
    **dict.fromkeys(("Cast", "CastLike", "BitCast", "QuantizeLinear"), _first("Cast")),
    **dict.fromkeys(
        ("Constant", "ConstantOfShape", "EyeLike", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range", "Shape", "Size"), _source
    ),
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"), _source),
}  # fmt: skip
