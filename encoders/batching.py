"""Graphs as tensors: `TensorBatch` is what the encoder reads, `GraphTensors` hands out mini-batches of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cgir.errors import InvalidGraphError
from cgir.features import GraphBatch, IntArray, node_features, op_ids, ranges
from cgir.graph import Graph
from cgir.store import GraphStore

from .sparse import Sparse, sparse
from .unfolding import Colours, Edges, Level, colours, levels


class Direction(NamedTuple):
    """One stream's view of a batch: its `levels` and `pool` (G, C), whose row g averages the last level over the nodes of graph g."""

    levels: list[Level]
    pool: Sparse

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Direction:
        """The same on another device or in another precision."""
        return Direction([level.to(device, dtype) for level in self.levels], self.pool.to(device, dtype))


@dataclass(frozen=True)
class TensorBatch:
    """G graphs: `ops` (K,) rows of the operator table and `features` (K, F) of the kinds that occur, and both directions of message passing."""

    ops: Tensor
    features: Tensor
    along: Direction
    against: Direction

    def __len__(self) -> int:
        return int(self.along.pool.matrix.shape[0])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TensorBatch:
        """The same batch on another device, or with features and matrices in another precision."""
        features = self.features.to(device=device, dtype=dtype)
        return TensorBatch(self.ops.to(device), features, self.along.to(device, dtype), self.against.to(device, dtype))


class GraphTensors:
    """A set of graphs from which mini-batches are taken, for `depth` layers; features and unfoldings are computed once for the whole set.

    Whoever takes graphs takes these too, and then does not prepare them again.
    """

    def __init__(self, graphs: Graphs, depth: int = 5) -> None:
        self.batch = as_batch(graphs)
        self.depth = depth
        self._last: tuple[IntArray, TensorBatch] | None = None

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def ops(self) -> Tensor:
        """(K,) rows of the operator table."""
        return torch.from_numpy(op_ids(self.batch.kinds))

    @cached_property
    def features(self) -> Tensor:
        """(K, F) features of the kinds."""
        return torch.from_numpy(node_features(self.batch.kinds))

    @cached_property
    def colours(self) -> tuple[Colours, Colours]:
        """Groups of the nodes by unfolding, along and against the arrows."""
        b = self.batch
        return colours(b.kind, b.src, b.dst, self.depth), colours(b.kind, b.dst, b.src, self.depth)

    def at(self, depth: int) -> GraphTensors:
        """The same graphs for another number of layers."""
        return self if depth == self.depth else GraphTensors(self.batch, depth)

    def take(self, indices: Sequence[int] | IntArray) -> TensorBatch:
        """The graphs at `indices`, in that order; repeats are allowed. Asked for the same again, it gives the same batch."""
        chosen = np.array(indices, np.int64)
        if self._last is None or not np.array_equal(self._last[0], chosen):
            self._last = (chosen, self._take(chosen))
        return self._last[1]

    def _take(self, chosen: IntArray) -> TensorBatch:
        part, sizes = self.batch.select(chosen), np.diff(self.batch.ptr)[chosen]
        nodes = ranges(self.batch.ptr[chosen], sizes)
        weights = np.repeat(1 / sizes, sizes)
        directions = []
        for groups, sources, targets in zip(self.colours, (part.src, part.dst), (part.dst, part.src), strict=True):
            steps, kinds, rows = levels([group[nodes] for group in groups], Edges.of(sources, targets, len(nodes)))
            pool = sparse(part.ptr, rows, weights, int(rows.max()) + 1)
            directions.append(Direction(steps, pool))
        used = torch.from_numpy(kinds)
        return TensorBatch(self.ops.index_select(0, used), self.features.index_select(0, used), *directions)

    def chunks(self, max_nodes: int = 100_000) -> Iterator[TensorBatch]:
        """All graphs in order, in batches of at most `max_nodes` nodes (but at least one graph)."""
        ptr, start = self.batch.ptr, 0
        while start < len(self):
            stop = max(start + 1, int(np.searchsorted(ptr, ptr[start] + max_nodes, side="right")) - 1)
            yield self.take(np.arange(start, stop))
            start = stop


Graphs = Graph | GraphBatch | GraphTensors | GraphStore | Iterable[Graph]


def as_tensors(graphs: Graphs, depth: int | None = None) -> GraphTensors:
    """Prepare graphs, unless they are already; `depth` None: whatever they are prepared for, 5 if for nothing yet."""
    tensors = graphs if isinstance(graphs, GraphTensors) else GraphTensors(graphs, depth or 5)
    return tensors.at(depth or tensors.depth)


def as_batch(graphs: Graphs) -> GraphBatch:
    """Graphs in any form -> a batch; empty graphs are refused."""
    if isinstance(graphs, GraphTensors):
        return graphs.batch
    if isinstance(graphs, GraphStore):
        graphs = graphs.batch()
    if not isinstance(graphs, GraphBatch):
        graphs = GraphBatch.from_graphs([graphs] if isinstance(graphs, Graph) else graphs)
    empty = np.flatnonzero(np.diff(graphs.ptr) == 0)
    if len(empty):
        raise InvalidGraphError(f"graph {empty[0]} of {len(graphs)} has no nodes: nothing to encode; leave it out")
    return graphs
