"""Layered graph drawing (Sugiyama): where to put boxes so that arrows point down.

Layers by longest path, order within a layer by barycentres (Sugiyama, Tagawa and Toda, 1981), then the coordinates of
least total sideways movement, which keeps chains straight (Gansner, Koutsofios, North and Vo, "A technique for drawing
directed graphs", 1993). An edge over several layers passes each of them in a lane (a dummy node); all long edges from
one node share its lanes, down to the layer where they separate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse

from cgir.typing import IntArray

Sources = Sequence[Sequence[int]]  # for each node the nodes that it reads, all of which come before it
LayoutItem = tuple[int, int]  # (node, layer): the node's box where `layer` is its own, its lane in deeper layers

ORDER_SWEEPS = 8
LEFT_PULL = 1e-3  # weight of a centre's x, which settles ties


class Layout(NamedTuple):
    """Positions in units of a box's width.

    `layer`: of each node; `x`: of each item's centre; `segments`: of edges, between items of consecutive layers.
    """

    layer: list[int]
    x: dict[LayoutItem, float]
    segments: list[tuple[LayoutItem, LayoutItem]]


def layout(sources: Sources, lane_width: float = 0.14, gap: float = 0.16) -> Layout:
    """Place all nodes; a box is 1 wide.

    Args:
        sources: the edges.
        lane_width: width of a lane.
        gap: least distance of neighbours in a layer.
    """
    layer = _layers(sources)
    segments = _segments(sources, layer)
    above, below = defaultdict(list), defaultdict(list)
    for upper, lower in segments:
        below[upper].append(lower)
        above[lower].append(upper)
    rows: list[list[LayoutItem]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for item in dict.fromkeys(
        [*((node, layer[node]) for node in range(len(sources))), *(end for segment in segments for end in segment)]
    ):
        rows[item[1]].append(item)
    _order(rows, above, below)
    width = {item: 1.0 if item[1] == layer[item[0]] else lane_width for row in rows for item in row}
    return Layout(layer, _coordinates(rows, segments, _weights(sources, layer, segments), width, gap), segments)


def _layers(sources: Sources) -> list[int]:
    """Length of the longest path to each node; nodes without inputs are in the layer above their first reader."""
    layer: list[int] = []
    for above in sources:
        layer.append(1 + max((layer[i] for i in above), default=-1))
    first: dict[int, int] = {}
    for index, above in enumerate(sources):
        for source in above:
            first[source] = min(layer[index], first.get(source, layer[index]))
    return [first[index] - 1 if not above and index in first else layer[index] for index, above in enumerate(sources)]


def _segments(sources: Sources, layer: list[int]) -> list[tuple[LayoutItem, LayoutItem]]:
    """Edges cut at every layer that they pass; equal segments are one."""
    segments: dict[tuple[LayoutItem, LayoutItem], None] = {}
    for index, above in enumerate(sources):
        for source in above:
            stops = [(source, depth) for depth in range(layer[source], layer[index])]
            for upper, lower in zip(stops, [*stops[1:], (index, layer[index])], strict=True):
                segments[upper, lower] = None
    return list(segments)


def _weights(sources: Sources, layer: list[int], segments: list[tuple[LayoutItem, LayoutItem]]) -> list[float]:
    """Weights of the sideways movement of segments.

    Largest between boxes on a longest path; smallest where a lane meets a box and may bend.
    """
    height = [0] * len(sources)
    for index in range(len(sources) - 1, -1, -1):
        for source in sources[index]:
            height[source] = max(height[source], height[index] + 1)
    weights = []
    for upper, lower in segments:
        boxes = (layer[upper[0]] == upper[1]) + (layer[lower[0]] == lower[1])
        main = boxes == 2 and height[upper[0]] == height[lower[0]] + 1
        weights.append(4.0 if main else 0.2 if boxes == 1 else 1.0)
    return weights


def _order(
    rows: list[list[LayoutItem]], above: dict[LayoutItem, list[LayoutItem]], below: dict[LayoutItem, list[LayoutItem]]
) -> None:
    """Sort every row by the mean position of its neighbours (barycentre), alternately downwards and upwards."""
    position_of = {item: position for row in rows for position, item in enumerate(row)}
    for sweep in range(ORDER_SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            means = {item: _mean([position_of[n] for n in neighbours[item]], position_of[item]) for item in row}
            row.sort(key=means.__getitem__)
            position_of.update((item, position) for position, item in enumerate(row))


def _coordinates(
    rows: list[list[LayoutItem]],
    segments: list[tuple[LayoutItem, LayoutItem]],
    weights: list[float],
    width: dict[LayoutItem, float],
    gap: float,
) -> dict[LayoutItem, float]:
    """Centres of least weighted sum of |x_upper - x_lower| over segments, where neighbours keep their distance."""
    from scipy.optimize import linprog  # takes longer to import than all that needs no layout

    number = {item: index for index, item in enumerate(item for row in rows for item in row)}
    neighbours = [pair for row in rows for pair in pairwise(row)]
    n, m = len(number), len(segments)
    if not n:
        return {}
    upper, lower = (np.asarray([number[segment[end]] for segment in segments], np.int64) for end in (0, 1))
    left, right = (np.asarray([number[pair[end]] for pair in neighbours], np.int64) for end in (0, 1))
    distance = np.asarray([(width[a] + width[b]) / 2 + gap for a, b in neighbours])
    # Variables: n centres, then one bound on |x_upper - x_lower| for each segment.
    stretch, separation = _differences(upper, lower, n), _differences(left, right, n)
    slack = -scipy.sparse.eye_array(m)
    constraints = scipy.sparse.block_array(
        [[stretch, slack], [-stretch, slack], [separation, scipy.sparse.coo_array((len(neighbours), m))]]
    )
    bounds = np.concatenate([np.zeros(2 * m), -distance])
    # A weak pull to the left settles ties, which would otherwise let long chains drift.
    limits = [(width[item] / 2, None) for item in number] + [(0, None)] * m
    solution = linprog(
        np.concatenate([np.full(n, LEFT_PULL), weights]),
        A_ub=constraints.tocsr(),
        b_ub=bounds,
        bounds=limits,
        method="highs",
    )
    return {item: float(solution.x[index]) for item, index in number.items()}


def _differences(plus: IntArray, minus: IntArray, size: int) -> scipy.sparse.coo_array:
    """The matrix whose product with x is x[plus] - x[minus]."""
    row = np.arange(len(plus))
    values = np.concatenate([np.ones(len(plus)), -np.ones(len(plus))])
    return scipy.sparse.coo_array(
        (values, (np.concatenate([row, row]), np.concatenate([plus, minus]))), shape=(len(plus), size)
    )


def _mean(values: list[float] | list[int], default: float) -> float:
    return sum(values) / len(values) if values else default
