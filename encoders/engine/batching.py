"""Graphs as tensors: `TensorBatch` is what the encoder reads, `GraphTensors` hands out mini-batches of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cgir.analysis.computation_trees import Classes, ClassTable, build_class_table
from cgir.errors import CgirError, InvalidGraphError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.node_features import categories, node_features
from cgir.ragged import ranges
from cgir.store.graph_store import GraphStore
from cgir.typing import IntArray

from .message_blocks import MessageBlock
from .node_classes import build_blocks, class_path, compact, segments
from .segments import Segments
from .sparse import SparsityPattern

Engine = Literal["auto", "plain", "compressed"]
ENGINES = ("auto", "plain", "compressed")
# Rows a layer computes as a share of nodes, above which classes do not pay. One training step, classes against nodes,
# CPU time of one thread: 0.29 of the nodes 0.38 of the time (64 timm models), 0.44: 0.43, 0.66: 0.69, 0.80: 0.88, 0.88:
# 0.94, 0.93: 1.06, 1.00: 1.06 to 1.11.
BREAK_EVEN = 0.85
# Computed at once: more nodes share more classes, but arrays beyond 32 MB are given back to the system and cost a page
# fault every 4 kB.
CHUNK_NODES = {"auto": 250_000, "compressed": 250_000, "plain": 50_000}


class StreamBlocks(NamedTuple):
    """One stream's view of a batch: its `blocks`, and `nodes`: for every graph the rows of the last level that its
    nodes' states are in.
    """

    blocks: list[MessageBlock]
    node_rows: Segments

    def to(self, device: torch.device | str | None) -> StreamBlocks:
        """The same on another device."""
        return StreamBlocks([level.to(device) for level in self.blocks], self.node_rows.to(device))


@dataclass(frozen=True)
class TensorBatch:
    """G graphs: `ops` (K, 1 + V), operators and their variants, and `features` (K, F) of the kinds that are rows of
    level 0; both directions of messages.

    `in_neighbours`: for each of the N nodes those whose outputs it reads, as numbers of nodes in this batch; only in plain
    batches, for models that look at nodes.
    """

    ops: Tensor
    features: Tensor
    forward_stream: StreamBlocks
    backward_stream: StreamBlocks
    in_neighbours: Segments | None = None

    def __len__(self) -> int:
        return len(self.forward_stream.node_rows)

    def to(self, device: torch.device | str | None) -> TensorBatch:
        """The same batch on another device."""
        if self.ops.device == torch.empty(0, device=device).device:
            return self
        reads = None if self.in_neighbours is None else self.in_neighbours.to(device)
        return TensorBatch(
            self.ops.to(device),
            self.features.to(device),
            self.forward_stream.to(device),
            self.backward_stream.to(device),
            reads,
        )


class GraphTensors:
    """A set of graphs from which mini-batches are taken, for `depth` layers; features and unfoldings are computed once
    for the whole set.

    `engine`: "compressed" computes every distinct past once, "plain" every node by itself, with equal results; "auto"
    takes for each batch what is faster. Whoever takes graphs takes these too, and then does not prepare them again.
    """

    def __init__(self, graphs: Graphs, depth: int = 5, engine: Engine = "auto") -> None:
        if engine not in ENGINES:
            raise CgirError(f"unknown engine {engine!r}; expected one of {', '.join(ENGINES)}")
        self.batch = as_batch(graphs)
        self.depth, self.engine = depth, engine
        self._last: tuple[IntArray, TensorBatch] | None = None

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def ops(self) -> Tensor:
        """(K, 1 + V): operators and their variants."""
        return torch.from_numpy(categories(self.batch.kinds))

    @cached_property
    def features(self) -> Tensor:
        """(K, F) features of the kinds."""
        return torch.from_numpy(node_features(self.batch.kinds))

    @cached_property
    def class_tables(self) -> tuple[ClassTable, ClassTable]:
        """Classes of the nodes by computation tree, along and against the arrows."""
        return build_class_table(self.batch, self.depth, "forward"), build_class_table(
            self.batch, self.depth, "backward"
        )

    @cached_property
    def in_edge_ptr(self) -> IntArray:
        """(N + 1,): where each node's incoming edges begin."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.batch.dst, minlength=self.batch.num_nodes))])

    def select(self, rows: IntArray) -> GraphTensors:
        """Some of the graphs, as a set of their own."""
        return GraphTensors(self.batch.select(rows), self.depth, self.engine)

    def with_depth(self, depth: int) -> GraphTensors:
        """The same graphs for another number of layers."""
        return self if depth == self.depth else GraphTensors(self.batch, depth, self.engine)

    def minibatch(self, indices: Sequence[int] | IntArray) -> TensorBatch:
        """The graphs at `indices`, in that order; repeats are allowed. Asked for the same again, it gives the same
        batch.
        """
        chosen = np.array(indices, np.int64)
        if self._last is None or not np.array_equal(self._last[0], chosen):
            self._last = (chosen, self._minibatch(chosen))
        return self._last[1]

    def _minibatch(self, chosen: IntArray) -> TensorBatch:
        sizes = np.diff(self.batch.ptr)[chosen]
        nodes = ranges(self.batch.ptr[chosen], sizes)
        if self.engine == "plain":
            return self._plain(chosen, nodes, sizes)
        paths = [class_path(table, nodes) for table in self.class_tables]
        if self.engine == "auto" and sum(found.rows for found in paths) > BREAK_EVEN * 2 * self.depth * len(nodes):
            return self._plain(chosen, nodes, sizes)
        pools = [segments(sizes, found.nodes, len(found.used[-1])) for found in paths]
        directions = [
            StreamBlocks(build_blocks(table, found), pool)
            for table, found, pool in zip(self.class_tables, paths, pools, strict=True)
        ]
        return self._batch(self._rows[paths[0].used[0]], directions)

    def _plain(self, chosen: IntArray, nodes: IntArray, sizes: IntArray) -> TensorBatch:
        kinds, rows = compact(self.batch.kind[nodes], len(self.batch.kinds))
        begins = self.batch.ptr[chosen]
        first = self.in_edge_ptr[begins]
        counts = self.in_edge_ptr[begins + sizes] - first
        shifts = np.cumsum(sizes) - sizes - begins
        heard = (self.batch.src[ranges(first, counts)] + np.repeat(shifts, counts)).astype(np.int32)
        along = segments(np.diff(self.in_edge_ptr)[nodes], heard, len(nodes)).pattern
        members = segments(sizes, np.arange(len(nodes), dtype=np.int32), len(nodes))
        directions = [
            StreamBlocks(_plain_blocks(pattern, rows, len(kinds), self.depth), members)
            for pattern in (along, along.transpose())
        ]
        return self._batch(kinds, directions, Segments(along))

    @cached_property
    def _rows(self) -> IntArray:
        """Rows of `ops` and `features` of the kinds of `class_tables`."""
        rows = {kind: row for row, kind in enumerate(self.batch.kinds)}
        return np.asarray([rows[kind] for kind in self.class_tables[0].kinds], np.int64)

    def _batch(self, kinds: IntArray, directions: Sequence[StreamBlocks], reads: Segments | None = None) -> TensorBatch:
        used = torch.from_numpy(kinds)
        return TensorBatch(
            self.ops.index_select(0, used), self.features.index_select(0, used), directions[0], directions[1], reads
        )

    def chunks(self, max_nodes: int | None = None) -> Iterator[TensorBatch]:
        """All graphs in order, in batches of at most `max_nodes` nodes (but at least one graph), by default
        `CHUNK_NODES`.
        """
        ptr, start = self.batch.ptr, 0
        size = max_nodes or CHUNK_NODES[self.engine]
        while start < len(self):
            stop = max(start + 1, int(np.searchsorted(ptr, ptr[start] + size, side="right")) - 1)
            chunk = np.arange(start, stop)
            # only what may be asked for again is kept
            yield self.minibatch(chunk) if len(chunk) == len(self) else self._minibatch(chunk)
            start = stop


