"""Constants and numbers of raw graphs written by hand."""

from __future__ import annotations

import pytest
from raw_graphs import RawGraph

import cgir


def test_settings_have_single_precision() -> None:
    graphs = []
    for value in (1 / 255, 0.003921568859368563):
        raw = RawGraph()
        graphs.append(raw.canonical(raw.call("Mul", 0, raw.number(value))))
    assert cgir.isomorphic(*graphs)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Maximum", "Minimum", "Mod", "Compare"])
def test_a_padded_parameter_is_not_the_number_that_it_is_padded_with(op: str) -> None:
    raw = RawGraph()
    padded = raw.call("Pad", raw.param("p", (6,)), shape=(8,), mode="constant", padding=((1, 1),), value=0.0)
    graph = raw.canonical(raw.call(op, 0, padded))
    node = graph.nodes[1]
    assert (node.op, node.attr("scalar"), [param.id for param in node.params]) == (op, None, ["p"])
    assert graph.num_params == 6


def test_a_padded_mask_is_no_number() -> None:
    raw = RawGraph()
    mask = raw.call("Pad", raw.constant((6,)), shape=(8,), mode="constant", padding=((1, 1),), value=0.0)
    graph = raw.canonical(raw.call("ReLU", raw.call("Mul", 0, mask)))
    assert [node.op for node in graph.nodes] == ["Input", "Mul", "ReLU", "Output"]  # a product with 0 would be folded
