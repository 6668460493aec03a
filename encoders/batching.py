"""Graphs as tensors: `TensorBatch` is what the encoder reads, `GraphTensors` hands out mini-batches of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cgir.errors import InvalidGraphError
from cgir.features import GraphBatch, node_features, op_ids
from cgir.graph import Graph

from .sparse import Sparse, sparse

Graphs = Graph | GraphBatch | Iterable[Graph]


@dataclass(frozen=True)
class TensorBatch:
    """G graphs with N nodes of K distinct kinds.

    `ops` (K,) rows of the operator table, `features` (K, F); `kind` (N,) row of each node among the K kinds; `incoming` (N, N):
    row v has the number of edges u -> v (its transpose is the adjacency against the arrows); `pool` (G, N): row g averages the nodes of g.
    """

    ops: Tensor
    features: Tensor
    kind: Tensor
    incoming: Sparse
    pool: Sparse

    def __len__(self) -> int:
        return int(self.pool.matrix.shape[0])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TensorBatch:
        """The same batch on another device or with features and matrices in another precision."""
        return TensorBatch(
            self.ops.to(device), self.features.to(device=device, dtype=dtype), self.kind.to(device),
            self.incoming.to(device, dtype), self.pool.to(device, dtype),
        )  # fmt: skip


class GraphTensors:
    """A set of graphs from which mini-batches are taken; features are computed once for all distinct node kinds."""

    def __init__(self, graphs: Graphs) -> None:
        self.batch = as_batch(graphs)
        self.ops = torch.from_numpy(op_ids(self.batch.kinds))
        self.features = torch.from_numpy(node_features(self.batch.kinds))

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> TensorBatch:
        """The graphs at `indices`, in that order; repeats are allowed."""
        return self._tensors(self.batch.select(indices))

    def all(self) -> TensorBatch:
        """All graphs as one batch."""
        return self._tensors(self.batch)

    def chunks(self, max_nodes: int = 100_000) -> Iterator[TensorBatch]:
        """All graphs in order, in batches of at most `max_nodes` nodes (but at least one graph)."""
        ptr, start = self.batch.ptr, 0
        while start < len(self):
            stop = max(start + 1, int(np.searchsorted(ptr, ptr[start] + max_nodes, side="right")) - 1)
            yield self.take(np.arange(start, stop))
            start = stop

    def _tensors(self, batch: GraphBatch) -> TensorBatch:
        # only kinds that occur are embedded: a mini-batch of a large mixed set has few of them
        used = np.flatnonzero(np.bincount(batch.kind, minlength=len(batch.kinds)))
        place = np.zeros(len(batch.kinds), np.int64)
        place[used] = np.arange(len(used))
        rows, n = torch.from_numpy(used), batch.num_nodes
        sizes = np.diff(batch.ptr)
        return TensorBatch(
            self.ops.index_select(0, rows),
            self.features.index_select(0, rows),
            torch.from_numpy(place[batch.kind]),
            sparse(batch.dst, batch.src, np.ones(len(batch.src), np.float32), (n, n)),
            sparse(batch.graph_of_node, np.arange(n), np.repeat(1 / sizes, sizes).astype(np.float32), (len(batch), n)),
        )


def as_batch(graphs: Graphs) -> GraphBatch:
    """One graph, several graphs or a batch -> a batch without empty graphs."""
    if not isinstance(graphs, GraphBatch):
        graphs = GraphBatch.from_graphs([graphs] if isinstance(graphs, Graph) else graphs)
    empty = np.flatnonzero(np.diff(graphs.ptr) == 0)
    if len(empty):
        raise InvalidGraphError(f"graph {empty[0]} of {len(graphs)} has no nodes: nothing to encode; leave it out")
    return graphs
