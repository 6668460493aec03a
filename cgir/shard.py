"""One Parquet file of a `GraphStore`: its columns, how it is written, and how damage is noticed.

Columns, one row a graph:
    family, spec, hash, level: string
    num_nodes: int32
    kind: list<int32>, each node's row in the file's table of distinct node kinds
    src, dst: list<int32>, edges between the graph's own nodes, sorted by dst and, within a node, in argument order
    spectrum: list<double>, the 11 smallest Laplacian eigenvalues
    shared: list<int32>, the parameter that each parameter slot uses (slots in node order); null if no parameter is used twice
    label:NAME: double, one column a label, NaN where it is not known
Schema metadata: cgir.version, cgir.kinds (JSON: [op, in_shapes, shape, param_shapes, attrs] each), cgir.digest of the kinds, and cgir.part
("3" or, of the last shard, "3 last"). Pages carry checksums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .coloring import Groups
from .errors import FileFormatError, InvalidGraphError
from .features import GraphBatch, IntArray, ranges
from .graph import Graph, Node, NodeKind, Param, attributes
from .serialize import decode_value, encode_value
from .spectrum import K
from .verify import verify

VERSION = 1
LABEL = "label:"
_INTS = pa.list_(pa.int32())
COLUMNS = {
    "family": pa.string(), "spec": pa.string(), "hash": pa.string(), "level": pa.string(), "num_nodes": pa.int32(),
    "kind": _INTS, "src": _INTS, "dst": _INTS, "spectrum": pa.list_(pa.float64()), "shared": _INTS,
}  # fmt: skip


def write_shard(path: Path, batch: GraphBatch, columns: Mapping[str, Any], shared: Sequence[Groups], part: str) -> None:
    """Write one file. `columns` are family, spec, hash, level, spectrum (G, K) and the labels, by their names in the file."""
    used, kind = np.unique(batch.kind, return_inverse=True)
    edge_ptr = np.searchsorted(batch.dst, batch.ptr)
    first = batch.ptr[batch.graph_of_node[batch.dst]]
    spectra = np.asarray(columns["spectrum"], np.float64)
    arrays = {
        **columns,
        "num_nodes": np.diff(batch.ptr).astype(np.int32),
        "kind": _lists(kind, batch.ptr),
        "src": _lists(batch.src - first, edge_ptr),
        "dst": _lists(batch.dst - first, edge_ptr),
        "spectrum": pa.ListArray.from_arrays(np.arange(len(batch) + 1, dtype=np.int32) * spectra.shape[1], spectra.ravel()),
        "shared": pa.array(shared, _INTS),
    }
    names = [*COLUMNS, *(name for name in columns if name.startswith(LABEL))]
    kinds = json.dumps([_encode_kind(batch.kinds[row]) for row in used], separators=(",", ":"), allow_nan=False).encode()
    metadata = {b"cgir.version": str(VERSION).encode(), b"cgir.kinds": kinds, b"cgir.digest": _digest(kinds), b"cgir.part": part.encode()}
    table = pa.table({name: pa.array(arrays[name], COLUMNS.get(name, pa.float64())) for name in names}).replace_schema_metadata(metadata)
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


class Shard:
    """A file of graphs, memory-mapped; columns are decoded when first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise FileFormatError(f"{path}: not a readable Parquet file: {_one_line(error)}") from error
        schema = self._file.schema_arrow
        metadata = schema.metadata or {}
        version = metadata.get(b"cgir.version", b"").decode(errors="replace")
        if not version.isdecimal():
            raise FileFormatError(f"{path}: a Parquet file, but not one of cgir: its metadata has no cgir.version")
        if int(version) > VERSION:
            raise FileFormatError(f"{path}: version {version} is newer than {VERSION}, the newest this cgir reads; upgrade cgir")
        for name, expected in COLUMNS.items():
            if name not in schema.names or not schema.field(name).type.equals(expected):
                found = schema.field(name).type if name in schema.names else "nothing"
                raise FileFormatError(f"{path}: column {name} is {found}, expected {expected}")
        self.part = metadata.get(b"cgir.part", b"").decode(errors="replace")
        self.label_names = [name.removeprefix(LABEL) for name in schema.names if name.startswith(LABEL)]
        self.kinds = self._read_kinds(metadata.get(b"cgir.kinds", b""), metadata.get(b"cgir.digest", b""))

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def column(self, name: str) -> pa.Array:
        """One column as a single Arrow array.

        Raises:
            FileFormatError: if its pages are damaged.
        """
        try:
            column = self._file.read(columns=[name], use_threads=False).column(0)
            array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
            array.validate(full=True)
        except (OSError, pa.ArrowException, ValueError) as error:
            raise FileFormatError(f"{self.path}: column {name} is damaged: {_one_line(error)}") from error
        if len(array) != len(self):
            raise FileFormatError(f"{self.path}: column {name} has {len(array)} rows, expected {len(self)}")
        if name != "shared" and array.null_count:
            raise FileFormatError(f"{self.path}: column {name} has {array.null_count} missing values")
        return array

    def select(self, rows: IntArray) -> GraphBatch:
        """The graphs at `rows`, in that order."""
        structure = self._structure
        sizes, edge_sizes = (np.diff(structure[name])[rows] for name in ("ptr", "edge_ptr"))
        ptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        nodes, edges = ranges(structure["ptr"][rows], sizes), ranges(structure["edge_ptr"][rows], edge_sizes)
        shift = np.repeat(ptr[:-1], edge_sizes)
        return GraphBatch(self.kinds, structure["kind"][nodes].astype(np.int64), structure["src"][edges] + shift, structure["dst"][edges] + shift, ptr)

    def graph(self, row: int) -> Graph:
        """One graph, verified; names of nodes and modules were not stored."""
        batch, shared = self.select(np.asarray([row])), self._shared[row].as_py()
        kinds = [batch.kinds[index] for index in batch.kind]
        if shared is not None and len(shared) != sum(len(kind.param_shapes) for kind in kinds):
            raise FileFormatError(f"{self.path}: row {row}: column shared has {len(shared)} entries, but the graph another number of parameter slots")
        inputs: list[list[int]] = [[] for _ in kinds]
        for source, target in zip(batch.src.tolist(), batch.dst.tolist(), strict=True):
            inputs[target].append(source)
        nodes, slot = [], 0
        for index, (kind, sources) in enumerate(zip(kinds, inputs, strict=True)):
            names = [f"{index}.{i}" if shared is None else f"shared.{shared[slot + i]}" for i in range(len(kind.param_shapes))]
            params = tuple(map(Param, names, kind.param_shapes))
            slot += len(params)
            nodes.append(Node(kind.op, tuple(sources), kind.in_shapes, kind.shape, params, kind.attrs, f"{kind.op.lower()}_{index}"))
        graph = Graph(tuple(nodes), self._specs[row].as_py(), self._levels[row].as_py())
        try:
            verify(graph)
        except InvalidGraphError as error:
            raise FileFormatError(f"{self.path}: row {row}: {error}") from error
        return graph

    @cached_property
    def _shared(self) -> pa.Array:
        return self.column("shared")

    @cached_property
    def _specs(self) -> pa.Array:
        return self.column("spec")

    @cached_property
    def _levels(self) -> pa.Array:
        return self.column("level")

    @cached_property
    def _structure(self) -> dict[str, NDArray[Any]]:
        """All graphs, one after the other: flat columns `kind`, `src`, `dst` and where each graph's part begins."""
        kind, ptr = self._flat("kind")
        (src, edge_ptr), (dst, dst_ptr) = self._flat("src"), self._flat("dst")
        owner = np.repeat(np.arange(len(self)), np.diff(edge_ptr))
        sizes = np.diff(ptr)
        problems = {
            "kind has rows beyond the table of kinds": len(kind) and not 0 <= kind.min() <= kind.max() < len(self.kinds),
            "num_nodes disagrees with kind": not np.array_equal(np.asarray(self.column("num_nodes")), sizes),
            "src and dst have different lengths": not np.array_equal(edge_ptr, dst_ptr),
        }
        if not any(problems.values()):
            arity = np.asarray([len(k.in_shapes) for k in self.kinds], np.int64)[kind]
            targets = np.bincount(dst + ptr[owner], minlength=len(kind)) if len(dst) and dst.min() >= 0 else np.zeros(len(kind), np.int64)
            later = len(src) and not (src.min() >= 0 and (src < dst).all() and (dst < sizes[owner]).all())
            problems["an edge does not lead from an earlier to a later node"] = bool(later)
            problems["edges are not sorted"] = bool((np.diff(owner * (int(sizes.max(initial=0)) + 1) + dst) < 0).any())
            problems["a node has another number of inputs than its kind"] = not np.array_equal(targets, arity)
        broken = [problem for problem, found in problems.items() if found]
        if broken:
            raise FileFormatError(f"{self.path}: {broken[0]}; the file is damaged")
        return {"kind": kind, "src": src, "dst": dst, "ptr": ptr, "edge_ptr": edge_ptr}

    def _flat(self, name: str) -> tuple[NDArray[np.int32], IntArray]:
        column = self.column(name)
        if column.values.null_count:
            raise FileFormatError(f"{self.path}: column {name} has missing values")
        ptr = column.offsets.to_numpy().astype(np.int64)
        return column.values.to_numpy(zero_copy_only=False)[ptr[0] : ptr[-1]] if len(ptr) else np.zeros(0, np.int32), ptr - ptr[0]

    def spectra(self) -> NDArray[np.float64]:
        """(rows, K) Laplacian spectra."""
        column = self.column("spectrum")
        if not (np.diff(column.offsets.to_numpy()) == K).all():
            raise FileFormatError(f"{self.path}: column spectrum must have {K} values in every row; the file is damaged")
        return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float64).reshape(len(self), K)

    def _read_kinds(self, text: bytes, digest: bytes) -> tuple[NodeKind, ...]:
        if _digest(text) != digest:
            raise FileFormatError(f"{self.path}: the table of node kinds does not match its digest; the file is damaged")
        try:
            return tuple(_decode_kind(row, str(self.path)) for row in json.loads(text))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise FileFormatError(f"{self.path}: the table of node kinds cannot be read: {_one_line(error)}") from error


def _lists(values: IntArray, ptr: IntArray) -> pa.ListArray:
    return pa.ListArray.from_arrays(ptr.astype(np.int32), values.astype(np.int32))


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()


def _encode_kind(kind: NodeKind) -> list[Any]:
    return [kind.op, kind.in_shapes, kind.shape, kind.param_shapes, {name: encode_value(value) for name, value in kind.attrs}]


def _decode_kind(row: Any, where: str) -> NodeKind:
    op, in_shapes, shape, param_shapes, attrs = row
    values = attributes({name: decode_value(value, where) for name, value in attrs.items()})
    return NodeKind(op, tuple(map(tuple, in_shapes)), tuple(shape), tuple(map(tuple, param_shapes)), values)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
