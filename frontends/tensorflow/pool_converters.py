"""Windows without weights in TensorFlow graphs: pooling, resizing, padding."""

from __future__ import annotations

from collections.abc import Sequence

from cgir.graph import Attr
from frontends.common.tape import Operand, Size, Value

from .graph_def import Item
from .graph_walk import Call, Converter
from .layer_converters import (
    channels_last,
    explicit_padding,
    first_spatial,
    narrowed,
    spatial_entries,
    spatial_size,
    widened,
    windowed,
    without,
)
from .shape_inference import numbers

Result = Sequence[Value | Item]


def pool(op: str) -> Converter:
    """Max and average pooling."""

    def convert(call: Call) -> Result:
        image = call.items[0]
        kernel, stride = _window(call)
        padding = explicit_padding(call, spatial_size(call, image.size), kernel, stride, (1,) * len(kernel))
        narrow = narrowed(call, image, None)
        axis, size = None, call.size
        if narrow is not None and kernel[narrow[0] - first_spatial(call)] == 1:
            axis, image, _ = narrow
            kernel, stride, padding = (
                without(values, axis - first_spatial(call)) for values in (kernel, stride, padding)
            )
            size = without(size, axis)
        attrs: dict[str, Attr] = {"kernel": kernel, "stride": stride, "padding": padding}
        if op == "MaxPool":
            attrs["dilation"] = (1,) * len(kernel)
        elif any(map(any, padding)):
            attrs["include_pad"] = False
        value = windowed(call, op, [Operand(call.walk.value(image), image.size)], attrs, (), size, len(kernel))
        return [
            widened(call, value, axis),
            *(Item(size, kind) for size, (_, kind) in zip(call.sizes[1:], call.outputs[1:], strict=True)),
        ]

    return convert


def _window(call: Call) -> tuple[Size, Size]:
    if call.node.op == "MaxPoolV2":
        cut = slice(1, -1) if channels_last(call) else slice(2, None)
        return numbers(call.items[1], "kernel", call.node)[cut], numbers(call.items[2], "stride", call.node)[cut]
    return spatial_entries(call, "ksize"), spatial_entries(call, "strides")


def resize(mode: str) -> Converter:
    """Resizing of images, which are always NHWC."""
    return lambda call: call.plain("Resize", 0, attrs={"mode": mode}, channels_last=True)


def pad(call: Call) -> Result:
    """Pad, PadV2 and MirrorPad."""
    flat = numbers(call.items[1], "padding", call.node)
    pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
    attrs: dict[str, Attr] = {"padding": pairs, "mode": "constant"}
    if call.node.op == "MirrorPad":
        attrs["mode"] = "reflect" if call.attr("mode") == "REFLECT" else "symmetric"
    else:
        data = call.items[2].data if len(call.items) > 2 else None
        attrs["value"] = float(data) if data is not None else 0.0
    return list(call.plain("Pad", 0, attrs=attrs))


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(("MaxPool", "MaxPoolV2", "MaxPool3D"), pool("MaxPool")), **dict.fromkeys(("AvgPool", "AvgPool3D"), pool("AvgPool")),
    "ResizeBilinear": resize("bilinear"), "ResizeNearestNeighbor": resize("nearest"), "ResizeBicubic": resize("bicubic"), "ResizeArea": resize("area"),
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), pad),
}  # fmt: skip
