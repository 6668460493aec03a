"""Data sets of graphs with labels: Parquet files that any Parquet reader opens, their columns described in `cgir.shard`.

Names and module paths of nodes are not stored; what a node computes, the edges and the sharing of parameters are.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from .coloring import Groups, graph_hashes, param_groups
from .errors import CgirError, FileFormatError, LabelError
from .features import GraphBatch, IntArray
from .files import atomic_path
from .graph import Graph
from .shard import LABEL, Shard, write_shard
from .spectrum import spectrum
from .verify import verify

SHARD_SIZE = 16_384

Part = tuple[GraphBatch, Sequence[Groups], list[str]]  # of one shard: graphs, their shared parameters, their levels


class GraphStore:
    """Graphs with families, specifications, spectra and labels, read from disk when needed. Make one with `open`."""

    def __init__(self, shards: Sequence[Shard], rows: IntArray) -> None:
        self._shards = shards
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])
        self._rows = rows

    @staticmethod
    def write(
        path: str | PathLike[str],
        graphs: Iterable[Graph] | GraphBatch,
        family: str | Sequence[str] = "",
        specs: Sequence[str] | None = None,
        labels: Mapping[str, ArrayLike] | None = None,
        shard_size: int = SHARD_SIZE,
    ) -> None:
        """Write a data set; nothing stands at `path` before all of it is written.

        Args:
            path: a file ending in .parquet, or else a folder of files of `shard_size` graphs each, which must not exist or be empty.
            graphs: graphs, drawn one shard at a time, or a batch (which knows no shared parameters and counts as canonical).
            family: of all graphs, or one each.
            specs: each graph's standard string in its search space.
            labels: values per graph by name; NaN where unknown.

        Raises:
            LabelError: if labels, families or specs are not one per graph.
            InvalidGraphError: if a graph breaks an invariant.
        """
        columns: dict[str, Any] = {"family": family, "spec": specs if specs is not None else ""}
        columns |= {LABEL + name: np.asarray(values, np.float64) for name, values in (labels or {}).items()}
        target = Path(path)
        if target.suffix == ".parquet":
            with atomic_path(target) as temporary:
                _write_parts(lambda _: temporary, graphs, columns, None)
            return
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CgirError(f"{target}: exists already and is not an empty folder; remove it or choose another path")
        folder = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
        folder.mkdir()
        try:
            _write_parts(lambda part: folder / f"part-{part:05d}.parquet", graphs, columns, shard_size)
            if target.exists():
                target.rmdir()
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @classmethod
    def open(cls, path: str | PathLike[str]) -> GraphStore:
        """Open a file or folder written by `write`.

        Raises:
            FileFormatError: if a file is missing, damaged, foreign or of a newer version; the message names the file.
        """
        target = Path(path)
        if not target.is_dir():
            shards = [Shard(target)]
        else:
            shards = [Shard(file) for file in sorted(target.glob("part-*.parquet"))]
            expected = [f"{part} last" if part == len(shards) - 1 else str(part) for part in range(len(shards))]
            found = ", ".join(shard.part for shard in shards) or "none"
            if found != ", ".join(expected):
                raise FileFormatError(f"{target}: holds parts {found}, expected 0, 1, ... up to the last; some are missing")
        for shard in shards:
            if shard.label_names != shards[0].label_names:
                raise FileFormatError(f"{shard.path}: labels {shard.label_names} differ from {shards[0].label_names} of {shards[0].path.name}")
        return cls(shards, np.arange(sum(map(len, shards))))

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def families(self) -> list[str]:
        """Family of each graph."""
        return list(self._column("family"))

    @cached_property
    def specs(self) -> list[str]:
        """Each graph's standard string in its search space; empty where it has none."""
        return list(self._column("spec"))

    @cached_property
    def hashes(self) -> list[str]:
        """`Graph.hash` of each graph."""
        return list(self._column("hash"))

    @cached_property
    def num_nodes(self) -> IntArray:
        """(G,): number of nodes of each graph."""
        return self._column("num_nodes").astype(np.int64)

    @cached_property
    def spectra(self) -> NDArray[np.float64]:
        """(G, 11): `cgir.spectrum` of each graph."""
        return np.concatenate([shard.spectra() for shard in self._shards])[self._rows]

    @cached_property
    def labels(self) -> dict[str, NDArray[np.float64]]:
        """(G,) values of each label, NaN where unknown."""
        return {name: self._column(LABEL + name).astype(np.float64) for name in self._shards[0].label_names}

    def batch(self, indices: Sequence[int] | IntArray | None = None) -> GraphBatch:
        """The graphs at `indices`, in that order, or all; graphs are not built one by one."""
        rows = self._rows if indices is None else self._rows[_indices(indices, len(self))]
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(shard, kind="stable")
        parts = [self._shards[s].select(rows[order[shard[order] == s]] - self._starts[s]) for s in np.unique(shard)]
        if len(parts) == 1:
            return parts[0]
        return GraphBatch.concatenate(parts).select(np.argsort(order)) if parts else GraphBatch.from_graphs([])

    def __getitem__(self, index: int) -> Graph:
        row = int(self._rows[_indices([index], len(self))[0]])
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shards[shard].graph(row - int(self._starts[shard]))

    def __iter__(self) -> Iterator[Graph]:
        return (self[index] for index in range(len(self)))

    def filter(self, selection: ArrayLike) -> GraphStore:
        """The part of the store where a boolean mask is true, or at the given indices; nothing is copied."""
        return GraphStore(self._shards, self._rows[_indices(selection, len(self))])

    def _column(self, name: str) -> NDArray[Any]:
        return np.concatenate([np.asarray(shard.column(name).to_numpy(zero_copy_only=False)) for shard in self._shards])[self._rows]


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


