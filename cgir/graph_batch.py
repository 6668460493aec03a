"""Graphs -> arrays. Many graphs are one `GraphBatch`: a table of distinct node kinds, and per node a row of that table.

Networks repeat themselves: a batch of 4,096 NAS-Bench-201 networks has some 700,000 nodes and about a hundred kinds, so
features are computed, and embedded, once per kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log2, prod

import numpy as np

from .graph import Graph, Node, NodeKind, Param, Shape
from .ops import INDEX, OPS
from .typing import Float32Array, IntArray

FEATURE_NAMES = (
    "out_channels", "out_height", "out_width", "in_channels", "in_height", "in_width", "num_inputs",
    "kernel_height", "kernel_width", "stride", "dilation", "groups", "bias", "params", "flops",
)  # fmt: skip

# What tells convolutions apart by name and not only by size: 3 x 3 lies no nearer to 1 x 1 than to 7 x 7. How many
# values each has; larger ones share the last. Groupings are none, in groups, and depthwise.
VARIANTS = {"kernel_height": 8, "kernel_width": 8, "stride": 4, "dilation": 3, "grouping": 3}


@dataclass(frozen=True)
class GraphBatch:
    """G graphs with N nodes and E edges in all.

    `kinds`: distinct node kinds; `kind` (N,): row of each node in it; `src`, `dst` (E,): edges between global node
    indices, sorted by `dst` and, within a node, in argument order; `ptr` (G + 1,): graph g owns nodes ptr[g] .. ptr[g +
    1] - 1.
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
        """The graphs at `indices`, in that order (repeats allowed); the table of kinds is shared, not copied."""
        chosen = np.asarray(indices, np.int64)
        sizes = np.diff(self.ptr)[chosen]
        edge_ptr = np.searchsorted(self.dst, self.ptr)
        edge_sizes = np.diff(edge_ptr)[chosen]
        ptr = np.concatenate([[0], np.cumsum(sizes)])
        nodes = ranges(self.ptr[chosen], sizes)
        edges = ranges(edge_ptr[chosen], edge_sizes)
        shift = np.repeat(ptr[:-1] - self.ptr[chosen], edge_sizes)
        return GraphBatch(self.kinds, self.kind[nodes], self.src[edges] + shift, self.dst[edges] + shift, ptr)

    def graph(self, index: int, name: str = "", level: str = "module") -> Graph:
        """The graph at `index` as objects, under the name and level given, neither of which a batch knows.

        Nodes have no names and no modules, and no two share a parameter: of these a batch knows nothing either.

        Raises:
            IndexError: no such graph; negative indices count from the end.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"graph {index} of a batch of {len(self)} graphs")
        first, last = self.ptr[index % len(self) :][:2].tolist()
        cuts = np.searchsorted(self.dst, np.arange(first, last + 1)).tolist()
        sources = (self.src[cuts[0] : cuts[-1]] - first).tolist()
        nodes = []
        for place, row in enumerate(self.kind[first:last].tolist()):
            kind, inputs = self.kinds[row], tuple(sources[cuts[place] - cuts[0] : cuts[place + 1] - cuts[0]])
            params = tuple(Param(f"{place}.{slot}", shape) for slot, shape in enumerate(kind.param_shapes))
            nodes.append(Node(kind.op, inputs, kind.in_shapes, kind.shape, params, kind.attrs))
        return Graph(tuple(nodes), name, level)

    @staticmethod
    def concatenate(batches: Sequence[GraphBatch]) -> GraphBatch:
        """All graphs of all batches, kinds merged."""
        rows: dict[NodeKind, int] = {}
        maps = [np.asarray([rows.setdefault(k, len(rows)) for k in b.kinds], np.int64) for b in batches]
        starts = np.concatenate([[0], np.cumsum([b.num_nodes for b in batches])])
        return GraphBatch(
            tuple(rows),
            np.concatenate([m[b.kind] for m, b in zip(maps, batches, strict=True)]),
            np.concatenate([b.src + s for b, s in zip(batches, starts, strict=False)]),
            np.concatenate([b.dst + s for b, s in zip(batches, starts, strict=False)]),
            np.concatenate([[0], *(b.ptr[1:] + s for b, s in zip(batches, starts, strict=False))]).astype(np.int64),
        )


def ranges(starts: IntArray, sizes: IntArray) -> IntArray:
    """Concatenation of `arange(start, start + size)` for every pair."""
    ends = np.cumsum(sizes)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - ends + sizes, sizes)


def categories(kinds: Sequence[NodeKind]) -> IntArray:
    """(K, 1 + len(VARIANTS)): each kind's row in the table of `cgir.ops`, then its variant in each of `VARIANTS`."""
    return np.asarray([_kind_categories(kind) for kind in kinds], np.int64).reshape(len(kinds), 1 + len(VARIANTS))


def node_features(kinds: Sequence[NodeKind]) -> Float32Array:
    """(K, len(FEATURE_NAMES)) float32: log2(1 + value) / 8 of the quantities in `FEATURE_NAMES` (`bias` 0 or 1)."""
    return np.asarray([_kind_features(kind) for kind in kinds], np.float32).reshape(len(kinds), len(FEATURE_NAMES))


def extent(shape: Shape) -> tuple[int, int, int]:
    """(channels, height, width) of a shape of any rank: missing axes are 1, axes beyond the third count as width."""
    padded = (*shape, 1, 1, 1)
    return padded[0], padded[1], padded[2] * prod(shape[3:])


def kind_flops(kind: NodeKind) -> int:
    """FLOPs of one node, by the formula in the operator's row, 0 where there is none; in the body of a loop, of all its
    `trips`.
    """
    cost = OPS[kind.op].cost
    return cost(kind) * int(kind.attr("trips", 1)) if cost else 0


@lru_cache(maxsize=200_000)
def _kind_categories(kind: NodeKind) -> tuple[int, ...]:
    kernel, groups = kind.attr("kernel", (0,)), kind.attr("groups", 0)
    grouping = 0 if groups <= 1 else 2 if kind.in_shapes and groups == extent(kind.in_shapes[0])[0] else 1
    values = kernel[0], kernel[-1], max(kind.attr("stride", (0,))), max(kind.attr("dilation", (0,))), grouping
    return INDEX[kind.op], *(min(value, size - 1) for value, size in zip(values, VARIANTS.values(), strict=True))


@lru_cache(maxsize=200_000)
def _kind_features(kind: NodeKind) -> tuple[float, ...]:
    kernel = kind.attr("kernel", (0,))
    values = (
        *extent(kind.shape), *extent(kind.in_shapes[0] if kind.in_shapes else ()), len(kind.in_shapes),
        kernel[0], kernel[-1], max(kind.attr("stride", (0,))), max(kind.attr("dilation", (0,))), kind.attr("groups", 0),
        0, sum(map(prod, kind.param_shapes)), kind_flops(kind),
    )  # fmt: skip
    scaled = [log2(1 + value) / 8 for value in values]
    scaled[FEATURE_NAMES.index("bias")] = float(len(kind.param_shapes) > 1)
    return tuple(scaled)
