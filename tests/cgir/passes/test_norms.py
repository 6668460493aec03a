"""Normalisation from its parts, on raw graphs written by hand."""

from __future__ import annotations

from typing import Any

import pytest
from raw_graphs import RawGraph

from cgir import Param


def folded(raw: RawGraph, scale: bool, shift: bool) -> int:
    """x * k + (beta - mean * k), as Keras writes batch normalisation."""
    k = raw.call("Rsqrt", raw.call("Add", raw.constant(), raw.number(1e-3)))
    k = raw.call("Mul", k, raw.param("gamma")) if scale else k
    product = raw.call("Mul", raw.constant(), k)
    rest = raw.call("Sub", raw.param("beta"), product) if shift else raw.call("Neg", product)
    return raw.call("Add", raw.call("Mul", 0, k), rest)


def spelled(raw: RawGraph, scale: bool, shift: bool) -> int:
    """(x - mean) / sqrt(variance + eps) * gamma + beta."""
    x = raw.call("Div", raw.call("Sub", 0, raw.constant()), raw.standard_deviation())
    x = raw.call("Mul", x, raw.param("gamma")) if scale else x
    return raw.call("Add", x, raw.param("beta")) if shift else x


@pytest.mark.parametrize("write", [folded, spelled])
@pytest.mark.parametrize(("scale", "shift"), [(True, True), (True, False), (False, True), (False, False)])
def test_batch_norm(write: Any, scale: bool, shift: bool) -> None:
    raw = RawGraph()
    graph = raw.canonical(write(raw, scale, shift))
    assert graph.op_counts() == {"Input": 1, "BatchNorm": 1, "Output": 1}
    assert [param.id for param in graph.nodes[1].params] == ["gamma"] * scale + ["beta"] * shift


def test_what_follows_a_batch_norm_stays() -> None:
    """A layer's scale, and the bias of the convolution before."""
    raw = RawGraph()
    weight = Param("w", (8, 8, 1, 1))
    window = {"kernel": (1, 1), "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    x = raw.call("Add", raw.call("Conv", 0, params=(weight,), **window), raw.param("bias"))
    k = raw.call("Mul", raw.call("Rsqrt", raw.call("Add", raw.constant(), raw.number(1e-3))), raw.param("gamma"))
    rest = raw.call("Sub", raw.param("beta"), raw.call("Mul", raw.constant(), k))
    x = raw.call("Mul", raw.call("Add", raw.call("Mul", x, k), rest), raw.param("scale"))
    graph = raw.canonical(x)
    assert list(graph.op_counts()) == ["Input", "Conv", "BatchNorm", "Mul", "Output"]
    assert [param.id for node in graph.nodes for param in node.params] == ["w", "bias", "gamma", "beta", "scale"]


def test_scales_are_no_batch_norm() -> None:
    raw = RawGraph()
    graph = raw.canonical(raw.call("Add", raw.call("Mul", 0, raw.param("scale")), raw.param("shift")))
    assert list(graph.op_counts()) == ["Input", "Mul", "Add", "Output"]


def test_learned_statistics_are_no_batch_norm() -> None:
    """Trained means and variances must stay counted."""
    raw = RawGraph()
    deviation = raw.call("Sqrt", raw.call("Add", raw.param("variance"), raw.number(1e-3)))
    graph = raw.canonical(raw.call("Div", raw.call("Sub", 0, raw.param("mean")), deviation))
    assert "BatchNorm" not in graph.op_counts()
    assert graph.num_params == 16


def test_pixelwise_statistics_are_no_batch_norm() -> None:
    raw = RawGraph()
    variance = raw.call("Add", raw.constant((1, 4, 4)), raw.number(1e-3))
    graph = raw.canonical(raw.call("Div", raw.call("Sub", 0, raw.constant((1, 4, 4))), raw.call("Sqrt", variance)))
    assert list(graph.op_counts()) == ["Input", "Sub", "Div", "Output"]


def moments(raw: RawGraph, x: int, mean: tuple[int, ...], dims: int, weights: tuple[int, ...]) -> int:
    """x * k - mean * k + beta with k = gamma / sqrt(variance + eps), as Keras writes layer and group normalisation."""
    average = raw.call("Mean", x, shape=mean, dims=dims)
    variance = raw.call("Mean", raw.call("Pow", raw.call("Sub", x, average), scalar=2.0), shape=mean, dims=dims)
    k = raw.call("Rsqrt", raw.call("Add", variance, raw.number(1e-3)))
    k = raw.call("Mul", k, raw.param("gamma", weights), shape=raw.nodes[x].shape)
    rest = raw.call("Add", raw.call("Mul", raw.call("Neg", average), k), raw.param("beta", weights))
    return raw.call("Add", raw.call("Mul", x, k), rest)


@pytest.mark.parametrize(
    ("shape", "view", "mean", "dims", "weights", "op", "attrs"),
    [
        ((8, 5), (8, 5), (1, 5), 1, (8,), "LayerNorm", {"dims": 1}),
        ((8, 4, 4), (8, 4, 4), (1, 1, 1), 3, (8, 4, 4), "LayerNorm", {"dims": 3}),
        ((8, 4, 4), (8, 4, 4), (1, 1, 1), 3, (8,), "GroupNorm", {"groups": 1}),
        ((8, 4, 4), (4, 4, 2, 4), (1, 1, 2, 1), 3, (8,), "GroupNorm", {"groups": 2}),
        ((8, 4, 4), (8, 4, 4), (8, 1, 1), 2, (8,), "InstanceNorm", {}),
    ],
)
def test_norms_of_moments(
    shape: Any, view: Any, mean: Any, dims: int, weights: Any, op: str, attrs: dict[str, int]
) -> None:
    raw = RawGraph(shape)
    x = raw.call("ReLU", 0)
    x = raw.call("Reshape", x, shape=view) if view != shape else x
    x = moments(raw, x, mean, dims, weights)
    graph = raw.canonical(raw.call("Reshape", x, shape=shape) if view != shape else x)
    assert [node.op for node in graph.nodes] == ["Input", "ReLU", op, "Output"]
    norm = graph.nodes[2]
    assert (norm.in_shapes, norm.shape, dict(norm.attrs), [param.id for param in norm.params]) == (
        (shape,),
        shape,
        attrs,
        ["gamma", "beta"],
    )


def test_moments_of_something_else_are_no_norm() -> None:
    """x is scaled by the deviation of y."""
    raw = RawGraph((8, 5))
    x, y = raw.call("ReLU", 0), raw.call("Tanh", 0)
    average = raw.call("Mean", y, shape=(1, 5), dims=1)
    variance = raw.call("Mean", raw.call("Pow", raw.call("Sub", y, average), scalar=2.0), shape=(1, 5), dims=1)
    k = raw.call("Rsqrt", raw.call("Add", variance, raw.number(1e-3)))
    k = raw.call("Mul", k, raw.param("gamma"), shape=(8, 5))
    graph = raw.canonical(raw.call("Add", raw.call("Mul", x, k), raw.call("Mul", raw.call("Neg", average), k)))
    assert "LayerNorm" not in graph.op_counts()
    assert graph.num_params == 8