def _write_parts(place: Callable[[int], Path], graphs: Iterable[Graph] | GraphBatch, columns: Mapping[str, Any], size: int | None) -> None:
    start = 0
    with tqdm(desc="graphs written", unit="", disable=None) as progress:
        for number, ((batch, shared, levels), last) in enumerate(_flag_last(_parts(graphs, size))):
            part = _slice(columns, start, start + len(batch), last)
            part |= {"hash": graph_hashes(batch, shared), "level": levels, "spectrum": spectrum(batch)}
            write_shard(place(number), batch, part, shared, f"{number} last" if last else str(number))
            start += len(batch)
            progress.update(len(batch))


def _slice(columns: Mapping[str, Any], start: int, stop: int, last: bool) -> dict[str, Any]:
    """Rows start .. stop - 1 of every column; a single string stands for all rows."""
    for name, values in columns.items():
        if not isinstance(values, str) and (len(values) < stop or (last and len(values) > stop)):
            raise LabelError(f"{name.removeprefix(LABEL)!r} has {len(values)} values for {stop} graphs{'' if last else ' or more'}; expected one per graph")
    return {name: [values] * (stop - start) if isinstance(values, str) else values[start:stop] for name, values in columns.items()}


def _flag_last(items: Iterator[Part]) -> Iterator[tuple[Part, bool]]:
    current = next(items)
    for following in items:
        yield current, False
        current = following
    yield current, True


def _parts(graphs: Iterable[Graph] | GraphBatch, size: int | None) -> Iterator[Part]:
    """Shards as (batch, shared parameters of each graph, level of each graph); at least one, though it may be empty."""
    if isinstance(graphs, GraphBatch):
        step = size or max(len(graphs), 1)
        for start in range(0, max(len(graphs), 1), step):
            batch = graphs.select(np.arange(start, min(start + step, len(graphs))))
            yield batch, [None] * len(batch), ["module"] * len(batch)
        return
    iterator, first = iter(graphs), True
    while (members := list(islice(iterator, size))) or first:
        for graph in members:
            verify(graph)
        groups: list[Groups] = [param_groups(graph) for graph in members]
        yield GraphBatch.from_graphs(members), groups, [graph.level for graph in members]
        first = False
