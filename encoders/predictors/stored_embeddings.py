"""Embeddings of whole data sets on disk, made by independent jobs: on any workers, and resumed where they stopped.

    _store.json                  as of a `GraphStore` folder, with the format "cgir-embeddings"
    part-00000-DIGEST.parquet    the embeddings of one file of the data set: `row` (int64, from 0 in that file), `spec`
                                 (string) and `vector` (fixed-size list of float32); polars, duckdb and pandas read them

Parts follow the order of the data set's files, so row i of all of them is graph i of the data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError, FileFormatError, one_line
from cgir.executors import Executor
from cgir.limits import DEFAULT
from cgir.store import GraphStore, Job, manifest, part_jobs
from cgir.store.parquet_shard import as_numpy, footer_digest
from cgir.typing import Float32Array
from encoders.engine.devices import as_device
from encoders.models.checkpoints import load_encoder
from encoders.models.registry import GraphEncoder
from frontends.torch.thread_count import one_thread

from .pretrained import NAMES, WEIGHTS, load_pretrained

FORMAT = "cgir-embeddings"
READ_ROWS = 16_384
PACKED = 100  # times smaller than its vectors a file may be, whatever they are


def embed_store(
    encoder: str | PathLike[str],
    store: str | PathLike[str],
    folder: str | PathLike[str],
    executor: Executor | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> None:
    """Embed a data set file by file, on this machine or many; the same call resumes.

    Each file becomes one, with the bits that `encoder.embed(GraphStore.open(file))` gives on one thread of a CPU;
    embedded together, or on a GPU, graphs differ in the last bits.

    Args:
        encoder: a file of `save_encoder`, or the name of an encoder that comes with the package.
        store: a data set, a folder or a file; what has moved is not embedded again.
        folder: for the embeddings; all workers must see all three.
        executor: as in `GraphStore.write_parts`.
        overwrite: other embeddings in the folder are replaced, once the new ones are complete.
        device: of each worker: "auto", its GPU where it has one, "cpu", "cuda" or "cuda:1".

    Raises:
        FileFormatError: there is no encoder, or no data set.
        CgirError: as in `GraphStore.write_parts`.
    """
    as_device(device)
    name = str(encoder) if encoder in NAMES else str(Path(encoder).absolute())
    weights = _weights_digest(name)
    _load(name, weights)  # one error here, not one a worker
    files = _files(Path(store).absolute())
    jobs = [
        Job(embed_file, (file.name, digest, weights), (str(file.parent), name, str(device))) for file, digest in files
    ]
    form = part_jobs.PartFormat(FORMAT, _write_part, _count_rows)
    part_jobs.write_parts(Path(folder), form, jobs, executor, overwrite)


def embed_file(
    file: str, footer: str, weights: str, folder: str, encoder: str, device: str = "cpu"
) -> tuple[list[str], Float32Array]:
    """Specifications and embeddings (G, dim) of one file of a data set, computed on one thread, or a GPU.

    Args:
        file: its name.
        footer: digest of its footer.
        weights: digest of the encoder's file.
        folder: where the file is.
        encoder: its file or name.
        device: where it computes.
    """
    path = Path(folder) / file
    if footer_digest(path) != footer:
        raise CgirError(f"{path}: changed since the jobs were made; call again")
    graphs = GraphStore.open(path)
    with one_thread():
        return graphs.specs, _load(encoder, weights).embed(graphs, progress=False, device=device)


class StoredEmbeddings:
    """Embeddings that `embed_store` has written; they are read part by part.

    Attributes:
        dim: of an embedding.

    Args:
        folder: of the embeddings.

    Raises:
        FileFormatError: it has none, or they are damaged.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self._folder = Path(folder).absolute()  # pyarrow takes a relative one with a colon for an address
        self._parts = manifest.read_parts(self._folder, FORMAT)
        lengths = {_vector_length(self._folder / part.file, part) for part in self._parts}
        if len(lengths) > 1:
            raise FileFormatError(f"{self._folder}: vectors of {sorted(lengths)} numbers; remove it and embed again")
        self.dim: int = lengths.pop()

    def __len__(self) -> int:
        return sum(part.rows for part in self._parts)

    def batches(self) -> Iterator[tuple[list[str], Float32Array]]:
        """Specifications and embeddings (B, dim) of all graphs in order, some thousands at a time."""
        for part in self._parts:
            path, rows = self._folder / part.file, 0
            try:
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    for batch in file.iter_batches(READ_ROWS, columns=["spec", "vector"]):
                        batch.validate(full=True)
                        specs, vectors = batch.column("spec"), batch.column("vector")
                        if specs.null_count or vectors.null_count or vectors.values.null_count:
                            raise ValueError("missing values")
                        rows += len(batch)
                        yield specs.to_pylist(), as_numpy(vectors.flatten()).reshape(-1, self.dim)
                if rows != part.rows:
                    raise ValueError(f"{rows} rows, expected {part.rows}")
            except (OSError, ValueError, pa.ArrowException) as error:
                raise FileFormatError(f"{path}: damaged: {one_line(error, 200)}; remove it and embed again") from error

    def array(self, npy: str | PathLike[str] | None = None) -> Float32Array:
        """All embeddings as float32 (G, dim): in memory, or memory-mapped from a new .npy file.

        Args:
            npy: the file to write; numpy reads it again by `numpy.load(npy, mmap_mode="r")`.
        """
        shape = len(self), self.dim
        if npy is None:
            return self._fill(np.empty(shape, np.float32))
        with atomic_path(npy) as path:
            mapped = np.lib.format.open_memmap(path, "w+", np.float32, shape)
            self._fill(mapped)
            mapped.flush()
            del mapped
        return cast(Float32Array, np.load(npy, mmap_mode="r"))

    def _fill(self, target: Float32Array) -> Float32Array:
        start = 0
        for _, vectors in self.batches():
            target[start : start + len(vectors)] = vectors
            start += len(vectors)
        return target


