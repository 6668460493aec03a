"""Metrics of a ranking: Kendall's tau, Spearman's rho, precision and regret at k; higher labels are better.

Each docstring states how ties are handled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cgir.errors import LabelError
from cgir.typing import FloatArray


def kendall_tau(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Kendall's tau-b (1945), O(n log n): ties are neither concordant nor discordant; 0 if predictions are equal."""
    p, y = _pair(predictions, labels)
    from scipy.stats import kendalltau  # takes longer to import than a command may take

    return float(kendalltau(p, y).statistic) if p.min() < p.max() else 0.0


def spearman(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Spearman's rho: Pearson's correlation of ranks, ties share their mean rank; 0 if all predictions are equal."""
    p, y = _pair(predictions, labels)
    from scipy.stats import spearmanr

    return float(spearmanr(p, y).statistic) if p.min() < p.max() else 0.0


def precision_at_k(predictions: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Share of the k graphs with the best predictions that are among the k with the best labels.

    Args:
        predictions: (n,).
        labels: (n,).
        k: size of both sets; elements tied at rank k count with their probability to be among the k.

    Raises:
        LabelError: vectors that are not finite or not of equal length, constant labels, or k out of range.
    """
    p, y = _pair(predictions, labels)
    _check_k(k, len(p))
    return float(_membership(p, k) @ _membership(y, k)) / k


def regret_at_k(predictions: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Best label of all minus the best label among the k best predictions, in label units.

    Args:
        predictions: (n,).
        labels: (n,).
        k: number of predictions; of those tied at rank k the ones with the worst labels count.

    Raises:
        LabelError: as `precision_at_k`.
    """
    p, y = _pair(predictions, labels)
    _check_k(k, len(p))
    # descending prediction, then ascending label: a tie never helps
    best = np.lexsort((y, -p))[:k]
    return float(y.max() - y[best].max())


def _membership(values: FloatArray, k: int) -> FloatArray:
    """(n,): probability of each element to be among the k largest when ties are broken at random."""
    threshold = np.partition(values, len(values) - k)[len(values) - k]
    above, tied = values > threshold, values == threshold
    probability: FloatArray = above + tied * ((k - above.sum()) / tied.sum())
    return probability


def _pair(predictions: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, FloatArray]:
    p, y = np.asarray(predictions, np.float64), np.asarray(labels, np.float64)
    if p.ndim != 1 or p.shape != y.shape:
        raise LabelError(f"metrics: predictions {p.shape} and labels {y.shape} must be two vectors of equal length")
    if len(p) < 2:
        raise LabelError(f"metrics: a ranking needs at least 2 values; found {len(p)}")
    for name, values in (("prediction", p), ("label", y)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise LabelError(
                f"metrics: {name} {bad[0]} is {values[bad[0]]}; "
                f"drop or repair the {len(bad)} values that are not finite"
            )
    if y.min() == y.max():
        raise LabelError(f"metrics: all {len(y)} labels equal {y[0]}: no ranking is better than another")
    return p, y


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise LabelError(f"metrics: k={k} must be between 1 and the number of labels, {n}")
