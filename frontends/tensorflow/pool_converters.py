"""Converters of TensorFlow operators with windows but no weights: pooling, resizing, padding."""

from __future__ import annotations

from cgir.graph import Attr
from frontends.common.tape import Operand, Size

from .constant_folding import constant_ints
from .graph_def import TFTensor
from .graph_walk import Results, TFCall, TFConverter
from .windows import (
    drop,
    emit_windowed,
    expand_result,
    explicit_padding,
    spatial_entries,
    spatial_part,
    squeeze_inputs,
)


def _pool(op: str) -> TFConverter:
    """Max and average pooling."""

    def convert(call: TFCall) -> Results:
        image, size = call.inputs[0], call.size
        kernel, stride = _kernel_and_stride(call)
        padding = explicit_padding(call, spatial_part(call, image.size), kernel, stride, (1,) * len(kernel))
        squeezed = squeeze_inputs(call, image, None)
        axis = None
        if squeezed is not None and kernel[squeezed.spatial_index] == 1:
            axis, index, image, _ = squeezed
            kernel, stride, padding = drop(kernel, index), drop(stride, index), drop(padding, index)
            size = drop(size, axis)
        attrs: dict[str, Attr] = {"kernel": kernel, "stride": stride, "padding": padding}
        if op == "MaxPool":
            attrs["dilation"] = (1,) * len(kernel)
        elif any(map(any, padding)):
            attrs["include_pad"] = False
        value = emit_windowed(call, op, [Operand(call.importer.to_value(image), image.size)], attrs, (), size)
        further_results = zip(call.sizes[1:], call.results[1:], strict=True)
        return [expand_result(call, value, axis), *(TFTensor(size, dtype) for size, (_, dtype) in further_results)]

    return convert


def _kernel_and_stride(call: TFCall) -> tuple[Size, Size]:
    """The spatial entries of both, which MaxPoolV2 has as operands."""
    if call.node.op == "MaxPoolV2":
        kernel = constant_ints(call.inputs[1], "kernel", call.node)
        return spatial_part(call, kernel), spatial_part(call, constant_ints(call.inputs[2], "stride", call.node))
    return spatial_entries(call, "ksize"), spatial_entries(call, "strides")


def _resize(mode: str) -> TFConverter:
    """Resizing of images, which are always NHWC."""
    return lambda call: call.emit_inputs("Resize", 0, attrs={"mode": mode}, channels_last=True)


def _pad(call: TFCall) -> Results:
    """Pad, PadV2 and MirrorPad."""
    flat = constant_ints(call.inputs[1], "padding", call.node)
    pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
    attrs: dict[str, Attr] = {"padding": pairs, "mode": "constant"}
    if call.node.op == "MirrorPad":
        attrs["mode"] = "reflect" if call.attr("mode") == "REFLECT" else "symmetric"
    else:
        data = call.inputs[2].data if len(call.inputs) > 2 else None
        attrs["value"] = float(data) if data is not None else 0.0
    return call.emit_inputs("Pad", 0, attrs=attrs)


CONVERTERS: dict[str, TFConverter] = {
    **dict.fromkeys(("MaxPool", "MaxPoolV2", "MaxPool3D"), _pool("MaxPool")),
    **dict.fromkeys(("AvgPool", "AvgPool3D"), _pool("AvgPool")),
    "ResizeBilinear": _resize("bilinear"),
    "ResizeNearestNeighbor": _resize("nearest"),
    "ResizeBicubic": _resize("bicubic"),
    "ResizeArea": _resize("area"),
    **dict.fromkeys(("Pad", "PadV2", "MirrorPad"), _pad),
}
