"""Where to put boxes: layered drawing of a graph, arrows pointing down.

Layers by longest path, order within a layer by barycentres (Sugiyama, Tagawa and Toda, 1981), then the coordinates of
least total sideways movement, which keeps chains straight (Gansner, Koutsofios, North and Vo, "A technique for drawing
directed graphs", 1993). An edge over several layers runs in a lane of its own; all long edges from one node share its
lane, as far down as they go together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse

from cgir.typing import IntArray

Sources = Sequence[Sequence[int]]  # for each node the nodes that it reads, all of which stand before it
Item = tuple[int, int]  # (node, layer): the node's box where `layer` is its own, its lane where it lies deeper

ORDER_SWEEPS = 8
LEFT_PULL = 1e-3


class Layout(NamedTuple):
    """Positions in units of a box's width: `layer` of each node, `x` of each item's centre, and the pieces of all
    edges.
    """

    layer: list[int]
    x: dict[Item, float]
    pieces: list[tuple[Item, Item]]


def layout(sources: Sources, lane_width: float = 0.14, gap: float = 0.16) -> Layout:
    """Place all nodes; a box is 1 wide, a lane `lane_width`, and `gap` is what separates neighbours."""
    layer = _layers(sources)
    pieces = _pieces(sources, layer)
    above, below = defaultdict(list), defaultdict(list)
    for upper, lower in pieces:
        below[upper].append(lower)
        above[lower].append(upper)
    rows: list[list[Item]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for item in dict.fromkeys(
        [*((node, layer[node]) for node in range(len(sources))), *(end for piece in pieces for end in piece)]
    ):
        rows[item[1]].append(item)
    _order(rows, above, below)
    width = {item: 1.0 if item[1] == layer[item[0]] else lane_width for row in rows for item in row}
    return Layout(layer, _coordinates(rows, pieces, _costs(sources, layer, pieces), width, gap), pieces)


def _layers(sources: Sources) -> list[int]:
    """Length of the longest path that leads to each node; nodes without inputs stand just above their first reader."""
    layer: list[int] = []
    for above in sources:
        layer.append(1 + max((layer[i] for i in above), default=-1))
    first: dict[int, int] = {}
    for index, above in enumerate(sources):
        for source in above:
            first[source] = min(layer[index], first.get(source, layer[index]))
    return [first[index] - 1 if not above and index in first else layer[index] for index, above in enumerate(sources)]


def _pieces(sources: Sources, layer: list[int]) -> list[tuple[Item, Item]]:
    """Edges cut at every layer they cross; equal pieces are one."""
    pieces: dict[tuple[Item, Item], None] = {}
    for index, above in enumerate(sources):
        for source in above:
            stops = [(source, depth) for depth in range(layer[source], layer[index])]
            for upper, lower in zip(stops, [*stops[1:], (index, layer[index])], strict=True):
                pieces[upper, lower] = None
    return list(pieces)


def _costs(sources: Sources, layer: list[int], pieces: list[tuple[Item, Item]]) -> list[float]:
    """How much a piece wants to be vertical: lanes and boxes do, where a lane meets a box it may bend, and longest
    paths go straight.
    """
    height = [0] * len(sources)
    for index in range(len(sources) - 1, -1, -1):
        for source in sources[index]:
            height[source] = max(height[source], height[index] + 1)
    costs = []
    for upper, lower in pieces:
        boxes = (layer[upper[0]] == upper[1]) + (layer[lower[0]] == lower[1])
        main = boxes == 2 and height[upper[0]] == height[lower[0]] + 1
        costs.append(4.0 if main else 0.2 if boxes == 1 else 1.0)
    return costs


def _order(rows: list[list[Item]], above: dict[Item, list[Item]], below: dict[Item, list[Item]]) -> None:
    """Sort every row by the mean place of its neighbours, alternately downwards and upwards."""
    place = {item: position for row in rows for position, item in enumerate(row)}
    for sweep in range(ORDER_SWEEPS):
        neighbours = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            means = {item: _mean([place[n] for n in neighbours[item]], place[item]) for item in row}
            row.sort(key=means.__getitem__)
            place.update((item, position) for position, item in enumerate(row))


def _coordinates(
    rows: list[list[Item]], pieces: list[tuple[Item, Item]], cost: list[float], width: dict[Item, float], gap: float
) -> dict[Item, float]:
    """Centres that minimise the weighted sum over pieces of |x_upper - x_lower|, neighbours in a row keeping their
    distance.
    """
    number = {item: index for index, item in enumerate(item for row in rows for item in row)}
    neighbours = [pair for row in rows for pair in pairwise(row)]
    n, m = len(number), len(pieces)
    if not n:
        return {}
    upper, lower = (np.asarray([number[piece[end]] for piece in pieces], np.int64) for end in (0, 1))
    left, right = (np.asarray([number[pair[end]] for pair in neighbours], np.int64) for end in (0, 1))
    distance = np.asarray([(width[a] + width[b]) / 2 + gap for a, b in neighbours])
    # Variables: n centres, then one bound on |x_upper - x_lower| for each piece.
    stretch, apart = _differences(upper, lower, n), _differences(left, right, n)
    slack = -scipy.sparse.eye_array(m)
    rules = scipy.sparse.block_array(
        [[stretch, slack], [-stretch, slack], [apart, scipy.sparse.coo_array((len(neighbours), m))]]
    )
    bounds = np.concatenate([np.zeros(2 * m), -distance])
    # A weak pull to the left settles ties, which would otherwise let long chains drift.
    least = [(width[item] / 2, None) for item in number] + [(0, None)] * m
    solution = scipy.optimize.linprog(
        np.concatenate([np.full(n, LEFT_PULL), cost]), A_ub=rules.tocsr(), b_ub=bounds, bounds=least, method="highs"
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
