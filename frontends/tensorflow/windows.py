"""Operators with windows: layout of their attributes, padding, and one-dimensional windows written as two-dimensional.

TensorFlow has no one-dimensional convolutions and pools: it adds an axis of one element, runs the two-dimensional
operator, and removes the axis again. Here the window is one-dimensional, as PyTorch's is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from cgir import Param
from cgir.graph import Attr
from frontends.common.tape import OpCall, Operand, Size, Value

from .graph_def import TFTensor
from .graph_walk import TFCall
from .provenance import ExpandedDim, Pairs

Entry = TypeVar("Entry")


def channels_last(call: TFCall) -> bool:
    """Whether the operator has its channels on the last axis."""
    return str(call.attr("data_format"))[-1] == "C"


def spatial_part(call: TFCall, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """The spatial entries of a tuple that has one entry for every axis."""
    return entries[1:-1] if channels_last(call) else entries[2:]


def spatial_entries(call: TFCall, name: str) -> tuple[int, ...]:
    """The spatial entries of an attribute that has one for every axis."""
    return spatial_part(call, tuple(int(v) for v in call.attr(name)))


def same_padding(size: Size, kernel: Size, stride: Size, dilation: Size) -> Pairs:
    """Padding "SAME": outputs of ceil(size / stride), the odd element behind.

    See the section "Notes on padding" of the documentation of tf.nn.

    Args:
        size: of the window axes of the image.
        kernel: of the window.
        stride: of the window.
        dilation: of the window.
    """
    pairs = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


def explicit_padding(call: TFCall, size: Size, kernel: Size, stride: Size, dilation: Size) -> Pairs:
    """The padding that the attributes describe, as pairs for the window axes.

    Args:
        call: of the operator.
        size: of the window axes of the image.
        kernel: of the window.
        stride: of the window.
        dilation: of the window.
    """
    kind = call.attr("padding")
    if kind == "SAME":
        return same_padding(size, kernel, stride, dilation)
    if kind == "EXPLICIT":
        flat = [int(v) for v in call.attr("explicit_paddings")]
        return spatial_part(call, tuple(zip(flat[::2], flat[1::2], strict=True)))
    return ((0, 0),) * len(kernel)


def emit_windowed(
    call: TFCall,
    op: str,
    operands: Sequence[Operand],
    attrs: Mapping[str, Attr],
    params: tuple[Param, ...],
    size: Size,
) -> Value:
    """Append an operator with windows.

    Args:
        call: of the operator.
        op: its name in `cgir.ops`.
        operands: that it reads.
        attrs: of the node; "kernel" has the window dimensions.
        params: of the node.
        size: of the result.
    """
    op_call = OpCall(
        op,
        call.name,
        list(operands),
        attrs,
        params,
        num_spatial_dims=len(attrs["kernel"]),
        channels_last=channels_last(call),
    )
    return call.tape.emit_values(op_call, [size])[0]


# --- one-dimensional windows


class SqueezedInputs(NamedTuple):
    """Image and kernel without an axis of one element: the axis of the image, its index among the window axes, both."""

    axis: int
    spatial_index: int
    image: TFTensor
    kernel: TFTensor


def drop(entries: tuple[Entry, ...], index: int) -> tuple[Entry, ...]:
    """All entries but one."""
    return entries[:index] + entries[index + 1 :]


def squeeze_inputs(call: TFCall, image: TFTensor, kernel: TFTensor | None) -> SqueezedInputs | None:
    """Image and kernel of a one-dimensional window as they were before the axis was added; None for other windows.

    Args:
        call: of the operator.
        image: its image.
        kernel: its kernel, None for operators without weights.
    """
    if not isinstance(image.provenance, ExpandedDim):
        return None
    axis = image.provenance.axis
    spatial_index = axis - (1 if channels_last(call) else 2)
    if not 0 <= spatial_index < len(image.size) - 2:
        return None
    if kernel is None:
        return SqueezedInputs(axis, spatial_index, image.provenance.source, image)
    if not isinstance(kernel.provenance, ExpandedDim) or kernel.provenance.axis != spatial_index:
        return None
    return SqueezedInputs(axis, spatial_index, image.provenance.source, kernel.provenance.source)


def expand_result(call: TFCall, value: Value, axis: int | None) -> TFTensor:
    """The result of a one-dimensional window with the axis that its operator adds, unless that is removed again.

    Args:
        call: of the operator.
        value: the result.
        axis: that is to be added, None if none is.
    """
    tensor = TFTensor(value.size, call.dtype, value=value)
    if axis is None or value.size == call.size:
        return tensor
    expand = call.deferred(lambda: call.tape.apply("Reshape", "expand", [value], [call.size])[0])
    return TFTensor(call.size, tensor.dtype, deferred_value=expand, provenance=ExpandedDim(tensor, axis))
