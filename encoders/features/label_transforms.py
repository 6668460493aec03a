"""Transforms of labels: checks, standardisation, normal scores of ranks, and their inverses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from cgir.errors import LabelError, one_line
from cgir.typing import FloatArray


def check_labels(y: ArrayLike, graphs: int) -> FloatArray:
    """Labels as float64 (graphs,); LabelError if nothing can be learned from them."""
    try:
        values = np.asarray(y, np.float64)
    except (TypeError, ValueError) as error:
        raise LabelError(f"fit: labels must be numbers ({one_line(error, 100)})") from error
    if values.ndim != 1 or len(values) != graphs:
        raise LabelError(f"fit: {graphs} graphs need {graphs} labels in one vector; found shape {values.shape}")
    if graphs < 2:
        raise LabelError(
            f"fit: found {graphs} labelled graphs; a ranking needs at least 2 "
            "(without any labels of the target use fit_sources alone)"
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise LabelError(
            f"fit: label {bad[0]} is {values[bad[0]]} ({len(bad)} of {graphs} are not finite); "
            "drop these graphs or repair their labels"
        )
    if values.max() / 2 - values.min() / 2 > np.finfo(np.float64).max / 2:
        raise LabelError(
            f"fit: labels from {values.min():g} to {values.max():g} are too far apart to compute with; scale them"
        )
    if values.min() == values.max():
        raise LabelError(f"fit: all {graphs} labels equal {values[0]}; nothing ranks one graph above another")
    return values


@dataclass(frozen=True)
class Standardise:
    """z = (y - mean) / std."""

    mean: float
    std: float

    @classmethod
    def fit(cls, y: FloatArray) -> Standardise:
        """Moments of labels that are not all equal."""
        scale = np.abs(y).max()  # squares of the largest numbers overflow
        return cls(float(y.mean()), float((y / scale).std() * scale))

    def forward(self, y: FloatArray) -> FloatArray:
        """Labels -> scores."""
        return (y - self.mean) / self.std

    def inverse(self, z: FloatArray) -> FloatArray:
        """Scores -> label units."""
        return z * self.std + self.mean


@dataclass(frozen=True)
class RankGauss:
    """z = normal quantile of (rank - 1/2) / n; ties share their mean rank. Outliers and floors do not dominate.

    Attributes: `labels`, distinct ones, ascending; `scores` of these.
    """

    labels: FloatArray
    scores: FloatArray

    @classmethod
    def fit(cls, y: FloatArray) -> RankGauss:
        """The distinct labels, ascending, with their scores."""
        labels, first = np.unique(y, return_index=True)
        return cls(labels, normal_scores(y)[first])

    def forward(self, y: FloatArray) -> FloatArray:
        """Labels seen by `fit` -> their scores; others are interpolated."""
        return interpolate(y, self.labels, self.scores)

    def inverse(self, z: FloatArray) -> FloatArray:
        """Scores -> label units: linear between the labels seen by `fit`, beyond them with their overall slope."""
        return interpolate(z, self.scores, self.labels)


def normal_scores(y: FloatArray) -> FloatArray:
    """Normal quantiles of (rank - 1/2) / n; ties share their mean rank."""
    from scipy.stats import rankdata  # takes longer to import than predictions take

    scores: FloatArray = ndtri((rankdata(y) - 0.5) / len(y))
    return scores


def interpolate(x: FloatArray, known_x: FloatArray, known_y: FloatArray) -> FloatArray:
    """Piecewise linear interpolation; beyond the known points with their overall slope, so that the order is preserved.

    Args:
        x: (n,) points to evaluate.
        known_x: (k,) ascending.
        known_y: (k,) ascending, values at `known_x`.
    """
    slope = (known_y[-1] - known_y[0]) / (known_x[-1] - known_x[0])
    beyond = np.minimum(x - known_x[0], 0) + np.maximum(x - known_x[-1], 0)
    values: FloatArray = np.interp(x, known_x, known_y) + slope * beyond
    return values
