import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cgir_samples import random_graph, resnet50, ring_graph, shuffled, small_graph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgir import CgirError, FileFormatError, GraphStore, InvalidGraphError, LabelError, isomorphic, spectrum, verify
from cgir.features import GraphBatch
from cgir.graph import Graph, Node


def sample(count=12, seed=0):
    rng = np.random.default_rng(seed)
    return [random_graph(rng, int(n), 0.3 * (n % 2)) for n in rng.integers(1, 25, count)] + [small_graph(), resnet50(), ring_graph(3, 4)]


def equal_batches(a, b):
    """The same graphs, whatever the numbering of kinds."""
    assert np.array_equal(a.ptr, b.ptr)
    assert np.array_equal(a.src, b.src)
    assert np.array_equal(a.dst, b.dst)
    return [a.kinds[k] for k in a.kind] == [b.kinds[k] for k in b.kind]


@pytest.mark.parametrize("name", ["set.parquet", "folder"])
def test_round_trip(tmp_path, name):
    graphs = sample()
    accuracy = np.linspace(0, 1, len(graphs))
    accuracy[3] = np.nan
    specs = [f"spec {i}" for i in range(len(graphs))]
    families = ["a"] * 5 + ["b"] * (len(graphs) - 5)
    GraphStore.write(tmp_path / name, iter(graphs), family=families, specs=specs, labels={"accuracy": accuracy, "rank": range(len(graphs))}, shard_size=4)
    store = GraphStore.open(tmp_path / name)
    assert len(store) == len(graphs)
    assert store.families == families
    assert store.specs == specs
    assert store.hashes == [g.hash for g in graphs]
    assert store.num_nodes.tolist() == [len(g) for g in graphs]
    assert list(store.labels) == ["accuracy", "rank"]
    np.testing.assert_array_equal(store.labels["accuracy"], accuracy)
    np.testing.assert_allclose(store.spectra, spectrum(graphs), atol=1e-12)
    assert equal_batches(store.batch(), GraphBatch.from_graphs(graphs))
    for graph, back in zip(graphs, store, strict=True):
        assert isomorphic(graph, back)
        assert back.hash == graph.hash
        assert back.level == graph.level
    assert store[2].name == "spec 2"


def test_several_shards_are_written_and_any_order_is_read(tmp_path):
    graphs = sample()
    GraphStore.write(tmp_path / "s", graphs, shard_size=4)
    assert [p.name for p in sorted((tmp_path / "s").iterdir())] == [f"part-0000{i}.parquet" for i in range(4)]
    store = GraphStore.open(tmp_path / "s")
    rng = np.random.default_rng(1)
    for indices in (rng.integers(0, len(graphs), 40), [7], [-1, 0, -1], range(5)):
        assert equal_batches(store.batch(indices), GraphBatch.from_graphs(graphs[i] for i in indices))
    assert len(store.batch([])) == 0


def test_batches_are_accepted(tmp_path):
    graphs = [resnet50(), ring_graph(5), ring_graph(3, 4)]
    batch = GraphBatch.from_graphs(graphs)
    for name in ("one.parquet", "many"):
        GraphStore.write(tmp_path / name, batch, family="f", shard_size=2)
        store = GraphStore.open(tmp_path / name)
        assert equal_batches(store.batch(), batch)
        assert store.hashes == [g.hash for g in graphs]
        assert store.families == ["f"] * 3
        assert store.specs == [""] * 3
        assert store[0].level == "module"


def test_filter(tmp_path):
    graphs = sample()
    GraphStore.write(tmp_path / "s", graphs, labels={"x": np.arange(len(graphs))}, shard_size=4)
    store = GraphStore.open(tmp_path / "s")
    part = store.filter(store.labels["x"] % 2 == 1)
    assert part.labels["x"].tolist() == [i for i in range(len(graphs)) if i % 2]
    again = part.filter([2, 0])
    assert again.labels["x"].tolist() == [5, 1]
    assert again[0].hash == graphs[5].hash
    assert equal_batches(again.batch([1]), GraphBatch.from_graphs([graphs[1]]))
    np.testing.assert_array_equal(again.spectra, store.spectra[[5, 1]])
    for wrong in ([len(again)], [-3], [True]):
        with pytest.raises(IndexError, match="store of 2 graphs"):
            again.filter(wrong)


def test_shared_parameters_come_back(tmp_path):
    tied = small_graph()
    GraphStore.write(tmp_path / "s.parquet", [tied])
    back = GraphStore.open(tmp_path / "s.parquet")[0]
    assert back.num_params == tied.num_params
    assert isomorphic(tied, back)
    assert pq.read_table(tmp_path / "s.parquet")["shared"][0].as_py() is not None


def test_the_file_is_plain_parquet(tmp_path):
    graphs = sample(3)
    GraphStore.write(tmp_path / "s.parquet", graphs, family="f", labels={"acc": np.arange(len(graphs))})
    frame = pq.read_table(tmp_path / "s.parquet").to_pandas()
    assert frame["label:acc"].tolist() == list(range(len(graphs)))
    metadata = pq.read_schema(tmp_path / "s.parquet").metadata
    kinds = json.loads(metadata[b"cgir.kinds"])
    for row, graph in zip(frame.itertuples(), graphs, strict=True):
        assert [kinds[k][0] for k in row.kind] == [node.op for node in graph.nodes]
        assert list(zip(row.src, row.dst, strict=True)) == [(s, d) for d, node in enumerate(graph.nodes) for s in node.inputs]


def test_empty_stores(tmp_path):
    for name in ("e.parquet", "e"):
        GraphStore.write(tmp_path / name, [], labels={"x": []})
        store = GraphStore.open(tmp_path / name)
        assert len(store) == len(store.batch()) == len(store.families) == 0
        assert store.spectra.shape == (0, 11)
        assert store.labels["x"].shape == (0,)


