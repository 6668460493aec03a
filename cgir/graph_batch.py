"""Many graphs as arrays: a table of distinct node kinds, and per node a row of that table.

Few nodes are distinct: a batch of 4,096 NAS-Bench-201 networks has some 700,000 nodes and about a hundred kinds, so
features are computed, and embedded, once per kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .errors import CgirError
from .graph import Graph, Node, NodeKind, Param
from .node_features import FEATURE_NAMES, categories, node_features
from .ragged import offsets, ranges, spans
from .typing import IntArray

if TYPE_CHECKING:
    from torch_geometric.data import Batch


@dataclass(frozen=True)
class GraphBatch:
    """G graphs with N nodes and E edges in total.

    Attributes:
        kinds: K distinct node kinds.
        kind: (N,) row of each node in `kinds`.
        src: (E,) the node that each edge leaves, counted over all graphs.
        dst: (E,) the node that it enters; edges are sorted by `dst` and, within a node, in argument order.
        ptr: (G + 1,) graph g owns nodes ptr[g] .. ptr[g + 1] - 1.
    """

    kinds: tuple[NodeKind, ...]
    kind: IntArray
    src: IntArray
    dst: IntArray
    ptr: IntArray

    def __len__(self) -> int:
        return len(self.ptr) - 1

    @property
    def num_nodes(self) -> int:
        """Nodes in all graphs together."""
        return int(self.ptr[-1])

    @property
    def graph_of_node(self) -> IntArray:
        """(N,): the graph each node belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.ptr))

    @property
    def position(self) -> IntArray:
        """(N,): the index of each node in its graph."""
        return np.arange(self.num_nodes) - np.repeat(self.ptr[:-1], np.diff(self.ptr))

    @cached_property
    def edge_ptr(self) -> IntArray:
        """(G + 1,): graph g owns edges edge_ptr[g] .. edge_ptr[g + 1] - 1."""
        return np.searchsorted(self.dst, self.ptr).astype(np.int64, copy=False)

    @cached_property
    def in_edge_ptr(self) -> IntArray:
        """(N + 1,): edges in_edge_ptr[n] .. in_edge_ptr[n + 1] - 1 lead into node n."""
        return offsets(np.bincount(self.dst, minlength=self.num_nodes))

    @classmethod
    def of(cls, graphs: Graph | Iterable[Graph] | GraphBatch) -> GraphBatch:
        """A batch of one graph, of several, or the batch itself."""
        if isinstance(graphs, GraphBatch):
            return graphs
        return cls.from_graphs([graphs] if isinstance(graphs, Graph) else graphs)

    @classmethod
    def from_graphs(cls, graphs: Iterable[Graph]) -> GraphBatch:
        """Pack graphs one after the other; kinds are numbered in order of first appearance."""
        rows: dict[NodeKind, int] = {}
        kind: list[int] = []
        src: list[int] = []
        dst: list[int] = []
        ptr = [0]
        for graph in graphs:
            start = ptr[-1]
            for index, node in enumerate(graph.nodes, start):
                kind.append(rows.setdefault(node.kind, len(rows)))
                src.extend(start + source for source in node.inputs)
                dst.extend([index] * len(node.inputs))
            ptr.append(start + len(graph.nodes))
        arrays = (np.asarray(values, np.int64) for values in (kind, src, dst, ptr))
        return cls(tuple(rows), *arrays)

    def select(self, indices: Sequence[int] | IntArray) -> GraphBatch:
        """The graphs at `indices`, in that order (repeats allowed); the table of kinds is shared, not copied.

        As in an array, negative indices count from the end, and a mask (G,) of booleans selects where it is true.
        """
        chosen = np.arange(len(self))[np.asarray(indices) if len(indices) else []]
        sizes = np.diff(self.ptr)[chosen]
        edge_sizes = np.diff(self.edge_ptr)[chosen]
        ptr = offsets(sizes)
        nodes = ranges(self.ptr[chosen], sizes)
        edges = ranges(self.edge_ptr[chosen], edge_sizes)
        shift = np.repeat(ptr[:-1] - self.ptr[chosen], edge_sizes)
        return GraphBatch(self.kinds, self.kind[nodes], self.src[edges] + shift, self.dst[edges] + shift, ptr)

    def chunks(self, max_nodes: int, max_graphs: int | None = None) -> Iterator[GraphBatch]:
        """All graphs in order, in batches of at most `max_nodes` nodes, or of one larger graph, which bounds memory.

        If one batch holds all graphs, it is this object itself; otherwise each batch is copied when it is requested.
        """
        for span in spans(np.diff(self.ptr), max_nodes, max_graphs):
            chosen = np.arange(len(self))[span]
            yield self if len(chosen) == len(self) else self.select(chosen)

    def graph(self, index: int, name: str = "", level: str = "module") -> Graph:
        """The graph at `index` as objects. Nodes have no names and no modules, and share no parameters.

        Args:
            index: which graph; negative indices count from the end.
            name: of the graph; a batch does not store it.
            level: of the graph; a batch does not store it.

        Raises:
            IndexError: no such graph.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"graph {index} of a batch of {len(self)} graphs")
        first, last = self.ptr[index % len(self) :][:2].tolist()
        cuts = np.searchsorted(self.dst, np.arange(first, last + 1)).tolist()
        sources = (self.src[cuts[0] : cuts[-1]] - first).tolist()
        nodes = []
        for position, row in enumerate(self.kind[first:last].tolist()):
            kind, inputs = self.kinds[row], tuple(sources[cuts[position] - cuts[0] : cuts[position + 1] - cuts[0]])
            params = tuple(Param(f"{position}.{slot}", shape) for slot, shape in enumerate(kind.param_shapes))
            nodes.append(Node(kind.op, inputs, kind.in_shapes, kind.shape, params, kind.attrs))
        return Graph(tuple(nodes), name, level)

    @staticmethod
    def concatenate(batches: Sequence[GraphBatch]) -> GraphBatch:
        """All graphs of all batches, kinds merged."""
        rows: dict[NodeKind, int] = {}
        maps = [np.asarray([rows.setdefault(k, len(rows)) for k in b.kinds], np.int64) for b in batches]
        starts = offsets([b.num_nodes for b in batches])
        return GraphBatch(
            tuple(rows),
            np.concatenate([m[b.kind] for m, b in zip(maps, batches, strict=True)]),
            np.concatenate([b.src + s for b, s in zip(batches, starts, strict=False)]),
            np.concatenate([b.dst + s for b, s in zip(batches, starts, strict=False)]),
            np.concatenate([[0], *(b.ptr[1:] + s for b, s in zip(batches, starts, strict=False))]).astype(np.int64),
        )

    def to_pyg(self) -> Batch:
        """The graphs as a PyTorch Geometric `Batch`, the input of other graph neural networks.

        Returns:
            `torch_geometric.data.Batch` with
            x: (N, F) float32, `cgir.node_features.node_features` of each node;
            feature_names: their F names, `cgir.node_features.FEATURE_NAMES`;
            op: (N,) int64, each node's row in the table of operators, `cgir.ops.INDEX`, to be embedded;
            edge_index: (2, E) int64, from the node that makes a tensor (row 0) to the one that reads it (row 1); an
            operator that reads a tensor twice has two edges, and edges into a node are in argument order;
            batch, ptr, num_graphs: which graph a node belongs to, as usual there.

        Raises:
            CgirError: torch_geometric is not installed; or the batch has no graphs.
        """
        try:
            import torch
            from torch_geometric.data import Batch, Data
        except ImportError as error:
            raise CgirError(f"to_pyg needs PyTorch Geometric: pip install torch_geometric ({error})") from error
        if not len(self):
            raise CgirError("to_pyg: the batch has no graphs, and PyTorch Geometric has no empty batch")
        kind, edges = torch.from_numpy(self.kind), torch.from_numpy(np.stack([self.src, self.dst]))
        x = torch.from_numpy(node_features(self.kinds)).index_select(0, kind)
        op = torch.from_numpy(categories(self.kinds)[:, 0]).index_select(0, kind)
        nodes, ends = pairwise(self.ptr.tolist()), pairwise(self.edge_ptr.tolist())
        batch: Batch = Batch.from_data_list(
            [
                Data(x[start:stop], edges[:, first:last] - start, op=op[start:stop])
                for (start, stop), (first, last) in zip(nodes, ends, strict=True)
            ]
        )
        batch.feature_names = FEATURE_NAMES
        return batch
