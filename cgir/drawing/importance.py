"""Importance of nodes and edges as colours on a drawing, as figure 5 of CARL (Ji et al. 2025) has it: darker is more
important.

Values of one sign run from white at the smallest to dark blue at the largest. Values of both signs are symmetric about
white: blue raises the score, red lowers it, darker is more of either. Nodes and edges have a range each, as an edge is
mostly worth less than a node; the legend names both. A box of several nodes, and an arrow between such boxes, show the
strongest value behind them, the one farthest from zero: what is dark at the top leads to what is dark inside, on one
scale, which a mean would bleach.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.typing import FloatArray

from .module_blocks import Box, View

BLUES, REDS = ("#6baed6", "#08306b"), ("#fc9272", "#67000d")  # half way, and strongest; ColorBrewer's Blues and Reds
BOX, LINE = "#ffffff", "#cccccc"  # no importance: what a box, and what a line on white, then look like
BLACK, WHITE = "#000000", "#ffffff"


@dataclass(frozen=True, eq=False)
class Importance:
    """A value for each of V nodes, and for each of E edges in the order of `GraphBatch` (by reader, then argument);
    `caption` stands above the legend.
    """

    nodes: ArrayLike
    edges: ArrayLike
    caption: str = ""


class Scale(NamedTuple):
    """From values to colours: `low` is `faint`, `high` the darkest; where `signed`, zero is `faint` and `low` is
    `-high`.
    """

    low: float
    high: float
    signed: bool
    faint: str

    @classmethod
    def of(cls, values: FloatArray, signed: bool, faint: str) -> Scale:
        """The scale that has all values (n,)."""
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
        return cls(-max(-low, high), max(-low, high), True, faint) if signed else cls(low, high, False, faint)

    def strength(self, value: float) -> float:
        """0 where nothing is to be seen, 1 for the strongest; equal values are all 0."""
        span = self.high if self.signed else self.high - self.low
        return (abs(value) if self.signed else value - self.low) / span if span > 0 else 0.0

    def color(self, value: float) -> str:
        """Between the three colours of the value's side."""
        middle, end = REDS if self.signed and value < 0 else BLUES
        share = 2 * self.strength(value)
        return _mixed(self.faint, middle, share) if share <= 1 else _mixed(middle, end, share - 1)


class Shades:
    """Colours of a graph's boxes and arrows.

    Args:
        graph: what is drawn.
        importance: of its nodes and edges.

    Raises:
        CgirError: not one finite value for each node and each edge.
    """

    def __init__(self, graph: Graph, importance: Importance) -> None:
        nodes = _checked(importance.nodes, len(graph), "nodes", graph)
        ends = [(source, index) for index, node in enumerate(graph.nodes) for source in node.inputs]
        edges = _checked(importance.edges, len(ends), "edges", graph)
        signed = bool((nodes < 0).any() or (edges < 0).any())
        self.nodes, self.edges = Scale.of(nodes, signed, BOX), Scale.of(edges, signed, LINE)
        self.caption = importance.caption
        # of the nodes that each one stands for
        self.values = {index: [value] for index, value in enumerate(nodes.tolist())}
        # of the edges that lead from what one stands for to what the other does
        self.weights: dict[tuple[int, int], list[float]] = {}
        for pair, weight in zip(ends, edges.tolist(), strict=True):
            self.weights.setdefault(pair, []).append(weight)

    def folded(self, view: View) -> Shades:
        """For drawings of blocks of `view`: of those that repeat the first copy is drawn, and stands for all of them."""
        shades = copy(self)
        shades.values, shades.weights = {}, {}
        for index, values in self.values.items():
            shades.values.setdefault(view.stand_in.get(index, index), []).extend(values)
        for (source, target), weights in self.weights.items():
            shades.weights.setdefault(
                (view.stand_in.get(source, source), view.stand_in.get(target, target)), []
            ).extend(weights)
        return shades

    def of_box(self, box: Box) -> float:
        """The strongest value of the nodes behind a box."""
        return strongest(self._behind(box))

    def of_edges(self, view: View) -> dict[tuple[int, int], float]:
        """For each two boxes the strongest value of the edges that lead from nodes behind one to nodes behind the
        other.
        """
        owner = {index: number for number, box in enumerate(view.boxes) for index in box.nodes}
        found: dict[tuple[int, int], list[float]] = {}
        for (source, target), weights in self.weights.items():
            if source in owner and target in owner:
                found.setdefault((owner[source], owner[target]), []).extend(weights)
        return {ends: strongest(weights) for ends, weights in found.items()}

    def told(self, box: Box) -> str:
        """The numbers behind a box, in a line."""
        values = self._behind(box)
        line = f"importance {strongest(values):.4g}"
        return (
            line
            if len(values) == 1
            else f"{line}, the strongest of {len(values):,} nodes; their mean {sum(values) / len(values):.4g}"
        )

    def _behind(self, box: Box) -> list[float]:
        return [value for index in box.nodes for value in self.values.get(index, ())]


def strongest(values: Sequence[float]) -> float:
    """The value farthest from zero, 0 if there is none."""
    return max(values, key=abs, default=0.0)


def ink(fill: str) -> str:
    """Black or white, whichever stands out more on the colour (WCAG 2.2, relative luminance and contrast ratio): 4.5 to
    1 at the least.
    """
    light = luminance(fill)
    return BLACK if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else WHITE


def luminance(color: str) -> float:
    """Relative luminance of an sRGB colour `#rrggbb`, 0 black to 1 white (WCAG 2.2)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(color))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mixed(a: str, b: str, share: float) -> str:
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in zip(_channels(a), _channels(b), strict=True))


def _channels(color: str) -> list[int]:
    return [int(color[place : place + 2], 16) for place in (1, 3, 5)]


def _checked(values: ArrayLike, count: int, what: str, graph: Graph) -> FloatArray:
    array = np.asarray(values, np.float64)
    if array.shape != (count,):
        raise CgirError(
            f"importance of graph {graph.name!r}: {what} has shape {array.shape}; expected ({count},), a value for each of its {count:,} {what}"
        )
    if not np.isfinite(array).all():
        raise CgirError(
            f"importance of graph {graph.name!r}: value {np.flatnonzero(~np.isfinite(array))[0]} of {what} is not finite; expected numbers only"
        )
    return array
