"""Converter of ONNX Gather, classified by the patterns that exporters write with it.

Exporters have no other operator for table lookups, single elements, strided slices, sliding windows (`Tensor.unfold`)
and image patches (`torch.nn.functional.unfold`), so that the indices determine what a Gather is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cgir.graph import Attr
from cgir.typing import AnyArray
from frontends.common.tape import ProvenanceHint, Value

from .calls import OnnxCall, OnnxConverter
from .tensors import WEIGHT_TYPES, OnnxTensor


@dataclass(frozen=True, slots=True)
class UnfoldRows(ProvenanceHint):
    """An image of which only the rows of sliding windows have been taken."""

    image: Value
    kernel: int
    stride: int


@dataclass(frozen=True, slots=True)
class _Gather:
    """A Gather with its operands: `data` indexed along `axis` by `indices`; constant ones are `index_values`."""

    call: OnnxCall
    data: OnnxTensor
    indices: OnnxTensor
    axis: int

    @property
    def index_values(self) -> AnyArray | None:
        """The contents of the indices, where they are constant."""
        values: AnyArray | None = self.indices.data
        return values

    @property
    def axis_map(self) -> dict[int, int]:
        """Axes of the data -> axes of the result; the indexed axis stays if the indices have one axis."""
        shift = len(self.indices.size) - 1
        kept = {old: old if old < self.axis else old + shift for old in range(len(self.data.size)) if old != self.axis}
        return kept | ({self.axis: self.axis} if shift == 0 else {})

    @property
    def unfold_rows(self) -> UnfoldRows | None:
        """The rows of an image of which this Gather takes the columns."""
        provenance = self.data.value.provenance if self.axis == 4 and self.data.value is not None else None
        return provenance if isinstance(provenance, UnfoldRows) else None


def _convert_gather(call: OnnxCall) -> list[Value]:
    data = call.require_input(0)
    gather = _Gather(call, data, call.require_input(1), call.attr("axis", 0) % max(len(data.size), 1))
    for pattern in (_embedding, _static_lookup, _element, _strided_slice, _axis_windows, _split_axis, _image_patches):
        values = pattern(gather)
        if values is not None:
            return values
    return call.emit("Gather", [data, gather.indices], axis_map=gather.axis_map)


def _embedding(gather: _Gather) -> list[Value] | None:
    """Rows of a matrix that is a parameter."""
    data, indices = gather.data, gather.indices
    is_table = (data.is_param or data.is_weight) and data.elem_type in WEIGHT_TYPES and len(data.size) == 2
    if not is_table or gather.axis != 0 or indices.static:
        return None
    return gather.call.emit("Embedding", [indices], weights=[data])


def _static_lookup(gather: _Gather) -> list[Value] | None:
    """Data that depend on no input have no axes to keep track of."""
    return gather.call.emit("Gather", [gather.data, gather.indices]) if gather.data.static else None


def _element(gather: _Gather) -> list[Value] | None:
    """One element of an axis: `x[:, i]`."""
    if gather.index_values is None or gather.index_values.size != 1:
        return None
    return gather.call.emit("Slice", [gather.data], {"part": True}, axis_map=gather.axis_map)


def _strided_slice(gather: _Gather) -> list[Value] | None:
    """Evenly spaced elements of an axis: a slice, and a reshape if the result has more axes (`as_strided`)."""
    if gather.index_values is None or gather.unfold_rows is not None or len(_index_strides(gather.index_values)) != 1:
        return None
    call, axis, size = gather.call, gather.axis, gather.data.size
    value = gather.data.to_value(call.tape)
    if gather.index_values.size != size[axis]:
        [value] = call.emit(
            "Slice",
            [value],
            {"part": True},
            sizes=[(*size[:axis], gather.index_values.size, *size[axis + 1 :])],
            axis_map={axis_index: axis_index for axis_index in range(len(size))},
        )
    return call.emit("Reshape", [value])


def _axis_windows(gather: _Gather) -> list[Value] | None:
    """Overlapping windows of an axis: `Tensor.unfold`, which puts their elements last."""
    if gather.index_values is None or gather.unfold_rows is not None or len(_index_strides(gather.index_values)) != 2:
        return None
    call, axis, size = gather.call, gather.axis, gather.data.size
    (num_windows, length), rank = gather.indices.size, len(size)
    [value] = call.emit("Unfold", [gather.data], sizes=[(*size[:axis], num_windows, *size[axis + 1 :], length)])
    axis_map = {**{old: old if old <= axis else old + 1 for old in range(rank)}, rank: axis + 1}
    [result] = call.emit("Transpose", [value], axis_map=axis_map)
    # with stride 1 these may be the rows of `_image_patches` as well
    if axis == 2 and rank == 4 and _index_strides(gather.index_values.T) == (1, 1):
        result.provenance = UnfoldRows(gather.data.to_value(call.tape), num_windows, 1)
    return [result]


def _split_axis(gather: _Gather) -> list[Value] | None:
    """All elements of an axis in order, which is cut in two."""
    values = gather.index_values
    if values is None or values.ndim != 2 or _index_strides(values.T) != (1,):
        return None
    return gather.call.emit("Reshape", [gather.data]) if values.size == gather.data.size[gather.axis] else None


def _image_patches(gather: _Gather) -> list[Value] | None:
    """`torch.nn.functional.unfold`: windows of the rows of an image (axis 2), then of their columns (axis 4)."""
    if gather.index_values is None or gather.index_values.ndim != 2:
        return None
    strides, size = _index_strides(gather.index_values.T), gather.data.size
    if not strides:
        return None
    kernel = gather.indices.size[0]
    stride = strides[0] if len(strides) > 1 else kernel
    if gather.axis == 2 and len(size) == 4:
        image = gather.data.to_value(gather.call.tape)
        [result] = gather.call.emit("Gather", [image, gather.indices], axis_map={0: 0, 1: 1, 3: 4})
        result.provenance = UnfoldRows(image, kernel, stride)
        return [result]
    rows = gather.unfold_rows
    return None if rows is None or len(size) != 5 else _unfolded(gather, rows, kernel, stride)


def _unfolded(gather: _Gather, rows: UnfoldRows, kernel: int, stride: int) -> list[Value]:
    """The patches of an image as one Unfold; `kernel` and `stride` are those of the columns."""
    call = gather.call
    batch, channels, height, num_down, _ = gather.data.size
    num_across = gather.indices.size[1]
    attrs: dict[str, Attr] = {
        "kernel": (height, kernel),
        "stride": (rows.stride, stride),
        "padding": ((0, 0), (0, 0)),
        "dilation": (1, 1),
    }
    patches = (batch, channels * height * kernel, num_down * num_across)
    [value] = call.emit("Unfold", [rows.image], attrs, sizes=[patches])
    [value] = call.emit("Reshape", [value], sizes=[(batch, channels, height, kernel, num_down, num_across)])
    return call.emit("Transpose", [value], axis_map={0: 0, 1: 1, 2: 2, 3: 4, 4: 3, 5: 5})


def _index_strides(indices: AnyArray) -> tuple[int, ...]:
    """Strides of indices in row-major order.

    Returns:
        One stride if the indices are evenly spaced; two, (s, 1), if they are overlapping windows first + i s + j;
        otherwise none.
    """
    steps = np.unique(np.diff(indices.reshape(-1)))
    if steps.size == 1 and steps[0] != 0:
        return (int(steps[0]),)
    if indices.ndim != 2 or min(indices.shape) < 2:
        return ()
    stride = int(indices[1, 0] - indices[0, 0])
    windows = indices[0, 0] + stride * np.arange(indices.shape[0])[:, None] + np.arange(indices.shape[1])
    return (stride, 1) if stride > 0 and np.array_equal(indices, windows) else ()


CONVERTERS: dict[str, OnnxConverter] = {"Gather": _convert_gather}
