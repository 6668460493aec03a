"""Converters of Keras layers without weights: pooling, padding, resizing, reshaping, merging, regularisation and
preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import keras

from frontends.common.tape import Size, Value

from .importer import Walk
from .layer_converters import is_last, spatial, windows

# --- pooling


def pool(walk: Walk, layer: Any, value: Value) -> Value:
    """Max and average pooling; averages leave padding out."""
    return pooled(
        walk, layer, value, layer.pool_mode == "max", layer.pool_size, layer.strides, layer.padding, is_last(layer)
    )


def pooled(
    walk: Walk, operation: Any, value: Value, largest: bool, kernel: Any, stride: Any, padding: str, last: bool
) -> Value:
    """A pooling node; `operation` is a layer or a Keras operation, which knows its output's shape."""
    rank = len(value.size) - 2
    kernel, stride = (tuple(n) if isinstance(n, Sequence) else (n,) * rank for n in (kernel, stride or kernel))
    pairs = windows(spatial(value.size, last), kernel, stride, (1,) * rank, padding)
    attrs: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": pairs}
    if largest:
        attrs["dilation"] = (1,) * rank
    elif any(map(any, pairs)):
        attrs["include_pad"] = False
    size = tuple(walk.specs(operation, value)[0].shape)
    return walk.apply(
        "MaxPool" if largest else "AvgPool", operation.name, [value], size, attrs=attrs, channels_last=last
    )


def global_pool(op: str) -> Callable[..., Value]:
    """Pooling over all positions, which removes the window axes unless they are kept."""

    def convert(walk: Walk, layer: Any, value: Value) -> Value:
        last, rank = is_last(layer), len(value.size)
        size = tuple(layer.compute_output_shape(value.size))
        axes = None if len(size) == rank else {0: 0, (rank - 1 if last else 1): 1}
        return walk.apply(op, layer.name, [value], size, layout_op="AdaptiveAvgPool", axis_map=axes, channels_last=last)

    return convert


def adaptive_pool(op: str) -> Callable[..., Value]:
    """Pooling to a given size."""
    return lambda walk, layer, value: walk.apply(
        op, layer.name, [value], tuple(layer.compute_output_shape(value.size)), channels_last=is_last(layer)
    )


# --- padding, cropping, resizing


def zero_padding(walk: Walk, layer: Any, value: Value) -> Value:
    """Zeros around the window axes."""
    pairs = layer.padding if isinstance(layer.padding[0], Sequence) else (layer.padding,)
    pairs = tuple((int(a), int(b)) for a, b in pairs)
    last = is_last(layer)
    every = ((0, 0), *pairs, (0, 0)) if last else ((0, 0), (0, 0), *pairs)
    attrs = {"padding": every, "mode": "constant", "value": 0.0}
    return walk.apply(
        "Pad", layer.name, [value], tuple(layer.compute_output_shape(value.size)), attrs=attrs, channels_last=last
    )


def resized(mode: Callable[[Any], str]) -> Callable[..., Value]:
    """Resizing in a mode."""
    return lambda walk, layer, value: walk.apply(
        "Resize",
        layer.name,
        [value],
        tuple(layer.compute_output_shape(value.size)),
        attrs={"mode": mode(layer)},
        channels_last=_format(layer),
    )


def _format(layer: Any) -> bool:
    return getattr(layer, "data_format", "channels_last") in ("channels_last", None)


def center_crop(walk: Walk, layer: Any, value: Value) -> Value:
    """The middle of an image, or the image resized where it is too small."""
    size = tuple(layer.compute_output_shape(value.size))
    cut = all(after <= before for before, after in zip(value.size, size, strict=True))
    if cut:
        return _kept(walk, "Slice", layer, value, size)
    return walk.apply("Resize", layer.name, [value], size, attrs={"mode": "bilinear"}, channels_last=_format(layer))


# --- reshaping


def _kept(walk: Walk, op: str, layer: Any, value: Value, size: Size) -> Value:
    """A node that keeps every axis in its place."""
    return walk.apply(
        op, layer.name, [value], size, axis_map={axis: axis for axis in range(len(size))}, channels_last=_format(layer)
    )


def cropping(walk: Walk, layer: Any, value: Value) -> Value:
    """A part of every window axis."""
    return _kept(walk, "Slice", layer, value, tuple(layer.compute_output_shape(value.size)))


def reshape(walk: Walk, layer: Any, value: Value) -> Value:
    """Another shape for each example."""
    return walk.apply("Reshape", layer.name, [value], tuple(walk.specs(layer, value)[0].shape))


def flatten(walk: Walk, layer: Any, value: Value) -> Value:
    """Everything of an example in one axis, the channels last."""
    if layer.data_format == "channels_first" and len(value.size) > 2:
        value = walk.transpose(value, (0, *range(2, len(value.size)), 1))
    return walk.apply("Reshape", layer.name, [value], (value.size[0], prod(value.size[1:])))


