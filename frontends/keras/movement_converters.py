"""Converters of Keras operations that move, copy, join or resize tensors."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from cgir.graph import Attr
from frontends.common.tape import Size, Value

from .graph_walk import KerasConverter, KerasImporter, TensorLike, Values


def _stack(importer: KerasImporter, operation: keras.Operation, tensors: Sequence[TensorLike]) -> Value:
    """Tensors along a new axis."""
    values = [importer.to_value(tensor) for tensor in tensors]
    size: Size = tuple(importer.result_specs(operation, values)[0].shape)
    new_axis = operation.axis % len(size)
    return importer.emit(
        "Concat",
        operation.name,
        values,
        size,
        axis_map={axis: axis + (axis >= new_axis) for axis in range(len(size) - 1)},
    )


def _transpose(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
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
        remaining = iter(axis for axis in order if axis not in pairs[0])
        source_of = dict(zip(pairs[1], pairs[0], strict=True))
        order = [source_of[axis] if axis in source_of else next(remaining) for axis in order]
    else:
        order = [axis % len(order) for axis in operation.axes] if operation.axes else order[::-1]
    return importer.transpose(value, order)


def _reshape(importer: KerasImporter, operation: keras.Operation, value: Value, **_: object) -> Value:
    """Reshapes, with axes of size 1 added or dropped among them."""
    return importer.reshape(value, tuple(importer.result_specs(operation, value)[0].shape))


def _expand(importer: KerasImporter, operation: keras.Operation, value: Value, *args: object) -> Value:
    """Broadcasting and repetition along axes, aligned at the last one."""
    size = tuple(importer.result_specs(operation, value, *args)[0].shape)
    shift = len(size) - len(value.size)
    return importer.emit(
        "Expand",
        operation.name,
        [value],
        size,
        axis_map={axis: axis + shift for axis in range(len(value.size)) if axis + shift >= 0},
    )


def _slices(
    importer: KerasImporter, operation: keras.Operation, value: Value, *args: object, **named: object
) -> Values:
    """Parts of a tensor; `Unstack` removes the axis."""
    removed = operation.axis % len(value.size) if type(operation).__name__ == "Unstack" else None
    kept = [axis for axis in range(len(value.size)) if axis != removed]
    axes = {old: new for new, old in enumerate(kept)}
    specs = importer.result_specs(operation, value, *args, **named)
    values = [importer.emit("Slice", operation.name, [value], tuple(spec.shape), axis_map=axes) for spec in specs]
    return values[0] if type(operation).__name__ == "Slice" else values


def _getitem(importer: KerasImporter, operation: keras.Operation, value: Value, key: object) -> Value:
    """`x[key]` of slices, integers, None and an ellipsis; tensors among them are gathered.

    A key that is a list is a tuple, to Keras and in its files.
    """
    size = tuple(importer.result_specs(operation, value, key)[0].shape)
    items = list(key) if isinstance(key, tuple | list) else [key]
    tensors = [importer.to_value(item) for item in items if hasattr(item, "size") and not isinstance(item, slice)]
    if tensors or any(isinstance(item, list) for item in items):
        return importer.emit("Gather", operation.name, [value, *tensors], size)
    consumed = sum(item is not None and item is not Ellipsis for item in items)
    ellipsis = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    items[ellipsis : ellipsis + 1] = [slice(None)] * (len(value.size) - consumed)
    axis_map: dict[int, int] = {}
    old = new = 0
    for item in items:
        if isinstance(item, slice):
            axis_map[old] = new
        old += item is not None
        new += item is None or isinstance(item, slice)
    return importer.emit("Slice", operation.name, [value], size, axis_map=axis_map)


def _pad(
    importer: KerasImporter, operation: keras.Operation, value: Value, constant_values: float | None = None
) -> Value:
    """Padding of any axes in any mode."""
    size: Size = tuple(importer.result_specs(operation, value)[0].shape)
    pairs = operation.pad_width
    pairs = (pairs,) * len(size) if isinstance(pairs, int) else tuple(pairs)
    pairs = tuple((pair, pair) if isinstance(pair, int) else tuple(pair) for pair in pairs)
    pairs = pairs * len(size) if len(pairs) == 1 else pairs
    attrs: dict[str, Attr] = {"padding": tuple((int(a), int(b)) for a, b in pairs), "mode": operation.mode}
    if operation.mode == "constant":
        attrs["value"] = float(constant_values or 0)
    return importer.emit("Pad", operation.name, [value], size, attrs=attrs)


def _resize(importer: KerasImporter, operation: keras.Operation, value: Value) -> Value:
    """Resizing of images."""
    last = (operation.data_format or keras.config.image_data_format()) == "channels_last"
    return importer.emit(
        "Resize",
        operation.name,
        [value],
        tuple(importer.result_specs(operation, value)[0].shape),
        attrs={"mode": operation.interpolation},
        channels_last=last,
    )


MOVEMENT_CONVERTERS: dict[str, KerasConverter] = {
    **dict.fromkeys(("Transpose", "Swapaxes", "Moveaxis"), _transpose),
    **dict.fromkeys(("Reshape", "Squeeze", "ExpandDims", "Ravel"), _reshape),
    **dict.fromkeys(("BroadcastTo", "Repeat", "Tile"), _expand),
    **dict.fromkeys(("Split", "ArraySplit", "Unstack", "Slice"), _slices),
    "GetItem": _getitem, "Stack": _stack, "Pad": _pad, "Resize": _resize,
}  # fmt: skip
