"""Graphs written as arrays, subgraph by subgraph, equal the graphs written node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgir import batch_builder
from cgir.batch_builder import BatchBuilder
from cgir.builder import GraphBuilder
from cgir.graph_batch import GraphBatch

Plan = tuple[Any, ...]


def conv(build: GraphBuilder, x: int, channels: int) -> int:
    return build.relu(build.conv(x, channels, 3))


def untouched(build: GraphBuilder, x: int) -> int:
    return x


def swapped(build: GraphBuilder, x: tuple[int, int]) -> tuple[int, int]:
    return x[1], x[0]


def residual(build: GraphBuilder, x: int, depth: int) -> int:
    y = build.subgraph(conv, x, build.shape(x)[0])
    if depth:
        y = build.subgraph(residual, y, depth - 1)
    return build.add(y, x)


def cell(build: GraphBuilder, x: tuple[int, int], depth: int) -> tuple[int, int]:
    a, b = build.subgraph(swapped, x)
    y = build.concat(build.subgraph(residual, a, depth), b)
    return build.subgraph(untouched, b), build.subgraph(conv, y, 4)


def write(build: GraphBuilder, plan: list[tuple[str, int]]) -> None:
    """A network from a list of steps: both halves of a pair of values are read at the end."""
    x = build.input((4, 8, 8))
    pair = (x, build.subgraph(conv, x, 4))
    for step, size in plan:
        if step == "cell":
            pair = build.subgraph(cell, pair, size)
        elif step == "swap":
            pair = build.subgraph(swapped, pair)
        elif step == "plain":
            pair = (pair[1], build.relu(build.conv(pair[0], 4, 2 * size + 1)))
        else:
            pair = (build.subgraph(residual, pair[0], size), build.subgraph(untouched, pair[1]))
    build.output(build.concat(*pair))


STEPS = st.lists(st.tuples(st.sampled_from(["cell", "swap", "plain", "residual"]), st.integers(0, 2)), max_size=6)


def compiled(plans: list[list[tuple[str, int]]]) -> GraphBatch:
    many = BatchBuilder()
    for plan in plans:
        write(many, plan)
        many.end()
    return many.batch()


@settings(max_examples=60, deadline=None)
@given(plans=st.lists(STEPS, max_size=5))
def test_arrays_equal_graphs_one_by_one(plans: list[list[tuple[str, int]]]) -> None:
    graphs = []
    for plan in plans:
        one = GraphBuilder()
        write(one, plan)
        graphs.append(one.build())
    batch, packed = compiled(plans), GraphBatch.from_graphs(graphs)
    assert batch.kinds == packed.kinds
    for field in ("kind", "src", "dst", "ptr"):
        assert np.array_equal(getattr(batch, field), getattr(packed, field)), field


def test_networks_are_put_together_in_several_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [[("cell", i % 3), ("plain", 1)] for i in range(50)]
    whole = compiled(plans)
    monkeypatch.setattr(batch_builder, "FLUSH", 7)
    parts = compiled(plans)
    assert parts.kinds == whole.kinds
    for field in ("kind", "src", "dst", "ptr"):
        assert np.array_equal(getattr(parts, field), getattr(whole, field))


def test_a_subgraph_is_written_once() -> None:
    calls = []

    def counted(build: GraphBuilder, x: int, channels: int) -> int:
        calls.append(channels)
        return build.conv(x, channels, 1)

    many = BatchBuilder()
    for _ in range(3):
        x = many.subgraph(counted, many.input((4, 8, 8)), 4)
        many.output(many.subgraph(counted, many.subgraph(counted, x, 4), 8))
        many.end()
    assert calls == [4, 8]
    assert len(many.batch()) == 3
    with pytest.raises(TypeError, match="batch"):
        many.build()


def test_an_error_in_a_subgraph_leaves_the_builder_usable() -> None:
    many = BatchBuilder()
    x = many.input((4, 8, 8))
    with pytest.raises(Exception, match="groups"):
        many.subgraph(lambda build, x: build.conv(x, 5, 1, groups=3), x)
    many.output(many.subgraph(conv, x, 4))
    many.end()
    assert [kind.op for kind in many.batch().kinds] == ["Input", "Conv", "ReLU", "Output"]


def test_piece_is_an_alias_of_subgraph():
    for builder in (GraphBuilder(), BatchBuilder()):
        x = builder.input((4, 8, 8))
        assert builder.shape(builder.piece(conv, x, 6)) == builder.shape(builder.subgraph(conv, x, 6)) == (6, 8, 8)
