"""Recurrent layers from loops over their cells, on raw graphs written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from raw_graphs import RawGraph

from cgir import Param
from cgir.graph import Attr, attributes


def recurrent(raw: RawGraph, activation: str = "Tanh", product: str = "MatMul", trips: int = 5) -> int:
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


@pytest.mark.parametrize(
    ("activation", "attrs"),
    [("Tanh", {}), ("ReLU", {"activations": ("relu",)}), ("Sigmoid", {"activations": ("sigmoid",)})],
)
def test_loops_over_cells(activation: str, attrs: dict[str, Attr]) -> None:
    raw = RawGraph((8, 5))
    graph = raw.canonical(recurrent(raw, activation))
    assert [node.op for node in graph.nodes] == ["Input", "RNN", "Output"]
    layer = graph.nodes[1]
    assert layer.params == (Param("k", (6, 8)), Param("r", (6, 6)), Param("b", (6,)))
    assert layer.shape == (6, 5)
    assert dict(layer.attrs) == {"hidden": 6, "layers": 1, "bidirectional": False} | attrs
    assert graph.flops == 5 * 2 * (8 * 6 + 6 * 6)


def test_loops_over_other_cells_stay() -> None:
    raw = RawGraph((8, 5))
    graph = raw.canonical(recurrent(raw, "Sin"))
    assert {"Loop", "Linear", "Sin"} <= set(graph.op_counts())
    assert graph.flops == 5 * 2 * (8 * 6 + 6 * 6)
