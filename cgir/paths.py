"""What lies on the paths of a network: how many operators of each sort a random path, the longest and the shortest one meet.

Paths lead from a node that reads nothing to one that nothing reads. Where accuracy follows what data passes through on its way, as in cells whose
edges may skip, a count over nodes does not see it: two convolutions side by side or one after the other are the same to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .features import GraphBatch
from .graph import Graph, NodeKind
from .ops import OPS
from .properties import COUNTED_CATEGORIES, COUNTED_OPS, by_position

Array = NDArray[np.float64]

CHUNK = 4096  # graphs computed together, which bounds memory
KERNELS = ("1x1", "3x3", "5x5_or_more")
CONVS = tuple(f"conv_{kernel}{grouped}{dilated}" for kernel in KERNELS for grouped in ("", "_grouped") for dilated in ("", "_dilated"))
SORTS = (*CONVS, *(name for name in COUNTED_OPS if name != "Conv"), *(f"other_{name}" for name in COUNTED_CATEGORIES), "other")
STATISTICS = ("count", "mean", "most", "least")
PATH_NAMES = (*(f"{statistic}_{sort}" for statistic in STATISTICS for sort in SORTS), "paths")


def path_features(graphs: Graph | Sequence[Graph] | GraphBatch) -> Array:
    """Counts of operators by sort, over nodes and over paths.

    Args:
        graphs: one graph, a list of graphs, or a batch.

    Returns:
        (G, len(PATH_NAMES)) float64: for every sort the number of its nodes, its mean number on a path drawn uniformly from all paths, its largest and its
        smallest number on any path, as log2(1 + value); then log2(1 + number of paths).
    """
    batch = graphs if isinstance(graphs, GraphBatch) else GraphBatch.from_graphs([graphs] if isinstance(graphs, Graph) else graphs)
    parts = (batch.select(np.arange(start, min(start + CHUNK, len(batch)))) for start in range(0, len(batch), CHUNK))
    return np.concatenate([np.zeros((0, len(PATH_NAMES))), *map(_features, parts)])


def _features(batch: GraphBatch) -> Array:
    sorts, place = np.unique([_sort(kind) for kind in batch.kinds], return_inverse=True)
    row = place[batch.kind]
    own = np.eye(len(sorts))[row]
    owner, ends = batch.graph_of_node, np.flatnonzero(np.bincount(batch.src, minlength=batch.num_nodes) == 0)
    most, least, ways = own.copy(), own.copy(), np.zeros(batch.num_nodes)  # ways: logarithm of the number of paths that end in a node
    steps = by_position(batch)
    for nodes, edges, first in steps:
        read = batch.src[edges]
        most[nodes] += np.maximum.reduceat(most[read], first, axis=0)
        least[nodes] += np.minimum.reduceat(least[read], first, axis=0)
        ways[nodes] = np.logaddexp.reduceat(ways[read], first)
    total = np.full(len(batch), -np.inf)
    np.logaddexp.at(total, owner[ends], ways[ends])
    visits = _visits(batch, steps, ways, ends, total)
    table = np.zeros((len(STATISTICS), len(batch), len(SORTS)))
    for index, weights in enumerate((None, visits)):
        table[index][:, sorts] = np.bincount(owner * len(sorts) + row, weights, len(batch) * len(sorts)).reshape(-1, len(sorts))
    table[2:, :, sorts] = _extremes(most, least, owner, ends, len(batch))
    return np.concatenate([np.log2(1 + table).transpose(1, 0, 2).reshape(len(batch), -1), np.logaddexp(0, total)[:, None] / np.log(2)], axis=1)


def _visits(batch: GraphBatch, steps: Sequence[tuple[NDArray[np.int64], ...]], ways: Array, ends: NDArray[np.int64], total: Array) -> Array:
    """(N,): share of a graph's paths that lead through each node."""
    visits = np.zeros(batch.num_nodes)
    visits[ends] = np.exp(ways[ends] - total[batch.graph_of_node[ends]])
    for _, edges, _ in reversed(steps):
        read, by = batch.src[edges], batch.dst[edges]
        np.add.at(visits, read, visits[by] * np.exp(ways[read] - ways[by]))
    return visits


def _extremes(most: Array, least: Array, owner: NDArray[np.int64], ends: NDArray[np.int64], graphs: int) -> Array:
    """(2, G, sorts): largest and smallest numbers on a path."""
    high, low = np.zeros((graphs, most.shape[1])), np.full((graphs, most.shape[1]), np.inf)
    np.maximum.at(high, owner[ends], most[ends])
    np.minimum.at(low, owner[ends], least[ends])
    return np.stack([high, low])


def _sort(kind: NodeKind) -> int:
    """Row of SORTS."""
    category = OPS[kind.op].category
    if category == "conv":
        kernel, dilated = max(kind.attr("kernel", (1,))), max(kind.attr("dilation", (1,))) > 1
        return 4 * (0 if kernel == 1 else 1 if kernel <= 3 else 2) + 2 * (kind.attr("groups", 1) > 1) + dilated
    name = kind.op if kind.op in COUNTED_OPS else f"other_{category}"
    return SORTS.index(name if name in SORTS else "other")
