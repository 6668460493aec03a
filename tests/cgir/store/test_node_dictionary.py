"""Graphs as rows of a table of steps."""

import numpy as np
import pytest
from cgir_samples import equal_batches, random_graph, resnet50, ring_graph
from hypothesis import given, settings
from hypothesis import strategies as st

import frontends
from cgir import FileFormatError, InvalidGraphError
from cgir.graph_batch import GraphBatch
from cgir.store import node_dictionary as steps
from cgir.store.node_dictionary import StepTable


def described(batch):
    """(kind, distances to the inputs) of every node, by the definition."""
    inputs = [[] for _ in range(batch.num_nodes)]
    for source, target in zip(batch.src.tolist(), batch.dst.tolist(), strict=True):
        inputs[target].append(target - source)
    return [(batch.kinds[kind], *back) for kind, back in zip(batch.kind, inputs, strict=True)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=6), st.integers(0, 10**6))
def test_steps_are_what_they_say_and_graphs_come_back(sizes, seed):
    rng = np.random.default_rng(seed)
    table, pieces = StepTable(), []
    for _ in range(2):
        batch = GraphBatch.from_graphs(random_graph(rng, size) for size in sizes)
        pieces.append((batch, table.encode(batch)))
    rows = [(list(table.kinds)[kind], *back) for kind, *back in table.steps]
    assert len(set(rows)) == len(rows) == len({step for batch, _ in pieces for step in described(batch)})
    for batch, nodes in pieces:
        assert [rows[node] for node in nodes] == described(batch)
        assert equal_batches(table.expansion().batch(nodes, batch.ptr), batch)


def test_sorting_and_looking_up_number_alike():
    rng = np.random.default_rng(0)
    for codes in (rng.integers(0, 50, 1000), rng.integers(0, 1 << 40, 1000), np.zeros(0, np.int64)):
        values, places = steps._numbered(codes)
        expected = np.unique(codes, return_inverse=True)
        assert values.tolist() == expected[0].tolist()
        assert places.tolist() == expected[1].tolist()


def test_repeated_cells_are_repeated_steps():
    space = frontends.spaces.get("nasbench101")
    batch = space.graphs(list(space.enumerate(5))[::10])
    table = StepTable()
    nodes = table.encode(batch)
    assert len(table.steps) < batch.num_nodes / 50
    deep = frontends.spaces.get("nasbench101", cells=30)
    longer = StepTable()
    longer.encode(deep.graphs(list(deep.enumerate(5))[::10]))
    assert set(longer.steps) == set(table.steps)
    assert len(np.unique(nodes)) == len(table.steps)


def test_tables_are_added_and_written():
    first, second, both = StepTable(), StepTable(), StepTable()
    parts = [GraphBatch.from_graphs([resnet50()]), GraphBatch.from_graphs([ring_graph(5), ring_graph(3)])]
    nodes = [table.encode(batch) for table, batch in zip((first, second), parts, strict=True)]
    maps = [both.add(list(table.kinds), table.steps) for table in (first, second, first)]
    assert maps[0].tolist() == maps[2].tolist()
    again = StepTable.load(*both.dump(), "here")
    assert again.kinds == both.kinds
    assert again.steps == both.steps
    for batch, rows, where in zip(parts, nodes, maps, strict=False):
        assert equal_batches(again.expansion().batch(where[rows], batch.ptr), batch)
    with pytest.raises(FileFormatError, match="here: the tables"):
        StepTable.load(b"[", b"[]", "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"src": [0, 2, 1]}, "graph 0 of the batch: node 2 of all has an input that is not an earlier node"),
        ({"src": [0, -1, 1]}, "node 2 of all has an input"),
        ({"src": [0, 0, 1, 2], "dst": [1, 2, 2, 4]}, "graph 1 of the batch: node 4 of all has an input"),
        (
            {"src": [0, 1], "dst": [1, 2]},
            "node 2 of all does not have as many inputs as its kind, 1 and not 2 .Add.; batches of cells",
        ),
        ({"src": [0, 0, 1], "dst": [1, 2, 9]}, "does not have as many inputs"),
        ({"src": [0, 0, 1], "dst": [2, 1, 2]}, "node 1 of all comes after a later node"),
    ],
)
def test_batches_that_are_no_graphs(change, message):
    both = ring_graph(3).nodes[0].kind, resnet50().nodes[2].kind, ring_graph(3).nodes[3].kind
    arrays = {"kind": [0, 1, 2, 0, 1], "src": [0, 0, 1, 3], "dst": [1, 2, 2, 4], "ptr": [0, 3, 5]}
    if len(change["src"]) < 4:
        arrays = {"kind": [0, 1, 2], "src": [0, 0, 1], "dst": [1, 2, 2], "ptr": [0, 3]}
    arrays |= change
    with pytest.raises(InvalidGraphError, match=message):
        StepTable().encode(GraphBatch(both, *(np.asarray(values) for values in arrays.values())))
