"""Occlusion: the score of a graph minus the score of the graph without a node or an edge, for any predictor.

Zeiler & Fergus 2014, https://arxiv.org/abs/1311.2901, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from tqdm import tqdm

from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray

from .explanation import Explanation, one_graph

Predict = Callable[[GraphBatch], FloatArray]

KEPT_OPS = ("Input", "Output")  # never removed, as every network has them: their importance is 0
CHUNK_NODES = 400_000  # nodes of occluded graphs predicted at once; most of them share their node classes


def occlusion(predict: Predict, graph: Graph | GraphBatch) -> Explanation:
    """Importance of each node and edge: the score of the graph minus its score without that node or edge.

    A node is contracted: each of its readers gets the node's inputs as arguments in its place, so that readers of a
    constant have one argument less. An edge is removed: its reader has one argument less. All else stays the same,
    shapes included: most occluded graphs are no valid networks, only queries to the predictor. Inputs and Outputs get
    0, and so does the only node of a graph.

    Args:
        predict: scores (G,) of a batch of G graphs, each independent of the others.
        graph: a graph, or a batch of one.

    Raises:
        CgirError: more than one graph, an empty one, or scores that are not G finite numbers.
    """
    graph = one_graph(graph)
    batch = GraphBatch.from_graphs([graph])
    occluded = np.asarray([len(graph) > 1 and node.op not in KEPT_OPS for node in graph.nodes], bool)
    batches = _occluded_graphs(batch, np.flatnonzero(occluded))
    scores = np.concatenate([_scores(predict, graphs) for graphs in batches])
    nodes = np.zeros(len(graph))
    first_edge = 1 + int(occluded.sum())
    nodes[occluded] = scores[0] - scores[1:first_edge]
    return Explanation(graph, nodes, scores[0] - scores[first_edge:], "occlusion", float(scores[0]))


def _scores(predict: Predict, graphs: GraphBatch) -> FloatArray:
    scores = np.asarray(predict(graphs), np.float64)
    if scores.shape != (len(graphs),) or not np.isfinite(scores).all():
        found = f"shape {scores.shape}" if scores.shape != (len(graphs),) else "scores that are not finite"
        raise CgirError(
            f"occlusion: the predictor gave {found} for {len(graphs)} graphs; expected a finite number for each"
        )
    return scores


def _occluded_graphs(batch: GraphBatch, nodes: IntArray) -> Iterator[GraphBatch]:
    """The graph of a batch, then without each of `nodes`, then without each edge, `CHUNK_NODES` nodes at a time."""
    total, step = 1 + len(nodes) + len(batch.src), max(1, CHUNK_NODES // batch.num_nodes)
    starts = range(0, total, step)
    for start in tqdm(starts, desc="occlusion", unit="batch", disable=len(starts) < 2, leave=False):
        numbers = np.arange(start, min(start + step, total)) - 1
        parts = [batch] if start == 0 else []
        parts += [_without_nodes(batch, nodes[numbers[(numbers >= 0) & (numbers < len(nodes))]])]
        parts += [_without_edges(batch, numbers[numbers >= len(nodes)] - len(nodes))]
        yield GraphBatch.concatenate([part for part in parts if len(part)])


def _without_nodes(batch: GraphBatch, removed: IntArray) -> GraphBatch:
    """A graph for each node of `removed` (R,): the graph of the batch with that node contracted."""
    num_nodes, num_edges, in_edge_ptr = batch.num_nodes, len(batch.src), batch.in_edge_ptr
    node = removed[:, None]
    # Copies of each of R x E edges: none of one into the removed node; of one out of it as many as the removed node has
    # inputs, at the same position among its reader's arguments; one of all others.
    in_degree = np.diff(in_edge_ptr)
    copies = np.where(batch.dst == node, 0, np.where(batch.src == node, in_degree[node], 1)).ravel()
    index = np.repeat(np.arange(len(copies)), copies)
    copy = np.arange(len(index)) - np.repeat(np.cumsum(copies) - copies, copies)
    row, edge = index // max(num_edges, 1), index % max(num_edges, 1)
    removed_node = removed[row]
    src, dst = batch.src[edge], batch.dst[edge]
    from_removed = src == removed_node
    src[from_removed] = batch.src[in_edge_ptr[removed_node[from_removed]] + copy[from_removed]]
    shift = row * (num_nodes - 1)
    return GraphBatch(
        batch.kinds,
        batch.kind[_all_but(num_nodes, removed)].ravel(),
        src - (src > removed_node) + shift,
        dst - (dst > removed_node) + shift,
        np.arange(len(removed) + 1) * (num_nodes - 1),
    )


def _without_edges(batch: GraphBatch, removed: IntArray) -> GraphBatch:
    """A graph for each edge of `removed` (R,): the graph of the batch without that edge."""
    num_nodes, kept = batch.num_nodes, _all_but(len(batch.src), removed)
    shift = num_nodes * np.arange(len(removed))[:, None]
    return GraphBatch(
        batch.kinds,
        np.tile(batch.kind, len(removed)),
        (batch.src[kept] + shift).ravel(),
        (batch.dst[kept] + shift).ravel(),
        np.arange(len(removed) + 1) * num_nodes,
    )


def _all_but(count: int, removed: IntArray) -> IntArray:
    """(R, count - 1): in each row the numbers below `count` without the one removed."""
    row = np.arange(max(count - 1, 0))
    kept: IntArray = row + (row >= removed[:, None])
    return kept
