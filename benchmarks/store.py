"""Data sets of graphs on disk: `python -m benchmarks.store [--write]`.

All of NAS-Bench-101 is built and written to a temporary folder, then read by a process of its own; a sample is also
kept the ways others keep graphs. Processor time, on one thread but for spectra, whose threads are added up; files in
the system's cache. Batches are 256 graphs drawn at random, as `GraphBatch` arrays, in which peers must give back
exactly the graphs they were given. `python -m benchmarks.store --read FOLDER` is the reading half alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file
from threadpoolctl import threadpool_limits
from tqdm import tqdm

import cgir
import frontends
from cgir import GraphBatch, GraphStore
from cgir.typing import AnyArray, IntArray

from .report import Table, publish, show

BATCH, CHUNK = 256, 4096
SAMPLE, BATCHES = 2048, 12
Arrays = tuple[AnyArray, AnyArray, AnyArray, AnyArray]  # kind, src, dst and ptr, as in a `GraphBatch`
Reader = Callable[[IntArray], Arrays]


def write_space(path: Path, limit: int | None) -> dict[str, float]:
    """Build and write NAS-Bench-101, or its first `limit` networks: counts and seconds."""
    space = frontends.spaces.get("nasbench101")
    specs = list(space.enumerate())[:limit]
    counts = {"graphs": len(specs), "nodes": 0, "edges": 0, "build": 0.0}

    def batches() -> Iterator[GraphBatch]:
        for start in range(0, len(specs), CHUNK):
            before = process_time()
            batch = space.graphs(specs[start : start + CHUNK])
            counts["build"] += process_time() - before
            counts["nodes"] += batch.num_nodes
            counts["edges"] += len(batch.src)
            yield batch

    start = process_time()
    GraphStore.write(path, batches(), family=space.name, specs=map(space.format, specs))
    return counts | {"write": process_time() - start - counts["build"], "peak": memory("VmHWM")}


def read_space(path: Path) -> dict[str, float]:
    """Open a store and read random batches until all is read many times, in a fresh process.

    Returns: seconds, graphs per second and MiB of peak memory.
    """
    rng, before = np.random.default_rng(0), memory("VmRSS")
    start = perf_counter()
    store = GraphStore.open(path)
    found = {"open": perf_counter() - start, "opened": memory("VmRSS") - before}
    rates = []
    for _ in range(300):
        chosen = rng.integers(0, len(store), BATCH)
        start = process_time()
        store.batch(chosen)
        rates.append(BATCH / (process_time() - start))
    found |= {
        "first": BATCH / rates[0],
        "rate": median(rates[10:]),
        "mean": len(rates) / sum(1 / rate for rate in rates),
        "read": memory("VmRSS") - before,
    }
    start = process_time()
    store.filter(np.asarray(store.num_nodes) > 150).deduplicate()
    return found | {"unique": process_time() - start}


def memory(what: str) -> float:
    """MiB of memory this process holds (VmRSS) or ever held (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(what + ":")[2].split()[0]) / 1024


def parquet_of_edges(path: Path, batch: GraphBatch) -> Callable[[], Reader]:
    """The same file format without steps: lists of kinds, sources and targets."""
    edges = batch.edge_ptr
    first = np.repeat(batch.ptr[:-1], np.diff(edges))
    flat = {"kind": (batch.kind, batch.ptr), "src": (batch.src - first, edges), "dst": (batch.dst - first, edges)}
    columns = {
        name: pa.ListArray.from_arrays(ptr.astype(np.int32), values.astype(np.int32))
        for name, (values, ptr) in flat.items()
    }
    pq.write_table(pa.table(columns), path / "set.parquet", compression="zstd", use_dictionary=False)

    def load() -> Reader:
        table = pq.read_table(path / "set.parquet", memory_map=True, use_threads=False).combine_chunks()

        def read(chosen: IntArray) -> Arrays:
            part = table.take(pa.array(chosen))
            rows = {name: part[name].combine_chunks() for name in columns}
            values = {name: row.flatten().to_numpy() for name, row in rows.items()}
            return _joined(
                values["kind"],
                values["src"],
                values["dst"],
                rows["kind"].offsets.to_numpy(),
                rows["src"].offsets.to_numpy(),
            )

        return read

    return load


