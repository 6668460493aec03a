"""Layers on images whose channels onnxruntime keeps in blocks (domain com.microsoft.nchwc), with channels second.

Filters have as many channels as whole blocks: where a file has fewer, onnxruntime fills them up.
"""

from __future__ import annotations

from .expansion import Expander, Expansion, Results
from .fused_expanders import activated_conv, window_attrs


def _conv(x: Expansion) -> Results:
    """A convolution; channels of its filters that fill up the last block of an image with fewer are no weights."""
    image, filters, bias = x.require_input(0), x.require_input(1), x.input(2)
    group, channels = int(x.attr("group", 1)), image.size[1]
    if group > channels:  # one filter for each channel
        results = filters.size[0] * channels // group
        group, filters = channels, filters.resized((results, *filters.size[1:]))
        bias = None if bias is None else bias.resized((results,))
    elif filters.size[1] > channels // group:
        filters = filters.resized((filters.size[0], channels // group, *filters.size[2:]))
    return [activated_conv(x, image, filters, bias, x.input(3), group=group)]


def _reorder_input(x: Expansion) -> Results:
    tensor = x.require_input(0)
    return [x.channels_first(tensor) if x.attr("channels_last", 0) else tensor]


def _reorder_output(x: Expansion) -> Results:
    """The first channels, those that are filled up left out; channels last if asked for."""
    tensor, channels = x.require_input(0), int(x.attr("channels", 0))
    if 0 < channels < tensor.size[1]:
        tensor = x.op("Slice", tensor, x.ints(0), x.ints(channels), x.ints(1))
    return [x.channels_last(tensor) if x.attr("channels_last", 0) else tensor]


def _pool(op: str) -> Expander:
    return lambda x: [x.op(op, x.require_input(0), **window_attrs(x), **x.attrs("count_include_pad"))]


def _upsample(x: Expansion) -> Results:
    tensor = x.require_input(0)
    sizes = [n * scale for n, scale in zip(tensor.size, x.attr("scales"), strict=True)]
    return [x.op("Resize", tensor, None, None, x.ints(*sizes), **x.attrs("mode", "coordinate_transformation_mode"))]


BLOCKED: dict[str, Expander] = {
    "Conv": _conv,
    "ReorderInput": _reorder_input,
    "ReorderOutput": _reorder_output,
    "MaxPool": _pool("MaxPool"),
    "AveragePool": _pool("AveragePool"),
    "GlobalAveragePool": lambda x: [x.op("GlobalAveragePool", x.require_input(0))],
    "GlobalMaxPool": lambda x: [x.op("GlobalMaxPool", x.require_input(0))],
    "Upsample": _upsample,
}
