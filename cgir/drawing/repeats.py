"""Where a sequence of parts repeats: tests by arrays, which leave few places to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cgir.typing import BoolArray

MAX_PERIOD = 64  # parts of a sequence that may repeat


def repeats(
    row: Sequence[int], latest: Sequence[int], first: Sequence[tuple[int, int, int]]
) -> tuple[BoolArray, BoolArray]:
    """[start, length]: whether the sequence of this length (<= `MAX_PERIOD`) at `start` stands twice in a row.

    Args:
        row: numbers, equal for equal parts.
        latest: for each part the last of the other parts that it reads.
        first: of each part's first node, a number for what it reads, the part of its last reader, and this reader.

    Returns:
        Where the second may read the first; and where both may stand beside one another.
    """
    longest, size = min(MAX_PERIOD, len(row) // 2), len(row)
    values, reads, at = np.asarray(row), np.asarray(latest), np.arange(size)
    sources, reader_parts, readers = np.asarray(first, np.int64).reshape(-1, 3).T
    after, beside = np.zeros((size, longest + 1), bool), np.zeros((size, longest + 1), bool)
    last_read = reads  # of all parts of a sequence
    for length in range(1, longest + 1):
        count = size - 2 * length + 1
        equal = np.concatenate([[0], np.cumsum(values[:-length] == values[length:])])  # pairs before each start
        is_repeated = equal[length:] - equal[:-length] == length
        after[:count, length] = is_repeated & (last_read[length : length + count] >= at[:count])
        one, other = reader_parts[:count], reader_parts[length : length + count]
        inside = (one < at[:count] + length) & (other < at[:count] + 2 * length)
        beside[:count, length] = is_repeated & (sources[:count] == sources[length : length + count])
        beside[:count, length] &= (readers[:count] == readers[length : length + count]) | inside
        last_read = np.maximum(last_read[:-1], reads[length:])
    return after, beside
