"""Layers of onnxruntime on images whose channels are in blocks, and deformable convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

import cgir
import frontends
from tests.helpers.onnx_operators import built, fused, plain

IMAGE = {"x": (1, 16, 8, 8)}
FILTERS = {"w": (32, 16, 3, 3), "b": (32,)}


def blocked(op: str, inputs: str, outputs: str = "y", **attrs: Any) -> Any:
    return fused(op, inputs, outputs, "com.microsoft.nchwc", **attrs)


def same(found: list[Any], expected: list[Any], inputs: dict[str, Any], weights: dict[str, Any]) -> None:
    graph = frontends.trace(built(found, inputs, weights, ["y"]))
    cgir.verify(graph)
    plain_graph = frontends.trace(built(expected, inputs, weights, ["y"]))
    assert cgir.isomorphic(graph, plain_graph), cgir.diff(plain_graph, graph)


def test_convolution_with_residual_and_activation_between_reorderings() -> None:
    found = [
        blocked("ReorderInput", "x", "r"), blocked("Conv", "r w b", "c", pads=[1, 1, 1, 1], activation="Relu"),
        blocked("Conv", "c v b c", "d", pads=[1, 1, 1, 1], activation="Relu"),
        blocked("ReorderOutput", "d", channels=32),
    ]  # fmt: skip
    expected = [
        plain("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]), plain("Relu", ["c"], ["d"]),
        plain("Conv", ["d", "v", "b"], ["e"], pads=[1, 1, 1, 1]), plain("Add", ["e", "d"], ["f"]),
        plain("Relu", ["f"], ["y"]),
    ]  # fmt: skip
    same(found, expected, IMAGE, {**FILTERS, "v": (32, 32, 3, 3)})


def test_filters_that_are_filled_up_to_whole_blocks() -> None:
    """Those of an image of 12 channels have 16; the grouped ones have those of their group."""
    found = [
        blocked("ReorderInput", "x", "r"), blocked("Conv", "r w", "c"), blocked("Conv", "c v", "d", group=2),
        blocked("ReorderOutput", "d", channels=8),
    ]  # fmt: skip
    expected = [plain("Conv", ["x", "u"], ["c"]), plain("Conv", ["c", "v"], ["y"], group=2)]
    weights = {"w": (16, 16, 3, 3), "u": (16, 12, 3, 3), "v": (8, 8, 1, 1)}
    same(found, expected, {"x": (1, 12, 8, 8)}, weights)


def test_filters_of_each_channel_that_are_filled_up_to_whole_blocks() -> None:
    found = [
        blocked("ReorderInput", "x", "r"), blocked("Conv", "r w b", "c", group=16),
        blocked("ReorderOutput", "c", channels=12),
    ]  # fmt: skip
    expected = [plain("Conv", ["x", "u", "a"], ["y"], group=12)]
    weights = {"w": (16, 1, 3, 3), "b": (16,), "u": (12, 1, 3, 3), "a": (12,)}
    same(found, expected, {"x": (1, 12, 8, 8)}, weights)


def test_pools_and_upsampling() -> None:
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    found = [
        blocked("MaxPool", "x", "a", **window), blocked("AveragePool", "a", "b", **window),
        blocked("Upsample", "b", "c", scales=[1, 1, 2, 2]), blocked("GlobalAveragePool", "c"),
    ]  # fmt: skip
    expected = [
        plain("MaxPool", ["x"], ["a"], **window), plain("AveragePool", ["a"], ["b"], **window),
        plain("Resize", ["b", "", "scales"], ["c"]), plain("GlobalAveragePool", ["c"], ["y"]),
    ]  # fmt: skip
    same(found, expected, IMAGE, {"scales": np.array([1, 1, 2, 2], np.float32)})


def test_images_that_arrive_and_leave_with_channels_last() -> None:
    found = [
        blocked("ReorderInput", "x", "r", channels_last=1), blocked("Conv", "r w", "c"),
        blocked("ReorderOutput", "c", channels=20, channels_last=1),
    ]  # fmt: skip
    graph = frontends.trace(built(found, {"x": (1, 8, 8, 16)}, FILTERS, ["y"]))
    # filters are filled up to whole blocks in the file; only 20 of their 32 channels leave
    assert [node.shape for node in graph.nodes if node.op == "Output"] == [(20, 6, 6)]
    assert graph.num_params == 32 * 16 * 9


def test_deformable_convolution_counts_as_a_convolution() -> None:
    nodes = [
        plain("Conv", ["x", "o"], ["offset"], pads=[1, 1, 1, 1]),
        plain("DeformConv", ["x", "w", "offset"], ["y"], pads=[1, 1, 1, 1]),
    ]
    graph = frontends.trace(built(nodes, IMAGE, {"o": (18, 16, 3, 3), "w": (8, 16, 3, 3)}, ["y"]))
    cgir.verify(graph)
    assert graph.flops == 2 * 64 * 9 * 16 * 18 + 2 * 64 * 9 * 16 * 8
    assert (graph.num_params, graph.complete) == (18 * 16 * 9 + 8 * 16 * 9, True)
    nodes[1] = plain("DeformConv", ["x", "w", "offset", "b", "mask"], ["y"], pads=[1, 1, 1, 1], group=2)
    weights = {"o": (18, 16, 3, 3), "w": (8, 8, 3, 3), "b": (8,)}
    graph = frontends.trace(built(nodes, {**IMAGE, "mask": (1, 9, 8, 8)}, weights, ["y"]))
    cgir.verify(graph)
    assert graph.flops == 2 * 64 * 9 * 16 * 18 + 2 * 64 * 9 * 8 * 8
