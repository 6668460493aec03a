"""Files keep their format: a data set written before is read as what it was."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from cgir import GraphStore

DATA = Path(__file__).parents[2] / "data" / "format_1"


def test_a_store_of_the_first_release_opens_with_the_contents_it_was_written_with():
    store, expected = GraphStore.open(DATA / "store"), json.loads((DATA / "store_expected.json").read_text())
    assert store.families == expected["families"]
    assert store.specs == expected["specs"]
    assert store.hashes == expected["hashes"]
    assert store.num_nodes.tolist() == expected["num_nodes"]
    assert store.spectra.tolist() == expected["spectra"]
    for name in ("accuracy", "seconds"):
        np.testing.assert_array_equal(store.labels[name], np.asarray(expected[name], np.float64))
    batch = store.batch()
    assert [repr(batch.kinds[kind]) for kind in batch.kind] == expected["kinds"]
    for name in ("src", "dst", "ptr"):
        assert getattr(batch, name).tolist() == expected[name]
    graphs = list(store)
    assert [graph.level for graph in graphs] == expected["levels"]
    assert [graph.num_params for graph in graphs] == expected["num_params"]
    assert [[[param.id for param in node.params] for node in graph.nodes] for graph in graphs] == expected["params"]
    assert [graph.hash for graph in graphs] == expected["hashes"]


def test_what_is_written_now_has_the_same_columns_and_metadata(tmp_path):
    store = GraphStore.open(DATA / "store")
    GraphStore.write(tmp_path, list(store), store.families, store.specs, store.labels, shard_size=4)
    for old, new in zip(*(sorted(folder.glob("part-*")) for folder in (DATA / "store", tmp_path)), strict=True):
        assert pq.read_schema(old).equals(pq.read_schema(new), check_metadata=False)
        keys = [key for key in pq.read_metadata(old).metadata if key.startswith(b"cgir.")]
        assert all(pq.read_metadata(old).metadata[key] == pq.read_metadata(new).metadata[key] for key in keys)
        assert repr(pq.read_table(old).to_pylist()) == repr(pq.read_table(new).to_pylist())  # NaN is not itself
    manifests = [json.loads((folder / "_store.json").read_text()) for folder in (DATA / "store", tmp_path)]
    for content in manifests:
        content["parts"] = [(list(part), part["rows"]) for part in content["parts"]]
    assert manifests[0] == {key: value for key, value in manifests[1].items() if key != "checksum"}
