"""Converters of ONNX operators that move elements: transposes, reshapes, slices, repetition."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from cgir import TraceError
from frontends.common.tape import Value

from .calls import OnnxCall, OnnxConverter
from .tensors import TransposeOf


def unary(op: str) -> Callable[[OnnxCall], list[Value]]:
    """A converter of operators whose first operand is their only data; the others are settings."""
    return lambda call: call.emit_unary(op)


def _reshape(call: OnnxCall) -> list[Value]:
    before, after = call.require_input(0).size, call.sizes[0]
    if prod(before) != prod(after):
        raise TraceError(f"a tensor of size {before} cannot be reshaped to {after}")
    return call.emit_unary("Reshape")


def _transpose(call: OnnxCall) -> list[Value]:
    order = call.attr("perm") or list(range(len(call.require_input(0).size)))[::-1]
    source = call.require_input(0).to_value(call.tape)
    [result] = call.emit("Transpose", [source], axis_map={old: new for new, old in enumerate(order)})
    result.provenance = TransposeOf(source, tuple(order))
    before = source.provenance
    if isinstance(before, TransposeOf) and all(before.order[axis] == place for place, axis in enumerate(order)):
        # the permutation is undone: restore the layout from before it, with channels that a reshape in between has cut
        result.layout = before.source.layout
    return [result]


def _squeeze(call: OnnxCall) -> list[Value]:
    """Axes of size 1 are dropped: those that are named, or all."""
    size = call.require_input(0).size
    axes = call.attr_or_input("axes", 1)
    if axes is None:
        dropped = {axis for axis, n in enumerate(size) if n == 1}
    else:
        dropped = {axis % max(len(size), 1) for axis in axes}
    remaining = [axis for axis in range(len(size)) if axis not in dropped]
    return call.emit("Reshape", [call.require_input(0)], axis_map={old: new for new, old in enumerate(remaining)})


def _unsqueeze(call: OnnxCall) -> list[Value]:
    rank = len(call.sizes[0])
    added = {axis % rank for axis in call.attr_or_input("axes", 1, ())}
    axis_map = dict(enumerate(axis for axis in range(rank) if axis not in added))
    return call.emit("Reshape", [call.require_input(0)], axis_map=axis_map)


def _slices(call: OnnxCall) -> list[Value]:
    """A node for each result, so that what is computed from one of them alone can be recognised."""
    data = call.require_input(0)
    axis_map = {axis: axis for axis in range(len(data.size))}
    return [call.emit("Slice", [data], {"part": True}, sizes=[size], axis_map=axis_map)[0] for size in call.sizes]


def _scatter_nd(call: OnnxCall) -> list[Value]:
    data, indices, updates = call.require_input(0), call.require_input(1), call.require_input(2)
    # indices must differ: everything is overwritten
    if prod(updates.size) == prod(data.size) and call.attr("reduction", "none") == "none":
        return call.emit("Reshape", [updates])
    return call.emit(SCATTERS.get(call.attr("reduction", "none"), "Scatter"), [data, updates, indices])


def _scatter_elements(call: OnnxCall) -> list[Value]:
    """Extrema of what is written to one place are reductions."""
    op = SCATTERS.get(call.attr("reduction", "none"), "Scatter")
    return call.emit(op, [call.require_input(place) for place in range(3)])


SCATTERS = {"max": "ReduceMax", "min": "ReduceMin"}  # others write

CONVERTERS: dict[str, OnnxConverter] = {
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Flatten"), _reshape),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    **dict.fromkeys(("Slice", "Split", "CenterCropPad"), _slices),
    **dict.fromkeys(("Expand", "Tile"), unary("Expand")),
    **dict.fromkeys(("Trilu", "ReverseSequence", "DepthToSpace", "SpaceToDepth"), unary("Shuffle")),
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
}
