"""Sums, linear layers and affine maps of raw graphs written by hand."""

from __future__ import annotations

import pytest
from raw_graphs import RawGraph

import cgir
from cgir import Param


@pytest.mark.parametrize("shape", [(1, 8), (8, 1)])
def test_a_shift_that_others_read_too_has_one_shape_in_each_name(shape: tuple[int, ...]) -> None:
    """CaiT adds its class token to what it scales by channel, and reads it elsewhere."""
    raw = RawGraph((8,))
    token = raw.param("token", shape)
    scaled = raw.call("Mul", 0, raw.param("scale", (8,)), shape=(8,))
    raw.call("Output", raw.call("Mul", raw.call("Sin", raw.call("Add", scaled, token, shape=(8,))), token, shape=(8,)))
    graph = cgir.canonicalize(cgir.Graph(tuple(raw.nodes)), "inference", debug=True)
    cgir.verify(graph)
    assert [node.op for node in graph.nodes].count("BatchNorm") == 1
    assert graph.num_params == 16


def test_one_weight_read_straight_and_transposed_has_one_shape() -> None:
    """A tied autoencoder: (4 -> 2 -> 4), the second layer with the first one's weight transposed."""
    graphs = []
    for ops in (("Linear", "Linear"), ("Linear", "MatMul"), ("MatMul", "MatMul"), ("MatMul", "Linear")):
        raw = RawGraph((4,))
        weight = raw.param("w", (2, 4))
        transposed = raw.call("Transpose", weight, shape=(4, 2))
        x = 0
        for op, features in zip(ops, (2, 4), strict=True):
            operand = (weight, transposed)[(op == "Linear") == (features == 4)]
            inner = {"inner": 6 - features} if op == "MatMul" else {}
            x = raw.call(op, x, operand, shape=(features,), **inner)
        graphs.append(raw.canonical(x))
        assert graphs[-1].complete
        assert (graphs[-1].num_params, graphs[-1].flops) == (8, 2 * 2 * 8)
    assert all(cgir.isomorphic(graphs[0], graph) for graph in graphs)


def test_a_weight_that_is_read_transposed_is_stored_as_it_is_read() -> None:
    raw = RawGraph((4,))
    weight = raw.call("Transpose", raw.param("w", (4, 2)), shape=(2, 4))
    assert raw.canonical(raw.call("Linear", 0, weight, shape=(2,))).nodes[1].params == (Param("w", (2, 4)),)
