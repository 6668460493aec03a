"""Offsets, ranges and spans against plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgir.ragged import offsets, ranges, spans

SIZES = st.lists(st.integers(0, 12), max_size=30)


@given(SIZES)
def test_offsets(sizes):
    found = offsets(sizes)
    assert found.dtype == np.int64
    assert found.tolist() == [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    assert offsets(np.asarray(sizes, np.int32)).tolist() == found.tolist()


def test_ranges():
    assert ranges(np.asarray([5, 0, 9]), np.asarray([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ranges(np.asarray([], np.int64), np.asarray([], np.int64)).tolist() == []


@given(SIZES, st.integers(0, 20), st.one_of(st.none(), st.integers(1, 4)))
def test_spans_cover_everything_and_are_as_long_as_they_may(sizes, most, count):
    found = list(spans(sizes, most, count))
    assert [index for span in found for index in range(span.start, span.stop)] == list(range(len(sizes)))
    for span in found:
        taken = sizes[span]
        assert len(taken) == 1 or sum(taken) <= most
        assert count is None or len(taken) <= count
        more = sizes[span.start : span.stop + 1]
        assert span.stop == len(sizes) or sum(more) > most or len(taken) == count


@pytest.mark.parametrize("empty", [[], np.zeros(0, np.int64)])
def test_nothing(empty):
    assert list(spans(empty, 5)) == []


def test_spans_end_whatever_the_limits():
    assert list(spans([3, 3], 0, 0)) == list(spans([3, 3], -1)) == [slice(0, 1), slice(1, 2)]
