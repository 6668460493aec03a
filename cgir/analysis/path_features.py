"""Path features: mean, largest and smallest number of operators of each sort on the paths of a graph.

Paths lead from a node without inputs to a node without readers; a node that reads another twice continues its paths
twice. Accuracy may depend on the operators along paths, as in cells whose edges may be skip connections; counts over
nodes miss this: they are equal for two convolutions in parallel and two in sequence.

Notation:
    G: graphs; N: nodes of all graphs; a sort: one of `SORTS` of operators, which are the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np

from cgir.graph import Graph, NodeKind
from cgir.graph_batch import GraphBatch
from cgir.ops import OPS
from cgir.typing import FloatArray, IntArray

from .graph_properties import COUNTED_CATEGORIES, COUNTED_OPS, by_position

CHUNK_NODES = 100_000  # computed together, which bounds memory
KERNELS = ("1", "3", "5_or_more")  # sides 2 and 4 count as 3 and 5
CONVS = tuple(
    f"conv_{kernel}{grouped}{dilated}"
    for kernel in KERNELS
    for grouped in ("", "_grouped")
    for dilated in ("", "_dilated")
)
SORTS = (
    *CONVS,
    *(name for name in COUNTED_OPS if name != "Conv"),
    *(f"other_{name}" for name in COUNTED_CATEGORIES),
    "other",
)
STATISTICS = ("count", "mean", "most", "least")
PATH_NAMES = (*(f"{statistic}_{sort}" for statistic in STATISTICS for sort in SORTS), "paths")


def path_features(graphs: Graph | Sequence[Graph] | GraphBatch) -> FloatArray:
    """Counts of operators by sort, over nodes and over paths.

    Args:
        graphs: one graph, a list of graphs, or a batch.

    Returns:
        (G, len(PATH_NAMES)) float64: for every sort the number of its nodes, its mean number on a path drawn uniformly
        from all paths, its largest and its smallest number on any path, as log2(1 + value); then log2(1 + number of
        paths). All are 0 for a graph without nodes.
    """
    chunks = GraphBatch.of(graphs).chunks(CHUNK_NODES)
    return np.concatenate([np.zeros((0, len(PATH_NAMES))), *map(_features, chunks)])


class _Flow(NamedTuple):
    """The traversal of a batch.

    Attributes:
        steps: `by_position`.
        ends: nodes that nothing reads, one graph's after the other's.
        nonempty: graphs that have nodes, and so ends.
        first: where among `ends` theirs begin.
    """

    steps: list[tuple[IntArray, IntArray, IntArray]]
    ends: IntArray
    nonempty: IntArray
    first: IntArray


def _features(batch: GraphBatch) -> FloatArray:
    sorts, column = np.unique(np.asarray([_sort(kind) for kind in batch.kinds], np.int64), return_inverse=True)
    column = column[batch.kind]  # most sorts do not occur, and are left out until the end
    ends = np.flatnonzero(np.bincount(batch.src, minlength=batch.num_nodes) == 0)
    nonempty, first = np.unique(batch.graph_of_node[ends], return_index=True)
    flow = _Flow(by_position(batch), ends, nonempty, first)
    visits, paths = _visits(batch, flow)
    table = np.zeros((len(STATISTICS), len(batch), len(SORTS)))
    for statistic, weights in enumerate((None, visits)):
        sums = np.bincount(batch.graph_of_node * len(sorts) + column, weights, len(batch) * len(sorts))
        table[statistic][:, sorts] = sums.reshape(len(batch), len(sorts))
    table[2:, :, sorts] = _extremes(batch, flow, column, len(sorts))
    return np.concatenate([*np.log2(1 + table), paths[:, None]], axis=1)


def _visits(batch: GraphBatch, flow: _Flow) -> tuple[FloatArray, FloatArray]:
    """Share of a graph's paths that lead through each node (N,), and log2(1 + number of paths) (G,).

    Numbers of paths double with every block that has a shortcut, so they are kept as logarithms.
    """
    log_paths = np.zeros(batch.num_nodes)  # logarithm of the number of paths that lead to each node
    for nodes, edges, first in flow.steps:
        log_paths[nodes] = np.logaddexp.reduceat(log_paths[batch.src[edges]], first)
    total = np.full(len(batch), -np.inf)
    total[flow.nonempty] = np.logaddexp.reduceat(log_paths[flow.ends], flow.first)
    visits = np.zeros(batch.num_nodes)
    visits[flow.ends] = np.exp(log_paths[flow.ends] - total[batch.graph_of_node[flow.ends]])
    for _, edges, _ in reversed(flow.steps):
        sources, targets = batch.src[edges], batch.dst[edges]
        np.add.at(visits, sources, visits[targets] * np.exp(log_paths[sources] - log_paths[targets]))
    return visits, np.logaddexp(0, total) / log(2)


def _extremes(batch: GraphBatch, flow: _Flow, column: IntArray, width: int) -> FloatArray:
    """(2, G, width): largest and smallest number of nodes of each column on a path."""
    # The smallest number is minus the largest of the negated counts.
    counts = np.zeros((batch.num_nodes, 2, width), np.int32)
    counts[np.arange(batch.num_nodes), :, column] = 1, -1
    for nodes, edges, first in flow.steps:
        incoming = counts[batch.src[edges]]
        counts[nodes] += incoming if len(edges) == len(nodes) else np.maximum.reduceat(incoming, first, axis=0)
    result = np.zeros((len(batch), 2, width))
    result[flow.nonempty] = np.maximum.reduceat(counts[flow.ends], flow.first, axis=0)
    return np.abs(result).transpose(1, 0, 2)


def _sort(kind: NodeKind) -> int:
    """Index in SORTS."""
    category = OPS[kind.op].category
    if category == "conv":
        side, dilated = max(kind.attr("kernel", (1,))), max(kind.attr("dilation", (1,))) > 1
        kernel = KERNELS[0 if side == 1 else 1 if side <= 3 else 2]
        return SORTS.index(f"conv_{kernel}{'_grouped' * (kind.attr('groups', 1) > 1)}{'_dilated' * dilated}")
    name = kind.op if kind.op in COUNTED_OPS else f"other_{category}"
    return SORTS.index(name if name in SORTS else "other")
