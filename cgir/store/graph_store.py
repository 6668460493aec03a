"""Data sets of graphs with labels, in Parquet files that any Parquet reader opens (columns: see `parquet_shard`).

Names and module paths of nodes are not stored; what a node computes, the edges and the sharing of parameters are.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from cgir.analysis.computation_trees import ClassTable, build_class_table
from cgir.analysis.laplacian_spectrum import K
from cgir.checksums import note_missing
from cgir.errors import CgirError, FileFormatError, LabelError, printable
from cgir.executors import Executor
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.ragged import offsets, spans
from cgir.typing import FloatArray, IntArray

from . import manifest, part_jobs, row_group_writer
from .manifest import Part, StagedParts
from .parquet_shard import COLUMNS, LABEL, ShardReader, as_numpy
from .part_jobs import Job, PartFormat
from .row_group_writer import RowGroup
from .row_reader import RowReader

SHARD_SIZE = 16_384
BATCH_NODES = 1_000_000  # of `batches`, which may be exceeded by one graph
SHOWN = 8  # families and labels that a printed store names

Graphs = Iterable[Graph] | Iterable[GraphBatch] | GraphBatch
Values = Iterable[float] | ArrayLike

MAX_OPEN = 100  # files that a data set holds open; systems allow a process 256 or 1024
log = logging.getLogger(__name__)


class Content(NamedTuple):
    """The graphs of a part and their columns, as `GraphStore.write` takes them."""

    graphs: Graphs | GraphStore
    family: str | Iterable[str] = ""
    specs: Iterable[str] | None = None
    labels: Mapping[str, Values] | None = None


class GraphStore:
    """Graphs with families, specifications, spectra and labels, read from disk when needed; opened by `open`.

    `filter`, `deduplicate` and `merge` give views, which copy nothing; `write` writes a view to new files, or
    replaces the data set that it came from.

    Attributes:
        damaged: what `open(..., skip_damaged=True)` left out, in words.

    Args:
        reader: of row groups.
        rows: (G,) the rows of the reader that are the graphs of this store.
        label_names: labels that some of them may have.
        damaged: see the attribute.
    """

    def __init__(
        self, reader: RowReader, rows: IntArray, label_names: Sequence[str], damaged: Sequence[str] = ()
    ) -> None:
        self._reader, self._rows, self._label_names = reader, rows, tuple(label_names)
        self.damaged = tuple(damaged)
        self._class_tables: dict[tuple[int, str], ClassTable] = {}

    @staticmethod
    def write(
        path: str | PathLike[str],
        graphs: Graphs | GraphStore,
        family: str | Iterable[str] = "",
        specs: Iterable[str] | None = None,
        labels: Mapping[str, Values] | None = None,
        shard_size: int = SHARD_SIZE,
    ) -> None:
        """Write a data set; an existing one at `path` is replaced once the new one is complete.

        Args:
            path: a file ending in .parquet, or else a folder of files of at most `shard_size` graphs each.
            graphs: graphs; or batches, of any size, or one batch (they have no shared parameters and count as
                canonical); or a store, whose columns are written too. Graphs are consumed as they are written, so a
                data set may be larger than memory.
            family: of all graphs, or one each.
            specs: each graph's standard string in its search space.
            labels: values per graph by name; NaN where unknown. Like `family` and `specs` they may be iterators, which
                are consumed with the graphs.
            shard_size: graphs a file.

        Raises:
            LabelError: labels, families or specs are not one per graph.
            InvalidGraphError: a graph breaks an invariant.
            CgirError: something else is at `path`, or another process is writing there.
        """
        target, source = Path(path), _source(graphs, family, specs, labels)
        if target.suffix == ".parquet" and not target.is_dir():
            groups = source.row_groups(row_group_writer.GROUP_ROWS)
            with manifest.open_file_for_writing(target) as temporary:
                row_group_writer.write_shards(lambda: temporary, groups, source.label_names, None)
            return
        with manifest.open_for_writing(target):
            manifest.commit(target, _write_parts(target, 0, source, source.label_names, shard_size))

    @staticmethod
    def append(
        path: str | PathLike[str],
        graphs: Graphs | GraphStore,
        family: str | Iterable[str] = "",
        specs: Iterable[str] | None = None,
        labels: Mapping[str, Values] | None = None,
        shard_size: int = SHARD_SIZE,
    ) -> None:
        """Add graphs to the folder of a data set, in new files; the data set is unchanged until all are written.

        Args:
            path: the folder.
            graphs: as in `write`, and so are all others.
            family: of them.
            specs: of them.
            labels: those that are not given are NaN.
            shard_size: graphs a file.

        Raises:
            LabelError: as in `write`, or there is a label that the data set does not have.
            CgirError: `path` is no folder with a data set, or another process is writing there.
        """
        target, source = Path(path), _source(graphs, family, specs, labels)
        if target.is_file():
            raise CgirError(
                f"{target}: a single file cannot grow; "
                "GraphStore.write(folder, GraphStore.open(file)) makes a folder, which can"
            )
        manifest.read_parts(target)
        with manifest.open_for_writing(target) as old_parts:
            names = ShardReader(target / old_parts[0].file, old_parts[0].footer).label_names
            if not set(source.label_names) <= set(names):
                extra = ", ".join(repr(name) for name in source.label_names if name not in names)
                raise LabelError(
                    f"{target}: has no label {extra}, only {', '.join(names) or 'none'}; "
                    "write a merge of two stores to have all labels of both"
                )
            manifest.commit(target, [*old_parts, *_write_parts(target, len(old_parts), source, names, shard_size)])

    @staticmethod
    def write_parts(
        path: str | PathLike[str], jobs: Sequence[Job], executor: Executor | None = None, overwrite: bool = False
    ) -> None:
        """Write a data set of any size as independent jobs, on this machine or many; the same call resumes.

        Each job makes one file, written whole under a name that is a digest of the job; only names and numbers of
        graphs travel. Files that are there are not made again, whatever was killed, and the data set exists once all
        are. Its bytes depend on the jobs alone: not on the workers, their order or interruptions.

        Args:
            path: the folder, which all workers must see.
            jobs: each a function that can be imported, and its arguments, which JSON can write and which say all that
                the result depends on; the function returns `Content`. Graphs are in the order of the jobs.
            executor: anything with `submit(function, *arguments)` that returns something with `done()` and `result()`,
                such as those of `concurrent.futures` or `cgir.executors.open_executor`; None: this process.
            overwrite: an existing data set of other jobs is replaced, once the new one is complete.

        Raises:
            CgirError: a job failed, a worker was killed, another data set is at `path`, or another process is writing
                there.
        """
        write = partial(_write_part, progress=executor is None)
        part_jobs.write_parts(Path(path), PartFormat(manifest.FORMAT, write, _count_rows), jobs, executor, overwrite)

    @classmethod
    def open(cls, path: str | PathLike[str], skip_damaged: bool = False) -> GraphStore:
        """Open a file or folder written by `write`; only footers are read now, rows (and their damage) on demand.

        A data set of up to 100 files stays readable while another takes its place. Of more rows than memory holds, open
        the files one by one: each is a data set, too.

        Args:
            path: the file or folder.
            skip_damaged: read everything once, and leave out row groups that are damaged, and files that are missing or
                have damaged footers.

        Raises:
            FileFormatError: the manifest is damaged, or, without `skip_damaged`, one of the files; the message names
                the file.
        """
        target = Path(path)
        shards, damaged = _open_shards(target, skip_damaged)
        groups = [(shard, group) for shard in shards for group in range(len(shard.sizes))]
        if skip_damaged:
            groups = [(shard, group) for shard, group in groups if _is_readable(shard, group, damaged)]
            if not shards:
                raise FileFormatError(f"{target}: nothing of it can be read: {damaged[0]}")
        for problem in damaged:
            log.warning("left out: %s", problem)
        if not all(shard.has_checksum for shard in shards):
            note_missing(target, "write it again, as in GraphStore.write(path, GraphStore.open(path))")
        reader = RowReader(groups)
        return cls(reader, np.arange(reader.num_rows), _union(shard.label_names for shard in shards), damaged)

    @classmethod
    def merge(cls, stores: Sequence[GraphStore]) -> GraphStore:
        """The graphs of several stores, one store after the other; a label that one of them lacks is NaN there."""
        reader = RowReader([group for store in stores for group in store._reader.groups])
        shifts = offsets([store._reader.num_rows for store in stores])
        rows = [store._rows + shift for store, shift in zip(stores, shifts, strict=False)]
        damaged = [problem for store in stores for problem in store.damaged]
        names = _union(store._label_names for store in stores)
        return cls(reader, np.concatenate([np.zeros(0, np.int64), *rows]), names, damaged)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"GraphStore({len(self):,} graphs" + "".join(f", {printable(name)}" for name in self._label_names) + ")"

    def __str__(self) -> str:
        counts = Counter(self.families).most_common()
        families = ", ".join(f"{printable(name) or 'no family'} {count:,}" for name, count in counts[:SHOWN])
        families += f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
        lines = [f"GraphStore: {len(self):,} graphs", f"  families: {families}"]
        if len(self):
            lines.append(f"  nodes: {self.num_nodes.min():,} to {self.num_nodes.max():,}")
        for name, values in list(self.labels.items())[:SHOWN]:
            known = values[np.isfinite(values)]
            ends = f", {known.min():.6g} to {known.max():.6g}" if len(known) else ""
            lines.append(f"  label {printable(name)}: {len(known):,} values{ends}")
        return "\n".join([*lines, *(f"  damaged: {text}" for text in self.damaged)])

    @cached_property
    def families(self) -> list[str]:
        """Family of each graph."""
        return self._strings("family")

    @cached_property
    def specs(self) -> list[str]:
        """Each graph's standard string in its search space; empty where it has none."""
        return self._strings("spec")

    @cached_property
    def hashes(self) -> list[str]:
        """`Graph.hash` of each graph."""
        return self._strings("hash")

    @cached_property
    def num_nodes(self) -> IntArray:
        """(G,): number of nodes of each graph."""
        return as_numpy(self._reader.column("num_nodes", self._rows)).astype(np.int64)

    @cached_property
    def spectra(self) -> FloatArray:
        """(G, 11): `cgir.spectrum` of each graph."""
        return as_numpy(self._reader.column("spectrum", self._rows).flatten()).reshape(len(self), K).copy()

    @cached_property
    def labels(self) -> dict[str, FloatArray]:
        """(G,) values of each label, NaN where unknown."""
        return {name: as_numpy(self._reader.column(LABEL + name, self._rows)).copy() for name in self._label_names}

    def batch(self, indices: Sequence[int] | IntArray | None = None) -> GraphBatch:
        """The graphs at `indices`, in that order, or all; graphs are not built one by one.

        Row groups that are read are decoded once and cached, in a few bytes a node, up to `row_reader.CACHE_BYTES`.
        """
        return self._reader.batch(self._rows if indices is None else self._rows[_indices(indices, len(self))])

    def batches(self) -> Iterator[GraphBatch]:
        """All graphs in order, in batches of some thousands, which bounds memory."""
        with tqdm(desc="graphs read", total=len(self), unit="", disable=None) as progress:
            for span in spans(self.num_nodes, BATCH_NODES, row_group_writer.GROUP_ROWS):
                rows = self._rows[span]
                yield self._reader.batch(rows)
                progress.update(len(rows))

    def class_table(self, depth: int, direction: Literal["forward", "backward"] = "forward") -> ClassTable:
        """Classes of equal computation trees of the nodes of all graphs, in the order of `batch`.

        They are computed on first use, without holding all graphs in memory, and kept, in 4 bytes a node and some more
        a class. A batch of graphs uses its part of `node_class`, and needs no refinement of its own.

        Args:
            depth: of the trees.
            direction: as in `cgir.analysis.computation_trees.build_class_table`, which computes them.
        """
        if (depth, direction) not in self._class_tables:
            self._class_tables[depth, direction] = build_class_table(self.batches(), depth, direction)
        return self._class_tables[depth, direction]

    def __getitem__(self, index: int) -> Graph:
        return self._reader.graph(int(self._rows[_indices([index], len(self))[0]]))

    def __iter__(self) -> Iterator[Graph]:
        return (self[index] for index in range(len(self)))

    def filter(self, selection: ArrayLike) -> GraphStore:
        """The graphs where a boolean mask (G,) is true, or at the given indices."""
        return GraphStore(self._reader, self._rows[_indices(selection, len(self))], self._label_names, self.damaged)

    def deduplicate(self) -> GraphStore:
        """The first graph of each hash, with its own spec, family and labels.

        Isomorphic graphs have one hash. So have graphs that colour refinement does not distinguish, such as two rings
        of three operators and one of six; where that matters, compare them with `cgir.isomorphic`.
        """
        first = dict(zip(reversed(self.hashes), range(len(self) - 1, -1, -1), strict=True))
        return self.filter(sorted(first.values()))

    def _strings(self, name: str) -> list[str]:
        strings: list[str] = self._reader.column(name, self._rows).to_pylist()
        return strings

    def _row_groups(self, max_rows: int, without: Iterable[str]) -> Iterator[RowGroup]:
        """Batches of `max_rows` graphs with all their columns but those named."""
        skipped = {"num_nodes", "nodes", *without}
        all_names = (*COLUMNS, *(LABEL + label for label in self._label_names))
        names = [name for name in all_names if name not in skipped]
        for start in range(0, len(self), max_rows):
            rows = self._rows[start : start + max_rows]
            columns = {name: self._reader.column(name, rows) for name in names}
            yield self._reader.batch(rows), columns | {"spectrum": as_numpy(columns["spectrum"].flatten())}


