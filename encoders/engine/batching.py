"""Graphs as tensors: `TensorBatch` is the input of encoders, `GraphTensors` yields mini-batches of a set of graphs.

Notation:
    G, N, E: graphs, nodes and edges of a batch.
    K: distinct node kinds in it.
    V: variants of an operator's kind (`cgir.node_features.VARIANTS`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from cgir.ragged import offsets, ranges, spans
from cgir.store.graph_store import GraphStore
from cgir.typing import IntArray

from .devices import CPU, moved
from .message_blocks import MessageBlock
from .node_classes import build_blocks, class_path, unique_inverse
from .segments import Segments
from .sparse import SparsityPattern

Engine = Literal["auto", "plain", "compressed"]
ENGINES = ("auto", "plain", "compressed")
# Rows that layers compute with classes over rows without, above which classes do not pay. CPU time of a training step
# with classes over that without, one thread: 0.38 at 0.29 of the rows (64 timm models), 0.43 at 0.44, 0.69 at 0.66,
# 0.88 at 0.80, 0.94 at 0.88, 1.06 at 0.93, 1.06 to 1.11 at 1.00.
BREAK_EVEN = 0.85
# Nodes computed at once: more nodes share more classes, but arrays beyond 32 MB are returned to the system and cost a
# page fault every 4 kB.
CHUNK_NODES = {"auto": 250_000, "compressed": 250_000, "plain": 50_000}
# Nodes of all graphs up to which `embed` finds no classes: that takes 5 ms, which is what 500 nodes by themselves take.
FEW_NODES = 500


class StreamBlocks(NamedTuple):
    """Inputs of one stream of an encoder: messages along the edges, or against them.

    Attributes:
        blocks: a message block for each layer.
        node_rows: for each of the G graphs, the rows of the last layer that hold the states of its nodes.
    """

    blocks: list[MessageBlock]
    node_rows: Segments

    def mapped(self, copied: Callable[[Tensor], Tensor]) -> StreamBlocks:
        """The same of other tensors, such as copies on another device; layers that share a block still do."""
        blocks = {id(block): block.mapped(copied) for block in self.blocks}
        return StreamBlocks([blocks[id(block)] for block in self.blocks], self.node_rows.mapped(copied))


@dataclass(frozen=True)
class TensorBatch:
    """G graphs as tensors: their K distinct node kinds, and the messages in both directions.

    Attributes:
        ops: (K, 1 + V) operators and their variants; kinds are the rows of depth 0.
        features: (K, F) features of the kinds.
        forward_stream: messages along the edges.
        backward_stream: messages against the edges.
        in_neighbours: for each of the N nodes, the nodes of this batch that it reads; only in plain batches, for models
            that look at single nodes.
    """

    ops: Tensor
    features: Tensor
    forward_stream: StreamBlocks
    backward_stream: StreamBlocks
    in_neighbours: Segments | None = None

    def __len__(self) -> int:
        return len(self.forward_stream.node_rows)

    @property
    def mean_rows(self) -> int:
        """Rows that a layer computes, on average."""
        blocks = *self.forward_stream.blocks, *self.backward_stream.blocks
        return sum(map(len, blocks)) // len(blocks)

    def to(self, device: torch.device | str) -> TensorBatch:
        """The same batch on another device, to which its tensors are sent together (`devices.moved`)."""
        if self.ops.device == (device := torch.device(device)):
            return self
        tensors: dict[int, Tensor] = {}  # by identity, as parts share some
        self._mapped(lambda tensor: tensors.setdefault(id(tensor), tensor))
        copies = dict(zip(tensors, moved(list(tensors.values()), device), strict=True))
        return self._mapped(lambda tensor: copies[id(tensor)])

    def _mapped(self, copied: Callable[[Tensor], Tensor]) -> TensorBatch:
        return TensorBatch(
            copied(self.ops),
            copied(self.features),
            self.forward_stream.mapped(copied),
            self.backward_stream.mapped(copied),
            None if self.in_neighbours is None else self.in_neighbours.mapped(copied),
        )


class GraphTensors:
    """A set of graphs prepared for encoders of `depth` layers; yields mini-batches.

    Features and node classes are computed once for the whole set. Every function that takes graphs also takes a
    `GraphTensors`, and then does not prepare the graphs again.

    Args:
        graphs: in any form.
        depth: layers of the encoder.
        engine: "compressed" computes every distinct computation tree once, "plain" every node by itself, with equal
            results; "auto" picks the faster of both for each mini-batch.

    Attributes:
        batch: the graphs.

    Raises:
        CgirError: no such engine.
        InvalidGraphError: a graph without nodes.
    """

    def __init__(self, graphs: Graphs, depth: int = 5, engine: Engine = "auto") -> None:
        if engine not in ENGINES:
            raise CgirError(f"unknown engine {engine!r}; expected one of {', '.join(ENGINES)}")
        self.batch = as_batch(graphs)
        self.depth, self.engine = depth, engine
        self._last: tuple[IntArray, TensorBatch] | None = None  # training on all graphs reads the same one every step

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def ops(self) -> Tensor:
        """(K, 1 + V): operators and their variants."""
        return torch.from_numpy(categories(self.batch.kinds))

    @cached_property
    def features(self) -> Tensor:
        """(K, F): features of the kinds."""
        return torch.from_numpy(node_features(self.batch.kinds))

    @cached_property
    def class_tables(self) -> tuple[ClassTable, ClassTable]:
        """Classes of nodes with equal computation trees, along the edges and against them."""
        batch, depth = self.batch, self.depth
        return build_class_table(batch, depth, "forward"), build_class_table(batch, depth, "backward")

    def select(self, rows: IntArray) -> GraphTensors:
        """The graphs at `rows`, as another set."""
        return GraphTensors(self.batch.select(rows), self.depth, self.engine)

    def with_depth(self, depth: int) -> GraphTensors:
        """The same graphs for another number of layers."""
        return self if depth == self.depth else GraphTensors(self.batch, depth, self.engine)

    def minibatch(self, indices: Sequence[int] | IntArray, device: torch.device = CPU) -> TensorBatch:
        """The graphs at `indices`, in that order; repeats are allowed. The last mini-batch is kept for another call.

        It is made on the CPU, where the classes are, and sent to `device`.
        """
        indices = np.array(indices, np.int64)
        last = self._last  # another thread may put another one in its place
        if last is None or not np.array_equal(last[0], indices) or last[1].ops.device != device:
            self._last = last = (indices, self._minibatch(indices).to(device))
        return last[1]

    def chunks(self, max_nodes: int | None = None) -> Iterator[TensorBatch]:
        """All graphs in order, at most `max_nodes` nodes (default `CHUNK_NODES`) or one larger graph at a time."""
        for span in spans(np.diff(self.batch.ptr), max_nodes or CHUNK_NODES[self.engine]):
            indices = np.arange(len(self))[span]
            # only the mini-batch of all graphs is likely to be read again
            yield self.minibatch(indices) if len(indices) == len(self) else self._minibatch(indices)

    def _minibatch(self, indices: IntArray) -> TensorBatch:
        sizes = np.diff(self.batch.ptr)[indices]
        nodes = ranges(self.batch.ptr[indices], sizes)
        if self.engine == "plain":
            return self._plain(indices, nodes, sizes)
        paths = [class_path(table, nodes) for table in self.class_tables]
        if self.engine == "auto" and sum(path.num_rows for path in paths) > BREAK_EVEN * 2 * self.depth * len(nodes):
            return self._plain(indices, nodes, sizes)
        streams = [
            StreamBlocks(build_blocks(table, path), Segments.from_sizes(sizes, path.node_rows, len(path.classes[-1])))
            for table, path in zip(self.class_tables, paths, strict=True)
        ]
        return self._tensor_batch(self._kind_of_class[paths[0].classes[0]], streams)

    def _plain(self, indices: IntArray, nodes: IntArray, sizes: IntArray) -> TensorBatch:
        """The graphs at `indices`, which have `sizes` (G,) `nodes` (N,), with a row for every node."""
        kinds = self.batch.kind[nodes]
        in_edge_ptr, edge_ptr = self.batch.in_edge_ptr, self.batch.edge_ptr
        edge_counts = np.diff(edge_ptr)[indices]
        shifts = offsets(sizes)[:-1] - self.batch.ptr[indices]
        edges = ranges(edge_ptr[indices], edge_counts)
        sources = (self.batch.src[edges] + np.repeat(shifts, edge_counts)).astype(np.int32)
        in_neighbours = Segments.from_sizes(np.diff(in_edge_ptr)[nodes], sources, len(nodes))
        node_rows = Segments.from_sizes(sizes, np.arange(len(nodes), dtype=np.int32), len(nodes))
        patterns = (in_neighbours.pattern, in_neighbours.pattern.transpose())
        if (
            len(nodes) <= FEW_NODES
        ):  # one block for all layers takes less time to make than it saves to embed kinds once
            blocks = [[MessageBlock(None, Segments(pattern))] * self.depth for pattern in patterns]
        else:
            kinds, kind_rows = unique_inverse(kinds, len(self.batch.kinds))
            blocks = [_plain_blocks(pattern, kind_rows, len(kinds), self.depth) for pattern in patterns]
        return self._tensor_batch(kinds, [StreamBlocks(stream, node_rows) for stream in blocks], in_neighbours)

    @cached_property
    def _kind_of_class(self) -> IntArray:
        """For each class of depth 0, which is a kind, its row in `ops` and `features`."""
        rows = {kind: row for row, kind in enumerate(self.batch.kinds)}
        return np.asarray([rows[kind] for kind in self.class_tables[0].kinds], np.int64)

    def _tensor_batch(
        self, kinds: IntArray, streams: Sequence[StreamBlocks], in_neighbours: Segments | None = None
    ) -> TensorBatch:
        rows, (forward, backward) = torch.from_numpy(kinds), streams
        ops, features = self.ops.index_select(0, rows), self.features.index_select(0, rows)
        return TensorBatch(ops, features, forward, backward, in_neighbours)


def _plain_blocks(pattern: SparsityPattern, kind_rows: Classes, num_kinds: int, depth: int) -> list[MessageBlock]:
    """A row for every node: the first layer reads kinds, the others share one block."""
    kinds = torch.from_numpy(kind_rows)
    from_kinds = SparsityPattern(pattern.row_ptr, kinds.index_select(0, pattern.columns), num_kinds)
    return [MessageBlock(kinds, Segments(from_kinds)), *[MessageBlock(None, Segments(pattern))] * (depth - 1)]


Graphs = Graph | GraphBatch | GraphTensors | GraphStore | Iterable[Graph]


def as_tensors(graphs: Graphs, depth: int | None = None) -> GraphTensors:
    """Prepared graphs; `depth` None: the depth they are prepared for, 5 if they are not prepared yet."""
    tensors = graphs if isinstance(graphs, GraphTensors) else GraphTensors(graphs, depth or 5)
    return tensors.with_depth(depth or tensors.depth)


def as_batch(graphs: Graphs) -> GraphBatch:
    """Graphs in any form -> a batch; InvalidGraphError if one has no nodes."""
    if isinstance(graphs, GraphTensors):
        return graphs.batch
    batch = graphs.batch() if isinstance(graphs, GraphStore) else GraphBatch.of(graphs)
    check_nonempty(np.diff(batch.ptr))
    return batch


def check_nonempty(sizes: IntArray) -> None:
    """InvalidGraphError if one of the graphs, of `sizes` (G,) nodes, has none."""
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        raise InvalidGraphError(f"graph {empty[0]} of {len(sizes)} has no nodes: nothing to encode; leave it out")
