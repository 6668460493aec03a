"""Converters of Keras layers without weights: pooling, resizing, reshaping, merging, regularisation, preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import keras

from cgir.graph import Attr
from frontends.common.tape import Size, Value

from .graph_walk import IntOrInts, KerasConverter, KerasImporter
from .layer_converters import channels_last, spatial_part, window_padding

# --- pooling


def _pool(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Max and average pooling; averages leave padding out."""
    return emit_pool(
        importer,
        layer,
        value,
        layer.pool_mode == "max",
        layer.pool_size,
        layer.strides,
        layer.padding,
        channels_last(layer),
    )


def emit_pool(
    importer: KerasImporter,
    operation: keras.Operation,
    value: Value,
    is_max: bool,
    kernel: IntOrInts,
    stride: IntOrInts | None,
    padding: str,
    last: bool,
) -> Value:
    """Append a pooling node.

    Args:
        importer: of the model.
        operation: the layer or Keras operation, which infers the shape of its result.
        value: its input.
        is_max: maximum instead of average.
        kernel: of the window.
        stride: of the window, that of the kernel if None.
        padding: "valid" or "same".
        last: whether the channels are on the last axis.
    """
    rank = len(value.size) - 2
    kernel, stride = (tuple(n) if isinstance(n, Sequence) else (n,) * rank for n in (kernel, stride or kernel))
    pairs = window_padding(spatial_part(value.size, last), kernel, stride, (1,) * rank, padding)
    attrs: dict[str, Attr] = {"kernel": kernel, "stride": stride, "padding": pairs}
    if is_max:
        attrs["dilation"] = (1,) * rank
    elif any(map(any, pairs)):
        attrs["include_pad"] = False
    size = tuple(importer.result_specs(operation, value)[0].shape)
    return importer.emit(
        "MaxPool" if is_max else "AvgPool", operation.name, [value], size, attrs=attrs, channels_last=last
    )