def tensors(path: Path, batch: GraphBatch) -> Callable[[], Reader]:
    """All graphs in a few tensors with slices, as torch_geometric's InMemoryDataset, in one safetensors file."""
    edges = batch.edge_ptr
    first = np.repeat(batch.ptr[:-1], np.diff(edges))
    save_file(
        {"kind": batch.kind, "edge_index": np.stack([batch.src, batch.dst]) - first, "ptr": batch.ptr, "edges": edges},
        path / "set.safetensors",
    )

    def load() -> Reader:
        held = load_file(path / "set.safetensors")

        def read(chosen: IntArray) -> Arrays:
            nodes = [held["kind"][held["ptr"][g] : held["ptr"][g + 1]] for g in chosen]
            pairs = [held["edge_index"][:, held["edges"][g] : held["edges"][g + 1]] for g in chosen]
            (src, dst), sizes = np.concatenate(pairs, axis=1), [pair.shape[1] for pair in pairs]
            return _joined(np.concatenate(nodes), src, dst, np.cumsum([0, *map(len, nodes)]), np.cumsum([0, *sizes]))

        return read

    return load


def npz(path: Path, batch: GraphBatch) -> Callable[[], Reader]:
    """A compressed .npz a graph."""
    for index in range(len(batch)):
        one = batch.select([index])
        np.savez_compressed(
            path / f"{index}.npz",
            kind=one.kind.astype(np.int32),
            edge_index=np.stack([one.src, one.dst]).astype(np.int32),
        )

    def read(chosen: IntArray) -> Arrays:
        nodes, pairs = [], []
        for index in chosen:
            with np.load(path / f"{index}.npz") as held:
                nodes.append(held["kind"])
                pairs.append(held["edge_index"])
        (src, dst), sizes = np.concatenate(pairs, axis=1), [pair.shape[1] for pair in pairs]
        return _joined(np.concatenate(nodes), src, dst, np.cumsum([0, *map(len, nodes)]), np.cumsum([0, *sizes]))

    return lambda: read


def json_files(path: Path, batch: GraphBatch) -> Callable[[], Reader]:
    """A JSON file a graph, whole: `cgir.Graph.save`, read into `Graph`s and packed."""
    with TemporaryDirectory() as folder:
        GraphStore.write(Path(folder) / "set.parquet", batch)
        for index, graph in enumerate(GraphStore.open(Path(folder) / "set.parquet")):
            graph.save(path / f"{index}.json")
    rows = {kind: row for row, kind in enumerate(batch.kinds)}

    def read(chosen: IntArray) -> Arrays:
        packed = GraphBatch.from_graphs(cgir.load(path / f"{index}.json") for index in chosen)
        return np.asarray([rows[kind] for kind in packed.kinds])[packed.kind], packed.src, packed.dst, packed.ptr

    return lambda: read


def store(path: Path, batch: GraphBatch) -> Callable[[], Reader]:
    """`cgir.GraphStore`, with hashes and spectra."""
    GraphStore.write(path / "set.parquet", batch)

    def load() -> Reader:
        opened = GraphStore.open(path / "set.parquet")
        rows = {kind: row for row, kind in enumerate(batch.kinds)}

        def read(chosen: IntArray) -> Arrays:
            found = opened.batch(chosen)
            return np.asarray([rows[kind] for kind in found.kinds])[found.kind], found.src, found.dst, found.ptr

        return read

    return load


PEERS = {
    "cgir.GraphStore, with hashes and spectra": store,
    "Parquet (zstd), lists of kinds, sources, targets": parquet_of_edges,
    "one file of tensors, as torch_geometric's InMemoryDataset": tensors,
    "a compressed .npz a graph": npz,
    "a JSON file a graph": json_files,
}


