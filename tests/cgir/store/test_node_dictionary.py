"""Graphs as rows of a dictionary of node codes."""

import numpy as np
import pytest
from cgir_samples import equal_batches, random_graph, resnet50, ring_graph
from hypothesis import given, settings
from hypothesis import strategies as st

import frontends
from cgir import FileFormatError, InvalidGraphError
from cgir.graph_batch import GraphBatch
from cgir.store.node_dictionary import NodeDictionary, _renumber


def described(batch):
    """(kind, distances to the inputs) of every node, by the definition."""
    inputs = [[] for _ in range(batch.num_nodes)]
    for source, target in zip(batch.src.tolist(), batch.dst.tolist(), strict=True):
        inputs[target].append(target - source)
    return [(batch.kinds[kind], *back) for kind, back in zip(batch.kind, inputs, strict=True)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=6), st.integers(0, 10**6))
def test_codes_are_what_they_say_and_graphs_come_back(sizes, seed):
    rng = np.random.default_rng(seed)
    dictionary, batches = NodeDictionary(), []
    for _ in range(2):
        batch = GraphBatch.from_graphs(random_graph(rng, size) for size in sizes)
        batches.append((batch, dictionary.encode(batch)))
    rows = [(list(dictionary.kinds)[kind], *back) for kind, *back in dictionary.codes]
    assert len(set(rows)) == len(rows) == len({code for batch, _ in batches for code in described(batch)})
    for batch, nodes in batches:
        assert [rows[node] for node in nodes] == described(batch)
        assert equal_batches(dictionary.to_arrays().batch(nodes, batch.ptr), batch)


def test_sorting_and_looking_up_number_alike():
    rng = np.random.default_rng(0)
    for codes in (rng.integers(0, 50, 1000), rng.integers(0, 1 << 40, 1000), np.zeros(0, np.int64)):
        values, places = _renumber(codes)
        expected = np.unique(codes, return_inverse=True)
        assert values.tolist() == expected[0].tolist()
        assert places.tolist() == expected[1].tolist()


def test_repeated_cells_are_repeated_codes():
    space = frontends.spaces.get("nasbench101")
    batch = space.graphs(list(space.enumerate(5))[::10])
    dictionary = NodeDictionary()
    nodes = dictionary.encode(batch)
    assert len(dictionary.codes) < batch.num_nodes / 50
    deep = frontends.spaces.get("nasbench101", cells=30)
    longer = NodeDictionary()
    longer.encode(deep.graphs(list(deep.enumerate(5))[::10]))
    assert set(longer.codes) == set(dictionary.codes)
    assert len(np.unique(nodes)) == len(dictionary.codes)


def test_dictionaries_are_added_and_written():
    first, second, both = NodeDictionary(), NodeDictionary(), NodeDictionary()
    parts = [GraphBatch.from_graphs([resnet50()]), GraphBatch.from_graphs([ring_graph(5), ring_graph(3)])]
    nodes = [dictionary.encode(batch) for dictionary, batch in zip((first, second), parts, strict=True)]
    maps = [both.add(list(dictionary.kinds), dictionary.codes) for dictionary in (first, second, first)]
    assert maps[0].tolist() == maps[2].tolist()
    again = NodeDictionary.from_json(*both.to_json(), "here")
    assert again.kinds == both.kinds
    assert again.codes == both.codes
    for batch, rows, where in zip(parts, nodes, maps, strict=False):
        assert equal_batches(again.to_arrays().batch(where[rows], batch.ptr), batch)
    with pytest.raises(FileFormatError, match="here: the tables"):
        NodeDictionary.from_json(b"[", b"[]", "here")


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
        NodeDictionary().encode(GraphBatch(both, *(np.asarray(values) for values in arrays.values())))
