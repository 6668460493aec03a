"""Random access to the row groups of several shards as one sequence of graphs, decoded on demand and cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa

from cgir.errors import FileFormatError, InvalidGraphError
from cgir.graph import Graph, Node, Param
from cgir.graph_batch import GraphBatch
from cgir.ragged import offsets
from cgir.typing import AnyArray, IntArray
from cgir.verifier import verify

from .node_dictionary import NodeCodeArrays, NodeDictionary
from .parquet_shard import COLUMNS, ShardReader

CACHE_BYTES = 1 << 30  # of decoded row groups; 2 bytes a node where there are fewer than 65,536 node codes


class RowReader:
    """Graphs by their row; decoded row groups are cached; beyond `CACHE_BYTES` the least recently used are dropped.

    Attributes:
        groups: row groups, each as its shard and its number there.
        row_ptr: (len(groups) + 1,), where the rows of each group begin.
    """

    def __init__(self, groups: Sequence[tuple[ShardReader, int]]) -> None:
        self.groups = tuple(groups)
        self.row_ptr = offsets([shard.sizes[group] for shard, group in self.groups])
        self._cache: dict[tuple[str, int], tuple[Any, int]] = {}  # arrays and their bytes
        self._cached_bytes = 0

    @property
    def num_rows(self) -> int:
        """Graphs in all groups."""
        return int(self.row_ptr[-1])

    def batch(self, rows: IntArray) -> GraphBatch:
        """The graphs at `rows`, in that order."""
        codes, _ = self._merged_codes
        nodes: list[AnyArray] = [np.zeros(0, np.uint16)] * len(rows)
        for index, positions, local in self._by_group(rows):
            group_nodes, ptr = self._nodes(index)
            starts, stops = ptr[local].tolist(), ptr[local + 1].tolist()
            for position, start, stop in zip(positions.tolist(), starts, stops, strict=True):
                nodes[position] = group_nodes[start:stop]
        flat = np.concatenate(nodes) if nodes else np.zeros(0, np.uint16)
        return codes.batch(flat, offsets([len(part) for part in nodes]))

    def column(self, name: str, rows: IntArray) -> pa.Array:
        """One column at `rows`, in that order."""
        parts, positions = [], []
        for index, group_positions, local in self._by_group(rows):
            shard, group = self.groups[index]
            parts.append(shard.column(name, group).take(pa.array(local)))
            positions.append(group_positions)
        if not parts:
            return pa.array([], COLUMNS.get(name, pa.float64()))
        values, order = pa.concat_arrays(parts), np.concatenate(positions)
        return values if (np.diff(order) > 0).all() else values.take(pa.array(np.argsort(order)))

    def graph(self, row: int) -> Graph:
        """One graph, verified; names of nodes and modules are not stored."""
        index = int(np.searchsorted(self.row_ptr, row, side="right")) - 1
        shard, group = self.groups[index]
        local, batch = row - int(self.row_ptr[index]), self.batch(np.asarray([row]))
        columns = self._cached("details", index, lambda: _details(shard, group))
        shared, spec, level = (column[local].as_py() for column in columns)
        where = f"{shard.path}: row group {group}: row {local}"
        graph = Graph(_build_nodes(batch, shared, where), spec, level)
        try:
            verify(graph)
        except InvalidGraphError as error:
            raise FileFormatError(f"{where}: {error}") from error
        return graph

    def _by_group(self, rows: IntArray) -> Iterator[tuple[int, IntArray, IntArray]]:
        """For each group that has some of `rows`: its index, the positions of these in `rows`, and their rows in it."""
        group_of_row = np.searchsorted(self.row_ptr, rows, side="right") - 1
        order = np.argsort(group_of_row, kind="stable")
        groups, first = np.unique(group_of_row[order], return_index=True)
        for index, positions in zip(groups.tolist(), np.split(order, first[1:]), strict=len(groups) > 0):
            yield index, positions, rows[positions] - self.row_ptr[index]

    @cached_property
    def _merged_codes(self) -> tuple[NodeCodeArrays, dict[bytes, AnyArray]]:
        """The dictionaries of all shards merged, and for each one (by its digest) where its codes are in it."""
        merged, rows_of = NodeDictionary(), dict[bytes, IntArray]()
        for shard, _ in self.groups:
            if shard.digest not in rows_of:
                rows_of[shard.digest] = merged.add(list(shard.dictionary.kinds), shard.dictionary.codes)
        small = np.uint16 if len(merged.codes) <= 1 << 16 else np.uint32
        return merged.to_arrays(), {digest: rows.astype(small) for digest, rows in rows_of.items()}

    def _nodes(self, index: int) -> tuple[AnyArray, IntArray]:
        """The nodes of a row group as rows of the merged dictionary, and where those of each graph begin."""
        shard, group = self.groups[index]

        def decode() -> tuple[AnyArray, IntArray]:
            rows, ptr = shard.nodes(group)
            return self._merged_codes[1][shard.digest][rows], ptr

        nodes: tuple[AnyArray, IntArray] = self._cached("nodes", index, decode)
        return nodes

    def _cached(self, name: str, index: int, decode: Callable[[], Sequence[Any]]) -> Any:
        """Arrays from the cache, or decoded and put there; its order is that of last use."""
        entry = self._cache.pop((name, index), None)
        if entry is None:
            arrays = decode()
            entry = arrays, sum(array.nbytes for array in arrays)
            self._cached_bytes += entry[1]
        self._cache[name, index] = entry
        while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, size = self._cache.pop(next(iter(self._cache)))
            self._cached_bytes -= size
        return entry[0]


def _details(shard: ShardReader, group: int) -> tuple[pa.Array, ...]:
    return tuple(shard.column(name, group) for name in ("shared", "spec", "level"))


def _build_nodes(batch: GraphBatch, shared: list[int] | None, where: str) -> tuple[Node, ...]:
    """The nodes of a batch of one graph, with parameters that are shared where `shared` says so.

    Args:
        batch: one graph.
        shared: the parameter of each slot, slots in node order; None: no parameter is shared.
        where: its file and row, for messages.

    Raises:
        FileFormatError: `shared` has another number of slots than the graph.
    """
    kinds = [batch.kinds[kind] for kind in batch.kind]
    if shared is not None and len(shared) != sum(len(kind.param_shapes) for kind in kinds):
        raise FileFormatError(
            f"{where}: column shared has {len(shared)} entries, but the graph another number of parameter slots"
        )
    nodes, slots = [], count()
    inputs = np.split(batch.src, np.cumsum([len(kind.in_shapes) for kind in kinds])[:-1])
    for index, (kind, sources) in enumerate(zip(kinds, inputs, strict=False)):
        params = tuple(
            Param(f"{index}.{i}" if shared is None else f"shared.{shared[next(slots)]}", shape)
            for i, shape in enumerate(kind.param_shapes)
        )
        name = f"{kind.op.lower()}_{index}"
        nodes.append(Node(kind.op, tuple(sources.tolist()), kind.in_shapes, kind.shape, params, kind.attrs, name))
    return tuple(nodes)
