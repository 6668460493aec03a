"""`Explanation`: how much each node and each edge contributes to a graph's score, as numbers, a table and a drawing."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np

from cgir.drawing.export import to_html, to_png, to_svg
from cgir.drawing.importance import Importance
from cgir.drawing.module_blocks import MAX_BOXES
from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.node_text import table, title
from cgir.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Explanation:
    """A value for each of a graph's V nodes and E edges: their contributions to its score.

    Attributes:
        graph: the graph; a batch of one is unpacked.
        nodes: (V,) a finite value for each node.
        edges: (E,) a finite value for each edge, in the order of `GraphBatch` (by reader, then argument).
        method: "occlusion" or "integrated gradients", signed and in units of the score, or "carl masks", in [0, 1].
        score: the score that is explained.
        metric: what it measures.
        unit: of the score; "" where it has none.

    Raises:
        CgirError: neither a graph nor a batch of one, a number of values that differs from the number of nodes or
            edges, or values that are not finite.
    """

    graph: Graph
    nodes: FloatArray
    edges: FloatArray
    method: str
    score: float
    metric: str = "score"
    unit: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", one_graph(self.graph))
        for field, count in (("nodes", len(self.graph)), ("edges", self.graph.num_edges)):
            values = np.array(getattr(self, field), np.float64)
            if values.shape != (count,) or not np.isfinite(values).all():
                found = f"shape {values.shape}" if values.shape != (count,) else "values that are not finite"
                raise CgirError(
                    f"explanation of graph {self.graph.name!r}: {field} has {found}; "
                    f"expected one finite value for each of its {count:,} {field}"
                )
            values.setflags(write=False)
            object.__setattr__(self, field, values)

    @property
    def importance(self) -> Importance:
        """The values as drawings of `cgir.drawing` take them."""
        return Importance(self.nodes, self.edges, f"{self.method}, {self.what}")

    @property
    def what(self) -> str:
        """The score that is explained, as text."""
        return f"{self.metric} {self.score:.4g} {self.unit}".rstrip()

    def top(self, k: int = 10) -> IntArray:
        """(k,): the nodes farthest from zero, the farthest first; equal ones in the order of the graph."""
        return np.argsort(-np.abs(self.nodes), kind="stable")[:k]

    def table(self, k: int = 10) -> str:
        """The nodes of `top`, a line each: importance, node, operator, output shape, module path."""
        rows = [("importance", "node", "operator", "shape", "module")]
        for index in self.top(k).tolist():
            node = self.graph.nodes[index]
            shape = "x".join(map(str, node.shape))
            rows.append((f"{self.nodes[index]:.4g}", str(index), title(node), shape, node.module or node.name))
        caption = f"{self.graph.name or 'graph'}: {self.what}, {self.method}"
        return "\n".join([caption, *table(rows, right=(0, 1))])

    def to_svg(self, path: str | PathLike[str], depth: int | None = None, full: bool = False) -> None:
        """Write the drawing as SVG, colored by importance.

        Args:
            path: the file to write.
            depth: how many levels of blocks are open; None: every node of a small graph, closed blocks of a large one.
            full: draw every node of a graph of any size.
        """
        to_svg(self.graph, path, depth, self._every_node(depth, full), self.importance)

    def to_png(self, path: str | PathLike[str], depth: int | None = None, full: bool = False) -> None:
        """Write the drawing of `to_svg` as PNG, by matplotlib (the extra `demo`).

        Args:
            path: the file to write.
            depth: as in `to_svg`.
            full: as in `to_svg`.
        """
        to_png(self.graph, path, depth, self._every_node(depth, full), self.importance)

    def to_html(self, path: str | PathLike[str], depth: int | None = None, full: bool = False) -> None:
        """Write one self-contained page: blocks open in place, what is chosen says its importance.

        Args:
            path: the file to write.
            depth: as in `to_svg`.
            full: as in `to_svg`.
        """
        to_html(self.graph, path, depth, self._every_node(depth, full), self.importance)

    def _every_node(self, depth: int | None, full: bool) -> bool:
        return full or (depth is None and len(self.graph) <= MAX_BOXES)


def one_graph(graph: Graph | GraphBatch) -> Graph:
    """The graph, or the only one of a batch, which has neither names nor modules.

    Raises:
        CgirError: no graph, several, or one without nodes.
    """
    if isinstance(graph, GraphBatch):
        if len(graph) != 1:
            raise CgirError(f"explain: a batch of {len(graph)} graphs; expected one, such as batch.select([0])")
        graph = graph.graph(0)
    if not isinstance(graph, Graph) or not len(graph):
        found = "a graph without nodes" if isinstance(graph, Graph) else type(graph).__name__
        raise CgirError(f"explain: found {found}; expected a cgir.Graph with nodes, or a GraphBatch of one")
    return graph
