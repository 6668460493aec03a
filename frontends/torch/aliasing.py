"""Which elements of a storage a tensor covers: what an in-place write through one view changes in another."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from cgir.typing import IntArray
from frontends.common.axis_layout import AxisLayout

Geometry = tuple[int, tuple[int, ...], tuple[int, ...]]  # offset, size, stride, in elements
# elements up to which overlaps of interleaved views are computed one by one; beyond, they are taken to overlap
EXACT = 1 << 24


class Write(NamedTuple):
    """One in-place change: the elements that were written, and the node that has their new values, with its axes."""

    geometry: Geometry
    node: int
    layout: AxisLayout
    static: bool


def geometry(tensor: Tensor) -> Geometry:
    """Place of a tensor in its storage."""
    return int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride()


def relation(view: Geometry, written: Geometry) -> str:
    """How `view` is affected: "same" elements, "inside" the written ones, "apart" from them, or it "overlaps"."""
    if view == written:
        return "same"
    first, last, count = _extent(view)
    begin, end, total = _extent(written)
    if last < begin or end < first or not count or not total:
        return "apart"
    if total == end - begin + 1:  # the write leaves no gaps
        if begin <= first and last <= end:
            return "same" if count == total else "inside"
        return "overlaps"
    if count > EXACT or total > EXACT:
        return "overlaps"
    common = int(np.isin(_elements(view), _elements(written)).sum())
    if not common:
        return "apart"
    if common < count:
        return "overlaps"
    return "same" if count == total else "inside"


def _extent(place: Geometry) -> tuple[int, int, int]:
    """First and last element, and their number (an expanded view counts its repeats)."""
    offset, size, stride = place
    count = 1
    last = offset
    for n, step in zip(size, stride, strict=True):
        count *= n
        last += (n - 1) * step
    return offset, last, count


def _elements(place: Geometry) -> IntArray:
    offset, size, stride = place
    total = np.asarray(offset)
    for n, step in zip(size, stride, strict=True):
        total = total[..., None] + np.arange(n) * step
    return total.ravel()
