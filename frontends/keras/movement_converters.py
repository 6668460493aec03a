"""Converters of Keras operations that move, copy, join or resize tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from cgir.graph import Attr
from frontends.common.tape import Size, Value

from .importer import Walk


def stacked(walk: Walk, operation: Any, values: Sequence[Any]) -> Value:
    """Tensors along a new axis."""
    values = [walk.value(value) for value in values]
    size: Size = tuple(walk.specs(operation, values)[0].shape)
    place = operation.axis % len(size)
    return walk.apply(
        "Concat", operation.name, values, size, axis_map={axis: axis + (axis >= place) for axis in range(len(size) - 1)}
    )


def transposed(walk: Walk, operation: Any, value: Value) -> Value:
    """Permutations, however they are given."""
    order = list(range(len(value.size)))
    name = type(operation).__name__
    if name == "Swapaxes":
        order[operation.axis1], order[operation.axis2] = order[operation.axis2], order[operation.axis1]
    elif name == "Moveaxis":
        pairs = [
            [axis % len(order) for axis in (axes if isinstance(axes, Sequence) else [axes])]
            for axes in (operation.source, operation.destination)
        ]
        rest = iter(axis for axis in order if axis not in pairs[0])
        place = dict(zip(pairs[1], pairs[0], strict=True))
        order = [place[axis] if axis in place else next(rest) for axis in order]
    else:
        order = [axis % len(order) for axis in operation.axes] if operation.axes else order[::-1]
    return walk.transpose(value, order)


def reshaped(walk: Walk, operation: Any, value: Value, **_: Any) -> Value:
    """Another shape for the same elements."""
    return walk.reshape(value, tuple(walk.specs(operation, value)[0].shape))


def expanded(walk: Walk, operation: Any, value: Value, *rest: Any) -> Value:
    """Copies along axes, aligned at the last one."""
    size = tuple(walk.specs(operation, value, *rest)[0].shape)
    shift = len(size) - len(value.size)
    return walk.apply(
        "Expand",
        operation.name,
        [value],
        size,
        axis_map={axis: axis + shift for axis in range(len(value.size)) if axis + shift >= 0},
    )


def pieces(walk: Walk, operation: Any, value: Value, *rest: Any, **named: Any) -> Any:
    """Parts of a tensor; `Unstack` removes the axis."""
    gone = operation.axis % len(value.size) if type(operation).__name__ == "Unstack" else None
    kept = [axis for axis in range(len(value.size)) if axis != gone]
    axes = {old: new for new, old in enumerate(kept)}
    specs = walk.specs(operation, value, *rest, **named)
    values = [walk.apply("Slice", operation.name, [value], tuple(spec.shape), axis_map=axes) for spec in specs]
    return values[0] if type(operation).__name__ == "Slice" else values


def getitem(walk: Walk, operation: Any, value: Value, key: Any) -> Value:
    """`x[key]` of slices, integers, None and an ellipsis; tensors among them are gathered."""
    size = tuple(walk.specs(operation, value, key)[0].shape)
    items = list(key) if isinstance(key, tuple) else [key]
    tensors = [walk.value(item) for item in items if hasattr(item, "size") and not isinstance(item, slice)]
    if tensors or any(isinstance(item, list) for item in items):
        return walk.apply("Gather", operation.name, [value, *tensors], size)
    consumed = sum(item is not None and item is not Ellipsis for item in items)
    place = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    items[place : place + 1] = [slice(None)] * (len(value.size) - consumed)
    axes: dict[int, int] = {}
    old = new = 0
    for item in items:
        if isinstance(item, slice):
            axes[old] = new
        old += item is not None
        new += item is None or isinstance(item, slice)
    return walk.apply("Slice", operation.name, [value], size, axis_map=axes)


def padded(walk: Walk, operation: Any, value: Value, constant_values: Any = None) -> Value:
    """Padding of any axes in any mode."""
    size: Size = tuple(walk.specs(operation, value)[0].shape)
    pairs = operation.pad_width
    pairs = (pairs,) * len(size) if isinstance(pairs, int) else tuple(pairs)
    pairs = tuple((pair, pair) if isinstance(pair, int) else tuple(pair) for pair in pairs)
    pairs = pairs * len(size) if len(pairs) == 1 else pairs
    attrs: dict[str, Attr] = {"padding": tuple((int(a), int(b)) for a, b in pairs), "mode": operation.mode}
    if operation.mode == "constant":
        attrs["value"] = float(constant_values or 0)
    return walk.apply("Pad", operation.name, [value], size, attrs=attrs)


def resize(walk: Walk, operation: Any, value: Value) -> Value:
    """Images in another size."""
    last = (operation.data_format or keras.config.image_data_format()) == "channels_last"
    return walk.apply(
        "Resize",
        operation.name,
        [value],
        tuple(walk.specs(operation, value)[0].shape),
        attrs={"mode": operation.interpolation},
        channels_last=last,
    )


MOVES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("Transpose", "Swapaxes", "Moveaxis"), transposed), **dict.fromkeys(("Reshape", "Squeeze", "ExpandDims", "Ravel"), reshaped),
    **dict.fromkeys(("BroadcastTo", "Repeat", "Tile"), expanded), **dict.fromkeys(("Split", "ArraySplit", "Unstack", "Slice"), pieces),
    "GetItem": getitem, "Stack": stacked, "Pad": padded, "Resize": resize,
}  # fmt: skip
