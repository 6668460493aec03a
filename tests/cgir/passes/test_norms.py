"""Normalisation, recurrent layers and activations from their parts, on raw graphs written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import cgir
from cgir import Graph, Node, Param
from cgir.graph import attributes

IMAGE, CHANNELS = (8, 4, 4), (8,)


class Raw:
    """A raw graph, node by node; `call` returns the index of a node."""

    def __init__(self, shape: tuple[int, ...] = IMAGE) -> None:
        self.nodes = [Node("Input", shape=shape)]

    def call(
        self, op: str, *inputs: int, shape: tuple[int, ...] | None = None, params: tuple[Param, ...] = (), **attrs: Any
    ) -> int:
        shapes = tuple(self.nodes[i].shape for i in inputs)
        shape = max(shapes, key=len) if shape is None else shape
        self.nodes.append(Node(op, inputs, shapes, shape, params, attributes(attrs), f"n{len(self.nodes)}"))
        return len(self.nodes) - 1

    def param(self, name: str, shape: tuple[int, ...] = CHANNELS) -> int:
        return self.call("Param", shape=shape, params=(Param(name, shape),))

    def constant(self, shape: tuple[int, ...] = CHANNELS) -> int:
        return self.call("Constant", shape=shape)

    def number(self, value: float) -> int:
        return self.call("Constant", shape=(), value=value)

    def deviation(self) -> int:
        """sqrt(variance + eps)."""
        return self.call("Sqrt", self.call("Add", self.constant(), self.number(1e-3)))

    def canonical(self, last: int, level: str = "module") -> Graph:
        self.call("Output", last)
        graph = Graph(tuple(self.nodes))
        cgir.verify(graph)
        graph = cgir.canonicalize(graph, level=level)
        cgir.verify(graph)
        return graph


def folded(raw: Raw, scale: bool, shift: bool) -> int:
    """x * k + (beta - mean * k), as Keras writes batch normalisation."""
    k = raw.call("Rsqrt", raw.call("Add", raw.constant(), raw.number(1e-3)))
    k = raw.call("Mul", k, raw.param("gamma")) if scale else k
    product = raw.call("Mul", raw.constant(), k)
    rest = raw.call("Sub", raw.param("beta"), product) if shift else raw.call("Neg", product)
    return raw.call("Add", raw.call("Mul", 0, k), rest)


def spelled(raw: Raw, scale: bool, shift: bool) -> int:
    """(x - mean) / sqrt(variance + eps) * gamma + beta."""
    x = raw.call("Div", raw.call("Sub", 0, raw.constant()), raw.deviation())
    x = raw.call("Mul", x, raw.param("gamma")) if scale else x
    return raw.call("Add", x, raw.param("beta")) if shift else x


@pytest.mark.parametrize("write", [folded, spelled])
@pytest.mark.parametrize(("scale", "shift"), [(True, True), (True, False), (False, True), (False, False)])
def test_batch_norm(write: Any, scale: bool, shift: bool) -> None:
    raw = Raw()
    graph = raw.canonical(write(raw, scale, shift))
    assert graph.op_counts() == {"Input": 1, "BatchNorm": 1, "Output": 1}
    assert [param.id for param in graph.nodes[1].params] == ["gamma"] * scale + ["beta"] * shift


def test_what_follows_a_batch_norm_stays() -> None:
    """A layer's scale, and the bias of the convolution before."""
    raw = Raw()
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
    raw = Raw()
    graph = raw.canonical(raw.call("Add", raw.call("Mul", 0, raw.param("scale")), raw.param("shift")))
    assert list(graph.op_counts()) == ["Input", "Mul", "Add", "Output"]


def test_learned_statistics_are_no_batch_norm() -> None:
    """Trained means and variances must stay counted."""
    raw = Raw()
    deviation = raw.call("Sqrt", raw.call("Add", raw.param("variance"), raw.number(1e-3)))
    graph = raw.canonical(raw.call("Div", raw.call("Sub", 0, raw.param("mean")), deviation))
    assert "BatchNorm" not in graph.op_counts()
    assert graph.num_params == 16


def test_pixelwise_statistics_are_no_batch_norm() -> None:
    raw = Raw()
    variance = raw.call("Add", raw.constant((1, 4, 4)), raw.number(1e-3))
    graph = raw.canonical(raw.call("Div", raw.call("Sub", 0, raw.constant((1, 4, 4))), raw.call("Sqrt", variance)))
    assert list(graph.op_counts()) == ["Input", "Sub", "Div", "Output"]


def moments(raw: Raw, x: int, mean: tuple[int, ...], dims: int, weights: tuple[int, ...]) -> int:
    """x * k - mean * k + beta with k = gamma / sqrt(variance + eps), the moments those of x, as Keras writes layer and
    group normalisation.
    """
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
    raw = Raw(shape)
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
    raw = Raw((8, 5))
    x, y = raw.call("ReLU", 0), raw.call("Tanh", 0)
    average = raw.call("Mean", y, shape=(1, 5), dims=1)
    variance = raw.call("Mean", raw.call("Pow", raw.call("Sub", y, average), scalar=2.0), shape=(1, 5), dims=1)
    k = raw.call("Rsqrt", raw.call("Add", variance, raw.number(1e-3)))
    k = raw.call("Mul", k, raw.param("gamma"), shape=(8, 5))
    graph = raw.canonical(raw.call("Add", raw.call("Mul", x, k), raw.call("Mul", raw.call("Neg", average), k)))
    assert "LayerNorm" not in graph.op_counts()
    assert graph.num_params == 8


