"""Constants and numbers of raw graphs written by hand."""

from __future__ import annotations

from raw_graphs import RawGraph

import cgir


def test_settings_have_single_precision() -> None:
    graphs = []
    for value in (1 / 255, 0.003921568859368563):
        raw = RawGraph()
        graphs.append(raw.canonical(raw.call("Mul", 0, raw.number(value))))
    assert cgir.isomorphic(*graphs)
