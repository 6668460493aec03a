"""Axis layouts: which axis of a tensor holds the batch and which the channels, propagated through the operators.

Graphs store shapes per example and channels first. Neither axis can be inferred from the rank, so each traced tensor
carries an `AxisLayout`, set where an operator defines which axis it works on (convolution: the second, linear: the
last) and propagated elsewhere.

    size: a tensor's shape in the framework, batch included, in the framework's order of axes
    shape: the shape that the graph stores, without the batch, channels first
    batch: number of examples in the batch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from cgir.graph import Shape
from cgir.ops import OPS, Layout


class AxisLayout(NamedTuple):
    """Axes of the channels and of the batch, None where there is none.

    The batch axis may hold more than the batch (windows, heads, time steps merged into it); `outer` of those stand
    before the batch in it. `split` keeps channels that a reshape cut up: (elements before them, number of channels),
    so that the inverse reshape restores them.
    """

    channel: int | None = None
    batch: int | None = None
    outer: int = 1
    split: tuple[int, int] | None = None


NO_LAYOUT = AxisLayout()


def stored_shape(size: Sequence[int], layout: AxisLayout, batch: int) -> Shape:
    """The shape that a graph stores: without the batch, channels first.

    Args:
        size: the tensor's shape in the framework.
        layout: its axes; where more than the batch is merged into the batch axis, that axis stays, divided by `batch`,
            and one of another size, as where a layer takes another axis for the batch, stays as it is.
        batch: number of examples in the batch.
    """
    order = list(range(len(size)))
    if layout.channel is not None:
        order.insert(0, order.pop(layout.channel))
    return tuple(
        size[axis] // batch if axis == layout.batch and size[axis] % batch == 0 else size[axis]
        for axis in order
        if axis != layout.batch or size[axis] not in (1, batch)
    )


def layout_rule(op: str) -> Layout:
    """The position of an operator's channel axis, see `cgir.ops.Op`; "inherited" if `op` is empty."""
    return OPS[op].layout if op else "inherited"


def op_layout(
    op: str,
    size: Sequence[int],
    layout: AxisLayout,
    batch: int,
    num_spatial_dims: int | None = None,
    channels_last: bool = False,
) -> AxisLayout:
    """The layout that an operator itself imposes on a tensor; `layout` unchanged if it imposes none.

    Args:
        op: name in `cgir.ops`, empty for no operator's layout.
        size: the tensor's shape in the framework.
        layout: its layout so far.
        batch: number of examples in the batch.
        num_spatial_dims: number of window dimensions, if the operator has windows.
        channels_last: whether windows and norms have their channels on the last axis instead of the second.
    """
    rule = layout_rule(op)
    if rule == "unpermuted":
        return layout._replace(channel=None)
    if op == "Embedding" and len(size) == 1:  # indices have no channels
        return layout
    if rule == "channels_last" and size:
        last = len(size) - 1
        return AxisLayout(last, layout.batch, layout.outer) if layout.batch != last else AxisLayout(last)
    if rule != "channels_second" or len(size) < 2:
        return layout
    if num_spatial_dims is not None and len(size) == num_spatial_dims + 1:
        return AxisLayout(channel=num_spatial_dims if channels_last else 0)
    channel = len(size) - 1 if channels_last else 1
    if layout.batch != 0:
        layout = AxisLayout(channel, 0) if size[0] % batch == 0 else NO_LAYOUT
    return layout._replace(channel=channel)


def elementwise_layout(
    inputs: Sequence[tuple[Sequence[int], AxisLayout]], size: Sequence[int], batch: int
) -> AxisLayout:
    """Layout of a result that is broadcast from its inputs; each axis is that of the first input that has it.

    Args:
        inputs: size and layout of each input.
        size: the result's shape in the framework.
        batch: number of examples in the batch.
    """
    channel: int | None = None
    batch_axis: int | None = None
    outer = 1
    split: tuple[int, int] | None = None
    for input_size, layout in inputs:
        split = split or (layout.split if tuple(input_size) == tuple(size) else None)
        shift = len(size) - len(input_size)
        if channel is None and layout.channel is not None and layout.channel + shift >= 0:
            channel = layout.channel + shift
        if (
            batch_axis is None
            and layout.batch is not None
            and layout.batch + shift >= 0
            and size[layout.batch + shift] % batch == 0
        ):
            batch_axis, outer = layout.batch + shift, layout.outer
    return AxisLayout(channel, batch_axis, outer, None if channel is not None else split)


def reshape_layout(before: Sequence[int], after: Sequence[int], layout: AxisLayout, batch: int) -> AxisLayout:
    """Layout after a reshape: the channels where they survive whole, the batch wherever its factor ends up.

    Args:
        before: the tensor's size before the reshape.
        after: its size after the reshape.
        layout: its layout before the reshape.
        batch: number of examples in the batch.
    """
    if 0 in before or 0 in after:
        return NO_LAYOUT
    channel, split = None, layout.split
    if layout.channel is not None:
        split = prod(before[: layout.channel]), before[layout.channel]
    if split is not None:
        elements_before, num_channels = split
        behind_batch = layout.channel is None or layout.batch is None or layout.channel > layout.batch
        # a single channel behind the batch cannot become an axis before it
        first = int(behind_batch and layout.batch is not None)
        candidates = [
            axis
            for axis, n in enumerate(after)
            if axis >= first and n == num_channels and prod(after[:axis]) == elements_before
        ]
        if candidates:  # several only if there is one channel
            channel, split = candidates[-1] if behind_batch else candidates[0], None
    if layout.batch is None:
        return AxisLayout(channel, split=split)
    batch_offset = prod(before[: layout.batch]) * layout.outer
    return AxisLayout(channel, *_batch_axis(after, batch_offset, batch, channel), split)


