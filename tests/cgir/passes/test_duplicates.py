"""Equal nodes of raw graphs written by hand."""

from __future__ import annotations

import pytest
from raw_graphs import RawGraph

import cgir


@pytest.mark.parametrize("level", ["module", "inference"])
def test_a_layer_on_several_slices_costs_every_time(level: str) -> None:
    """A shared layer reads two halves of a tensor, in front of a sum."""
    raw = RawGraph((8,))
    weight = raw.param("w", (4, 4))
    halves = [raw.call("Slice", 0, shape=(4,), part=True) for _ in range(2)]
    products = [raw.call("Linear", half, weight, shape=(4,)) for half in halves]
    raw.call("Output", raw.call("Add", *(raw.call("ReLU", product, shape=(4,)) for product in products), shape=(4,)))
    graph = cgir.canonicalize(cgir.Graph(tuple(raw.nodes)), level)
    cgir.verify(graph)
    assert (graph.num_params, graph.flops, graph.complete) == (16, 2 * 2 * 4 * 4, True)
    assert graph.op_counts()["ReLU"] == 2


def test_equal_nodes_without_a_cost_are_one_at_inference() -> None:
    raw = RawGraph((8,))
    raw.call("Output", raw.call("Mul", raw.call("Sin", 0), raw.call("Cos", raw.call("Sin", 0))))
    graph = cgir.canonicalize(cgir.Graph(tuple(raw.nodes)), "inference")
    assert graph.op_counts()["Sin"] == 1