class _Source(NamedTuple):
    """The input of a write: graphs, and columns by their names in the file that replace those of a store."""

    graphs: Graphs | GraphStore
    columns: dict[str, Any]
    label_names: list[str]

    def row_groups(self, max_rows: int, progress: bool = True) -> Iterator[RowGroup]:
        """Row groups with all columns; what is not given comes from the store, if it is one, or is computed."""
        if isinstance(self.graphs, GraphStore):
            groups = self.graphs._row_groups(max_rows, self.columns)
        else:
            groups = row_group_writer.row_groups(self.graphs, max_rows)
        return row_group_writer.with_columns(groups, self.columns, progress)


def _source(
    graphs: Graphs | GraphStore,
    family: str | Iterable[str],
    specs: Iterable[str] | None,
    labels: Mapping[str, Values] | None,
) -> _Source:
    """The arguments of `GraphStore.write`; the defaults of `family` and `specs` keep the columns of a store."""
    is_store = isinstance(graphs, GraphStore)
    columns: dict[str, Any] = {LABEL + name: values for name, values in (labels or {}).items()}
    if not is_store or family != "":
        columns["family"] = family
    if not is_store or specs is not None:
        columns["spec"] = specs if specs is not None else ""
    names = _union([graphs._label_names if isinstance(graphs, GraphStore) else (), labels or ()])
    return _Source(graphs, columns, names)


