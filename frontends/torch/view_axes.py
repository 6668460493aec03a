"""Axis maps of views and of indexing: old axis -> new axis."""

from __future__ import annotations

import torch
from torch import Tensor

from .typing import Args, Function, Index, Kwargs

# Primes: no slice step and no size turns one into another, so that the strides after a view identify its axes.
PROBE_STRIDES = (1000003, 1000033, 1000037, 1000039, 1000081, 1000099, 1000117, 1000121, 1000133, 1000151)


def view_axis_map(func: Function, args: Args, kwargs: Kwargs, source: Tensor) -> dict[int, int]:
    """The axis map of a view, found by taking the same view of a probe whose strides identify its axes.

    Args:
        func: the function that makes the view.
        args: positional arguments.
        kwargs: keyword arguments.
        source: the tensor among the arguments that is viewed.
    """
    rank = source.dim()
    if rank > len(PROBE_STRIDES) or (args and args[0] is not source):
        return {}
    probe = torch.empty_strided(source.shape, PROBE_STRIDES[:rank], dtype=source.dtype, device="meta")
    result = (
        func(probe, *args[1:], **kwargs)
        if args
        else func(**{name: probe if value is source else value for name, value in kwargs.items()})
    )
    while not isinstance(result, Tensor):
        result = result[0]
    axis_map = {}
    for axis, probe_stride in enumerate(PROBE_STRIDES[:rank]):
        exact = [new for new, stride in enumerate(result.stride()) if stride == probe_stride]
        stepped = [new for new, stride in enumerate(result.stride()) if stride and stride % probe_stride == 0]
        if exact or stepped:
            # before an axis of size 1, `unsqueeze` gives the new one the same stride
            axis_map[axis] = exact[-1] if exact else stepped[0]
    return axis_map


def index_axis_map(index: Index | tuple[Index, ...], rank: int, rank_after: int) -> tuple[dict[int, int], int]:
    """The axis map of `x[index]` where tensors are among the indices, and the first of the axes that are theirs.

    Axes before the first of them, and whole axes behind the last, stay in order. The axes of indices that do not stand
    next to each other come first.

    Args:
        index: one index, or a tuple of indices.
        rank: number of axes of x.
        rank_after: number of axes of the result.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is Ellipsis for item in items):
        ellipsis = next(i for i, item in enumerate(items) if item is Ellipsis)
        consumed = sum(item is not None for item in items) - 1
        items[ellipsis : ellipsis + 1] = [slice(None)] * (rank - consumed)
    advanced = [i for i, item in enumerate(items) if isinstance(item, Tensor | list)]
    axis_map: dict[int, int] = {}
    old = new = 0
    for item in items[: advanced[0]]:
        if isinstance(item, slice):
            axis_map[old] = new
        old += item is not None
        new += not isinstance(item, int)
    adjacent = not any(item is None or isinstance(item, slice) for item in items[advanced[0] : advanced[-1]])
    behind = items[advanced[-1] + 1 :]
    if all(isinstance(item, slice) for item in behind):
        old += sum(item is not None for item in items[advanced[0] : advanced[-1] + 1])
        axis_map.update((axis, axis - rank + rank_after) for axis in range(old, rank))
    return axis_map, new if adjacent else 0
