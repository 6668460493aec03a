"""Operators of TensorFlow that move elements about: reshapes, transposes, slices, repetition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Unpack

from frontends.common.tape import CallFields, ProvenanceHint, Value

from .graph_def import Item
from .graph_walk import Call
from .layer_converters import ExpandedDim, ReshapeOf
from .shape_inference import numbers

Result = Sequence[Value | Item]


@dataclass(frozen=True, slots=True)
class TileOf(ProvenanceHint):
    """A tensor repeated along its axes: the tensor before, and how often."""

    source: Item
    times: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RepeatInterleaveOf(ProvenanceHint):
    """A tensor whose elements are repeated one by one along spatial axes, as enlarging to the nearest pixel is written:
    the tensor before.
    """

    source: Item


def _reshape(call: Call) -> Result:
    source = _enlarged(call)
    if source is not None:
        return [
            _later(
                call,
                "Resize",
                RepeatInterleaveOf(source),
                source,
                attrs={"mode": "nearest"},
                num_spatial_dims=len(call.size) - 2,
            )
        ]
    return [_later(call, "Reshape", ReshapeOf(call.items[0]))]


def _enlarged(call: Call) -> Item | None:
    """The tensor of which this reshape ends an enlargement: an axis was put in behind a spatial one, repeated, and is
    merged into it now.
    """
    tiled = call.items[0].provenance
    if not isinstance(tiled, TileOf) or call.items[0].value is not None:
        return None
    wide = tiled.source.provenance
    if not isinstance(wide, ExpandedDim):
        return None
    axis, size = wide.axis - 1, wide.source.size
    once = tuple(1 if place == wide.axis else times for place, times in enumerate(tiled.times))
    grown = tuple(n * tiled.times[wide.axis] if place == axis else n for place, n in enumerate(size))
    if set(once) != {1} or not 0 < axis < len(size) - 1 or call.size != grown or size[axis] == 1:
        return None
    before = wide.source
    return (
        before.provenance.source
        if isinstance(before.provenance, RepeatInterleaveOf) and before.value is None
        else before
    )


def _tile(call: Call) -> Result:
    return [_later(call, "Expand", TileOf(call.items[0], numbers(call.items[1], "multiples", call.node)))]


def _expand_dims(call: Call) -> Result:
    axis = numbers(call.items[1], "axis", call.node)[0] % len(call.size)
    return [_later(call, "Reshape", ExpandedDim(call.items[0], axis))]


def _later(
    call: Call, op: str, provenance: ProvenanceHint, source: Item | None = None, **fields: Unpack[CallFields]
) -> Item:
    """A movement that is written when somebody reads it, because what reads it may undo it."""
    before = call.items[0] if source is None else source
    return Item(
        call.size,
        before.dtype,
        make=call.later(lambda: call.emit(op, [call.walk.value(before)], **fields)[0]),
        provenance=provenance,
    )


def _transpose(call: Call) -> Result:
    order = numbers(call.items[1], "permutation", call.node)
    if order == tuple(range(len(order))):
        return [call.items[0]]
    axes = {old: new for new, old in enumerate(order)}
    return list(call.plain("Transpose", 0, axis_map=axes))


def _slice(call: Call) -> Result:
    return list(call.plain("Slice", 0))


def _strided_slice(call: Call) -> Result:
    return list(call.plain("Slice", 0, axis_map=_sliced_axes(call)))


def _sliced_axes(call: Call) -> dict[int, int]:
    """Old axis -> new axis of x[a:b, i, None, ...]; axes taken at one place are gone."""
    entries = prod(call.items[1].size)
    masks = {name: int(call.attr(f"{name}_mask")) for name in ("ellipsis", "new_axis", "shrink_axis")}
    spelled = sum(not (masks["new_axis"] | masks["ellipsis"]) >> i & 1 for i in range(entries))
    axes: dict[int, int] = {}
    old = new = 0
    for i in range(entries):
        if masks["ellipsis"] >> i & 1:
            for _ in range(len(call.items[0].size) - spelled):
                axes[old] = new
                old, new = old + 1, new + 1
        elif masks["new_axis"] >> i & 1:
            new += 1
        else:
            if not masks["shrink_axis"] >> i & 1:
                axes[old] = new
                new += 1
            old += 1
    axes.update((axis, axis - old + new) for axis in range(old, len(call.items[0].size)))
    return axes


def _split(data: int) -> Callable[[Call], Result]:
    """Pieces of a tensor, each a node of its own: they differ in what reads them."""

    def convert(call: Call) -> Result:
        tape, value = call.walk.tape, call.value(data)
        same = {axis: axis for axis in range(len(value.size))}
        return [tape.apply("Slice", call.name, [value], [size], axis_map=same)[0] for size in call.sizes]

    return convert


def _unpack(call: Call) -> Result:
    axis = int(call.attr("axis")) % len(call.items[0].size)
    axes = {old: old - (old > axis) for old in range(len(call.items[0].size)) if old != axis}
    return [call.walk.tape.apply("Slice", call.name, [call.value(0)], [size], axis_map=axes)[0] for size in call.sizes]


def _pack(call: Call) -> Result:
    axis = int(call.attr("axis")) % len(call.size)
    return list(call.plain("Concat", axis_map={old: old + (old >= axis) for old in range(len(call.size) - 1)}))


def _concat(call: Call) -> Result:
    return list(call.plain("Concat", *range(len(call.items) - 1)))


def first(op: str) -> Callable[[Call], Result]:
    """Only the first operand is data; the rest are settings."""
    return lambda call: list(call.plain(op, 0))


CONVERTERS: dict[str, Callable[[Call], Result]] = {
    "Reshape": _reshape, "Squeeze": _reshape, "ExpandDims": _expand_dims, "Transpose": _transpose, "Tile": _tile,
    "Slice": _slice, "StridedSlice": _strided_slice, "Split": _split(1), "SplitV": _split(0), "Unpack": _unpack, "Pack": _pack, "ConcatV2": _concat,
    **dict.fromkeys(("ReverseV2", "MatrixBandPart", "SpaceToDepth", "DepthToSpace", "Roll", "Reverse"), first("Shuffle")), "BroadcastTo": first("Expand"),
}  # fmt: skip