def _batch_axis(size: Sequence[int], offset: int, batch: int, channel: int | None) -> tuple[int | None, int]:
    """The axis that holds the batch when `offset` elements of the row-major order stand before it, and `outer`.

    Several axes qualify when the batch is 1: the batch alone is preferred to the batch with more behind it, that to
    more before it, and the last axis is taken for features.
    """
    best = None
    for axis, n in enumerate(size):
        outer, remainder = divmod(offset, prod(size[:axis]))
        if remainder or n % (outer * batch) or axis == channel:
            continue
        quality = (n == batch or axis < len(size) - 1, outer == 1, n == batch)
        if best is None or quality > best[0]:
            best = (quality, axis, outer)
    return (best[1], best[2]) if best else (None, 1)


def permute_layout(layout: AxisLayout, axis_map: Mapping[int, int]) -> AxisLayout:
    """Layout after a permutation or a selection, `axis_map` from old axes to new ones; dropped axes are lost."""
    channel = None if layout.channel is None else axis_map.get(layout.channel)
    batch_axis = None if layout.batch is None else axis_map.get(layout.batch)
    return AxisLayout(channel, batch_axis, layout.outer if batch_axis is not None else 1)


def reduce_layout(layout: AxisLayout, rank: int, reduced_axes: Sequence[int], keepdims: bool) -> AxisLayout:
    """Layout after a reduction; a reduced batch is lost, reduced channels only if their axis is removed.

    Args:
        layout: before the reduction.
        rank: number of axes before the reduction.
        reduced_axes: the axes that are reduced, not negative.
        keepdims: whether reduced axes stay with one element.
    """
    axis_map, axis = {}, 0
    for old in range(rank):
        if old not in reduced_axes or keepdims:
            axis_map[old] = axis
            axis += 1
    if layout.batch in reduced_axes:
        layout = AxisLayout(layout.channel)
    return permute_layout(layout, axis_map)


def broadcast_layout(size: Sequence[int], reference_size: Sequence[int], layout: AxisLayout, batch: int) -> AxisLayout:
    """Layout of a static tensor that is broadcast against a traced one.

    Args:
        size: the static tensor's size.
        reference_size: the traced tensor's size.
        layout: the traced tensor's layout.
        batch: number of examples in the batch.
    """
    shift = len(reference_size) - len(size)
    channel = None if layout.channel is None or layout.channel < shift else layout.channel - shift
    batch_axis = None if layout.batch is None or layout.batch < shift else layout.batch - shift
    if batch_axis is None or size[batch_axis] not in (1, batch):
        return AxisLayout(channel)
    return AxisLayout(channel, batch_axis)


def infer_input_layout(
    op: str,
    size: Sequence[int],
    batch_axis: int | None,
    batch: int,
    num_spatial_dims: int | None,
    axis_map: Mapping[int, int] | None,
    channels_last: bool = False,
) -> AxisLayout:
    """The layout of a floating-point graph input, from the first operator that reads it.

    Convolution-like and linear-like operators define which axis holds the channels, and so does a permutation that
    brings the last axis to the second position. Otherwise it is the second axis of four or more, the last one of three
    or fewer.

    Args:
        op: name of the first reader in `cgir.ops`.
        size: the input's shape in the framework.
        batch_axis: the input's batch axis, None if it has none.
        batch: number of examples in the batch.
        num_spatial_dims: the reader's number of window dimensions, if it has windows.
        axis_map: old axis -> new axis, if the reader moves axes.
        channels_last: whether the reader's windows have their channels on the last axis.
    """
    layout = AxisLayout(None, batch_axis)
    if layout_rule(op) in ("channels_second", "channels_last"):
        return op_layout(op, size, layout, batch, num_spatial_dims, channels_last)
    last = len(size) - 1
    brought_forward = axis_map is not None and len(axis_map) == len(size) > 2 and axis_map.get(last) == 1
    channel = 1 if len(size) > 3 and not brought_forward and not channels_last else last
    return layout if channel == batch_axis or channel < 0 else layout._replace(channel=channel)


def spatial_padding(pairs: Sequence[tuple[int, int]], layout: AxisLayout) -> tuple[tuple[int, int], ...]:
    """Padding of every axis -> that of the spatial axes; the channels' comes first where they are padded too."""
    spatial = tuple(pair for axis, pair in enumerate(pairs) if axis not in (layout.channel, layout.batch))
    channel = () if layout.channel is None or pairs[layout.channel] == (0, 0) else (pairs[layout.channel],)
    return channel + spatial
