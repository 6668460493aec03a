"""The files themselves: other readers open them, and damage is named."""

import ast
import inspect
import json
import logging

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cgir_samples import equal_batches, ring_graph, small_graph, store_sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resealed_files import reseal_parquet, resealed_json

from cgir import FileFormatError, GraphStore, verify
from cgir.graph_batch import GraphBatch
from cgir.store import parquet_shard


@pytest.fixture
def folder(tmp_path):
    """A data set of 15 graphs in files of 4, 4, 4 and 3."""
    graphs = store_sample()
    GraphStore.write(
        tmp_path / "s",
        graphs,
        family="f",
        specs=[f"no. {i}" for i in range(15)],
        labels={"acc": range(15)},
        shard_size=4,
    )
    return tmp_path / "s"


def parts(folder):
    return sorted(folder.glob("*.parquet"))


def test_the_readme_of_the_format_is_right(tmp_path, monkeypatch):
    graph = small_graph()
    GraphStore.write(tmp_path / "set.parquet", [graph])
    monkeypatch.chdir(tmp_path)
    snippet = inspect.cleandoc(
        "\n".join(line for line in parquet_shard.__doc__.splitlines() if line.startswith("    ") and " = " in line)
    )
    assert len(ast.parse(snippet).body) == 5
    found = {"pandas": pd, "pyarrow": pa, "json": json}
    exec(snippet, found)
    assert found["names"] == [node.op for node in graph.nodes]
    assert found["edges"] == [(source, target) for target, node in enumerate(graph.nodes) for source in node.inputs]


def test_pandas_polars_and_duckdb_read_the_same(folder):
    graphs = store_sample()
    by_pandas = pd.read_parquet(folder)
    by_polars = pl.read_parquet(folder / "*.parquet")
    by_duckdb = duckdb.sql(f"SELECT * FROM '{folder}/*.parquet'")
    assert list(by_pandas.columns) == by_polars.columns == by_duckdb.columns == [*parquet_shard.COLUMNS, "label:acc"]
    rows = [list(by_pandas[name]) for name in by_pandas.columns]
    columns = {
        "pandas": rows,
        "polars": by_polars.to_dict(as_series=False).values(),
        "duckdb": zip(*by_duckdb.fetchall(), strict=True),
    }
    for family, spec, hashes, level, sizes, nodes, spectra, shared, acc in columns.values():
        assert [set(family), set(level)] == [{"f"}, {"raw", "module"}]
        assert list(spec) == [f"no. {i}" for i in range(15)]
        assert list(hashes) == [graph.hash for graph in graphs]
        assert list(sizes) == [len(graph) for graph in graphs] == [len(row) for row in nodes]
        np.testing.assert_array_equal(np.asarray(list(map(list, spectra))), GraphStore.open(folder).spectra)
        assert [index for index, row in enumerate(shared) if row is not None][-1] == 12
        assert list(acc) == list(range(15))


