"""Embeddings in parts: the encoder's own, whatever writes them, and read back as one array."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hostile_executor import HostileExecutor
from part_jobs_samples import folder_bytes

import cgir
import encoders
from cgir import CgirError, FileFormatError, GraphStore
from cgir.executors import open_executor
from cgir.store import manifest
from frontends import spaces
from frontends.spaces.data_sets import sample_jobs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set of three files, an encoder, and its embeddings."""
    path = tmp_path_factory.mktemp("embeddings")
    GraphStore.write_parts(path / "store", sample_jobs(spaces.get("transnas_macro"), 23, size=9))
    encoders.save_encoder(encoders.Encoder(encoders.EncoderConfig(width=8, layers=2), seed=1), path / "encoder")
    encoders.embed_store(path / "encoder", path / "store", path / "vectors")
    return path


def test_vectors_are_those_of_the_encoder(place: Path) -> None:
    found, store = encoders.StoredEmbeddings(place / "vectors"), GraphStore.open(place / "store")
    encoder = encoders.load_encoder(place / "encoder")
    assert (len(found), found.dim) == (23, 16)
    np.testing.assert_allclose(found.array(), encoder.embed(store), rtol=1e-5, atol=1e-6)
    files = [GraphStore.open(place / "store" / part.file) for part in manifest.read_parts(place / "store")]
    by_file = np.concatenate([encoder.embed(file) for file in files])
    np.testing.assert_array_equal(found.array(), by_file)  # to the bit
    assert [spec for specs, _ in found.batches() for spec in specs] == store.specs
    tables = [pq.read_table(path) for path in sorted((place / "vectors").glob("part*"))]
    assert [table["row"].to_pylist() for table in tables] == [list(range(len(file))) for file in files]
    np.testing.assert_array_equal(np.asarray(tables[1]["vector"].to_pylist(), np.float32), by_file[9:18])


def test_an_array_on_disk_is_the_same(place: Path, tmp_path: Path) -> None:
    found = encoders.StoredEmbeddings(place / "vectors")
    mapped = found.array(tmp_path / "all.npy")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, found.array())
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), found.array())
    assert [path.name for path in tmp_path.iterdir()] == ["all.npy"]


def test_any_order_writes_the_same_bytes(place: Path, tmp_path: Path) -> None:
    encoders.embed_store(place / "encoder", place / "store", tmp_path / "v", HostileExecutor(3))
    assert folder_bytes(tmp_path / "v") == folder_bytes(place / "vectors")


@pytest.mark.slow
def test_processes_write_the_same_bytes(place: Path, tmp_path: Path) -> None:
    with open_executor("processes:2") as executor:
        encoders.embed_store(place / "encoder", place / "store", tmp_path / "v", executor)
    assert folder_bytes(tmp_path / "v") == folder_bytes(place / "vectors")


def test_what_is_there_is_not_embedded_again(place: Path, tmp_path: Path) -> None:
    path, words = tmp_path / "v", (place / "encoder", place / "store", tmp_path / "v")
    with pytest.raises(CgirError, match="a worker was lost"):
        encoders.embed_store(*words, HostileExecutor(0, lose=2))
    assert len(list(path.glob("part*"))) == 2
    with pytest.raises(FileFormatError, match="first write did not finish"):
        encoders.StoredEmbeddings(path)
    executor = HostileExecutor(0)
    encoders.embed_store(*words, executor)
    assert len(executor.submitted) == 1
    assert folder_bytes(path) == folder_bytes(place / "vectors")
    encoders.save_encoder(encoders.Encoder(encoders.EncoderConfig(width=8, layers=2), seed=2), tmp_path / "other")
    with pytest.raises(CgirError, match=r"has a data set of 23 already.*overwrite=True"):
        encoders.embed_store(tmp_path / "other", place / "store", path)
    encoders.embed_store(tmp_path / "other", place / "store", path, overwrite=True)
    assert not np.allclose(
        encoders.StoredEmbeddings(path).array(), encoders.StoredEmbeddings(place / "vectors").array(), atol=1e-3
    )


def test_what_has_moved_is_not_embedded_again(place: Path, tmp_path: Path) -> None:
    for name in ("encoder", "store", "vectors"):
        (shutil.copytree if (place / name).is_dir() else shutil.copy)(place / name, tmp_path / name)
    executor = HostileExecutor(0)
    encoders.embed_store(tmp_path / "encoder", tmp_path / "store", tmp_path / "vectors", executor)
    assert not executor.submitted


def test_threads_do_not_disturb_each_other(place: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as executor:
        encoders.embed_store(place / "encoder", place / "store", tmp_path / "v", executor)
    assert torch.get_num_threads() == 1
    assert folder_bytes(tmp_path / "v") == folder_bytes(place / "vectors")


def test_complaints_are_one_line(place: Path, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="No such file or directory; expected the file of an encoder, or univers"):
        encoders.embed_store(tmp_path / "none", place / "store", tmp_path / "v")
    with pytest.raises(FileFormatError, match="damaged or not a cgir encoder"):
        encoders.embed_store(place / "store" / "_store.json", place / "store", tmp_path / "v")
    with pytest.raises(FileFormatError, match="no data set"):
        encoders.embed_store(place / "encoder", tmp_path, tmp_path / "v")
    with pytest.raises(FileFormatError, match="not a list of parts"):
        encoders.StoredEmbeddings(place / "store")
    with pytest.raises(FileFormatError, match="not a list of parts"):
        GraphStore.open(place / "vectors")
    with pytest.raises(FileFormatError):
        encoders.embed_store(place / "encoder", place / "store", place / "store", overwrite=True)  # graphs are there
    assert not (tmp_path / "v").exists()
    assert len(GraphStore.open(place / "store")) == 23


def test_damage_is_noticed(place: Path, tmp_path: Path) -> None:
    encoders.embed_store(place / "encoder", place / "store", tmp_path / "v")
    part = sorted((tmp_path / "v").glob("part*"))[1]
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 1
    part.write_bytes(data)
    with pytest.raises(FileFormatError, match=f"{part.name}: damaged"):
        encoders.StoredEmbeddings(tmp_path / "v").array()
    part.write_bytes(data[:-5])
    with pytest.raises(FileFormatError, match="missing or damaged; call embed_store again"):
        encoders.StoredEmbeddings(tmp_path / "v")
    encoders.embed_store(place / "encoder", place / "store", tmp_path / "v")
    assert folder_bytes(tmp_path / "v") == folder_bytes(place / "vectors")


def test_a_single_file_is_one_part(tmp_path: Path, place: Path) -> None:
    space = spaces.get("nasbench201")
    graphs = [space.graph(spec) for spec, _ in zip(space.enumerate(), range(4), strict=False)]
    cgir.GraphStore.write(tmp_path / "s.parquet", graphs)
    encoders.embed_store(place / "encoder", tmp_path / "s.parquet", tmp_path / "v")
    expected = encoders.load_encoder(place / "encoder").embed(GraphStore.open(tmp_path / "s.parquet"))
    np.testing.assert_array_equal(encoders.StoredEmbeddings(tmp_path / "v").array(), expected)
