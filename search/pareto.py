"""Pareto fronts: non-dominated points, ranks, crowding and hypervolume. Everywhere higher is better, unless said.

A row with a value that is not finite is a network that failed: it is on no front, and adds nothing to any volume.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from cgir.errors import CgirError
from cgir.typing import FloatArray, IntArray

SLICES = 256  # that are computed at a time, which bounds memory


def front(values: ArrayLike, maximise: Sequence[bool] | None = None) -> list[int]:
    """Rows of the points that no other point dominates, ascending; of equal points the first.

    Args:
        values: (N, M), a row a network, a column an objective.
        maximise: (M,) whether more is better; None: it is in all of them.

    Raises:
        CgirError: `values` is no table, or `maximise` has another length.
    """
    points = _points(values)
    if maximise is not None:
        if len(maximise) != points.shape[1]:
            raise CgirError(f"front: {len(maximise)} directions for {points.shape[1]} objectives; expected one each")
        points = points * np.where(maximise, 1.0, -1.0)
    distinct, first, _ = _distinct(points)
    return sorted(first[_first_layer(distinct)].tolist())


def non_dominated_ranks(values: ArrayLike) -> IntArray:
    """Ranks (N,) of points (N, M): 0 on the front, 1 on the front of the others, and so on; equal points share one.

    Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II", section III A. Points that are not
    finite have the rank behind the last.
    """
    points = _points(values)
    distinct, _, inverse = _distinct(points)
    ranks = np.full(len(distinct) + 1, -1)
    left, rank = np.arange(len(distinct)), 0
    while len(left):
        layer = _first_layer(distinct[left])
        ranks[left[layer]] = rank
        left, rank = np.delete(left, layer), rank + 1
    ranks[-1] = rank
    return ranks[inverse]


def crowding_distances(values: ArrayLike) -> FloatArray:
    """How far each of (N, M) points of one front is from its neighbours (N,), infinity at the ends of an objective.

    Deb et al. 2002, section III B: over the objectives, the sum of the distance between the neighbours on both sides,
    in units of the objective's range; an objective that is the same for all counts nothing. Points equal to an earlier
    one, and points that are not finite, have 0.
    """
    points = _points(values)
    distinct, first, _ = _distinct(points)
    distances = np.full(len(distinct), np.inf if len(distinct) == 1 else 0.0)
    for column in distinct.T:
        order = np.argsort(column, kind="stable")
        ascending = column[order]
        if len(column) and ascending[0] < ascending[-1]:
            distances[order[1:-1]] += (ascending[2:] - ascending[:-2]) / (ascending[-1] - ascending[0])
            distances[order[[0, -1]]] = np.inf
    crowding = np.zeros(len(points))
    crowding[first] = distances
    return crowding


def best_first(values: ArrayLike) -> IntArray:
    """Rows (N,) of points (N, M) by rank, those of one rank by crowding distance, of equals the earlier first.

    Deb et al. 2002, section III C (the crowded-comparison operator); one objective is sorted.
    """
    points = _points(values)
    if points.shape[1] == 1:
        return np.argsort(-points[:, 0], kind="stable")
    ranks, crowding = non_dominated_ranks(points), np.zeros(len(points))
    for rank in np.unique(ranks):
        crowding[ranks == rank] = crowding_distances(points[ranks == rank])
    return np.lexsort((-crowding, ranks))


def hypervolume(values: ArrayLike, reference: ArrayLike) -> float:
    """Volume that points (N, M) dominate, down to the point `reference` (M,), which is worse in all objectives.

    Exact: two objectives by a sweep, three by slices (While et al. 2006, "A faster algorithm for calculating
    hypervolume"), more as a sum of what each point adds to others (While et al. 2012, "A fast way of calculating exact
    hypervolumes"). Points that are not better than the reference in all objectives add nothing.

    Raises:
        CgirError: `values` is no table, the reference is not finite, or they differ in their objectives.
    """
    base = _reference(reference)
    above = _above(_of_objectives(values, base), base)
    return _volume(above[_first_layer(above)])


def contributions(values: ArrayLike, candidates: ArrayLike, reference: ArrayLike) -> FloatArray:
    """What each candidate alone adds to the hypervolume of a set (C,), 0 where the set dominates it.

    Args:
        values: (N, M), the set.
        candidates: (C, M).
        reference: (M,), as in `hypervolume`.

    Raises:
        CgirError: as `hypervolume`.
    """
    base = _reference(reference)
    points, extra = _of_objectives(values, base), _of_objectives(candidates, base)
    above = _above(points, base)
    above = above[_first_layer(above)]
    boxes = extra - base
    dominated = np.any(np.all(above[None] >= boxes[:, None], axis=2), axis=1)
    rows = np.flatnonzero(np.isfinite(boxes).all(axis=1) & (boxes > 0).all(axis=1) & ~dominated)
    shared = _shared_areas(above, boxes[rows]) if len(base) == 2 else _shared_volumes(above, boxes[rows])
    added = np.zeros(len(extra))
    added[rows] = np.maximum(boxes[rows].prod(axis=1) - shared, 0.0)  # rounded, it may be below 0
    return added


def _points(values: ArrayLike) -> FloatArray:
    points = np.asarray(values, np.float64)
    if points.ndim != 2 and not points.size:
        return np.zeros((0, 1))
    if points.ndim != 2 or not points.shape[1]:
        raise CgirError(f"values of shape {points.shape}; expected a row a network and a column an objective")
    return points


def _of_objectives(values: ArrayLike, base: FloatArray) -> FloatArray:
    points = _points(values)
    if len(points) and points.shape[1] != len(base):
        raise CgirError(
            f"hypervolume: values of {points.shape[1]} objectives, a reference of {len(base)}; expected as many"
        )
    return points if len(points) else np.zeros((0, len(base)))


def _reference(reference: ArrayLike) -> FloatArray:
    base = np.asarray(reference, np.float64)
    if base.ndim != 1 or not len(base) or not np.isfinite(base).all():
        raise CgirError(f"hypervolume: the reference is {reference!r}; expected a finite number for each objective")
    return base


def _distinct(points: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """The D distinct finite points in descending lexicographic order, so that none dominates an earlier one.

    Returns:
        The points (D, M), the first row of each (D,), and of each row its point (N,), D where it is not finite.
    """
    rows = np.flatnonzero(np.isfinite(points).all(axis=1))
    distinct, first, inverse = np.unique(points[rows], axis=0, return_index=True, return_inverse=True)
    of_row = np.full(len(points), len(distinct))
    of_row[rows] = len(distinct) - 1 - inverse.reshape(-1)
    return distinct[::-1], rows[first[::-1]], of_row


def _first_layer(points: FloatArray) -> IntArray:
    """Rows that no other dominates, of points in descending lexicographic order; of equal points the first."""
    rows, chosen = np.arange(len(points)), []
    while len(rows):
        best = rows[0]
        chosen.append(best)
        rows = rows[(points[rows] > points[best]).any(axis=1)]
    return np.asarray(chosen, np.int64)


def _above(points: FloatArray, base: FloatArray) -> FloatArray:
    """The points that are better than `base` in all objectives, as distances from it, lexicographically descending."""
    distinct, _, _ = _distinct(points)
    return distinct[(distinct > base).all(axis=1)] - base


def _volume(points: FloatArray) -> float:
    """Volume of the union of the boxes from 0 to each point (N, M), all positive, lexicographically descending."""
    if points.shape[1] == 1 or len(points) < 2:
        return float(points[:1].prod(axis=1).sum())
    if points.shape[1] == 2:
        return _area(points)
    if points.shape[1] == 3:
        return _volume_of_three(points)
    # What a point adds to those before it: the first objective descends, so that what they share with its box is as
    # deep as the box itself, and a volume with one objective less.
    total, points = 0.0, points[_first_layer(points)]
    for row, point in enumerate(points):
        shared = _volume(_descending(np.minimum(points[:row, 1:], point[1:])))
        total += float(point[0] * (point[1:].prod() - shared))
    return total


def _area(points: FloatArray) -> float:
    widths = points[:, 0] - np.append(points[1:, 0], 0.0)
    return float(widths @ np.maximum.accumulate(points[:, 1]))


def _volume_of_three(points: FloatArray) -> float:
    """Slices along the last objective, each the area below a staircase of the points that reach so deep."""
    order = np.argsort(-points[:, 2], kind="stable")
    depths = points[order, 2] - np.append(points[order[1:], 2], 0.0)
    widths = points[:, 0] - np.append(points[1:, 0], 0.0)
    rank, total = np.argsort(order), 0.0
    for slices in np.split(np.arange(len(points)), range(SLICES, len(points), SLICES)):
        heights = np.where(rank <= slices[:, None], points[:, 1], 0.0)
        total += float(depths[slices] @ (np.maximum.accumulate(heights, axis=1) @ widths))
    return total


def _descending(points: FloatArray) -> FloatArray:
    return points[np.lexsort(points.T[::-1])[::-1]]


def _shared_areas(points: FloatArray, boxes: FloatArray) -> FloatArray:
    """Area of each box (C, 2) that boxes of the front `points` (F, 2) cover; along the front, x falls and y rises."""
    x, y = (np.minimum(points[None, :, axis], boxes[:, None, axis]) for axis in (0, 1))
    widths = x - np.concatenate([x[:, 1:], np.zeros((len(boxes), 1))], axis=1)[:, : x.shape[1]]
    areas: FloatArray = (widths * y).sum(axis=1)
    return areas


def _shared_volumes(points: FloatArray, boxes: FloatArray) -> FloatArray:
    return np.asarray([_volume(_descending(np.minimum(points, box))) for box in boxes])
