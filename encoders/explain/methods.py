"""`explain`: an explanation of a fitted predictor's score, by the method that the predictor offers or the caller names.

Two methods. CARL's masks (Ji et al. 2025, https://arxiv.org/abs/2506.04001, section 4 and figure 5) are the shares
in [0, 1] that the predictor itself treats as causal; only that head has them. Occlusion (Zeiler & Fergus 2014,
https://arxiv.org/abs/1311.2901, section 4.2) compares the score of any predictor with the score of the graph without a
part: it is in units of the score, and its sign says whether the part raises or lowers it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, runtime_checkable

from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray

from .explanation import Explanation, one_graph
from .occlusion_scores import occlusion

METHODS = ("masks", "occlusion")


class ExplainablePredictor(Protocol):
    """Any predictor of scores of graphs."""

    def predict(self, graphs: Graph | GraphBatch, /) -> FloatArray:
        """Scores (G,) of G graphs."""
        ...


@runtime_checkable
class MaskPredictor(ExplainablePredictor, Protocol):
    """A predictor that has masks where its `head` is "carl"."""

    head: str

    def masks(self, graph: Graph | GraphBatch, /) -> tuple[FloatArray, FloatArray]:
        """Causal shares in [0, 1] of the nodes (V,) and of the edges (E,) of one graph."""
        ...


def explain(predictor: ExplainablePredictor, graph: Graph | GraphBatch, method: str | None = None) -> Explanation:
    """Explain the score that a fitted predictor gives to a graph.

    Args:
        predictor: a fitted predictor; for masks one with `masks` and `head == "carl"`.
        graph: a graph, or a batch of one, such as a cell.
        method: "masks" or "occlusion"; None: masks where the predictor has them.

    Raises:
        CgirError: no such method, masks of a predictor that has none, or more than one graph.
    """
    masks = predictor.masks if isinstance(predictor, MaskPredictor) and predictor.head == "carl" else None
    if method is not None and method not in METHODS:
        raise CgirError(f"explain: unknown method {method!r}; expected one of {', '.join(METHODS)}")
    if method == "masks" and masks is None:
        kind = getattr(predictor, "head", type(predictor).__name__)
        raise CgirError(
            f"explain: masks belong to head='carl', and this predictor is {kind!r}; "
            "use method='occlusion', which explains any predictor"
        )
    if method == "occlusion" or masks is None:
        found = occlusion(predictor.predict, graph)
    else:
        graph = one_graph(graph)
        nodes, edges = masks(graph)
        found = Explanation(graph, nodes, edges, "carl masks", float(predictor.predict(graph)[0]))
    known = getattr(predictor, "metric", None)
    if known is None or not getattr(predictor, "has_unit", False):
        return found
    return replace(found, metric=known.name, unit=known.unit)