def _global_pool(op: str) -> KerasConverter:
    """Pooling over all positions, which removes the window axes unless they are kept."""

    def convert(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
        last, rank = channels_last(layer), len(value.size)
        size = tuple(layer.compute_output_shape(value.size))
        axes = None if len(size) == rank else {0: 0, (rank - 1 if last else 1): 1}
        return importer.emit(
            op, layer.name, [value], size, layout_op="AdaptiveAvgPool", axis_map=axes, channels_last=last
        )

    return convert


def _adaptive_pool(op: str) -> KerasConverter:
    """Pooling to a given size."""
    return lambda importer, layer, value: importer.emit(
        op, layer.name, [value], tuple(layer.compute_output_shape(value.size)), channels_last=channels_last(layer)
    )


# --- padding, cropping, resizing


def _zero_padding(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Padding of the window axes with zeros."""
    pairs = layer.padding if isinstance(layer.padding[0], Sequence) else (layer.padding,)
    pairs = tuple((int(a), int(b)) for a, b in pairs)
    last = channels_last(layer)
    padding = ((0, 0), *pairs, (0, 0)) if last else ((0, 0), (0, 0), *pairs)
    attrs = {"padding": padding, "mode": "constant", "value": 0.0}
    return importer.emit(
        "Pad", layer.name, [value], tuple(layer.compute_output_shape(value.size)), attrs=attrs, channels_last=last
    )


def _resize(mode: Callable[[keras.Layer], str]) -> KerasConverter:
    """Resizing in a mode."""
    return lambda importer, layer, value: importer.emit(
        "Resize",
        layer.name,
        [value],
        tuple(layer.compute_output_shape(value.size)),
        attrs={"mode": mode(layer)},
        channels_last=_image_channels_last(layer),
    )


def _image_channels_last(layer: keras.Layer) -> bool:
    """Whether a layer of images has its channels on the last axis, which is its default."""
    return getattr(layer, "data_format", "channels_last") in ("channels_last", None)


def _center_crop(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """The middle of an image, or the image resized where it is too small."""
    size = tuple(layer.compute_output_shape(value.size))
    is_cut = all(after <= before for before, after in zip(value.size, size, strict=True))
    if is_cut:
        return _emit_in_place(importer, "Slice", layer, value, size)
    return importer.emit(
        "Resize", layer.name, [value], size, attrs={"mode": "bilinear"}, channels_last=_image_channels_last(layer)
    )


# --- reshaping


def _emit_in_place(importer: KerasImporter, op: str, layer: keras.Layer, value: Value, size: Size) -> Value:
    """Append a node that keeps every axis in its place."""
    return importer.emit(
        op,
        layer.name,
        [value],
        size,
        axis_map={axis: axis for axis in range(len(size))},
        channels_last=_image_channels_last(layer),
    )


def _cropping(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """A part of every window axis."""
    return _emit_in_place(importer, "Slice", layer, value, tuple(layer.compute_output_shape(value.size)))


def _reshape(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """A reshape of each example."""
    return importer.emit("Reshape", layer.name, [value], tuple(importer.result_specs(layer, value)[0].shape))


def _flatten(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """All elements of an example on one axis, the channels last."""
    if layer.data_format == "channels_first" and len(value.size) > 2:
        value = importer.transpose(value, (0, *range(2, len(value.size)), 1))
    return importer.emit("Reshape", layer.name, [value], (value.size[0], prod(value.size[1:])))


def _permute(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """The axes of an example in another order."""
    return importer.transpose(value, (0, *layer.dims))


def _repeat_vector(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """A vector repeated along a new axis."""
    return importer.emit(
        "Expand", layer.name, [value], (value.size[0], layer.n, *value.size[1:]), axis_map={0: 0, 1: 2}
    )


# --- merging


def _merge(op: str) -> KerasConverter:
    """A binary operator over two or more tensors, from the left; their ranks may differ."""

    def convert(importer: KerasImporter, layer: keras.Layer, values: Sequence[Value]) -> Value:
        if len({len(value.size) for value in values}) > 1:
            result: Value = importer.trace_code(layer.call, list(values))
            return result
        out = values[0]
        for value in values[1:]:
            out = importer.emit(
                op, layer.name, [out, value], tuple(max(pair) for pair in zip(out.size, value.size, strict=True))
            )
        if type(layer).__name__ != "Average":
            return out
        return importer.emit_unary("Mul", "scale", out, attrs={"scalar": 1 / len(values)})

    return convert


def _concatenate(importer: KerasImporter, layer: keras.Layer, values: Sequence[Value]) -> Value:
    """Concatenation along an axis."""
    return importer.emit(
        "Concat", layer.name, list(values), tuple(layer.compute_output_shape([value.size for value in values]))
    )


# --- regularisation and preprocessing


def _unary(op: str) -> KerasConverter:
    """Layers that do nothing at inference."""
    return lambda importer, layer, value, *_, **__: importer.emit_unary(op, layer.name, value)


def _augmentation(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """Random changes of images, which are off at inference; opaque if the layer changes the size."""
    size = tuple(importer.result_specs(layer, value)[0].shape)
    if size == value.size:
        return importer.emit_unary("Identity", layer.name, value)
    result: Value = importer.emit_opaque(layer, value)[0]
    return result


def _rescaling(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """A scale and an offset, numbers or one per channel."""
    out = value
    for op, factor in (("Mul", layer.scale), ("Add", layer.offset)):
        if isinstance(factor, int | float):
            out = importer.emit_unary(op, op.lower(), out, attrs={"scalar": float(factor)})
        else:
            constant = importer.tape.constant("constant", (len(factor),))
            out = importer.emit(op, op.lower(), [out, constant], out.size)
    return out


def _normalization(importer: KerasImporter, layer: keras.Layer, value: Value) -> Value:
    """The mean subtracted, divided by the standard deviation, which are constants; or the inverse."""
    mean, std = (importer.tape.constant(name, tuple(layer.mean.shape)) for name in ("mean", "deviation"))
    first, second = (("Mul", std), ("Add", mean)) if layer.invert else (("Sub", mean), ("Div", std))
    out = importer.emit(first[0], first[0].lower(), [value, first[1]], value.size)
    return importer.emit(second[0], second[0].lower(), [out, second[1]], value.size)


_AUGMENTATIONS = [name for name in dir(keras.layers) if name.startswith("Random")]
_AUGMENTATIONS += ["AugMix", "CutMix", "MixUp", "RandAugment", "Solarization"]
_DROPOUTS = (
    "Dropout BaseSpatialDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise "
    "AlphaDropout"
)
_POOLS = (("Average", "Avg"), ("Max", "Max"))
_DIMS = (1, 2, 3)
_MERGES = {
    "Add": "Add",
    "Average": "Add",
    "Multiply": "Mul",
    "Maximum": "Maximum",
    "Minimum": "Minimum",
    "Subtract": "Sub",
}

LAYER_CONVERTERS: dict[str, KerasConverter] = {
    "BasePooling": _pool,
    **{f"Global{kind}Pooling{n}D": _global_pool(f"Global{op}Pool") for kind, op in _POOLS for n in _DIMS},
    **{f"Adaptive{kind}Pooling{n}D": _adaptive_pool(f"Adaptive{op}Pool") for kind, op in _POOLS for n in _DIMS},
    **{f"ZeroPadding{n}D": _zero_padding for n in _DIMS},
    **{f"Cropping{n}D": _cropping for n in _DIMS},
    **{f"UpSampling{n}D": _resize(lambda layer: getattr(layer, "interpolation", "nearest")) for n in _DIMS},
    "Resizing": _resize(lambda layer: layer.interpolation),
    "CenterCrop": _center_crop,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Permute": _permute,
    "RepeatVector": _repeat_vector,
    **{name: _merge(op) for name, op in _MERGES.items()},
    "Concatenate": _concatenate,
    "Identity": _unary("Identity"),
    "ActivityRegularization": _unary("Identity"),
    **dict.fromkeys(_DROPOUTS.split(), _unary("Dropout")),
    **dict.fromkeys(_AUGMENTATIONS, _augmentation),
    "Rescaling": _rescaling,
    "Normalization": _normalization,
}