def test_the_tables_are_where_other_readers_find_them(folder):
    first = parts(folder)[0]
    by_polars = pl.read_parquet_metadata(first)
    by_duckdb = dict(duckdb.sql(f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{first}')").fetchall())
    assert (
        by_polars["cgir.steps"] == by_duckdb["cgir.steps"] == pq.read_metadata(first).metadata[b"cgir.steps"].decode()
    )
    steps, kinds = json.loads(by_polars["cgir.steps"]), json.loads(by_polars["cgir.kinds"])
    nodes = pl.read_parquet(first)["nodes"][1].to_list()
    assert [kinds[steps[row][0]][0] for row in nodes] == [node.op for node in store_sample()[1].nodes]


def read_all(path):
    """Everything, graphs as one can compare them."""
    store = GraphStore.open(path)
    batch = store.batch(range(len(store)))
    for graph in store:
        verify(graph)
    labels = {name: values.tolist() for name, values in store.labels.items()}
    described = (
        [batch.kinds[k] for k in batch.kind],
        batch.src.tolist(),
        batch.dst.tolist(),
        [graph.num_params for graph in store],
    )
    return (
        store.families,
        store.specs,
        store.hashes,
        labels,
        store.spectra.tolist(),
        store.num_nodes.tolist(),
        described,
    )


def spoil(path, column, group=0):
    """Change a byte in the middle of a column's pages."""
    place = next(
        i for i in range(99) if pq.read_metadata(path).row_group(group).column(i).path_in_schema.split(".")[0] == column
    )
    chunk = pq.read_metadata(path).row_group(group).column(place)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 3] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize("column", ["nodes", "hash", "spectrum"])
def test_a_damaged_page_is_named_and_the_rest_is_read(folder, caplog, column):
    graphs, broken = store_sample(), parts(folder)[1]
    spoil(broken, column)
    store = GraphStore.open(folder)
    assert (
        equal_batches(store.batch([0, 14, 3, 8]), GraphBatch.from_graphs(graphs[i] for i in (0, 14, 3, 8)))
        or column == "nodes"
    )
    touch = {
        "nodes": lambda: store.batch([0, 5]),
        "hash": lambda: store.hashes,
        "spectrum": lambda: store.filter([5]).spectra,
    }
    with pytest.raises(
        FileFormatError, match=f"{broken.name}: row group 0: column {column} is damaged: .*skip_damaged=True"
    ):
        touch[column]()
    assert store[14].hash == graphs[14].hash
    with caplog.at_level(logging.WARNING):
        rest = GraphStore.open(folder, skip_damaged=True)
    assert len(rest.damaged) == 1
    assert broken.name in rest.damaged[0]
    assert rest.damaged[0] in caplog.text
    kept = [0, 1, 2, 3, *range(8, 15)]
    assert equal_batches(rest.batch(), GraphBatch.from_graphs(graphs[i] for i in kept))
    assert rest.labels["acc"].tolist() == kept
    assert rest.filter([0]).deduplicate().damaged == GraphStore.merge([rest]).damaged == rest.damaged


def test_one_row_group_of_a_file_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("cgir.store.row_group_writer.GROUP_ROWS", 4)
    graphs = store_sample()
    GraphStore.write(tmp_path / "s.parquet", graphs)
    spoil(tmp_path / "s.parquet", "nodes", 2)
    rest = GraphStore.open(tmp_path / "s.parquet", skip_damaged=True)
    assert rest.hashes == [graphs[i].hash for i in (*range(8), *range(12, 15))]
    assert "s.parquet: row group 2: column nodes is damaged" in rest.damaged[0]
    assert GraphStore.open(tmp_path / "s.parquet")[12].hash == graphs[12].hash


@pytest.mark.parametrize("how", ["missing", "cut", "footer", "other"])
def test_a_file_that_cannot_be_opened_is_named_and_the_rest_is_read(folder, how):
    graphs, (first, broken, *_) = store_sample(), parts(folder)
    content = bytearray(broken.read_bytes())
    content[-200] ^= 1
    changed = {"cut": content[: len(content) // 2], "footer": content, "other": first.read_bytes()}
    broken.unlink()
    if how != "missing":
        broken.write_bytes(changed[how])
    with pytest.raises(FileFormatError, match=f"{broken.name}: .*; GraphStore.open.*skip_damaged=True"):
        GraphStore.open(folder)
    rest = GraphStore.open(folder, skip_damaged=True)
    assert rest.hashes == [graphs[i].hash for i in (0, 1, 2, 3, *range(8, 15))]
    assert broken.name in rest.damaged[0]
    for path in parts(folder):
        path.unlink()
    with pytest.raises(FileFormatError, match=r"nothing of it can be read: .*part-00000"):
        GraphStore.open(folder, skip_damaged=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: "[]", "cannot be read"),
        (lambda text: text.replace('"version": 2', '"version": 3'), "version 3, expected 2; upgrade"),
        (lambda text: text.replace("cgir-store", "else"), "not a list of parts"),
        (lambda text: text.replace("part-00001", "../part-1"), "not a list of parts"),
        (lambda text: '{"format": "cgir-store", "version": 2, "parts": []}', "not a list of parts"),
    ],
)
def test_damaged_lists(folder, change, message):
    manifest = folder / "_store.json"
    manifest.write_bytes(resealed_json(change(manifest.read_text()).encode()))
    for skip in (False, True):
        with pytest.raises(FileFormatError, match=f"_store.json: .*{message}"):
            GraphStore.open(folder, skip_damaged=skip)


def test_no_data_set(tmp_path):
    with pytest.raises(FileFormatError, match=r"none.parquet: there is no such data set"):
        GraphStore.open(tmp_path / "none.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileFormatError, match=r"empty: holds no _store.json"):
        GraphStore.open(tmp_path / "empty")


def rewritten(source, target, metadata=None, columns=None):
    """A copy of a store's file with other metadata or columns, as another program might have written it."""
    table = pq.read_table(source)
    kept = dict(table.schema.metadata) | (metadata or {})
    for name, values in (columns or {}).items():
        index = table.schema.get_field_index(name)
        table = table.remove_column(index) if values is None else table.set_column(index, name, values)
    pq.write_table(table.replace_schema_metadata({k: v for k, v in kept.items() if v is not None}), target)
    reseal_parquet(target)


KINDS = b'[["Input",[],[4],[],{}],["Add",[[4],[4]],[4],[],{}]]'


def tables(kinds, steps):
    return {b"cgir.kinds": kinds, b"cgir.steps": steps, b"cgir.digest": parquet_shard.digest(kinds, steps)}


def nodes(last):
    """Two graphs of nine nodes, of which the very last is this step."""
    return pa.array([[0] * 9, [0] * 8 + [last]], pa.list_(pa.int32()))


@pytest.mark.parametrize(
    ("metadata", "columns", "message"),
    [
        ({b"cgir.version": None}, {}, "not one of cgir"),
        ({b"cgir.version": b"7"}, {}, "version 7 is newer than 2"),
        ({b"cgir.version": b"1"}, {}, "version 1 is older than 2; write the data set again"),
        ({b"cgir.kinds": b"[]"}, {}, "do not match their digest"),
        ({b"cgir.steps": None}, {}, "do not match their digest"),
        (tables(b"[[", b"[]"), {}, "tables of kinds and steps cannot be read"),
        (tables(b"[]", b"[]"), {}, "beyond the table of 0 steps"),
        (tables(b'[["Add",1,[4],[],{}]]', b"[]"), {}, "tables of kinds and steps cannot be read"),
        (tables(KINDS.replace(b"Add", b"Input").replace(b"[[4],[4]]", b"[]"), b"[]"), {}, "kind 1 is there twice"),
        (tables(KINDS, b"[[0],[2,1,1]]"), {}, r"step 1 is \[2, 1, 1\]"),
        (tables(KINDS, b"[[0],[1,1]]"), {}, r"step 1 is \[1, 1\]"),
        (tables(KINDS, b"[[0],[1,1,0]]"), {}, r"step 1 is \[1, 1, 0\]"),
        (tables(KINDS, b'[[0],[1,1,"2"]]'), {}, "step 1 is"),
        ({}, {"nodes": None}, "column nodes is nothing"),
        ({}, {"hash": pa.array([1, 2])}, "column hash is int64"),
        ({}, {"nodes": nodes(9999)}, "beyond the table"),
        ({}, {"nodes": nodes(-1)}, "beyond the table"),
        ({}, {"nodes": nodes(None)}, "column nodes has missing values"),
        (tables(KINDS, b"[[0],[1,1,9]]"), {"nodes": nodes(1)}, "row group 0: an input of a node lies before its graph"),
        ({}, {"num_nodes": pa.array([3, 3], pa.int32())}, "num_nodes disagrees"),
        ({}, {"family": pa.array(["a", None])}, "missing values"),
        ({}, {"level": pa.array(["module", "best"])}, "row group 0: row 1: .*level is 'best'"),
        ({}, {"shared": pa.array([None, [1]], pa.list_(pa.int32()))}, "row 1: column shared has 1 entries"),
        ({}, {"spectrum": pa.array([[0.0], [1.0]])}, "must have 11 values"),
    ],
)
def test_inconsistent_files(tmp_path, metadata, columns, message):
    GraphStore.write(tmp_path / "s.parquet", [ring_graph(3), ring_graph(3)])
    rewritten(tmp_path / "s.parquet", tmp_path / "bad.parquet", metadata, columns)
    with pytest.raises(FileFormatError, match=rf"bad.parquet.*{message}"):
        read_all(tmp_path / "bad.parquet")


@pytest.mark.parametrize("name", ["s.parquet", "s"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_named(tmp_path, name, data):
    path = tmp_path / name
    if not path.exists():
        GraphStore.write(path, [small_graph(), ring_graph(3)], family="f", specs=["a", "b"], labels={"x": [1.0, 2.0]})
        (tmp_path / "whole").write_bytes((path if path.is_file() else parts(path)[0]).read_bytes())
    content = bytearray((tmp_path / "whole").read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file = path if path.is_file() else parts(path)[0]
    file.write_bytes((tmp_path / "whole").read_bytes())
    expected = read_all(path) if path.is_dir() else None
    file.write_bytes(content)
    message = file.name
    try:
        found = read_all(path)
    except FileFormatError as error:
        message = str(error)
    else:  # only in a folder are footers known by their digest
        assert expected is None or found == expected
    assert file.name in message
    assert "\n" not in message