def _write_parts(folder: Path, first: int, source: _Source, label_names: Sequence[str], shard_size: int) -> list[Part]:
    """Write the files of a folder, numbered from `first`; they do not belong to the data set before a commit."""
    groups = source.row_groups(min(row_group_writer.GROUP_ROWS, shard_size))
    with StagedParts(folder, first) as staged:
        return staged.finish(row_group_writer.write_shards(staged.next_path, groups, label_names, shard_size))


def _write_part(path: Path, job: Job, progress: bool) -> int:
    """Write the file of a job of `GraphStore.write_parts`; the number of its graphs."""
    content = job.run()
    if not isinstance(content, Content):
        raise CgirError(f"returned a {type(content).__name__}; expected cgir.store.Content")
    source = _source(*content)
    groups = source.row_groups(row_group_writer.GROUP_ROWS, progress)
    return sum(row_group_writer.write_shards(lambda: path, groups, source.label_names, None))


def _count_rows(path: Path) -> int:
    return sum(ShardReader(path).sizes)


def _open_shards(target: Path, skip_damaged: bool) -> tuple[list[ShardReader], list[str]]:
    """The files of a data set that can be opened, and what is wrong with the others."""
    shards: list[ShardReader] = []
    damaged: list[str] = []
    listed = _list_files(target)
    for path, footer in listed:
        try:
            shards.append(ShardReader(path, footer, keep_open=len(listed) <= MAX_OPEN))
        except FileFormatError as error:
            if [path for path, _ in _list_files(target)] != [path for path, _ in listed]:
                return _open_shards(target, skip_damaged)  # replaced in the meantime
            if not skip_damaged:
                advice = "; GraphStore.open(..., skip_damaged=True) reads the rest" if len(listed) > 1 else ""
                raise FileFormatError(f"{error}{advice}") from error
            damaged.append(str(error))
    return shards, damaged


