"""Converters of TensorFlow operators that move elements: reshapes, transposes, slices, repetition."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Unpack

from frontends.common.tape import CallFields, ProvenanceHint

from .constant_folding import constant_ints
from .graph_def import TFTensor
from .graph_walk import Results, TFCall, TFConverter
from .provenance import ExpandedDim, RepeatInterleaveOf, ReshapeOf, TileOf


def _reshape(call: TFCall) -> Results:
    """Reshape and Squeeze; one that undoes the reshape before it is no operation."""
    before = call.inputs[0].provenance
    if isinstance(before, ReshapeOf) and before.source.size == call.size and call.inputs[0].value is None:
        return [before.source]
    source = _enlarged(call)
    if source is None:
        return [_deferred(call, "Reshape", ReshapeOf(call.inputs[0]), call.inputs[0])]
    num_spatial_dims = len(call.size) - 2
    hint = RepeatInterleaveOf(source)
    return [_deferred(call, "Resize", hint, source, attrs={"mode": "nearest"}, num_spatial_dims=num_spatial_dims)]


def _enlarged(call: TFCall) -> TFTensor | None:
    """The source of a nearest-neighbour resize that is written as an ExpandDims, a Tile and this reshape.

    An axis is inserted behind a spatial one, repeated, and merged into it.
    """
    tile = call.inputs[0].provenance
    if not isinstance(tile, TileOf) or call.inputs[0].value is not None:
        return None
    expanded = tile.source.provenance
    if not isinstance(expanded, ExpandedDim):
        return None
    axis, source = expanded.axis - 1, expanded.source
    factor, size = tile.multiples[expanded.axis], source.size
    other_multiples = {times for index, times in enumerate(tile.multiples) if index != expanded.axis}
    enlarged = tuple(n * factor if index == axis else n for index, n in enumerate(size))
    if other_multiples - {1} or not 0 < axis < len(size) - 1 or call.size != enlarged or size[axis] == 1:
        return None
    before = source.provenance
    return before.source if isinstance(before, RepeatInterleaveOf) and source.value is None else source


def _tile(call: TFCall) -> Results:
    multiples = constant_ints(call.inputs[1], "multiples", call.node)
    return [_deferred(call, "Expand", TileOf(call.inputs[0], multiples), call.inputs[0])]


def _expand_dims(call: TFCall) -> Results:
    axis = constant_ints(call.inputs[1], "axis", call.node)[0] % len(call.size)
    return [_deferred(call, "Reshape", ExpandedDim(call.inputs[0], axis), call.inputs[0])]


def _deferred(
    call: TFCall, op: str, provenance: ProvenanceHint, source: TFTensor, **fields: Unpack[CallFields]
) -> TFTensor:
    """The result of a movement that is written when it is first read, because its reader may undo it."""
    emit = call.deferred(lambda: call.emit(op, [call.importer.to_value(source)], **fields)[0])
    return TFTensor(call.size, source.dtype, deferred_value=emit, provenance=provenance)


def _transpose(call: TFCall) -> Results:
    order = constant_ints(call.inputs[1], "permutation", call.node)
    if order == tuple(range(len(order))):
        return [call.inputs[0]]
    return call.emit_inputs("Transpose", 0, axis_map={old: new for new, old in enumerate(order)})


def _strided_slice(call: TFCall) -> Results:
    return call.emit_inputs("Slice", 0, axis_map=_strided_slice_axes(call))


def _strided_slice_axes(call: TFCall) -> dict[int, int]:
    """Old axis -> new axis of `x[a:b, i, None, ...]`; indexed axes disappear."""
    num_entries, rank = prod(call.inputs[1].size), len(call.inputs[0].size)
    masks = {name: int(call.attr(f"{name}_mask")) for name in ("ellipsis", "new_axis", "shrink_axis")}
    num_explicit = sum(not (masks["new_axis"] | masks["ellipsis"]) >> entry & 1 for entry in range(num_entries))
    axis_map: dict[int, int] = {}
    old = new = 0
    for entry in range(num_entries):
        if masks["ellipsis"] >> entry & 1:
            for _ in range(rank - num_explicit):
                axis_map[old] = new
                old, new = old + 1, new + 1
        elif masks["new_axis"] >> entry & 1:
            new += 1
        else:
            if not masks["shrink_axis"] >> entry & 1:
                axis_map[old] = new
                new += 1
            old += 1
    axis_map.update((axis, axis - old + new) for axis in range(old, rank))
    return axis_map


def _split(slot: int) -> TFConverter:
    """Slices of the operand in a slot, each a node of its own: they differ in what reads them."""

    def convert(call: TFCall) -> Results:
        return _slices(call, slot, {axis: axis for axis in range(len(call.inputs[slot].size))})

    return convert


def _unpack(call: TFCall) -> Results:
    rank = len(call.inputs[0].size)
    axis = int(call.attr("axis")) % rank
    return _slices(call, 0, {old: old - (old > axis) for old in range(rank) if old != axis})


def _slices(call: TFCall, slot: int, axis_map: Mapping[int, int]) -> Results:
    """A Slice node for each result."""
    value = call.value(slot)
    return [call.tape.apply("Slice", call.name, [value], [size], axis_map=axis_map)[0] for size in call.sizes]


def _pack(call: TFCall) -> Results:
    axis = int(call.attr("axis")) % len(call.size)
    return call.emit_inputs("Concat", axis_map={old: old + (old >= axis) for old in range(len(call.size) - 1)})


def _concat(call: TFCall) -> Results:
    return call.emit_inputs("Concat", *range(len(call.inputs) - 1))


def unary(op: str) -> TFConverter:
    """A converter of operators whose first operand is their only data; the others are settings."""
    return lambda call: call.emit_inputs(op, 0)


_SHUFFLES = ("ReverseV2", "MatrixBandPart", "SpaceToDepth", "DepthToSpace", "Roll", "Reverse")
CONVERTERS: dict[str, TFConverter] = {
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "ExpandDims": _expand_dims,
    "Transpose": _transpose,
    "Tile": _tile,
    "Slice": unary("Slice"),
    "StridedSlice": _strided_slice,
    "Split": _split(1),
    "SplitV": _split(0),
    "Unpack": _unpack,
    "Pack": _pack,
    "ConcatV2": _concat,
    **dict.fromkeys(_SHUFFLES, unary("Shuffle")),
    "BroadcastTo": unary("Expand"),
}
