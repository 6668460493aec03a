"""Axis layouts: batch and channels are where a tensor with telling sizes has them."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgir.ops import OPS
from frontends.common.axis_layout import (
    NO_LAYOUT,
    AxisLayout,
    broadcast_layout,
    elementwise_layout,
    layout_rule,
    op_layout,
    permute_layout,
    reduce_layout,
    reshape_layout,
    stored_shape,
)

BATCH = 7
IMAGE = (BATCH, 3, 11, 13)  # of distinct primes
LAYOUT = AxisLayout(channel=1, batch=0)


def test_graphs_store_no_batch_and_channels_first() -> None:
    assert stored_shape((BATCH, 11, 13, 3), AxisLayout(3, 0), BATCH) == (3, 11, 13)
    assert stored_shape((5 * BATCH, 3), AxisLayout(1, 0, outer=5), BATCH) == (3, 5)
    assert stored_shape((11, 13), NO_LAYOUT, BATCH) == (11, 13)
    assert stored_shape((1, 3, 16), AxisLayout(2, 1), 12) == (16, 1, 3)  # no batch of 12


@given(st.permutations(range(4)))
def test_permutations_move_both_axes(order: list[int]) -> None:
    layout = permute_layout(LAYOUT, {old: new for new, old in enumerate(order)})
    size = tuple(IMAGE[old] for old in order)
    assert (size[layout.batch or 0], size[layout.channel or 0]) == (BATCH, 3)


@given(st.sets(st.integers(0, 3), min_size=1, max_size=3), st.booleans())
def test_reductions_keep_the_axes_that_stay(axes: set[int], keepdims: bool) -> None:
    layout = reduce_layout(LAYOUT, 4, sorted(axes), keepdims)
    size = [1 if axis in axes else n for axis, n in enumerate(IMAGE) if keepdims or axis not in axes]
    assert (layout.batch is None) == (0 in axes)
    assert layout.batch is None or size[layout.batch] == BATCH
    assert (layout.channel is None) == (1 in axes and not keepdims)
    assert layout.channel is None or size[layout.channel] == (1 if 1 in axes else 3)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((BATCH, 3, 11 * 13), AxisLayout(1, 0)),
        ((BATCH * 3, 11, 13), AxisLayout(None, 0, split=(BATCH, 3))),
        ((BATCH, 3 * 11, 13), AxisLayout(None, 0, split=(BATCH, 3))),
        ((1, BATCH, 3, 11, 13), AxisLayout(2, 1)),
    ],
)
def test_reshapes_and_back(after: tuple[int, ...], expected: AxisLayout) -> None:
    assert prod(after) == prod(IMAGE)
    layout = reshape_layout(IMAGE, after, LAYOUT, BATCH)
    assert layout == expected
    assert reshape_layout(after, IMAGE, layout, BATCH) == LAYOUT


def test_broadcasting_aligns_axes_at_the_last_one() -> None:
    assert elementwise_layout([((11, 13), NO_LAYOUT), (IMAGE, LAYOUT)], IMAGE, BATCH) == LAYOUT
    assert elementwise_layout([((3, 1, 1), AxisLayout(0))], IMAGE, BATCH) == AxisLayout(1)
    assert broadcast_layout((3, 1, 1), IMAGE, LAYOUT, BATCH) == AxisLayout(0)
    assert broadcast_layout((1, 3, 1, 1), IMAGE, LAYOUT, BATCH) == LAYOUT


@pytest.mark.parametrize("op", OPS)
def test_operators_impose_the_layout_of_their_row(op: str) -> None:
    layout = op_layout(op, IMAGE, AxisLayout(2, 0), BATCH)
    channel = {"inherited": 2, "channels_second": 1, "channels_last": 3, "unpermuted": None}[layout_rule(op)]
    assert layout == AxisLayout(channel, 0)