def _plain_blocks(pattern: SparsityPattern, rows: Classes, kinds: int, depth: int) -> list[MessageBlock]:
    """Every node a class of its own: the first level reads kinds, the others are one and the same."""
    own = torch.from_numpy(rows)
    first = MessageBlock(own, Segments(SparsityPattern(pattern.row_ptr, own.index_select(0, pattern.columns), kinds)))
    return [first, *[MessageBlock(None, Segments(pattern))] * (depth - 1)]


Graphs = Graph | GraphBatch | GraphTensors | GraphStore | Iterable[Graph]


def as_tensors(graphs: Graphs, depth: int | None = None) -> GraphTensors:
    """Prepare graphs, unless they are already; `depth` None: whatever they are prepared for, 5 if for nothing yet."""
    tensors = graphs if isinstance(graphs, GraphTensors) else GraphTensors(graphs, depth or 5)
    return tensors.with_depth(depth or tensors.depth)


def as_batch(graphs: Graphs) -> GraphBatch:
    """Graphs in any form -> a batch; empty graphs are refused."""
    if isinstance(graphs, GraphTensors):
        return graphs.batch
    if isinstance(graphs, GraphStore):
        graphs = graphs.batch()
    if not isinstance(graphs, GraphBatch):
        graphs = GraphBatch.from_graphs([graphs] if isinstance(graphs, Graph) else graphs)
    check_nonempty(np.diff(graphs.ptr))
    return graphs


def check_nonempty(sizes: IntArray) -> None:
    """InvalidGraphError if one of the graphs, whose numbers of nodes are given, has none."""
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        raise InvalidGraphError(f"graph {empty[0]} of {len(sizes)} has no nodes: nothing to encode; leave it out")
