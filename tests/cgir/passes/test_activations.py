"""Clips and PReLU from their parts, on raw graphs written by hand."""

from __future__ import annotations

import pytest
from raw_graphs import RawGraph

from cgir import Param


@pytest.mark.parametrize(
    ("low", "high", "op", "attrs"),
    [(0.0, 6.0, "ReLU6", {}), (-1.0, 1.0, "HardTanh", {}), (-2.0, 1.5, "Clip", {"min": -2.0, "max": 1.5})],
)
@pytest.mark.parametrize("first", ["Minimum", "Maximum"])
def test_clips(low: float, high: float, op: str, attrs: dict[str, float], first: str) -> None:
    raw = RawGraph()
    steps = [("Minimum", high), ("Maximum", low)]
    x = 0
    for name, bound in steps if first == "Minimum" else steps[::-1]:
        x = raw.call(name, x, raw.number(bound))
    graph = raw.canonical(x)
    assert [node.op for node in graph.nodes] == ["Input", op, "Output"]
    assert dict(graph.nodes[1].attrs) == attrs


def test_prelu() -> None:
    raw = RawGraph()
    negative = raw.call("Mul", raw.call("Neg", raw.param("slope", (8, 1, 1))), raw.call("ReLU", raw.call("Neg", 0)))
    graph = raw.canonical(raw.call("Add", raw.call("ReLU", 0), negative))
    assert [node.op for node in graph.nodes] == ["Input", "PReLU", "Output"]
    assert graph.nodes[1].params == (Param("slope", (8,)),)


def test_a_gated_sum_is_no_prelu() -> None:
    """The slope multiplies another tensor's negative part."""
    raw = RawGraph()
    other = raw.call("Tanh", 0)
    negative = raw.call("Mul", raw.param("slope", (8, 1, 1)), raw.call("ReLU", raw.call("Neg", other)))
    assert "PReLU" not in raw.canonical(raw.call("Add", raw.call("ReLU", 0), negative)).op_counts()
