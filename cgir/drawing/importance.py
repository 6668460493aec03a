"""Importance of nodes and edges as colours of a drawing: darker is more important (figure 5 of CARL, Ji et al. 2025).

Values of one sign run from white at the smallest to dark blue at the largest. Values of both signs are symmetric about
white: blue raises the score, red lowers it, darker is more of either. Nodes and edges have a range each, as an edge is
mostly worth less than a node; the legend names both. A box of several nodes, and an arrow between such boxes, show the
value farthest from zero behind them: what is dark at the top leads to what is dark inside, on one scale, whereas a mean
would be pale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.typing import FloatArray

from .module_blocks import BlockDiagram, Box

BLUES, REDS = ("#6baed6", "#08306b"), ("#fc9272", "#67000d")  # half way, and darkest; ColorBrewer's Blues and Reds
BOX_COLOR, LINE_COLOR = "#ffffff", "#cccccc"  # of a box, and of a line on white, without importance
BLACK, WHITE = "#000000", "#ffffff"


@dataclass(frozen=True, eq=False)
class Importance:
    """A value for each node and edge of a graph.

    `nodes` (N,); `edges` (E,), in the order of `GraphBatch` (by target, then argument); `caption`: above the legend.
    """

    nodes: ArrayLike
    edges: ArrayLike
    caption: str = ""


class Scale(NamedTuple):
    """A map from values to colours.

    `low` has the colour `palest`, `high` the darkest; where `signed`, zero has `palest`, and `low` is `-high`.
    """

    low: float
    high: float
    signed: bool
    palest: str

    @classmethod
    def from_values(cls, values: FloatArray, signed: bool, palest: str) -> Scale:
        """The scale that has all values.

        Args:
            values: (n,).
            signed: symmetric about zero.
            palest: colour of the smallest value, or of zero.
        """
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
        return cls(-max(-low, high), max(-low, high), True, palest) if signed else cls(low, high, False, palest)

    def intensity(self, value: float) -> float:
        """0 for the palest value, 1 for the darkest; equal values are all 0."""
        span = self.high if self.signed else self.high - self.low
        return (abs(value) if self.signed else value - self.low) / span if span > 0 else 0.0

    def color(self, value: float) -> str:
        """A mixture of the three colours of the value's sign."""
        middle, darkest = REDS if self.signed and value < 0 else BLUES
        share = 2 * self.intensity(value)
        return _mix(self.palest, middle, share) if share <= 1 else _mix(middle, darkest, share - 1)


class Shading:
    """Colours of a diagram's boxes and arrows by importance.

    Attributes:
        node_scale: colours of nodes.
        edge_scale: colours of edges.
        caption: of the importance.
        nodes: (N,) the values of nodes.
        edges: (E,) the values of edges.

    Args:
        graph: that is drawn.
        importance: of its nodes and edges.

    Raises:
        CgirError: not one finite value for each node and each edge.
    """

    def __init__(self, graph: Graph, importance: Importance) -> None:
        nodes = _check_values(importance.nodes, len(graph), "nodes", graph)
        pairs = [(source, index) for index, node in enumerate(graph.nodes) for source in node.inputs]
        edges = _check_values(importance.edges, len(pairs), "edges", graph)
        signed = bool((nodes < 0).any() or (edges < 0).any())
        self.node_scale = Scale.from_values(nodes, signed, BOX_COLOR)
        self.edge_scale = Scale.from_values(edges, signed, LINE_COLOR)
        self.caption = importance.caption
        self.nodes: list[float] = nodes.tolist()
        self.edges: list[float] = edges.tolist()
        self._values: dict[tuple[int, int], list[float]] = {}  # of all edges from one node to another
        for pair, value in zip(pairs, self.edges, strict=True):
            self._values.setdefault(pair, []).append(value)

    def box_value(self, box: Box) -> float:
        """The value farthest from zero of the nodes behind a box."""
        return max_by_abs(self._values_of(box))

    def edge_values(self, diagram: BlockDiagram) -> dict[tuple[int, int], float]:
        """For each pair of boxes the value farthest from zero of the edges between nodes behind them."""
        box_of = {index: number for number, box in enumerate(diagram.boxes) for index in box.nodes}
        values_of: dict[tuple[int, int], list[float]] = {}
        for (source, target), values in self._values.items():
            if source in box_of and target in box_of:
                values_of.setdefault((box_of[source], box_of[target]), []).extend(values)
        return {pair: max_by_abs(values) for pair, values in values_of.items()}

    def describe_box(self, box: Box) -> str:
        """The values behind a box, in a line."""
        values = self._values_of(box)
        line = f"importance {max_by_abs(values):.4g}"
        if len(values) == 1:
            return line
        return f"{line}, the strongest of {len(values):,} nodes; their mean {sum(values) / len(values):.4g}"

    def _values_of(self, box: Box) -> list[float]:
        return [self.nodes[index] for index in box.nodes]


def max_by_abs(values: Sequence[float]) -> float:
    """The value farthest from zero, 0 if there is none."""
    return max(values, key=abs, default=0.0)


def text_color(fill: str) -> str:
    """Black or white, whichever has the higher contrast ratio on the fill colour (WCAG 2.2), at least 4.5 to 1."""
    luminance = relative_luminance(fill)
    return BLACK if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else WHITE


def relative_luminance(color: str) -> float:
    """Relative luminance of an sRGB colour `#rrggbb`, 0 black to 1 white (WCAG 2.2)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(color))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(a: str, b: str, share: float) -> str:
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in zip(_channels(a), _channels(b), strict=True))


def _channels(color: str) -> list[int]:
    return [int(color[start : start + 2], 16) for start in (1, 3, 5)]


def _check_values(values: ArrayLike, count: int, what: str, graph: Graph) -> FloatArray:
    array = np.asarray(values, np.float64)
    if array.shape != (count,):
        raise CgirError(
            f"importance of graph {graph.name!r}: {what} has shape {array.shape}; "
            f"expected ({count},), a value for each of its {count:,} {what}"
        )
    if not np.isfinite(array).all():
        first_bad = np.flatnonzero(~np.isfinite(array))[0]
        raise CgirError(
            f"importance of graph {graph.name!r}: value {first_bad} of {what} is not finite; expected numbers only"
        )
    return array
