"""Data sets of graphs with labels: Parquet files that any Parquet reader opens, their columns described in
`cgir.shard`.

Names and module paths of nodes are not stored; what a node computes, the edges and the sharing of parameters are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from cgir.analysis.computation_trees import ClassTable, build_class_table
from cgir.analysis.laplacian_spectrum import K
from cgir.errors import CgirError, FileFormatError, LabelError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray

from . import manifest as folder
from . import row_group_writer as intake
from .parquet_shard import COLUMNS, LABEL, Shard, ShardWriter, as_numpy
from .row_reader import Rows

SHARD_SIZE = 16_384
SHARD_STEPS = 1 << 20  # distinct steps; their table is read whole
BATCH_NODES = 1_000_000  # of `batches`, which may be exceeded by one graph

Graphs = Iterable[Graph] | Iterable[GraphBatch] | GraphBatch
Values = Iterable[float] | ArrayLike

log = logging.getLogger(__name__)


class GraphStore:
    """Graphs with families, specifications, spectra and labels, read from disk when needed. Make one with `open`.

    `filter`, `deduplicate` and `merge` give views, which copy nothing; `write` puts a view into files of its own, or in
    place of where it came from. `damaged` says in words what `open(..., skip_damaged=True)` left out.
    """

    def __init__(self, source: Rows, rows: IntArray, label_names: Sequence[str], damaged: Sequence[str] = ()) -> None:
        self._source, self._rows, self._label_names = source, rows, tuple(label_names)
        self.damaged = tuple(damaged)
        self._tables: dict[tuple[int, str], ClassTable] = {}

    @staticmethod
    def write(
        path: str | PathLike[str],
        graphs: Graphs | GraphStore,
        family: str | Iterable[str] = "",
        specs: Iterable[str] | None = None,
        labels: Mapping[str, Values] | None = None,
        shard_size: int = SHARD_SIZE,
    ) -> None:
        """Write a data set. One that stands at `path` stays as it is until the new one is complete, and is then
        replaced.

        Args:
            path: a file ending in .parquet, or else a folder of files of at most `shard_size` graphs each.
            graphs: graphs; or batches, of any size, or one batch (they know no shared parameters and count as
                canonical); or a store, which brings its columns with it. They are drawn as they are written, so that
                memory is enough for a data set of any size.
            family: of all graphs, or one each.
            specs: each graph's standard string in its search space.
            labels: values per graph by name; NaN where unknown. Like `family` and `specs` they may be iterators, which
                are drawn along.
            shard_size: graphs a file.

        Raises:
            LabelError: if labels, families or specs are not one per graph.
            InvalidGraphError: if a graph breaks an invariant.
            CgirError: if something else stands at `path`, or another process is writing there.
        """
        target, names = Path(path), _label_names(graphs, labels)
        if target.suffix == ".parquet" and not target.is_dir():
            with folder.writing_file(target) as temporary:
                _write(lambda: temporary, _pieces(graphs, family, specs, labels, intake.GROUP_ROWS), names, None)
            return
        with folder.writing(target):
            with folder.Pending(target, 0) as pending:
                rows = _write(
                    pending.place,
                    _pieces(graphs, family, specs, labels, min(intake.GROUP_ROWS, shard_size)),
                    names,
                    shard_size,
                )
                parts = pending.parts(rows)
            folder.switch(target, parts)

    @staticmethod
    def append(
        path: str | PathLike[str],
        graphs: Graphs | GraphStore,
        family: str | Iterable[str] = "",
        specs: Iterable[str] | None = None,
        labels: Mapping[str, Values] | None = None,
        shard_size: int = SHARD_SIZE,
    ) -> None:
        """Add graphs to the folder of a data set, in files of their own. Until all are written the data set is the old
        one.

        Arguments are those of `write`. Labels that are not given are NaN.

        Raises:
            LabelError: as in `write`, or if there is a label that the data set has not.
            CgirError: if `path` is no folder with a data set, or another process is writing there.
        """
        target = Path(path)
        if target.is_file():
            raise CgirError(
                f"{target}: a single file cannot grow; GraphStore.write(folder, GraphStore.open(file)) makes a folder, which can"
            )
        folder.read_parts(target)
        with folder.writing(target) as old:
            names, new = Shard(target / old[0].file, old[0].footer).label_names, _label_names(graphs, labels)
            if not set(new) <= set(names):
                extra = ", ".join(repr(name) for name in new if name not in names)
                raise LabelError(
                    f"{target}: has no label {extra}, only {', '.join(names) or 'none'}; write a merge of two stores to have all labels of both"
                )
            with folder.Pending(target, len(old)) as pending:
                rows = _write(
                    pending.place,
                    _pieces(graphs, family, specs, labels, min(intake.GROUP_ROWS, shard_size)),
                    names,
                    shard_size,
                )
                parts = pending.parts(rows)
            folder.switch(target, [*old, *parts])

    @classmethod
    def open(cls, path: str | PathLike[str], skip_damaged: bool = False) -> GraphStore:
        """Open a file or folder written by `write`. Only footers are read; rows are when they are asked for, and errors
        about them come then.

        Args:
            path: the file or folder.
            skip_damaged: read everything once, and leave out row groups that are damaged, and files that are missing or
                have damaged footers.

        Raises:
            FileFormatError: if the list of files is damaged, or, without `skip_damaged`, one of them; the message names
                the file.
        """
        target = Path(path)
        shards, damaged = _shards(target, skip_damaged)
        groups = [(shard, group) for shard in shards for group in range(len(shard.sizes))]
        if skip_damaged:
            groups = [(shard, group) for shard, group in groups if _sound(shard, group, damaged)]
            if not shards:
                raise FileFormatError(f"{target}: nothing of it can be read: {damaged[0]}")
        for problem in damaged:
            log.warning("left out: %s", problem)
        source = Rows(groups)
        return cls(source, np.arange(source.starts[-1]), _union(shard.label_names for shard in shards), damaged)

    @classmethod
    def merge(cls, stores: Sequence[GraphStore]) -> GraphStore:
        """The graphs of several stores, one store after the other; a label that one of them has not is NaN there."""
        source = Rows([group for store in stores for group in store._source.groups])
        shifts = np.cumsum([0, *(store._source.starts[-1] for store in stores)])
        rows = [store._rows + shift for store, shift in zip(stores, shifts, strict=False)]
        damaged = [problem for store in stores for problem in store.damaged]
        return cls(
            source,
            np.concatenate([np.zeros(0, np.int64), *rows]),
            _union(store._label_names for store in stores),
            damaged,
        )

    def __len__(self) -> int:
        return len(self._rows)

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
        return as_numpy(self._source.column("num_nodes", self._rows)).astype(np.int64)

    @cached_property
    def spectra(self) -> FloatArray:
        """(G, 11): `cgir.spectrum` of each graph."""
        return as_numpy(self._source.column("spectrum", self._rows).flatten()).reshape(len(self), K).copy()

    @cached_property
    def labels(self) -> dict[str, FloatArray]:
        """(G,) values of each label, NaN where unknown."""
        return {name: as_numpy(self._source.column(LABEL + name, self._rows)).copy() for name in self._label_names}

    def batch(self, indices: Sequence[int] | IntArray | None = None) -> GraphBatch:
        """The graphs at `indices`, in that order, or all; graphs are not built one by one.

        Row groups that are touched are decoded once and kept, in a few bytes a node, up to `cgir.rows.CACHE_BYTES`.
        """
        return self._source.batch(self._rows if indices is None else self._rows[_indices(indices, len(self))])

    def batches(self) -> Iterator[GraphBatch]:
        """All graphs in order, in batches of some thousands, which bounds memory."""
        ends = np.cumsum(self.num_nodes)
        start = 0
        with tqdm(desc="graphs read", total=len(self), unit="", disable=None) as progress:
            while start < len(self):
                fitting = int(np.searchsorted(ends, ends[start] - self.num_nodes[start] + BATCH_NODES, side="right"))
                stop = min(max(fitting, start + 1), start + intake.GROUP_ROWS)
                yield self._source.batch(self._rows[start:stop])
                progress.update(stop - start)
                start = stop

    def class_table(self, depth: int, direction: Literal["forward", "backward"] = "forward") -> ClassTable:
        """`cgir.analysis.computation_trees.build_class_table` of all graphs, one graph's nodes after the other's.

        They are computed when first asked for, without holding all graphs in memory, and kept, in 4 bytes a node and
        some more a class. A batch of graphs takes its share of `node_class`, and needs no refinement of its own.
        """
        if (depth, direction) not in self._tables:
            self._tables[depth, direction] = build_class_table(self.batches(), depth, direction)
        return self._tables[depth, direction]

    def __getitem__(self, index: int) -> Graph:
        return self._source.graph(int(self._rows[_indices([index], len(self))[0]]))

    def __iter__(self) -> Iterator[Graph]:
        return (self[index] for index in range(len(self)))

    def filter(self, selection: ArrayLike) -> GraphStore:
        """The part of the store where a boolean mask is true, or at the given indices."""
        return GraphStore(self._source, self._rows[_indices(selection, len(self))], self._label_names, self.damaged)

    def deduplicate(self) -> GraphStore:
        """The first graph of each hash, with its own spec, family and labels.

        Isomorphic graphs have one hash. So have graphs that no colouring tells apart, such as two rings of three
        operators and one of six; where that matters, compare them with `cgir.isomorphic`.
        """
        first = dict(zip(reversed(self.hashes), range(len(self) - 1, -1, -1), strict=True))
        return self.filter(sorted(first.values()))

    def _strings(self, name: str) -> list[str]:
        found: list[str] = self._source.column(name, self._rows).to_pylist()
        return found

    def _pieces(self, size: int, without: Iterable[str]) -> Iterator[intake.Piece]:
        """Batches of `size` graphs with all their columns but those named."""
        names = [
            name
            for name in (*COLUMNS, *(LABEL + label for label in self._label_names))
            if name not in {"num_nodes", "nodes", *without}
        ]
        for start in range(0, len(self), size):
            rows = self._rows[start : start + size]
            columns = {name: self._source.column(name, rows) for name in names}
            yield self._source.batch(rows), columns | {"spectrum": as_numpy(columns["spectrum"].flatten())}


def _shards(target: Path, skip_damaged: bool) -> tuple[list[Shard], list[str]]:
    """The files of a data set that can be opened, and what is wrong with the others."""
    shards: list[Shard] = []
    damaged: list[str] = []
    parts = (
        [(target / part.file, part.footer) for part in folder.read_parts(target)]
        if target.is_dir()
        else [(target, None)]
    )
    for path, footer in parts:
        try:
            shards.append(Shard(path, footer))
        except FileFormatError as error:
            if target.is_dir() and [target / part.file for part in folder.read_parts(target)] != [
                path for path, _ in parts
            ]:
                return _shards(target, skip_damaged)  # replaced just now
            if not skip_damaged:
                advice = "; GraphStore.open(..., skip_damaged=True) reads the rest" if len(parts) > 1 else ""
                raise FileFormatError(f"{error}{advice}") from error
            damaged.append(str(error))
    return shards, damaged


def _sound(shard: Shard, group: int, damaged: list[str]) -> bool:
    try:
        shard.check(group)
    except FileFormatError as error:
        damaged.append(str(error))
        return False
    return True


def _union(names: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for some in names for name in some))


def _label_names(graphs: Graphs | GraphStore, labels: Mapping[str, Values] | None) -> list[str]:
    return _union([graphs._label_names if isinstance(graphs, GraphStore) else (), labels or ()])


def _pieces(
    graphs: Graphs | GraphStore,
    family: str | Iterable[str],
    specs: Iterable[str] | None,
    labels: Mapping[str, Values] | None,
    rows: int,
) -> Iterator[intake.Piece]:
    """Row groups to write; what is not given comes from the store, if it is one."""
    given: dict[str, Any] = {LABEL + name: values for name, values in (labels or {}).items()}
    if not isinstance(graphs, GraphStore) or family != "":
        given["family"] = family
    if not isinstance(graphs, GraphStore) or specs is not None:
        given["spec"] = specs if specs is not None else ""
    return intake.complete(
        graphs._pieces(rows, given) if isinstance(graphs, GraphStore) else intake.pieces(graphs, rows), given
    )


def _write(
    place: Callable[[], Path], pieces: Iterable[intake.Piece], label_names: list[str], shard_size: int | None
) -> list[int]:
    """Write files, at least one, though it may be empty; gives the number of graphs in each."""
    rows: list[int] = []
    writer = None
    try:
        for batch, columns in pieces:
            full = writer and (
                len(writer.table.steps) > SHARD_STEPS
                or (shard_size is not None and writer.rows + len(batch) > shard_size)
            )
            if writer and full:
                if shard_size is None:
                    raise CgirError(
                        f"more than {SHARD_STEPS:,} distinct steps, too many for one file; write a folder instead, without .parquet in its name"
                    )
                writer.close()
                rows.append(writer.rows)
            if not writer or full:
                writer = ShardWriter(place(), label_names)
            missing = {LABEL + name: np.full(len(batch), np.nan) for name in label_names if LABEL + name not in columns}
            writer.write(batch, columns | missing)
        writer = writer or ShardWriter(place(), label_names)
    except BaseException:
        if writer:
            with suppress(Exception):  # only to let go of the file, which will be removed
                writer.close()
        raise
    writer.close()
    return [*rows, writer.rows]


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