def _list_files(target: Path) -> list[tuple[Path, str | None]]:
    """The files of a data set, and the digests of their footers where known."""
    if not target.exists():
        raise FileFormatError(f"{target}: there is no such data set")
    if not target.is_dir():
        return [(target, None)]
    return [(target / part.file, part.footer) for part in manifest.read_parts(target)]


def _is_readable(shard: ShardReader, group: int, damaged: list[str]) -> bool:
    """Whether a row group is not damaged; what is wrong is added to `damaged`."""
    try:
        shard.check(group)
    except FileFormatError as error:
        damaged.append(str(error))
        return False
    return True


def _union(names: Iterable[Iterable[str]]) -> list[str]:
    """Distinct names in order of first appearance."""
    return list(dict.fromkeys(name for part in names for name in part))


def _indices(selection: ArrayLike, size: int) -> IntArray:
    """Indices from indices or a mask, checked against the number of graphs; negative ones count from the end."""
    chosen = np.asarray(selection)
    if chosen.dtype == bool:
        if len(chosen) != size:
            raise IndexError(f"a mask of {len(chosen)} for a store of {size} graphs")
        return np.flatnonzero(chosen)
    chosen = chosen.astype(np.int64)
    if len(chosen) and not -size <= chosen.min() <= chosen.max() < size:
        raise IndexError(f"indices {chosen.min()} .. {chosen.max()} for a store of {size} graphs")
    return np.where(chosen < 0, chosen + size, chosen)