def _vector_length(path: Path, part: manifest.Part) -> int:
    """Numbers of a vector in a file of embeddings; FileFormatError if it is another file, or claims too much."""
    if not path.is_file() or footer_digest(path) != part.footer:
        raise FileFormatError(f"{path}: missing or damaged; call embed_store again")
    try:
        footer, schema = pq.read_metadata(path), pq.read_schema(path)
        kinds = {name: schema.field(name).type for name in ("spec", "vector")}
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise FileFormatError(f"{path}: no embeddings ({one_line(error, 200)}); embed again") from error
    vector = kinds["vector"]
    if kinds["spec"] != pa.string() or not pa.types.is_fixed_size_list(vector) or vector.value_type != pa.float32():
        raise FileFormatError(f"{path}: columns {kinds}, expected text and vectors of float32; embed again")
    if footer.num_rows != part.rows:
        raise FileFormatError(f"{path}: {footer.num_rows} rows, expected {part.rows}; embed again")
    # equal vectors compress well, but hardly all of them
    claimed = 4 * part.rows * vector.list_size - PACKED * path.stat().st_size
    if claimed > DEFAULT.bytes:
        raise FileFormatError(f"{path}: claims {claimed:,} bytes of vectors beyond its own; embed again")
    return int(vector.list_size)


def _files(store: Path) -> list[tuple[Path, str]]:
    """The files of a data set and the digests of their footers."""
    if store.is_dir():
        return [(store / part.file, part.footer) for part in manifest.read_parts(store)]
    GraphStore.open(store)
    return [(store, footer_digest(store))]


def _write_part(path: Path, job: Job) -> int:
    specs, vectors = job.run()
    columns = {
        "row": pa.array(np.arange(len(specs))),
        "spec": pa.array(specs, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
    }
    table = pa.table(columns)
    pq.write_table(
        table,
        path,
        row_group_size=READ_ROWS,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"row": "PLAIN", "spec": "PLAIN", "vector.list.element": "BYTE_STREAM_SPLIT"},
        write_page_checksum=True,
    )
    return len(specs)


def _count_rows(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


@lru_cache(maxsize=1)
def _load(encoder: str, weights: str) -> GraphEncoder:
    """The encoder of that name or file, which must have the digest `weights`."""
    if _weights_digest(encoder) != weights:
        raise CgirError(f"{encoder}: not the encoder that the others embed with; expected one file for all machines")
    return load_pretrained(encoder) if encoder in NAMES else load_encoder(encoder)


def _weights_digest(encoder: str) -> str:
    path = WEIGHTS / encoder / "predictor.safetensors" if encoder in NAMES else Path(encoder)
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        names = ", ".join(NAMES)
        raise FileFormatError(f"{path}: {error.strerror}; expected the file of an encoder, or {names}") from error
