import os
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from cgir_samples import equal_batches, random_graph, ring_graph, shuffled, small_graph, store_sample

from cgir import CgirError, FileFormatError, GraphStore, InvalidGraphError, LabelError, isomorphic, spectrum
from cgir.analysis.computation_trees import node_classes
from cgir.graph import Graph, Node, NodeKind
from cgir.graph_batch import GraphBatch
from cgir.store import graph_store, row_group_writer, row_reader

PART = r"part-0000\d-[0-9a-f]{8}\.parquet"


@pytest.mark.parametrize("name", ["set.parquet", "folder"])
def test_round_trip(tmp_path, name):
    graphs = store_sample()
    accuracy = np.linspace(0, 1, len(graphs))
    accuracy[3] = np.nan
    specs = [f"spec {i}" for i in range(len(graphs))]
    families = ["a"] * 5 + ["b"] * (len(graphs) - 5)
    GraphStore.write(
        tmp_path / name,
        iter(graphs),
        family=families,
        specs=specs,
        labels={"accuracy": accuracy, "rank": range(len(graphs))},
        shard_size=4,
    )
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
    graphs = store_sample()
    GraphStore.write(tmp_path / "s", graphs, shard_size=4)
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names[0] == "_store.json"
    assert [name[:10] for name in names[1:]] == [f"part-0000{i}" for i in range(4)]
    assert all(re.fullmatch(PART, name) for name in names[1:])
    assert [pq.read_metadata(tmp_path / "s" / name).num_rows for name in names[1:]] == [4, 4, 4, 3]
    store = GraphStore.open(tmp_path / "s")
    rng = np.random.default_rng(1)
    for indices in (rng.integers(0, len(graphs), 40), [7], [-1, 0, -1], range(5)):
        assert equal_batches(store.batch(indices), GraphBatch.from_graphs(graphs[i] for i in indices))
    assert len(store.batch([])) == 0


def pick(batch, *cuts):
    return (batch.select(np.arange(start, stop)) for start, stop in zip((0, *cuts), (*cuts, len(batch)), strict=True))


