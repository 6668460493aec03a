"""Aliasing: which elements of a storage a tensor covers, and what a write through one view changes in another.

offset, size, stride: of a tensor in its storage, in elements
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from cgir.typing import IntArray
from frontends.common.axis_layout import AxisLayout

Overlap = Literal["same", "inside", "overlaps", "apart"]

# elements up to which overlaps of interleaved views are computed one by one; beyond, they are taken to overlap
MAX_EXACT_ELEMENTS = 1 << 24


class Geometry(NamedTuple):
    """Where a tensor lies in its storage."""

    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Write(NamedTuple):
    """One in-place change: the elements that were written, and the node that has their new values, with its layout."""

    geometry: Geometry
    node: int
    layout: AxisLayout
    static: bool


def geometry(tensor: Tensor) -> Geometry:
    """Where a tensor lies in its storage."""
    return Geometry(int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride())


def transposition(before: Geometry, after: Geometry) -> dict[int, int] | None:
    """Old axis -> new axis where two views differ in nothing but the order of their axes, else None."""
    old, new = (list(zip(view.size, view.stride, strict=True)) for view in (before, after))
    if before.offset != after.offset or sorted(old) != sorted(new):
        return None
    free = list(range(len(new)))
    axis_map = {}
    for axis, extent in enumerate(old):
        target = next(index for index in free if new[index] == extent)
        free.remove(target)
        axis_map[axis] = target
    return axis_map


def overlap(view: Geometry, written: Geometry) -> Overlap:
    """How a write affects a view.

    Args:
        view: the tensor that is affected.
        written: what was written.

    Returns:
        Whether `view` has the "same" elements, lies "inside" the written ones, "overlaps" them or is "apart".
    """
    if view == written:
        return "same"
    view_first, view_last, view_count = _extent(view)
    first, last, count = _extent(written)
    if view_last < first or last < view_first or not view_count or not count:
        return "apart"
    if count == last - first + 1:  # the write leaves no gaps
        if first <= view_first and view_last <= last:
            return "same" if view_count == count else "inside"
        return "overlaps"
    if view_count > MAX_EXACT_ELEMENTS or count > MAX_EXACT_ELEMENTS:
        return "overlaps"
    common = int(np.isin(_elements(view), _elements(written)).sum())
    if not common:
        return "apart"
    if common < view_count:
        return "overlaps"
    return "same" if view_count == count else "inside"


def _extent(geometry: Geometry) -> tuple[int, int, int]:
    """First and last element, and their number (an expanded view counts its repeats)."""
    count, last = 1, geometry.offset
    for n, step in zip(geometry.size, geometry.stride, strict=True):
        count *= n
        last += (n - 1) * step
    return geometry.offset, last, count


def _elements(geometry: Geometry) -> IntArray:
    elements = np.asarray(geometry.offset)
    for n, step in zip(geometry.size, geometry.stride, strict=True):
        elements = elements[..., None] + np.arange(n) * step
    return elements.ravel()


def expansion(old: Geometry, new: Geometry) -> dict[int, int] | None:
    """Old axis -> new axis if a tensor has the elements of another one, repeated along new axes; None if it has not.

    Args:
        old: a tensor.
        new: another one in the same storage.
    """
    axes, new_axes = ([i for i, n in enumerate(g.size) if n > 1 and g.stride[i]] for g in (old, new))
    same = [(old.size[i], old.stride[i]) for i in axes] == [(new.size[i], new.stride[i]) for i in new_axes]
    if not same or old.offset != new.offset or any(n > 1 and not old.stride[i] for i, n in enumerate(old.size)):
        return None
    single = {i: i for i in range(min(len(old.size), len(new.size))) if i not in axes and i not in new_axes}
    return dict(zip(axes, new_axes, strict=True)) | single
