"""The row groups of several files as one sequence of graphs, decoded where they are touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from cgir.errors import FileFormatError, InvalidGraphError
from cgir.graph import Graph, Node, Param
from cgir.graph_batch import GraphBatch
from cgir.typing import AnyArray, IntArray
from cgir.verifier import verify

from .node_dictionary import Steps, StepTable
from .parquet_shard import COLUMNS, Shard

CACHE_BYTES = 1 << 30  # of decoded row groups kept in memory; 2 bytes a node where there are fewer than 65,536 steps


class Rows:
    """Graphs by their row. What is decoded stays in memory until `CACHE_BYTES` are reached; then what was not used for
    longest goes.
    """

    def __init__(self, groups: Sequence[tuple[Shard, int]]) -> None:
        self.groups = tuple(groups)
        self.starts = np.cumsum([0, *(shard.sizes[group] for shard, group in self.groups)]).astype(np.int64)
        self._kept: dict[tuple[str, int], tuple[Any, int]] = {}
        self._bytes = 0

    def batch(self, rows: IntArray) -> GraphBatch:
        """The graphs at `rows`, in that order."""
        steps, _ = self._steps
        pieces: list[AnyArray] = [np.zeros(0, np.uint16)] * len(rows)
        for index, places, local in self._split(rows):
            nodes, ptr = self._nodes(index)
            for place, start, stop in zip(places.tolist(), ptr[local].tolist(), ptr[local + 1].tolist(), strict=True):
                pieces[place] = nodes[start:stop]
        ptr = np.cumsum([0, *map(len, pieces)]).astype(np.int64)
        return steps.batch(np.concatenate(pieces) if pieces else np.zeros(0, np.uint16), ptr)

    def column(self, name: str, rows: IntArray) -> pa.Array:
        """One column at `rows`, in that order."""
        parts, places = [], []
        for index, place, local in self._split(rows):
            shard, group = self.groups[index]
            parts.append(shard.column(name, group).take(pa.array(local)))
            places.append(place)
        if not parts:
            return pa.array([], COLUMNS.get(name, pa.float64()))
        found, order = pa.concat_arrays(parts), np.concatenate(places)
        return found if (np.diff(order) > 0).all() else found.take(pa.array(np.argsort(order)))

    def graph(self, row: int) -> Graph:
        """One graph, verified; names of nodes and modules were not stored."""
        index = int(np.searchsorted(self.starts, row, side="right")) - 1
        shard, group = self.groups[index]
        local, batch = row - int(self.starts[index]), self.batch(np.asarray([row]))
        shared, spec, level = (
            column[local].as_py() for column in self._keep("details", index, lambda: self._details(shard, group))
        )
        where, kinds = f"{shard.path}: row group {group}: row {local}", [batch.kinds[kind] for kind in batch.kind]
        if shared is not None and len(shared) != sum(len(kind.param_shapes) for kind in kinds):
            raise FileFormatError(
                f"{where}: column shared has {len(shared)} entries, but the graph another number of parameter slots"
            )
        inputs = np.split(batch.src, np.cumsum([len(kind.in_shapes) for kind in kinds])[:-1])
        nodes, slot = [], 0
        for number, (kind, sources) in enumerate(zip(kinds, inputs, strict=False)):
            names = [
                f"{number}.{i}" if shared is None else f"shared.{shared[slot + i]}"
                for i in range(len(kind.param_shapes))
            ]
            params = tuple(map(Param, names, kind.param_shapes))
            slot += len(params)
            nodes.append(
                Node(
                    kind.op,
                    tuple(sources.tolist()),
                    kind.in_shapes,
                    kind.shape,
                    params,
                    kind.attrs,
                    f"{kind.op.lower()}_{number}",
                )
            )
        graph = Graph(tuple(nodes), spec, level)
        try:
            verify(graph)
        except InvalidGraphError as error:
            raise FileFormatError(f"{where}: {error}") from error
        return graph

    def _split(self, rows: IntArray) -> Iterator[tuple[int, IntArray, IntArray]]:
        """For each group touched: its number, the places in `rows` that lie in it, and where in it they point."""
        number = np.searchsorted(self.starts, rows, side="right") - 1
        order = np.argsort(number, kind="stable")
        touched, first = np.unique(number[order], return_index=True)
        for index, places in zip(touched.tolist(), np.split(order, first[1:]), strict=len(touched) > 0):
            yield index, places, rows[places] - self.starts[index]

    @cached_property
    def _steps(self) -> tuple[Steps, dict[bytes, AnyArray]]:
        """The steps of all files in one table, and for each file's table (by its digest) where its steps stand there."""
        table, place = StepTable(), dict[bytes, IntArray]()
        for shard, _ in self.groups:
            if shard.digest not in place:
                place[shard.digest] = table.add(list(shard.table.kinds), shard.table.steps)
        small = np.uint16 if len(table.steps) <= 1 << 16 else np.uint32
        return table.expansion(), {digest: rows.astype(small) for digest, rows in place.items()}

    def _nodes(self, index: int) -> tuple[AnyArray, IntArray]:
        shard, group = self.groups[index]

        def decode() -> tuple[AnyArray, IntArray]:
            rows, ptr = shard.nodes(group)
            return self._steps[1][shard.digest][rows], ptr

        found: tuple[AnyArray, IntArray] = self._keep("nodes", index, decode)
        return found

    @staticmethod
    def _details(shard: Shard, group: int) -> tuple[pa.Array, ...]:
        return tuple(shard.column(name, group) for name in ("shared", "spec", "level"))

    def _keep(self, what: str, index: int, decode: Callable[[], Sequence[Any]]) -> Any:
        """Arrays from memory, or decoded and remembered; a dict keeps the order in which its keys were last put in."""
        entry = self._kept.pop((what, index), None)
        if entry is None:
            arrays = decode()
            entry = arrays, sum(array.nbytes for array in arrays)
            self._bytes += entry[1]
        self._kept[what, index] = entry
        while self._bytes > CACHE_BYTES and len(self._kept) > 1:
            _, size = self._kept.pop(next(iter(self._kept)))
            self._bytes -= size
        return entry[0]
