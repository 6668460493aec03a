"""Data sets that change: appended, merged, deduplicated, written by two at once, and by processes that are killed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cgir_samples import equal_batches, random_graph, ring_graph, shuffled, small_graph, store_sample

from cgir import CgirError, FileFormatError, GraphStore, LabelError, isomorphic
from cgir.graph_batch import GraphBatch

ROOT = Path(__file__).resolve().parents[3]


def files(path):
    return sorted(entry.name for entry in path.iterdir())


def contents(store):
    labels = {name: [round(value, 6) for value in values.tolist()] for name, values in store.labels.items()}
    return json.dumps(
        [store.hashes, store.specs, store.families, store.num_nodes.tolist(), labels, store.spectra.round(9).tolist()]
    )


def test_append(tmp_path):
    graphs = store_sample()
    path = tmp_path / "s"
    GraphStore.write(
        path, graphs[:5], family="a", specs=list("abcde"), labels={"x": range(5), "y": [0.5] * 5}, shard_size=4
    )
    before, opened = files(path), GraphStore.open(path)
    kept = {name: (path / name).read_bytes() for name in before if name.startswith("part")}
    GraphStore.append(path, iter(graphs[5:11]), family="b", labels={"y": iter(range(6))}, shard_size=4)
    GraphStore.append(path, GraphBatch.from_graphs(graphs[11:12]), specs=["z"])
    assert [name[:10] for name in files(path)[1:]] == [f"part-0000{i}" for i in range(5)]
    assert kept == {name: (path / name).read_bytes() for name in kept}
    store = GraphStore.open(path)
    assert equal_batches(store.batch(), GraphBatch.from_graphs(graphs[:12]))
    assert store.families == ["a"] * 5 + ["b"] * 6 + [""]
    assert store.specs == [*"abcde", *[""] * 6, "z"]
    np.testing.assert_array_equal(store.labels["x"], [*range(5), *[np.nan] * 7])
    np.testing.assert_array_equal(store.labels["y"], [0.5] * 5 + [*range(6), np.nan])
    assert len(opened) == 5  # a reader keeps what it opened
    assert isomorphic(opened[4], graphs[4])


def test_what_append_refuses(tmp_path):
    graphs = store_sample(2)
    GraphStore.write(tmp_path / "s.parquet", graphs)
    GraphStore.write(tmp_path / "s", graphs, labels={"x": range(5)})
    before, content = files(tmp_path / "s"), contents(GraphStore.open(tmp_path / "s"))
    with pytest.raises(CgirError, match="single file cannot grow"):
        GraphStore.append(tmp_path / "s.parquet", graphs)
    with pytest.raises(LabelError, match="has no label 'z', only x; write a merge"):
        GraphStore.append(tmp_path / "s", graphs, labels={"z": range(5)})
    with pytest.raises(LabelError, match="'x' has 3 values"):
        GraphStore.append(tmp_path / "s", graphs, labels={"x": range(3)}, shard_size=2)
    with pytest.raises(FileFormatError, match="no data set"):
        GraphStore.append(tmp_path / "none", graphs)
    assert files(tmp_path / "s") == before
    assert contents(GraphStore.open(tmp_path / "s")) == content
    assert not (tmp_path / "none").exists()


def test_merge(tmp_path):
    graphs = store_sample()
    GraphStore.write(tmp_path / "a", graphs[:9], family="a", labels={"x": range(9)}, shard_size=4)
    GraphStore.write(
        tmp_path / "b.parquet", graphs[7:], family="b", specs=[f"{i}" for i in range(7, 15)], labels={"y": range(8)}
    )
    a, b = GraphStore.open(tmp_path / "a"), GraphStore.open(tmp_path / "b.parquet")
    view = GraphStore.merge([a, b.filter([7, 2, 3]), b])
    order = [*range(9), 14, 9, 10, *range(7, 15)]
    GraphStore.write(tmp_path / "c", view, shard_size=3)
    GraphStore.write(tmp_path / "d.parquet", view)
    for store in (view, GraphStore.open(tmp_path / "c"), GraphStore.open(tmp_path / "d.parquet")):
        assert equal_batches(store.batch(), GraphBatch.from_graphs(graphs[i] for i in order))
        assert store.hashes == [graphs[i].hash for i in order]
        assert store.families == ["a"] * 9 + ["b"] * 11
        assert store.specs == [""] * 9 + [f"{i}" for i in order[9:]]
        np.testing.assert_array_equal(store.labels["x"], [*range(9), *[np.nan] * 11])
        np.testing.assert_array_equal(store.labels["y"], [*[np.nan] * 9, 7, 2, 3, *range(8)])
        assert isomorphic(store[18], small_graph()) == isomorphic(graphs[order[18]], small_graph())
        assert [graph.level for graph in store] == [graphs[i].level for i in order]
    assert isomorphic(GraphStore.open(tmp_path / "c")[9], graphs[14])


def test_a_store_written_again_keeps_its_columns_unless_others_are_given(tmp_path, monkeypatch):
    graphs = store_sample()
    GraphStore.write(tmp_path / "s", graphs, family="f", specs=[g.hash[:5] for g in graphs], labels={"x": range(15)})
    store = GraphStore.open(tmp_path / "s")
    monkeypatch.setattr("cgir.store.row_group_writer.graph_hashes", None)  # what is known is not computed again
    monkeypatch.setattr("cgir.store.row_group_writer.spectrum", None)
    GraphStore.write(tmp_path / "s", store.filter(store.labels["x"] >= 5), family="g", labels={"y": range(10)})
    again = GraphStore.open(tmp_path / "s")
    assert again.families == ["g"] * 10
    assert again.specs == store.specs[5:]
    assert {name: values.tolist() for name, values in again.labels.items()} == {"x": [*range(5, 15)], "y": [*range(10)]}
    GraphStore.append(tmp_path / "s", store.filter([0]))
    assert GraphStore.open(tmp_path / "s").hashes == store.hashes[5:] + store.hashes[:1]


def test_deduplicate(tmp_path):
    rng = np.random.default_rng(0)
    originals = [random_graph(np.random.default_rng(seed), 8, 0.3) for seed in range(5)]
    chosen = [3, 1, 1, 4, 3, 0, 1, 0, 4]
    graphs = [shuffled(originals[i], rng) for i in chosen]
    GraphStore.write(tmp_path / "s", graphs, labels={"at": range(9)}, shard_size=4)
    GraphStore.write(tmp_path / "s", GraphStore.open(tmp_path / "s").deduplicate(), shard_size=4)
    store = GraphStore.open(tmp_path / "s")
    assert store.labels["at"].tolist() == [0, 1, 3, 5]
    assert len(set(store.hashes)) == 4
    assert store.hashes == [originals[i].hash for i in (3, 1, 4, 0)]


def test_the_second_writer_is_told(tmp_path):
    path = tmp_path / "s"
    GraphStore.write(path, store_sample(2))
    refused = []

    def slowly():
        for other in (GraphStore.write, GraphStore.append):
            with pytest.raises(CgirError, match=r"another process is writing to it") as error:
                other(path, [ring_graph(3)])
            refused.append(str(error.value))
        assert len(GraphStore.open(path)) == 5
        yield ring_graph(3)

    GraphStore.append(path, slowly())
    assert len(refused) == 2
    assert len(GraphStore.open(path)) == 6
    GraphStore.append(path, [ring_graph(4)])
    assert len(GraphStore.open(path)) == 7


@pytest.mark.parametrize(
    ("name", "action"),
    [("s", "write"), ("new", "write"), ("s", "append"), ("s", "merge"), ("s", "deduplicate"), ("s.parquet", "write")],
)
def test_killed_at_any_moment(tmp_path, name, action):
    script = ROOT / "tests" / "helpers" / "killed_writer.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / name, action], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    olds = found.count("old")
    assert found == ["old"] * olds + ["new"] * (len(found) - olds)
    assert olds >= 4
    assert len(found) - olds >= 2
