"""Patterns of decomposed operators, on raw graphs written by hand."""

from __future__ import annotations

from raw_graphs import RawGraph


def test_erfc_spelling_of_gelu() -> None:
    raw = RawGraph()
    inner = raw.call("Erf", raw.call("Mul", raw.call("Neg", 0), raw.number(0.70710678)))
    x = raw.call("Mul", raw.call("Mul", raw.number(0.5), 0), raw.call("Sub", raw.number(1.0), inner))
    assert [node.op for node in raw.canonical(x).nodes] == ["Input", "GELU", "Output"]
