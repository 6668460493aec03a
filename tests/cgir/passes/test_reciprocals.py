"""A number divided by a tensor, written with a reciprocal or without."""

from __future__ import annotations

from typing import Any

import pytest
from raw_graphs import RawGraph

import cgir


def written(*calls: tuple[str, dict[str, Any]]) -> list[tuple[str, Any, Any]]:
    raw = RawGraph((8,))
    node = 0
    for op, attrs in calls:
        node = raw.call(op, node, shape=(8,), **attrs)
    raw.call("Output", node)
    graph = cgir.canonicalize(cgir.Graph(tuple(raw.nodes)), debug=True)
    assert graph.nodes == cgir.canonicalize(graph).nodes
    return [(node.op, node.attr("scalar"), node.attr("reverse")) for node in graph.nodes[1:-1]]


@pytest.mark.parametrize("number", [1.0, 3.0, -0.5])
def test_one_form(number: float) -> None:
    division = ("Div", {"scalar": number, "reverse": True})
    reciprocal, product = ("Reciprocal", {}), ("Mul", {"scalar": number})
    assert written(division) == written(reciprocal, product) == [("Div", number, True)]


def test_a_product_before_stays() -> None:
    assert written(("Mul", {"scalar": 3.0}), ("Reciprocal", {})) == [("Mul", 3.0, None), ("Div", 1.0, True)]
