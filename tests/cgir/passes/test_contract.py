"""Padding moves into the convolution that reads it, over the spatial axes only."""

from __future__ import annotations

import pytest
from raw_graphs import RawGraph

from cgir import Param

WINDOW = {"kernel": (3, 3), "stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}


@pytest.mark.parametrize(
    ("padding", "folded"),
    [
        (((0, 1), (0, 1)), ((0, 1), (0, 1))),
        (((0, 0), (0, 1), (0, 1)), ((0, 1), (0, 1))),  # (C, frames, H, W)
        (((1, 1), (0, 1), (0, 1)), None),
    ],
)
def test_padding_of_frames_that_a_convolution_reads_one_by_one(
    padding: tuple[tuple[int, int], ...], folded: tuple[tuple[int, int], ...] | None
) -> None:
    size = (4, 8, 8)[-len(padding) :]
    raw = RawGraph((2, *size))
    larger = (2, *(n + sum(pair) for n, pair in zip(size, padding, strict=True)))
    padded = raw.call("Pad", 0, shape=larger, mode="constant", padding=padding, value=0.0)
    before = raw.nodes[padded].shape
    shape = (3, *before[1:-2], (before[-2] - 3) // 2 + 1, (before[-1] - 3) // 2 + 1)
    graph = raw.canonical(raw.call("Conv", padded, shape=shape, params=(Param("w", (3, 2, 3, 3)),), **WINDOW))
    ops = [node.op for node in graph.nodes]
    if folded is None:
        assert ops == ["Input", "Pad", "Conv", "Output"]
    else:
        assert ops == ["Input", "Conv", "Output"]
        assert graph.nodes[1].attr("padding") == folded
        assert graph.nodes[1].in_shapes == (raw.nodes[0].shape,)
