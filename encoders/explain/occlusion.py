"""Why a graph got its score: how much each node and each edge is worth to a predictor, as numbers, a table and a
drawing.

Two methods. CARL's masks (Ji et al. 2025, section 4 and figure 5) are what the predictor itself calls causal, in [0,
1]; only that head has them. Occlusion asks any predictor what it would say without a part (Zeiler & Fergus 2014,
https://arxiv.org/abs/1311.2901, section 4.2): it is in units of the score, and its sign says whether the part raises or
lowers it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from tqdm import tqdm

from cgir.drawing.export import to_html, to_svg
from cgir.drawing.importance import Importance
from cgir.drawing.module_blocks import LIMIT
from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.node_text import table, title
from cgir.typing import FloatArray, IntArray

Predict = Callable[[GraphBatch], FloatArray]

METHODS = ("masks", "occlusion")
ENDS = ("Input", "Output")  # what a network is asked for and what comes in: not occluded
CHUNK_NODES = 400_000  # of occluded graphs predicted at once; they have most of their classes of nodes in common


@dataclass(frozen=True, eq=False)
class Explanation:
    """What made the `score` of a graph: a value for each of its V nodes and E edges, these in the order of `GraphBatch`
    (by reader, then argument).

    `method`: "occlusion", in units of the score and signed, or "carl masks", in [0, 1].

    Raises:
        CgirError: the graph is no graph and no batch of one, or has not as many nodes or edges as there are values, or
            these are not finite.
    """

    graph: Graph
    nodes: FloatArray
    edges: FloatArray
    method: str
    score: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", one_graph(self.graph))
        for field, count in (("nodes", len(self.graph)), ("edges", self.graph.num_edges)):
            values = np.array(getattr(self, field), np.float64)
            if values.shape != (count,) or not np.isfinite(values).all():
                found = f"shape {values.shape}" if values.shape != (count,) else "values that are not finite"
                raise CgirError(
                    f"explanation of graph {self.graph.name!r}: {field} has {found}; expected one finite value for each of its {count:,} {field}"
                )
            values.setflags(write=False)
            object.__setattr__(self, field, values)

    @property
    def importance(self) -> Importance:
        """For drawings of `cgir.draw`."""
        return Importance(self.nodes, self.edges, f"{self.method}, score {self.score:.4g}")

    def top(self, k: int = 10) -> IntArray:
        """The k nodes farthest from zero, the farthest first; equal ones in the order of the graph."""
        return np.argsort(-np.abs(self.nodes), kind="stable")[:k]

    def table(self, k: int = 10) -> str:
        """The nodes of `top`, a line each: importance, node, operator, output shape, module path."""
        rows = [("importance", "node", "operator", "shape", "module")]
        for index in self.top(k).tolist():
            node = self.graph.nodes[index]
            rows.append(
                (
                    f"{self.nodes[index]:.4g}",
                    str(index),
                    title(node),
                    "x".join(map(str, node.shape)),
                    node.module or node.name,
                )
            )
        return "\n".join(
            [f"{self.graph.name or 'graph'}: score {self.score:.4g}, {self.method}", *table(rows, right=(0, 1))]
        )

    def to_svg(self, path: str | PathLike[str], depth: int | None = None, full: bool = False) -> None:
        """Write the drawing: every node of a small graph or where `full` is asked for, else blocks, opened `depth`
        levels deep.
        """
        to_svg(self.graph, path, depth, self._every_node(depth, full), self.importance)

    def to_html(self, path: str | PathLike[str], depth: int | None = None, full: bool = False) -> None:
        """Write one self-contained page with the drawing of `to_svg`: blocks open when clicked, pointing at a box or an
        arrow shows its number.
        """
        to_html(self.graph, path, depth, self._every_node(depth, full), self.importance)

    def _every_node(self, depth: int | None, full: bool) -> bool:
        return full or (depth is None and len(self.graph) <= LIMIT)


def explain(predictor: Any, graph: Graph | GraphBatch, method: str | None = None) -> Explanation:
    """Explain the score that a fitted predictor gives to a graph.

    Args:
        predictor: anything with `predict(graphs) -> (G,)`; for masks also `head == "carl"` and `masks(graph) -> (nodes
            (V,), edges (E,))`.
        graph: a graph, or a batch of one, such as a cell.
        method: "masks" or "occlusion"; None: masks where the predictor has them.

    Raises:
        CgirError: no such method, a predictor without masks that is asked for them, or more than one graph.
    """
    has_masks = getattr(predictor, "head", None) == "carl"
    if method is not None and method not in METHODS:
        raise CgirError(f"explain: unknown method {method!r}; expected one of {', '.join(METHODS)}")
    if method == "masks" and not has_masks:
        found = getattr(predictor, "head", type(predictor).__name__)
        raise CgirError(
            f"explain: masks belong to head='carl', and this predictor is {found!r}; use method='occlusion', which explains any predictor"
        )
    if method == "occlusion" or not has_masks:
        return occlusion(predictor.predict, graph)
    whole = one_graph(graph)
    nodes, edges = predictor.masks(whole)
    return Explanation(whole, nodes, edges, "carl masks", float(predictor.predict(whole)[0]))


def occlusion(predict: Predict, graph: Graph | GraphBatch) -> Explanation:
    """What a predictor would say without a node, without an edge: importance is the score of the graph minus that.

    A node is contracted away: its readers read, in its place, all that it read; where it read nothing (a constant) they
    read one argument less. An edge is removed: its reader reads one argument less. All else stays as it was, shapes
    included, so that most occluded graphs are no valid networks: they are questions to the predictor. Inputs and
    Outputs are worth 0, and so is the only node of a graph.

    Args:
        predict: scores (G,) of a batch of G graphs, each independent of the others.
        graph: a graph, or a batch of one.

    Raises:
        CgirError: more than one graph, an empty one, or scores that are not G finite numbers.
    """
    whole = one_graph(graph)
    batch = GraphBatch.from_graphs([whole])
    asked = np.asarray([len(whole) > 1 and node.op not in ENDS for node in whole.nodes], bool)
    scores = np.concatenate([_scores(predict, variants) for variants in _variants(batch, np.flatnonzero(asked))])
    nodes = np.zeros(len(whole))
    cut = 1 + int(asked.sum())
    nodes[asked] = scores[0] - scores[1:cut]
    return Explanation(whole, nodes, scores[0] - scores[cut:], "occlusion", float(scores[0]))


def one_graph(graph: Graph | GraphBatch) -> Graph:
    """The graph, or the only one of a batch, which has neither names nor modules; CgirError for none, several, or an
    empty one.
    """
    if isinstance(graph, GraphBatch):
        if len(graph) != 1:
            raise CgirError(f"explain: a batch of {len(graph)} graphs; expected one, such as batch.select([0])")
        graph = graph.graph(0)
    if not isinstance(graph, Graph) or not len(graph):
        found = "a graph without nodes" if isinstance(graph, Graph) else type(graph).__name__
        raise CgirError(f"explain: found {found}; expected a cgir.Graph with nodes, or a GraphBatch of one")
    return graph


def _scores(predict: Predict, graphs: GraphBatch) -> FloatArray:
    scores = np.asarray(predict(graphs), np.float64)
    if scores.shape != (len(graphs),) or not np.isfinite(scores).all():
        found = f"shape {scores.shape}" if scores.shape != (len(graphs),) else "scores that are not finite"
        raise CgirError(
            f"occlusion: the predictor gave {found} for {len(graphs)} graphs; expected a finite number for each"
        )
    return scores


def _variants(batch: GraphBatch, nodes: IntArray) -> Iterator[GraphBatch]:
    """The graph of a batch, then without each of its `nodes`, then without each of its edges, in as few batches as
    `CHUNK_NODES` allows.
    """
    total, step = 1 + len(nodes) + len(batch.src), max(1, CHUNK_NODES // batch.num_nodes)
    starts = range(0, total, step)
    for start in tqdm(starts, desc="occlusion", unit="batch", disable=len(starts) < 2, leave=False):
        numbers = np.arange(start, min(start + step, total)) - 1
        parts = [batch] if start == 0 else []
        parts += [_without_nodes(batch, nodes[numbers[(numbers >= 0) & (numbers < len(nodes))]])]
        parts += [_without_edges(batch, numbers[numbers >= len(nodes)] - len(nodes))]
        yield GraphBatch.concatenate([part for part in parts if len(part)])


def _without_nodes(batch: GraphBatch, removed: IntArray) -> GraphBatch:
    """A graph for each node of `removed` (R,): the one of the batch without it, what read it reading what it read."""
    size, edges = batch.num_nodes, len(batch.src)
    begins = np.searchsorted(batch.dst, np.arange(size + 1))
    node = removed[:, None]
    # An edge that leads to the node goes, one that leads from it becomes as many as lead to it, in its place among its
    # reader's arguments.
    times = np.where(batch.dst == node, 0, np.where(batch.src == node, np.diff(begins)[node], 1)).ravel()
    place = np.repeat(np.arange(len(times)), times)
    nth = np.arange(len(place)) - np.repeat(np.cumsum(times) - times, times)
    row, edge = place // max(edges, 1), place % max(edges, 1)
    gone = removed[row]
    src, dst = batch.src[edge], batch.dst[edge]
    through = src == gone
    src[through] = batch.src[begins[gone[through]] + nth[through]]
    shift = row * (size - 1)
    kept = _all_but(size, removed)
    return GraphBatch(
        batch.kinds,
        batch.kind[kept].ravel(),
        src - (src > gone) + shift,
        dst - (dst > gone) + shift,
        np.arange(len(removed) + 1) * (size - 1),
    )


def _without_edges(batch: GraphBatch, removed: IntArray) -> GraphBatch:
    """A graph for each edge of `removed` (R,): the one of the batch without it."""
    size, kept = batch.num_nodes, _all_but(len(batch.src), removed)
    shift = size * np.arange(len(removed))[:, None]
    kind = np.tile(batch.kind, len(removed))
    return GraphBatch(
        batch.kinds,
        kind,
        (batch.src[kept] + shift).ravel(),
        (batch.dst[kept] + shift).ravel(),
        np.arange(len(removed) + 1) * size,
    )


def _all_but(count: int, removed: IntArray) -> IntArray:
    """(R, count - 1): in each row the numbers below `count` without the one removed."""
    row = np.arange(max(count - 1, 0))
    found: IntArray = row + (row >= removed[:, None])
    return found
