"""Data sets: changed bytes of files, manifests, footers, tables and columns; parts swapped, removed or made anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.random import Generator

from cgir import GraphStore
from cgir.graph import Graph, Node, Param
from cgir.store.manifest import MANIFEST
from cgir.store.parquet_shard import digest, footer_digest
from frontends import spaces

from .mutation import NUMBERS, TEXTS, mutate_bytes, mutate_json
from .resealing import json_bytes, mutated_json, reseal_parquet, write_parquet
from .target import Target

TYPES = (pa.int8(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.bool_(), pa.list_(pa.int32()), pa.binary())


def graphs() -> list[Graph]:
    """Small networks, and one with a parameter that is used twice."""
    space, rng = spaces.get("nasbench201", cells=1, channels=4), np.random.default_rng(0)
    node = Node("Mul", (0,), ((4,),), (4,), (Param("w", (4,)),))
    shared = Graph((Node("Input", shape=(4,)), node, node, Node("Output", (1,), ((4,),), (4,))), "", "raw")
    return [*(space.graph(space.sample(rng)) for _ in range(5)), shared]


def prepare(folder: Path) -> Path:
    """A folder of three parts, and a file."""
    made = graphs()
    labels: dict[str, list[float]] = {"acc": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "speed": [1.0, np.nan, 3.0, 4.0, 5.0, 6.0]}
    GraphStore.write(folder / "store", made, ["a", "b"] * 3, [f"no. {i}" for i in range(6)], labels, shard_size=2)
    GraphStore.write(folder / "one.parquet", made, "a", labels=labels)
    return folder


def write(rng: Generator, seeds: Path, folder: Path) -> Path:
    """One wrong data set."""
    if rng.random() < 0.5:
        path = folder / "one.parquet"
        shutil.copy(seeds / path.name, path)
        _change_file(rng, path)
        return path
    path = folder / "store"
    shutil.copytree(seeds / "store", path)
    manifest = path / MANIFEST
    if rng.random() < 0.4:
        manifest.write_bytes(mutated_json(rng, manifest.read_bytes(), indent=1))
        return path
    files = sorted(path.glob("*.parquet"))
    chosen, other = (files[int(rng.integers(len(files)))] for _ in range(2))
    kind = rng.integers(8)
    if kind == 0:
        chosen.unlink()
    elif kind == 1:
        chosen.write_bytes(other.read_bytes())
    else:
        _change_file(rng, chosen)
    if rng.random() < 0.8:
        _renew_manifest(manifest)
    return path


def _renew_manifest(manifest: Path) -> None:
    """The digests of the parts as they are now."""
    content = json.loads(manifest.read_bytes())
    for part in content["parts"]:
        path = manifest.parent / part["file"]
        if path.exists():
            part["footer"] = footer_digest(path)
    manifest.write_bytes(json_bytes(content, indent=1))


def _change_file(rng: Generator, path: Path) -> None:
    kind = rng.random()
    if kind < 0.3:
        path.write_bytes(mutate_bytes(rng, path.read_bytes()))
    elif kind < 0.5:  # the footer alone, with a checksum that is right
        data = path.read_bytes()
        start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        footer = bytearray(data[start:-8])
        for _ in range(int(rng.integers(1, 4))):
            footer[int(rng.integers(len(footer)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data[:start] + bytes(footer) + data[-8:])
        reseal_parquet(path)
    else:
        try:
            _rewrite(rng, path)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):  # Arrow cannot write what was made up
            path.write_bytes(mutate_bytes(rng, path.read_bytes()))


def _rewrite(rng: Generator, path: Path) -> None:
    """Other columns, or another dictionary, with right digests."""
    with pq.ParquetFile(path) as file:
        table, metadata = file.read(), dict(file.metadata.metadata)
    if rng.random() < 0.5:
        name = str(rng.choice(["cgir.kinds", "cgir.steps"])).encode()
        metadata[name] = json_bytes(mutate_json(rng, json.loads(metadata[name]), 2))
        if rng.random() < 0.9:
            metadata[b"cgir.digest"] = digest(metadata[b"cgir.kinds"], metadata[b"cgir.steps"])
        if rng.random() < 0.1:
            metadata[b"cgir.version"] = str(rng.choice(NUMBERS)).encode()
    else:
        table = _other_columns(rng, table)
    write_parquet(path, table, metadata)


def _other_columns(rng: Generator, table: pa.Table) -> pa.Table:
    index = int(rng.integers(table.num_columns))
    field, column = table.schema.field(index), table.column(index)
    kind = rng.integers(5)
    if kind == 0:
        return table.remove_column(index)
    if kind == 1:
        return table.append_column(field, column)
    if kind == 2:
        return table.rename_columns(
            [str(rng.choice(TEXTS))[:50] if i == index else n for i, n in enumerate(table.column_names)]
        )
    if kind == 3:
        other = TYPES[int(rng.integers(len(TYPES)))]
        return table.set_column(index, field.name, pa.array([None] * len(table), other))
    values = column.to_pylist()
    row = int(rng.integers(len(values)))
    values[row] = mutate_json(rng, values[row], 1) if values[row] == values[row] else None  # not NaN
    return table.set_column(index, pa.field(field.name, field.type), pa.array(values, field.type))


def read(path: Path) -> Any:
    """Read all of it in every way, also what is left where a part is damaged, and write it again."""
    GraphStore.open(path, skip_damaged=True)
    store = GraphStore.open(path)
    _ = store.labels, store.families, store.specs, store.hashes, store.num_nodes, store.spectra
    batch = store.batch()
    for graph in store:
        _ = graph.hash
    store.deduplicate().filter(range(min(2, len(store.deduplicate()))))
    store.class_table(2)
    GraphStore.write(path.with_name("copy.parquet"), store)
    if len(GraphStore.open(path.with_name("copy.parquet")).batch()) != len(batch):
        raise AssertionError("other graphs than were written")


TARGET = Target("data sets: files, manifests, tables, columns", prepare, write, read)
