"""One Parquet file (shard) of a `GraphStore`: its columns, writer and reader, and how damage is detected.

Columns, one row a graph:

    family, spec, level   string
    hash                  string, 32 hex digits, `Graph.hash`; equal for isomorphic graphs
    num_nodes             int32
    nodes                 list<int32>, each node's row in the dictionary `cgir.steps` of the file
    spectrum              list<double>, the 11 smallest Laplacian eigenvalues
    shared                list<int32>, the parameter that each parameter slot uses (slots in node order); null if no
                          parameter is used twice
    label:NAME            double, one column a label, NaN where it is not known

Key-value metadata of the file:

    cgir.version          of the format
    cgir.kinds            JSON, [op, in_shapes, shape, param_shapes, attrs] each
    cgir.steps            JSON, the node codes (`node_dictionary`), [row of the kind, distance back to the first input,
                          to the second, ...] each
    cgir.digest           of both tables
    cgir.checksum         of the footer (`cgir.checksums`)

Pages carry checksums.

Names and edges of the first graph, without cgir (polars and duckdb open the columns too, `parquet_kv_metadata` of
duckdb the metadata):

    frame = pandas.read_parquet("set.parquet")
    tables = pyarrow.parquet.read_metadata("set.parquet").metadata
    kinds, steps = json.loads(tables[b"cgir.kinds"]), json.loads(tables[b"cgir.steps"])
    names = [kinds[steps[row][0]][0] for row in frame.nodes[0]]
    edges = [(node - back, node) for node, row in enumerate(frame.nodes[0]) for back in steps[row][1:]]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cgir.analysis.laplacian_spectrum import K
from cgir.checksums import PARQUET_KEY, UNSEALED, check_parquet, seal_parquet
from cgir.errors import CgirError, FileFormatError, LimitError, one_line
from cgir.graph_batch import GraphBatch
from cgir.limits import DEFAULT
from cgir.typing import AnyArray, Int32Array, IntArray

from .node_dictionary import NodeCodeArrays, NodeDictionary

VERSION = 2
LABEL = "label:"
_INT_LISTS = pa.list_(pa.field("element", pa.int32(), nullable=False))
_DOUBLE_LISTS = pa.list_(pa.field("element", pa.float64(), nullable=False))
COLUMNS = {
    "family": pa.string(), "spec": pa.string(), "hash": pa.string(), "level": pa.string(), "num_nodes": pa.int32(),
    "nodes": _INT_LISTS, "spectrum": _DOUBLE_LISTS, "shared": _INT_LISTS,
}  # fmt: skip


class ShardWriter:
    """Writer of a file that grows by row groups; it is complete, and can be read, once closed.

    `num_rows`: graphs written so far; `dictionary`: their distinct node codes.
    """

    def __init__(self, path: Path, label_names: Sequence[str]) -> None:
        self._path, self.num_rows = path, 0
        self.dictionary = NodeDictionary()
        fields = [pa.field(name, kind, nullable=name == "shared") for name, kind in COLUMNS.items()]
        self._schema = pa.schema(
            fields + [pa.field(LABEL + name, pa.float64(), nullable=False) for name in label_names]
        )
        # An absolute path, as a relative one with a colon would be taken for an address.
        # Plain lists repeat themselves byte by byte, which compresses better than a dictionary's bit-packed numbers.
        self._writer = pq.ParquetWriter(
            path.absolute(), self._schema, compression="zstd", write_page_checksum=True, store_schema=False,
            use_dictionary=["family", "level"],
            write_statistics=["family", "spec", "num_nodes", *(LABEL + name for name in label_names)],
        )  # fmt: skip

    def write(self, batch: GraphBatch, columns: Mapping[str, Any]) -> None:
        """Add a row group; `columns`, sequences or Arrow arrays by name, are all but num_nodes and nodes."""
        spectra = np.asarray(columns["spectrum"], np.float64).reshape(len(batch), K)
        arrays = {
            **columns,
            "num_nodes": np.diff(batch.ptr).astype(np.int32),
            "nodes": _lists(self.dictionary.encode(batch).astype(np.int32), batch.ptr, _INT_LISTS),
            "spectrum": _lists(spectra.ravel(), np.arange(len(batch) + 1) * K, _DOUBLE_LISTS),
        }
        table = pa.Table.from_arrays(
            [pa.array(arrays[field.name], field.type) for field in self._schema], schema=self._schema
        )
        self._writer.write_table(table, row_group_size=max(len(batch), 1))
        self.num_rows += len(batch)

    def close(self) -> None:
        """Write the dictionary and the footer."""
        kinds, codes = self.dictionary.to_json()
        metadata = {
            "cgir.version": str(VERSION),
            "cgir.kinds": kinds,
            "cgir.steps": codes,
            "cgir.digest": digest(kinds, codes),
            PARQUET_KEY: UNSEALED,
        }
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()
        seal_parquet(self._path)


class ShardReader:
    """Reader of one file, which is memory-mapped; row groups are decoded on demand.

    Attributes:
        path: the file.
        label_names: names of its labels.
        sizes: graphs in each row group.
        digest: of the dictionary; equal for files with the same one.
        has_checksum: of its footer, its own or the manifest's.

    Args:
        path: the file.
        footer: the digest that its footer must have, where known.
        keep_open: hold the file open, so that it can be read after it was removed; otherwise it is opened to be read.

    Raises:
        FileFormatError: it is missing, damaged, foreign or of another version; the message names the file.
    """

    def __init__(self, path: Path, footer: str | None = None, keep_open: bool = True) -> None:
        self.path = path
        try:
            if footer is not None and footer_digest(path) != footer:
                raise FileFormatError(f"{path}: the end of the file is not what was written; the file is damaged")
            self.has_checksum = footer is not None or check_parquet(path)
            file = _open(path)
            self._footer = file.metadata
            self._metadata = self._footer.metadata or {}
            self.label_names = _label_names(file.schema_arrow, self._metadata)
        except CgirError as error:
            raise FileFormatError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
        except (OSError, pa.ArrowException, ValueError) as error:
            raise FileFormatError(f"{path}: not a readable Parquet file: {one_line(error, 200)}") from error
        self._file = file if keep_open else None
        if not keep_open:
            file.close()
        self.sizes = [self._footer.row_group(group).num_rows for group in range(self._footer.num_row_groups)]
        if min(self.sizes, default=0) < 0:
            raise FileFormatError(f"{path}: a row group of {min(self.sizes)} rows; the file is damaged")
        if 8 * sum(self.sizes) - path.stat().st_size > DEFAULT.bytes:
            raise FileFormatError(f"{path}: claims {sum(self.sizes):,} rows, more than its bytes; the file is damaged")
        self.digest = self._metadata.get(b"cgir.digest", b"")
        if digest(*self._tables) != self.digest:
            raise FileFormatError(
                f"{path}: the tables of kinds and steps do not match their digest; the file is damaged"
            )

    @property
    def _tables(self) -> tuple[bytes, bytes]:
        return self._metadata.get(b"cgir.kinds", b""), self._metadata.get(b"cgir.steps", b"")

    @cached_property
    def dictionary(self) -> NodeDictionary:
        """The file's distinct kinds and node codes."""
        return NodeDictionary.from_json(*self._tables, str(self.path))

    @cached_property
    def codes(self) -> NodeCodeArrays:
        """The dictionary as arrays."""
        return self.dictionary.to_arrays()

    def column(self, name: str, group: int) -> pa.Array:
        """One column of a row group; a label that the file does not have is NaN.

        Raises:
            FileFormatError: its pages are damaged.
        """
        if name.startswith(LABEL) and name.removeprefix(LABEL) not in self.label_names:
            return pa.array(np.full(self.sizes[group], np.nan))
        try:
            self._check_claim(name, group)
            with nullcontext(self._file) if self._file else _open(self.path, self._footer) as file:
                column = file.read_row_group(group, columns=[name], use_threads=False).column(0)
            array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
            array.validate(full=True)
            if array.type != (expected := COLUMNS.get(name, pa.float64())):  # lists whose elements are called otherwise
                array = array.cast(expected)
        except LimitError:
            raise
        except (OSError, pa.ArrowException, ValueError) as error:
            raise self._damaged(group, f"column {name} is damaged: {one_line(error)}") from error
        if len(array) != self.sizes[group]:
            raise self._damaged(group, f"column {name} has {len(array)} rows, expected {self.sizes[group]}")
        if name != "shared" and (array.null_count or (pa.types.is_list(array.type) and array.values.null_count)):
            raise self._damaged(group, f"column {name} has missing values")
        if name == "spectrum" and not (np.diff(as_numpy(array.offsets)) == K).all():
            raise self._damaged(group, f"column spectrum must have {K} values in every row")
        return array

    def nodes(self, group: int) -> tuple[Int32Array, IntArray]:
        """The nodes of all graphs of a row group, one graph after the other.

        Returns:
            (N,): each node's row in the dictionary; (graphs + 1,): where the nodes of each graph begin.

        Raises:
            FileFormatError: they are damaged, or no graphs.
        """
        column = self.column("nodes", group)
        offsets = as_numpy(column.offsets).astype(np.int64)
        rows, ptr = as_numpy(column.values)[offsets[0] : offsets[-1]], offsets - offsets[0]
        sizes = np.diff(ptr)
        if not np.array_equal(as_numpy(self.column("num_nodes", group)), sizes):
            raise self._damaged(group, "num_nodes disagrees with nodes")
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.codes):
            raise self._damaged(group, f"nodes has rows beyond the table of {len(self.codes)} steps")
        index_in_graph = np.arange(len(rows), dtype=np.int32) - np.repeat(ptr[:-1].astype(np.int32), sizes)
        if (self.codes.reach[rows] > index_in_graph).any():
            raise self._damaged(group, "an input of a node lies before its graph")
        return rows, ptr

    def check(self, group: int) -> None:
        """Read all of a row group.

        Raises:
            FileFormatError: any of it is damaged.
        """
        self.nodes(group)
        for name in (*COLUMNS, *(LABEL + label for label in self.label_names)):
            self.column(name, group)

    def _check_claim(self, name: str, group: int) -> None:
        """FileFormatError if a column would take much more memory than its bytes in the file, as none written does."""
        row_group = self._footer.row_group(group)
        for index in range(row_group.num_columns):
            chunk = row_group.column(index)
            if chunk.path_in_schema.partition(".")[0] == name:
                claimed = max(chunk.total_uncompressed_size, 8 * chunk.num_values) - chunk.total_compressed_size
                if claimed > DEFAULT.bytes:
                    raise self._damaged(group, f"column {name} claims {claimed:,} bytes beyond its own")

    def _damaged(self, group: int, problem: str) -> FileFormatError:
        return FileFormatError(
            f"{self.path}: row group {group}: {problem}; the file is damaged, "
            "GraphStore.open(..., skip_damaged=True) reads the rest"
        )


