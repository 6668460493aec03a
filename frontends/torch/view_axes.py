"""Where the axes of a tensor go in views and in indexing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

# Strides that no slicing step or size turns into one another: after a view, they tell which axis is which.
STRIDES = (1000003, 1000033, 1000037, 1000039, 1000081, 1000099, 1000117, 1000121, 1000133, 1000151)


def view_axes(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], source: Tensor
) -> dict[int, int]:
    """Old axis -> new axis of a view, found by taking the same view of a tensor with telling strides."""
    rank = source.dim()
    if rank > len(STRIDES) or (args and args[0] is not source):
        return {}
    probe = torch.empty_strided(source.shape, STRIDES[:rank], dtype=source.dtype, device="meta")
    result = (
        func(probe, *args[1:], **kwargs)
        if args
        else func(**{name: probe if value is source else value for name, value in kwargs.items()})
    )
    while not isinstance(result, Tensor):
        result = result[0]
    axes = {}
    for axis, stride in enumerate(STRIDES[:rank]):
        exact = [new for new, found in enumerate(result.stride()) if found == stride]
        stepped = [new for new, found in enumerate(result.stride()) if found and found % stride == 0]
        if exact or stepped:
            # before an axis of size 1, `unsqueeze` gives the new one the same stride
            axes[axis] = exact[-1] if exact else stepped[0]
    return axes


def indexed_axes(index: Any, rank: int, rank_after: int) -> dict[int, int]:
    """Old axis -> new axis of `x[index]` where tensors are among the indices: axes before the first one, and whole axes
    behind the last, stay in order.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is Ellipsis for item in items):
        place = next(i for i, item in enumerate(items) if item is Ellipsis)
        consumed = sum(item is not None for item in items) - 1
        items[place : place + 1] = [slice(None)] * (rank - consumed)
    advanced = [i for i, item in enumerate(items) if isinstance(item, Tensor | list)]
    axes: dict[int, int] = {}
    old = new = 0
    for item in items[: advanced[0]]:
        if isinstance(item, slice):
            axes[old] = new
        old += item is not None
        new += not isinstance(item, int)
    behind = items[advanced[-1] + 1 :]
    if all(isinstance(item, slice) for item in behind):
        old += sum(item is not None for item in items[advanced[0] : advanced[-1] + 1])
        axes.update((axis, axis - rank + rank_after) for axis in range(old, rank))
    return axes