def permute(walk: Walk, layer: Any, value: Value) -> Value:
    """The axes of an example in another order."""
    return walk.transpose(value, (0, *layer.dims))


def repeat_vector(walk: Walk, layer: Any, value: Value) -> Value:
    """A vector several times."""
    return walk.apply("Expand", layer.name, [value], (value.size[0], layer.n, *value.size[1:]), axis_map={0: 0, 1: 2})


# --- merging


def merge(op: str) -> Callable[..., Value]:
    """A binary operator over two or more tensors, from the left; their ranks may differ."""

    def convert(walk: Walk, layer: Any, values: Sequence[Value]) -> Value:
        if len({len(value.size) for value in values}) > 1:
            entered: Value = walk.enter(layer.call, list(values))
            return entered
        out = values[0]
        for value in values[1:]:
            out = walk.apply(
                op, layer.name, [out, value], tuple(max(pair) for pair in zip(out.size, value.size, strict=True))
            )
        return (
            walk.same("Mul", "scale", out, attrs={"scalar": 1 / len(values)})
            if type(layer).__name__ == "Average"
            else out
        )

    return convert


def concatenate(walk: Walk, layer: Any, values: Sequence[Value]) -> Value:
    """Tensors behind one another along an axis."""
    return walk.apply(
        "Concat", layer.name, list(values), tuple(layer.compute_output_shape([value.size for value in values]))
    )


# --- regularisation and preprocessing


def same(op: str) -> Callable[..., Value]:
    """Layers that do nothing at inference."""
    return lambda walk, layer, value, *_, **__: walk.same(op, layer.name, value)


def augmentation(walk: Walk, layer: Any, value: Value) -> Value:
    """Random changes of images are off at inference; a layer that changes the size is no identity."""
    size = tuple(walk.specs(layer, value)[0].shape)
    if size == value.size:
        return walk.same("Identity", layer.name, value)
    result: Value = walk.opaque(layer, value)[0]
    return result


def rescaling(walk: Walk, layer: Any, value: Value) -> Value:
    """A scale and an offset, numbers or one per channel."""
    out = value
    for op, factor in (("Mul", layer.scale), ("Add", layer.offset)):
        if isinstance(factor, int | float):
            out = walk.same(op, op.lower(), out, attrs={"scalar": float(factor)})
        else:
            constant = walk.tape.constant("constant", (len(factor),))
            out = walk.apply(op, op.lower(), [out, constant], out.size)
    return out


def normalization(walk: Walk, layer: Any, value: Value) -> Value:
    """The mean subtracted, divided by the deviation, which are constants; or the inverse."""
    mean, deviation = (walk.tape.constant(name, tuple(layer.mean.shape)) for name in ("mean", "deviation"))
    first, second = (("Mul", deviation), ("Add", mean)) if layer.invert else (("Sub", mean), ("Div", deviation))
    out = walk.apply(first[0], first[0].lower(), [value, first[1]], value.size)
    return walk.apply(second[0], second[0].lower(), [out, second[1]], value.size)


_AUGMENTATIONS = [name for name in dir(keras.layers) if name.startswith("Random")]
_AUGMENTATIONS += ["AugMix", "CutMix", "MixUp", "RandAugment", "Solarization"]
_DROPOUTS = "Dropout BaseSpatialDropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout"
_MERGES = {
    "Add": "Add",
    "Average": "Add",
    "Multiply": "Mul",
    "Maximum": "Maximum",
    "Minimum": "Minimum",
    "Subtract": "Sub",
}

LAYER_CONVERTERS: dict[str, Callable[..., Any]] = {
    "BasePooling": pool,
    **{f"Global{kind}Pooling{n}D": global_pool(f"Global{op}Pool") for kind, op in (("Average", "Avg"), ("Max", "Max")) for n in (1, 2, 3)},
    **{f"Adaptive{kind}Pooling{n}D": adaptive_pool(f"Adaptive{op}Pool") for kind, op in (("Average", "Avg"), ("Max", "Max")) for n in (1, 2, 3)},
    **{f"ZeroPadding{n}D": zero_padding for n in (1, 2, 3)}, **{f"Cropping{n}D": cropping for n in (1, 2, 3)},
    **{f"UpSampling{n}D": resized(lambda layer: getattr(layer, "interpolation", "nearest")) for n in (1, 2, 3)},
    "Resizing": resized(lambda layer: layer.interpolation), "CenterCrop": center_crop,
    "Reshape": reshape, "Flatten": flatten, "Permute": permute, "RepeatVector": repeat_vector,
    **{name: merge(op) for name, op in _MERGES.items()}, "Concatenate": concatenate,
    "Identity": same("Identity"), "ActivityRegularization": same("Identity"),
    **dict.fromkeys(_DROPOUTS.split(), same("Dropout")), **dict.fromkeys(_AUGMENTATIONS, augmentation),
    "Rescaling": rescaling, "Normalization": normalization,
}  # fmt: skip