def _label_names(schema: pa.Schema, metadata: Mapping[bytes, bytes]) -> list[str]:
    """The labels of a file of this version; FileFormatError if it is none, or has other columns."""
    version = metadata.get(b"cgir.version", b"").decode(errors="replace")
    if not version.isdecimal() or len(version) > 9:
        raise FileFormatError("a Parquet file, but not one of cgir: its metadata has no cgir.version")
    if int(version) != VERSION:
        advice = (
            "is newer than {}, the newest this cgir reads; upgrade cgir"
            if int(version) > VERSION
            else "is older than {}; write the data set again"
        )
        raise FileFormatError(f"version {version} {advice.format(VERSION)}")
    names = schema.names
    labels = [name for name in names if name.startswith(LABEL)]
    for name, expected in (COLUMNS | dict.fromkeys(labels, pa.float64())).items():
        actual: Any = f"there {names.count(name)} times" if name in names else "nothing"
        if names.count(name) == 1:
            actual = schema.field(name).type
        if not _same_type(actual, expected):
            raise FileFormatError(f"column {name:.60} is {actual}, expected {expected}")
    return [name.removeprefix(LABEL) for name in labels]


def _open(path: Path, footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
    return pq.ParquetFile(path.absolute(), metadata=footer, memory_map=True, page_checksum_verification=True)


def as_numpy(array: pa.Array) -> AnyArray:
    """Numbers without a copy. Arrow's own `to_numpy` imports pandas, which takes longer than opening a data set."""
    return np.from_dlpack(array)


def digest(*texts: bytes) -> bytes:
    """BLAKE2b of texts joined by zero bytes, 32 hex digits."""
    return hashlib.blake2b(b"\0".join(texts), digest_size=16).hexdigest().encode()


def footer_digest(path: Path) -> str:
    """Digest of a Parquet file's size and footer: the footer locates all pages and, unlike them, has no checksum."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little") + 8
        file.seek(max(size - length, 0))
        return digest(str(size).encode(), file.read()).decode()


def _lists(values: AnyArray, ptr: IntArray, kind: pa.DataType) -> pa.ListArray:
    return pa.ListArray.from_arrays(ptr.astype(np.int32), values, type=kind)


def _same_type(actual: Any, expected: pa.DataType) -> bool:
    """Whether types are equal, whatever elements of lists are called and whether they are nullable."""
    if pa.types.is_list(expected) and isinstance(actual, pa.DataType) and pa.types.is_list(actual):
        return bool(actual.value_type == expected.value_type)
    return bool(actual == expected)