@pytest.mark.parametrize("name", ["one.parquet", "many"])
def test_graphs_come_in_any_form(tmp_path, monkeypatch, name):
    # Sharing is lost in batches, so graphs without it are compared.
    graphs = [random_graph(np.random.default_rng(seed), 3 + seed % 7) for seed in range(23)]
    batch = GraphBatch.from_graphs(graphs)
    forms = {
        "batch": lambda: batch,
        "iterator": lambda: iter(graphs),
        "batches": lambda: pick(batch, 1, 2, 2, 17),
        "mixed": lambda: [*pick(batch, 9), *graphs],
    }
    for nodes in (row_group_writer.GROUP_NODES, 30):
        monkeypatch.setattr(row_group_writer, "GROUP_NODES", nodes)
        for form, make in forms.items():
            specs = (f"{i % 23}" for i in range(46 if form == "mixed" else 23))
            values = iter(range(46 if form == "mixed" else 23))
            GraphStore.write(tmp_path / name, make(), family="f", specs=specs, labels={"x": values}, shard_size=5)
            store = GraphStore.open(tmp_path / name)
            expected = GraphBatch.concatenate([batch, batch]) if form == "mixed" else batch
            assert equal_batches(store.batch(), expected)
            assert store.hashes == [g.hash for g in graphs] * (len(expected) // 23)
            assert store.families == ["f"] * len(expected)
            assert store.specs == [f"{i % 23}" for i in range(len(expected))]
            assert store.labels["x"].tolist() == list(range(len(expected)))
            assert store[0].level == ("raw" if form == "iterator" else "module")


def test_memory_is_bounded_while_writing(tmp_path, monkeypatch):
    # Graphs are drawn when they are written: never more than two row groups ahead of the file.
    drawn, written = [0], [0]

    def graphs():
        for _ in range(40):
            drawn[0] += 1
            yield ring_graph(3)

    original = row_group_writer.graph_hashes

    def hashes(batch, groups):
        assert drawn[0] - written[0] <= 2 * 8
        written[0] += len(batch)
        return original(batch, groups)

    monkeypatch.setattr(row_group_writer, "graph_hashes", hashes)
    monkeypatch.setattr(row_group_writer, "GROUP_ROWS", 8)
    GraphStore.write(tmp_path / "s.parquet", graphs())
    assert pq.read_metadata(tmp_path / "s.parquet").num_row_groups == 5
    assert written == [40]


def test_only_what_is_touched_is_read(tmp_path, monkeypatch):
    graphs = store_sample()
    GraphStore.write(tmp_path / "s", graphs, shard_size=4)
    original, read = pq.ParquetFile.read_row_group, []

    def counted(self, group, columns, **options):
        read.append((self.metadata.num_rows, *columns))
        return original(self, group, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    store = GraphStore.open(tmp_path / "s").filter(np.arange(15) % 2 == 0)
    assert read == []
    store.batch([0, 1])  # of the first file
    assert read == [(4, "nodes"), (4, "num_nodes")]
    store.batch([1, 7, 0])  # and of the last
    assert read[2:] == [(3, "nodes"), (3, "num_nodes")]
    assert store.filter([7]).hashes == [graphs[14].hash]
    assert read[4:] == [(3, "hash")]


def test_what_was_not_used_for_longest_is_forgotten(tmp_path, monkeypatch):
    graphs = [ring_graph(3 + i) for i in range(12)]
    GraphStore.write(tmp_path / "s", graphs, shard_size=1)
    store = GraphStore.open(tmp_path / "s")
    everything, rng = GraphBatch.from_graphs(graphs), np.random.default_rng(0)
    monkeypatch.setattr(row_reader, "CACHE_BYTES", 400)
    for _ in range(20):
        chosen = rng.integers(0, 12, 5)
        assert equal_batches(store.batch(chosen), everything.select(chosen))
        reader = store._reader
        assert reader._cached_bytes == sum(size for _, size in reader._cache.values())
        assert reader._cached_bytes <= 400
    touched = [index for _, index in reader._cache]
    assert 0 < len(touched) < 12
    store.batch([touched[0]])
    assert [index for _, index in reader._cache] == [*touched[1:], touched[0]]


def test_filter(tmp_path):
    graphs = store_sample()
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


def test_a_printed_store_says_what_is_in_it(tmp_path):
    graphs = store_sample()
    values = np.where(np.arange(len(graphs)) < 2, np.nan, np.arange(len(graphs)))
    families = ["a" if index else "\x1bb" for index in range(len(graphs))]
    GraphStore.write(tmp_path / "s", graphs, family=families, labels={"x": values})
    store = GraphStore.open(tmp_path / "s")
    assert repr(store) == f"GraphStore({len(graphs)} graphs, x)"
    sizes = [len(graph) for graph in graphs]
    assert str(store).splitlines() == [
        f"GraphStore: {len(graphs)} graphs",
        f"  families: a {len(graphs) - 1}, \\x1bb 1",
        f"  nodes: {min(sizes)} to {max(sizes)}",
        f"  label x: {len(graphs) - 2} values, 2 to {len(graphs) - 1}",
    ]


def test_shared_parameters_come_back(tmp_path):
    tied = small_graph()
    GraphStore.write(tmp_path / "s.parquet", [tied, ring_graph(3)])
    store = GraphStore.open(tmp_path / "s.parquet")
    assert store[0].num_params == tied.num_params
    assert isomorphic(tied, store[0])
    assert pq.read_table(tmp_path / "s.parquet")["shared"].to_pylist() == [[0, 1, 2, 3, 4, 4], None]


def test_a_missing_data_set_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileFormatError, match="nowhere: there is no such data set"):
        GraphStore.open(tmp_path / "nowhere")


def test_empty_stores(tmp_path):
    for name in ("e.parquet", "e"):
        GraphStore.write(tmp_path / name, [], labels={"x": []})
        store = GraphStore.open(tmp_path / name)
        assert len(store) == len(store.batch()) == len(store.families) == 0
        assert store.spectra.shape == (0, 11)
        assert store.labels["x"].shape == (0,)
        assert len(store.deduplicate()) == len(GraphStore.merge([store, store])) == 0
    batch = GraphBatch.from_graphs([Graph(()), ring_graph(3), Graph(())])
    GraphStore.write(tmp_path / "g.parquet", batch)
    assert equal_batches(GraphStore.open(tmp_path / "g.parquet").batch(), batch)


@pytest.mark.parametrize("name", ["s.parquet", "s"])
def test_nothing_is_left_behind_on_error(tmp_path, name):
    graphs = store_sample(4)
    loop = GraphBatch(
        (NodeKind("ReLU", ((4,),), (4,), (), ()),), *(np.asarray(values) for values in ([0], [0], [0], [0, 1]))
    )
    cases = [
        (graphs, {"labels": {"x": [1.0]}}, LabelError, "'x' has 1 values for"),
        (graphs, {"labels": {"x": iter([1.0] * 5)}}, LabelError, "'x' has 5 values for [67] graphs"),
        (graphs, {"labels": {"x": np.zeros(99)}}, LabelError, "'x' has 99 values for 7 graphs"),
        (graphs, {"labels": {"x": iter(np.zeros(99))}}, LabelError, "'x' has more than 7 values for 7 graphs"),
        (
            graphs,
            {"labels": {"x": ["good"] * 7}},
            LabelError,
            "'x' has a value that is no number among those of graphs 0 to ",
        ),
        (graphs, {"specs": ["a"]}, LabelError, "'spec' has 1 values"),
        (graphs, {"specs": [("a",)] * 7}, LabelError, "'spec' has a tuple among the values of graphs 0 to "),
        ([*graphs, Graph((Node("Nonsense"),))], {}, InvalidGraphError, "Nonsense"),
        ([*graphs, "resnet50"], {}, CgirError, "from graphs or batches of graphs; found str"),
        ([loop], {}, InvalidGraphError, "not an earlier node"),
    ]
    for given_graphs, extra, error, message in cases:
        with pytest.raises(error, match=message):
            GraphStore.write(tmp_path / name, given_graphs, shard_size=2, **extra)
        assert list(tmp_path.iterdir()) == []


def test_only_stores_are_overwritten(tmp_path):
    graphs = store_sample(2)
    for name in ("s.parquet", "s"):
        GraphStore.write(tmp_path / name, graphs, labels={"x": range(len(graphs))})
        before = GraphStore.open(tmp_path / name)
        GraphStore.write(tmp_path / name, graphs[:2])
        assert len(GraphStore.open(tmp_path / name)) == 2
        assert isomorphic(before[3], graphs[3])  # who has opened the old one keeps it
        assert equal_batches(before.batch(), GraphBatch.from_graphs(graphs))
    assert len(list((tmp_path / "s").glob("*.parquet"))) == 1
    (tmp_path / "empty").mkdir()
    GraphStore.write(tmp_path / "empty", graphs)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(CgirError, match="exists already and is no data set"):
        GraphStore.write(tmp_path / "other", graphs)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


def test_a_dictionary_that_grows_too_large_starts_a_new_file(tmp_path, monkeypatch):
    monkeypatch.setattr("cgir.store.row_group_writer.SHARD_CODES", 10)
    monkeypatch.setattr(row_group_writer, "GROUP_ROWS", 2)
    graphs = [ring_graph(n) for n in range(3, 11)]
    GraphStore.write(tmp_path / "s", graphs)
    assert len(list((tmp_path / "s").glob("*.parquet"))) > 1
    assert equal_batches(GraphStore.open(tmp_path / "s").batch(), GraphBatch.from_graphs(graphs))
    with pytest.raises(CgirError, match="write a folder instead"):
        GraphStore.write(tmp_path / "s.parquet", graphs)


def test_equal_graphs_have_equal_rows(tmp_path):
    graph = random_graph(np.random.default_rng(3), 15, 0.5)
    GraphStore.write(tmp_path / "s.parquet", [graph, shuffled(graph, np.random.default_rng(4))])
    store = GraphStore.open(tmp_path / "s.parquet")
    assert store.hashes[0] == store.hashes[1]
    np.testing.assert_allclose(store.spectra[0], store.spectra[1], atol=1e-10)


def test_batches_are_all_graphs_in_order_and_bound(tmp_path, monkeypatch):
    graphs = store_sample()
    GraphStore.write(tmp_path / "s", graphs, shard_size=4)
    view = GraphStore.open(tmp_path / "s").filter([5, 1, 1, 14, 8, 3, 0])
    expected = GraphBatch.from_graphs(graphs[i] for i in (5, 1, 1, 14, 8, 3, 0))
    for nodes, count in ((1, 9), (40, 9), (10**9, 3), (10**9, 10**9)):
        monkeypatch.setattr("cgir.store.graph_store.BATCH_NODES", nodes)
        monkeypatch.setattr(row_group_writer, "GROUP_ROWS", count)
        parts = list(view.batches())
        assert equal_batches(GraphBatch.concatenate(parts), expected)
        assert all(len(part) <= count and (len(part) == 1 or part.num_nodes <= nodes) for part in parts)
        assert len(parts) == {(1, 9): 7, (10**9, 3): 3, (10**9, 10**9): 1}.get((nodes, count), len(parts))
    assert list(view.filter([]).batches()) == []


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_random_batch_has_its_classes_already(tmp_path, monkeypatch, direction):
    graphs = store_sample()
    GraphStore.write(tmp_path / "a", graphs, shard_size=4)
    GraphStore.write(tmp_path / "b", graphs[::-1], shard_size=9)
    monkeypatch.setattr("cgir.store.graph_store.BATCH_NODES", 50)
    store = GraphStore.merge([GraphStore.open(tmp_path / name) for name in "ab"]).filter(
        np.random.default_rng(0).permutation(2 * len(graphs))[:25]
    )
    table, ptr = store.class_table(4, direction), np.cumsum([0, *store.num_nodes])
    assert table is store.class_table(4, direction)
    assert len(store.class_table(3, direction).layers) == 3
    chosen = np.random.default_rng(1).integers(0, len(store), 9)
    classes = table.node_class[np.concatenate([np.arange(ptr[i], ptr[i + 1]) for i in chosen])]
    batch = store.batch(chosen)
    for level in range(4, -1, -1):
        pairs = set(zip(classes.tolist(), node_classes(batch, level, direction)[level].tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) > 1
        classes = table.layers[level - 1].parent[classes] if level else classes
    assert [table.kinds[row] for row in classes] == [batch.kinds[row] for row in batch.kind]


def test_a_data_set_of_many_files_is_read_without_holding_them_open(tmp_path, monkeypatch):
    GraphStore.write(tmp_path / "s", map(ring_graph, range(3, 9)), shard_size=1)
    expected = GraphStore.open(tmp_path / "s")
    monkeypatch.setattr(graph_store, "MAX_OPEN", 5)
    before = len(os.listdir("/proc/self/fd"))
    store = GraphStore.open(tmp_path / "s")
    assert equal_batches(store.batch(), expected.batch())
    assert store.hashes == expected.hashes
    assert len(os.listdir("/proc/self/fd")) == before
    next((tmp_path / "s").glob("part-*")).unlink()
    with pytest.raises(FileFormatError, match="No such file"):
        store._strings("spec")