@pytest.mark.parametrize("name", ["s.parquet", "s"])
def test_nothing_is_left_behind_on_error(tmp_path, name):
    graphs = sample(4)
    cases = [
        (graphs, {"labels": {"x": [1.0]}}, LabelError, "'x' has 1 values for"),
        (graphs, {"labels": {"x": np.zeros(99)}}, LabelError, "'x' has 99 values for 7 graphs"),
        (graphs, {"specs": ["a"]}, LabelError, "'spec' has 1 values"),
        ([*graphs, Graph((Node("Nonsense"),))], {}, InvalidGraphError, "Nonsense"),
    ]
    for given_graphs, extra, error, message in cases:
        with pytest.raises(error, match=message):
            GraphStore.write(tmp_path / name, given_graphs, shard_size=2, **extra)
        assert list(tmp_path.iterdir()) == []


def test_folders_are_not_overwritten_files_are(tmp_path):
    graphs = sample(2)
    GraphStore.write(tmp_path / "s.parquet", graphs)
    GraphStore.write(tmp_path / "s.parquet", graphs[:2])
    assert len(GraphStore.open(tmp_path / "s.parquet")) == 2
    (tmp_path / "s").mkdir()
    GraphStore.write(tmp_path / "s", graphs)
    with pytest.raises(CgirError, match="exists already"):
        GraphStore.write(tmp_path / "s", graphs)
    assert len(GraphStore.open(tmp_path / "s")) == len(graphs)


def test_missing_parts(tmp_path):
    GraphStore.write(tmp_path / "s", sample(9), shard_size=4)
    with pytest.raises(FileFormatError, match="not a readable"):
        GraphStore.open(tmp_path / "none.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match="holds parts none"):
        GraphStore.open(tmp_path / "empty")
    (tmp_path / "s" / "part-00002.parquet").unlink()
    with pytest.raises(FileFormatError, match="holds parts 0, 1, expected"):
        GraphStore.open(tmp_path / "s")


def rewritten(source, target, metadata=None, columns=None):
    """A copy of a store's file with other metadata or columns, as another program might have written it."""
    table = pq.read_table(source)
    kept = dict(table.schema.metadata) | (metadata or {})
    for name, values in (columns or {}).items():
        index = table.schema.get_field_index(name)
        table = table.remove_column(index) if values is None else table.set_column(index, name, values)
    pq.write_table(table.replace_schema_metadata({k: v for k, v in kept.items() if v is not None}), target)


def read_all(path):
    store = GraphStore.open(path)
    store.batch(range(len(store)))
    for graph in store:
        verify(graph)
    return store.families, store.specs, store.hashes, store.labels, store.spectra, store.num_nodes


@pytest.mark.parametrize(
    ("metadata", "columns", "message"),
    [
        ({b"cgir.version": None}, {}, "not one of cgir"),
        ({b"cgir.version": b"7"}, {}, "version 7 is newer than 1"),
        ({b"cgir.kinds": b"[]"}, {}, "does not match its digest"),
        ({}, {"kind": None}, "column kind is nothing"),
        ({}, {"hash": [[1, 2]]}, "column hash is int64"),
        ({}, {"kind": "int32:9999"}, "beyond the table"),
        ({}, {"src": "int32:50"}, "earlier to a later"),
        ({}, {"src": "int32:-1"}, "earlier to a later"),
        ({}, {"dst": "int32:99"}, "not lead from|earlier to a later"),
        ({}, {"num_nodes": "num:3"}, "num_nodes disagrees"),
        ({}, {"family": "null"}, "missing values"),
    ],
)
def test_inconsistent_files(tmp_path, metadata, columns, message):
    graph = ring_graph(3)
    GraphStore.write(tmp_path / "s.parquet", [graph, graph])
    table = pq.read_table(tmp_path / "s.parquet")
    changed = {}
    for name, value in columns.items():
        if value is None or not isinstance(value, str):
            changed[name] = value if value is None else pa.array([1, 2])
        elif value == "null":
            changed[name] = pa.array(["a", None])
        elif value.startswith("num:"):
            changed[name] = pa.array([3, 3], pa.int32())
        else:
            rows = table[name].to_pylist()
            rows[1][-1] = int(value.removeprefix("int32:"))
            changed[name] = pa.array(rows, pa.list_(pa.int32()))
    rewritten(tmp_path / "s.parquet", tmp_path / "bad.parquet", metadata, changed)
    with pytest.raises(FileFormatError, match=message) as error:
        read_all(tmp_path / "bad.parquet")
    assert "bad.parquet" in str(error.value)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files(tmp_path, data):
    path = tmp_path / "whole.parquet"
    if not path.exists():
        GraphStore.write(path, [small_graph(), ring_graph(3)], family="f", specs=["a", "b"], labels={"x": [1.0, 2.0]})
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "bad.parquet").write_bytes(content)
    message = "bad.parquet"
    try:
        read_all(tmp_path / "bad.parquet")
    except FileFormatError as error:
        message = str(error)
    assert "bad.parquet" in message
    assert "\n" not in message


def test_equal_graphs_have_equal_rows(tmp_path):
    graph = random_graph(np.random.default_rng(3), 15, 0.5)
    GraphStore.write(tmp_path / "s.parquet", [graph, shuffled(graph, np.random.default_rng(4))])
    store = GraphStore.open(tmp_path / "s.parquet")
    assert store.hashes[0] == store.hashes[1]
    np.testing.assert_allclose(store.spectra[0], store.spectra[1], atol=1e-10)