# --- activations


@pytest.mark.parametrize(
    ("low", "high", "op", "attrs"),
    [(0.0, 6.0, "ReLU6", {}), (-1.0, 1.0, "HardTanh", {}), (-2.0, 1.5, "Clip", {"min": -2.0, "max": 1.5})],
)
@pytest.mark.parametrize("first", ["Minimum", "Maximum"])
def test_clips(low: float, high: float, op: str, attrs: dict[str, float], first: str) -> None:
    raw = Raw()
    steps = [("Minimum", high), ("Maximum", low)]
    x = 0
    for name, bound in steps if first == "Minimum" else steps[::-1]:
        x = raw.call(name, x, raw.number(bound))
    graph = raw.canonical(x)
    assert [node.op for node in graph.nodes] == ["Input", op, "Output"]
    assert dict(graph.nodes[1].attrs) == attrs


def test_prelu() -> None:
    raw = Raw()
    negative = raw.call("Mul", raw.call("Neg", raw.param("slope", (8, 1, 1))), raw.call("ReLU", raw.call("Neg", 0)))
    graph = raw.canonical(raw.call("Add", raw.call("ReLU", 0), negative))
    assert [node.op for node in graph.nodes] == ["Input", "PReLU", "Output"]
    assert graph.nodes[1].params == (Param("slope", (8,)),)


def test_a_gated_sum_is_no_prelu() -> None:
    """The slope multiplies another tensor's negative part."""
    raw = Raw()
    other = raw.call("Tanh", 0)
    negative = raw.call("Mul", raw.param("slope", (8, 1, 1)), raw.call("ReLU", raw.call("Neg", other)))
    assert "PReLU" not in raw.canonical(raw.call("Add", raw.call("ReLU", 0), negative)).op_counts()


def test_erfc_spelling_of_gelu() -> None:
    raw = Raw()
    inner = raw.call("Erf", raw.call("Mul", raw.call("Neg", 0), raw.number(0.70710678)))
    x = raw.call("Mul", raw.call("Mul", raw.number(0.5), 0), raw.call("Sub", raw.number(1.0), inner))
    assert [node.op for node in raw.canonical(x).nodes] == ["Input", "GELU", "Output"]


def test_settings_have_single_precision() -> None:
    graphs = []
    for value in (1 / 255, 0.003921568859368563):
        raw = Raw()
        graphs.append(raw.canonical(raw.call("Mul", 0, raw.number(value))))
    assert cgir.isomorphic(*graphs)


# --- recurrent layers


def recurrent(raw: Raw, activation: str = "Tanh", product: str = "MatMul", trips: int = 5) -> int:
    """A loop over h = activation(x k + h r + b); hidden size 6, sequences of 8 features."""
    start = raw.call("Identity", 0, raw.constant((6,)), shape=(6,))
    path = "rnn.while.body"
    begin = len(raw.nodes)
    x = raw.call("Slice", 0, shape=(8,))
    a = raw.call(product, x, raw.param("k", (8, 6)), shape=(6,), inner=8)
    b = raw.call(product, start, raw.param("r", (6, 6)), shape=(6,), inner=6)
    h = raw.call(activation, raw.call("Add", raw.call("Add", a, b), raw.param("b", (6,))))
    for index in range(begin, len(raw.nodes)):
        node = raw.nodes[index]
        if node.op != "Param":
            raw.nodes[index] = replace(node, module=path, attrs=attributes({**dict(node.attrs), "trips": trips}))
    loop = raw.call("Loop", h, shape=(6, trips), trips=trips)
    raw.nodes[loop] = replace(raw.nodes[loop], name="rnn.while", module="rnn")
    return loop


@pytest.mark.parametrize("activation", ["Tanh", "ReLU"])
def test_loops_over_cells(activation: str) -> None:
    raw = Raw((8, 5))
    graph = raw.canonical(recurrent(raw, activation))
    assert [node.op for node in graph.nodes] == ["Input", "RNN", "Output"]
    layer = graph.nodes[1]
    assert layer.params == (Param("k", (6, 8)), Param("r", (6, 6)), Param("b", (6,)))
    assert layer.shape == (6, 5)
    assert dict(layer.attrs) == {"hidden": 6, "layers": 1, "bidirectional": False}
    assert graph.flops == 5 * 2 * (8 * 6 + 6 * 6)


def test_loops_over_other_cells_stay() -> None:
    raw = Raw((8, 5))
    graph = raw.canonical(recurrent(raw, "Sigmoid"))
    assert {"Loop", "Linear", "Sigmoid"} <= set(graph.op_counts())
    assert graph.flops == 5 * 2 * (8 * 6 + 6 * 6)