def compare(name: str, batch: GraphBatch, batches: int) -> tuple[str, ...]:
    """One way to keep the graphs: bytes a graph, ms to open, graphs a second; what it reads is checked.

    Args:
        name: one of `PEERS`.
        batch: the graphs to store.
        batches: number of random batches to read.
    """
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        start = process_time()
        load = PEERS[name](Path(folder), batch)
        writing = process_time() - start
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        opening, rates = [], []
        for _ in range(3):
            start = process_time()
            read = load()
            opening.append(1000 * (process_time() - start))
        for _ in range(batches):
            chosen = rng.integers(0, len(batch), BATCH)
            start = process_time()
            found = read(chosen)
            rates.append(BATCH / (process_time() - start))
            expected = batch.select(chosen)
            wanted = (expected.kind, expected.src, expected.dst, expected.ptr)
            if not all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True)):
                raise cgir.CgirError(f"{name}: not the graphs that were written")
    return (
        name,
        f"{size / len(batch):,.0f}",
        f"{1e6 * writing / len(batch):,.0f}",
        f"{median(opening):.1f}",
        f"{median(rates):,.0f}",
    )


def _joined(kind: AnyArray, src: AnyArray, dst: AnyArray, ptr: AnyArray, edges: AnyArray) -> Arrays:
    """Graphs read one after the other, their edges moved to where their nodes are now."""
    shift = np.repeat(ptr[:-1].astype(np.int64), np.diff(edges))
    return kind.astype(np.int64), src + shift, dst + shift, ptr


def space_table(path: Path, written: dict[str, float]) -> Table:
    """What `write_space` and `read_space` found."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.store", "--read", str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    size = sum(file.stat().st_size for file in path.iterdir())
    rows = (
        ("graphs, nodes, edges", f"{written['graphs']:,.0f}, {written['nodes']:,.0f}, {written['edges']:,.0f}"),
        ("on disk", f"{size / 1e6:.1f} MB, {size / written['graphs']:.0f} bytes a graph"),
        ("built by space.graphs", f"{written['build']:.0f} s"),
        (
            "hashed, spectra, written",
            f"{written['write']:.0f} s, {written['peak']:.0f} MiB at most, all imports and specs included",
        ),
        ("opened", f"{1000 * found['open']:.0f} ms, {found['opened']:.0f} MiB"),
        ("first random batch", f"{1000 * found['first']:.0f} ms"),
        (
            "random batches of 256",
            f"{found['rate']:,.0f} graphs a second (median); {found['mean']:,.0f} with the decoding of what is "
            "touched first",
        ),
        ("memory, everything touched", f"{found['read']:.0f} MiB"),
        ("filter and deduplicate", f"{found['unique']:.1f} s"),
    )
    return Table("NAS-Bench-101 as trained (128 channels, 3 stacks of 3 cells)", ("", ""), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--read", type=Path, help="only open this store, draw batches, and print what was measured")
    parser.add_argument("--limit", type=int, help="networks of NAS-Bench-101 (default: all)")
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args(arguments)
    pa.set_cpu_count(1)
    with threadpool_limits(1):
        if options.read:
            print(json.dumps(read_space(options.read)))
            return
        with TemporaryDirectory() as folder:
            path = Path(folder) / "nasbench101"
            whole = space_table(path, write_space(path, options.limit))
            opened = GraphStore.open(path)
            sample = opened.batch(np.random.default_rng(0).choice(len(opened), min(SAMPLE, len(opened)), replace=False))
        peers = tuple(compare(name, sample, BATCHES) for name in tqdm(PEERS))
    columns = ("kept as", "bytes a graph", "us a graph to write", "ms to open", "graphs a second")
    found = [whole, Table(f"{len(sample):,} of its networks, random batches of {BATCH}", columns, peers)]
    show(found)
    if options.write:
        about = (
            "Whole networks on disk. Processor time of all threads (reading takes one; opening the whole space: "
            "elapsed), files in the system's cache."
        )
        publish("store", "Data sets", about, "python -m benchmarks.store --write", found)


if __name__ == "__main__":
    main()
