"""Streaming: stores and iterables part by part, equal graphs once, the next part in another thread."""

import threading

import numpy as np
import pytest
from encoders_samples import random_cnns
from space_checks import NAMES

from cgir import GraphBatch, GraphStore
from cgir.errors import InvalidGraphError
from cgir.graph import Graph, Node
from encoders.engine import streaming as streaming
from encoders.engine.streaming import prefetch, prepared_parts, unique_graphs
from encoders.models.encoder import Encoder, EncoderConfig
from frontends import spaces

GRAPHS = random_cnns(12)


def test_stores_and_iterables_are_read_bit_by_bit(tmp_path, monkeypatch):
    encoder = Encoder(EncoderConfig(width=8, layers=3))
    expected = encoder.embed(GRAPHS)
    GraphStore.write(tmp_path / "graphs.parquet", GRAPHS)
    store = GraphStore.open(tmp_path / "graphs.parquet")
    halves = [GraphBatch.from_graphs(GRAPHS[:5]), GraphBatch.from_graphs(GRAPHS[5:])]
    monkeypatch.setattr(streaming, "PREPARED_NODES", 60)
    monkeypatch.setattr(streaming, "PREPARED_GRAPHS", 5)
    for source in (store, iter(GRAPHS), halves, iter(halves), GraphBatch.from_graphs(GRAPHS)):
        np.testing.assert_allclose(encoder.embed(source), expected, atol=1e-6)
    assert len(list(prepared_parts(store, 3))) > 4
    assert max(piece.batch.num_nodes for piece, _ in prepared_parts(store, 3)) <= 60
    assert [len(piece) for piece, _ in prepared_parts(iter(GRAPHS[:7]), 3)][-1] <= 2
    assert encoder.embed(iter([])).shape == (0, encoder.dim)
    with pytest.raises(InvalidGraphError, match="graph 1 of 2 has no nodes"):
        encoder.embed(iter([GRAPHS[0], Graph(())]))


def test_graphs_that_are_written_alike_are_computed_once():
    order = [0, 3, 0, 5, 3, 0]
    batch = GraphBatch.from_graphs(GRAPHS).select(order)
    first, place = unique_graphs(batch)
    assert first.tolist() == [0, 1, 3]
    assert place.tolist() == [0, 1, 0, 2, 1, 0]
    assert [len(piece) for piece, _ in prepared_parts(batch, 3)] == [3]
    assert [len(piece) for piece, _ in prepared_parts(batch, 3, "plain")] == [6]
    encoder = Encoder(EncoderConfig(width=8, layers=3))
    np.testing.assert_allclose(encoder.embed(batch), encoder.embed(GRAPHS)[order], atol=1e-6)
    source = batch.src.copy()
    source[np.flatnonzero((source > 0) & (batch.dst < batch.ptr[1]))[-1]] = 0  # the same nodes, one edge from elsewhere
    assert len(unique_graphs(GraphBatch(batch.kinds, batch.kind, source, batch.dst, batch.ptr))[0]) == 4


def test_cells_with_equal_nodes_and_distances_but_other_readers_are_not_alike():
    kinds = (Node("ReLU", (0,), ((4,),), (4,)).kind,)
    kind, ptr = np.zeros(5, np.int64), np.asarray([0, 5])
    wirings = [[(0, 1), (0, 2), (1, 2), (1, 3), (3, 4)], [(0, 1), (0, 2), (2, 3), (2, 4), (3, 4)]]
    cells = []
    for wiring in wirings:
        src, dst = np.asarray(wiring).T
        cells.append(GraphBatch(kinds, kind, src, dst, ptr))
    assert (cells[0].dst - cells[0].src).tolist() == (cells[1].dst - cells[1].src).tolist()
    batch = GraphBatch.concatenate([*cells, cells[0]])
    assert unique_graphs(batch)[1].tolist() == [0, 1, 0]
    encoder = Encoder(EncoderConfig(width=8, layers=3), seed=1)
    for engine in ("auto", "compressed", "plain"):
        found = encoder.embed(batch, engine=engine)
        assert np.abs(found[0] - found[1]).max() > 1e-3
        np.testing.assert_allclose(
            found, encoder.embed(GraphBatch.concatenate(cells), engine="plain")[[0, 1, 0]], atol=1e-6
        )


def test_kinds_are_not_taken_for_edges():
    kinds = (Node("Input", shape=(4,)).kind, Node("ReLU", (0,), ((4,),), (4,)).kind)
    # four nodes without edges, of kinds 0 0 1 1, and two, of kinds 0 0, of which number 1 reads what stands 1 before it
    batch = GraphBatch(kinds, np.asarray([0, 0, 1, 1, 0, 0]), np.asarray([4]), np.asarray([5]), np.asarray([0, 4, 6]))
    assert unique_graphs(batch)[1].tolist() == [0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_cells_alike_are_those_equal_node_for_node(name):
    space, rng = spaces.get(name), np.random.default_rng(5)
    specs = [space.sample(rng) for _ in range(40)]
    batch = space.cell_graphs(specs * 2)
    written = []
    for index in range(len(batch)):
        graph = batch.graph(index)
        written.append(tuple((node.kind, node.inputs) for node in graph.nodes))
    first = dict[tuple, int]()
    expected = [first.setdefault(text, len(first)) for text in written]
    assert unique_graphs(batch)[1].tolist() == expected


def test_only_the_next_piece_is_made_ahead_and_errors_arrive():
    made, here = [], threading.get_ident()

    def items():
        for number in range(5):
            made.append((number, threading.get_ident()))
            yield number
        raise InvalidGraphError("the sixth is broken")

    stream = prefetch(items())
    for number in range(3):
        assert next(stream) == number
        assert len(made) <= number + 2
    assert [thread == here for _, thread in made] == [True] + [False] * (len(made) - 1)
    with pytest.raises(InvalidGraphError, match="the sixth"):
        list(stream)
    assert [number for number, _ in made] == list(range(5))
