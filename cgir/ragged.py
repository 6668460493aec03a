"""Ragged arrays: sequences of unequal sizes in one flat array, as in CSR.

Sequence i is `flat[ptr[i] : ptr[i + 1]]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .typing import IntArray


def offsets(sizes: Sequence[int] | IntArray) -> IntArray:
    """(S + 1,): where each of S sequences begins and the last ends, `ptr` above."""
    ptr = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, dtype=np.int64, out=ptr[1:])
    return ptr


def ranges(starts: IntArray, sizes: IntArray) -> IntArray:
    """Concatenation of `arange(start, start + size)` for every pair."""
    ptr = offsets(sizes)
    return np.arange(int(ptr[-1])) + np.repeat(starts - ptr[:-1], sizes)


def spans(sizes: Sequence[int] | IntArray, max_total: int, max_count: int | None = None) -> Iterator[slice]:
    """Cut S sequences into runs of consecutive ones.

    Args:
        sizes: (S,) elements of each sequence.
        max_total: most elements in a run; a sequence that has more is a run of its own.
        max_count: most sequences in a run, at least 1; None: any number.

    Yields:
        Slices into the sequences, in order, which cover all of them.
    """
    ptr, start = offsets(sizes), 0
    while start < len(sizes):
        stop = int(np.searchsorted(ptr, ptr[start] + max_total, side="right")) - 1
        stop = max(start + 1, stop if max_count is None else min(stop, start + max_count))
        yield slice(start, stop)
        start = stop
