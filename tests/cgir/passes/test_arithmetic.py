"""Sums, linear layers and affine maps of raw graphs written by hand."""

from __future__ import annotations

import pytest
from raw_graphs import RawGraph

import cgir


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
    assert graph.num_params == (16 if shape == (1, 8) else 24)  # trailing axes are not squeezed: another name
