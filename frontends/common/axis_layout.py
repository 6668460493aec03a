"""Where the batch and the channels of a tensor are, followed through the operators, and the shape that the graph
stores.

Graphs store shapes per example and channels first. Neither axis can be read off the rank, so each traced tensor carries
a `Tag`, set where an operator says which axis it works on (convolution: the second, linear: the last) and carried along
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from cgir.graph import Shape


class Tag(NamedTuple):
    """Axes of the channels and of the batch, None where there is none.

    The batch axis may hold more than the batch (windows, heads, time steps merged into it); `outer` of those stand
    before the batch in it. `split` is what a reshape that cuts the channels leaves of them, elements before them and
    their number, so that the inverse finds them.
    """

    channel: int | None = None
    batch: int | None = None
    outer: int = 1
    split: tuple[int, int] | None = None


NOTHING = Tag()
_SPATIAL = (
    "Conv ConvTranspose BatchNorm GroupNorm InstanceNorm LocalResponseNorm MaxPool AvgPool LPPool AdaptiveMaxPool AdaptiveAvgPool "
    "Resize GridSample Unfold Fold PReLU"
)
_REDUCED = "Mean Sum Prod ReduceMax ReduceMin ArgMax Norm Variance LogSumExp Any"
SPATIAL = frozenset(_SPATIAL.split())
LAST = frozenset(("Linear", "Bilinear", "LayerNorm", "RMSNorm", "Embedding", "LSTM", "GRU", "RNN"))
# their shapes mean something in the framework's own order: heads, time, features
ORDERED = frozenset(("MatMul", "Attention"))
REDUCED = frozenset(_REDUCED.split())


def stored(size: Sequence[int], tag: Tag, batch: int) -> Shape:
    """The shape a graph stores: without the batch (divided by it where more is merged into the axis), channels first."""
    order = list(range(len(size)))
    if tag.channel is not None:
        order.insert(0, order.pop(tag.channel))
    return tuple(
        size[axis] // batch if axis == tag.batch else size[axis]
        for axis in order
        if axis != tag.batch or size[axis] not in (1, batch)
    )


def natural(op: str, size: Sequence[int], tag: Tag, batch: int, spatial: int | None = None, last: bool = False) -> Tag:
    """The tag of a tensor as an operator with its own idea of the axes sees it.

    `spatial` is the number of window dimensions, if it has windows; `last` says that it has its channels on the last
    axis instead of the second.
    """
    if op in ORDERED:
        return tag._replace(channel=None)
    if op in LAST and size:
        return Tag(len(size) - 1, tag.batch, tag.outer) if tag.batch != len(size) - 1 else Tag(len(size) - 1)
    if op not in SPATIAL or len(size) < 2:
        return tag
    if spatial is not None and len(size) == spatial + 1:
        return Tag(channel=spatial if last else 0)
    channel = len(size) - 1 if last else 1
    if tag.batch != 0:
        tag = Tag(channel, 0) if size[0] % batch == 0 else NOTHING
    return tag._replace(channel=channel)


def elementwise(inputs: Sequence[tuple[Sequence[int], Tag]], size: Sequence[int], batch: int) -> Tag:
    """Axes of a result whose axes are those of its inputs, aligned at the last one as broadcasting does; the first
    input that knows decides.
    """
    channel: int | None = None
    place: tuple[int | None, int] = (None, 1)
    split: tuple[int, int] | None = None
    for before, tag in inputs:
        split = split or (tag.split if tuple(before) == tuple(size) else None)
        shift = len(size) - len(before)
        if channel is None and tag.channel is not None and tag.channel + shift >= 0:
            channel = tag.channel + shift
        if (
            place[0] is None
            and tag.batch is not None
            and tag.batch + shift >= 0
            and size[tag.batch + shift] % batch == 0
        ):
            place = (tag.batch + shift, tag.outer)
    return Tag(channel, *place, None if channel is not None else split)


def reshaped(before: Sequence[int], after: Sequence[int], tag: Tag, batch: int) -> Tag:
    """Axes after a reshape: the channels where they survive whole, the batch wherever its factor ends up."""
    if 0 in before or 0 in after:
        return NOTHING
    channel, split = None, tag.split
    if tag.channel is not None:
        split = prod(before[: tag.channel]), before[tag.channel]
    if split is not None:
        ahead, width = split
        behind = tag.channel is None or tag.batch is None or tag.channel > tag.batch
        first = int(behind and tag.batch is not None)  # one channel behind the batch is no axis before it
        found = [axis for axis, n in enumerate(after) if axis >= first and n == width and prod(after[:axis]) == ahead]
        channel = (found[-1] if behind else found[0]) if found else None  # several only if there is one channel
        split = split if channel is None else None
    if tag.batch is None:
        return Tag(channel, split=split)
    return Tag(channel, *_place(after, prod(before[: tag.batch]) * tag.outer, batch, channel), split)


def _place(size: Sequence[int], ahead: int, batch: int, channel: int | None) -> tuple[int | None, int]:
    """The axis that holds the batch when `ahead` elements of the row-major order stand before it, and how many of those
    are in the axis itself.

    Several axes qualify when the batch is 1: the batch alone is preferred to the batch with more behind it, that to
    more before it, and the last axis is for features.
    """
    found = None
    for axis, n in enumerate(size):
        outer, rest = divmod(ahead, prod(size[:axis]))
        if rest or n % (outer * batch) or axis == channel:
            continue
        quality = (n == batch or axis < len(size) - 1, outer == 1, n == batch)
        if found is None or quality > found[0]:
            found = (quality, axis, outer)
    return (found[1], found[2]) if found else (None, 1)


def moved(tag: Tag, axes: Mapping[int, int]) -> Tag:
    """Axes after a permutation or a selection that maps old axes to new ones; an axis it drops is lost."""
    channel = None if tag.channel is None else axes.get(tag.channel)
    place = None if tag.batch is None else axes.get(tag.batch)
    return Tag(channel, place, tag.outer if place is not None else 1)


def reduced(tag: Tag, rank: int, dims: Sequence[int], keep: bool) -> Tag:
    """Axes after a reduction over `dims`; the batch is lost if it is among them, the channels too unless the axis is
    kept.
    """
    axes, axis = {}, 0
    for old in range(rank):
        if old not in dims or keep:
            axes[old] = axis
            axis += 1
    if tag.batch in dims:
        tag = Tag(tag.channel)
    return moved(tag, axes)


def aligned(size: Sequence[int], reference: Sequence[int], tag: Tag, batch: int) -> Tag:
    """The tag of a tensor that does not depend on the inputs, as it stands next to one with `reference` size and `tag`."""
    shift = len(reference) - len(size)
    channel = None if tag.channel is None or tag.channel < shift else tag.channel - shift
    place = None if tag.batch is None or tag.batch < shift else tag.batch - shift
    if place is None or size[place] not in (1, batch):
        return Tag(channel)
    return Tag(channel, place)


def first_guess(
    op: str,
    size: Sequence[int],
    place: int | None,
    batch: int,
    spatial: int | None,
    axes: Mapping[int, int] | None,
    channels_last: bool = False,
) -> Tag:
    """The tag of a graph input of floating-point numbers, from the first operator that reads it.

    Convolution-like and linear-like operators say which axis holds the channels, and so does a permutation that brings
    the last axis to the second place. Otherwise it is the second axis of four or more, the last one of three or fewer.
    """
    tag = Tag(None, place)
    if op in SPATIAL or op in LAST:
        return natural(op, size, tag, batch, spatial, channels_last)
    last = len(size) - 1
    brought_forward = axes is not None and len(axes) == len(size) > 2 and axes.get(last) == 1
    channel = 1 if len(size) > 3 and not brought_forward and not channels_last else last
    return tag if channel == place or channel < 0 else tag._replace(channel=channel)


def per_axis(pairs: Sequence[tuple[int, int]], tag: Tag) -> tuple[tuple[int, int], ...]:
    """Padding given for every axis -> padding of the spatial axes; the channels' comes first where they are padded too."""
    rest = tuple(pair for axis, pair in enumerate(pairs) if axis not in (tag.channel, tag.batch))
    channel = () if tag.channel is None or pairs[tag.channel] == (0, 0) else (pairs[tag.channel],)
    return channel + rest
