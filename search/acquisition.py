"""What makes a network worth a query: its expected value, what it may be at best, or a draw of what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cgir.errors import CgirError
from cgir.typing import FloatArray, IntArray

from .pareto import contributions, front

KAPPA = 1.0  # standard deviations that an upper confidence bound lies above the mean
Acquisition = Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]


def _mean(means: FloatArray, stds: FloatArray, rng: np.random.Generator) -> FloatArray:
    return means


def _upper_confidence_bound(means: FloatArray, stds: FloatArray, rng: np.random.Generator) -> FloatArray:
    return means + KAPPA * stds


def _thompson(means: FloatArray, stds: FloatArray, rng: np.random.Generator) -> FloatArray:
    return means + stds * rng.standard_normal(len(means))


# (means (G,), standard deviations (G,), generator) -> (G,); higher is better. "thompson" draws each network for itself,
# not jointly (Thompson 1933; White et al. 2021, BANANAS, "independent Thompson sampling").
ACQUISITIONS: dict[str, Acquisition] = {"mean": _mean, "ucb": _upper_confidence_bound, "thompson": _thompson}


def check_acquisition(method: str, name: str) -> None:
    """CgirError if there is no such acquisition."""
    if name not in ACQUISITIONS:
        raise CgirError(f"{method}: acquisition={name!r}; expected one of {', '.join(ACQUISITIONS)}")


def best_rows(values: FloatArray, count: int, known: FloatArray, signs: Sequence[int]) -> IntArray:
    """Rows of the candidates to query next, best first.

    With one objective those with the highest values; with several, one after the other the one that adds most to the
    hypervolume of what is known and of those before it, as long as one adds something (greedy, as in Emmerich et al.
    2006), then those that are best on average.

    Args:
        values: (G, M) acquisition values of the candidates, in the objectives' units.
        count: how many.
        known: (N, M) values of the networks with an answer, in the objectives' units, NaN rows for those that failed.
        signs: (M,) 1 where higher is better, else -1.
    """
    values, known = values * np.asarray(signs), known[~np.isnan(known).any(axis=1)] * np.asarray(signs)
    if values.shape[1] == 1:
        return np.argsort(-values[:, 0], kind="stable")[:count]
    together = np.concatenate([known, values])
    low, spread = together.min(axis=0), np.ptp(together, axis=0)
    units = (together - low) / np.where(spread > 0, spread, 1.0)
    known, values = units[: len(known)], units[len(known) :]
    reference = np.full(values.shape[1], -0.1)
    chosen: list[int] = []
    known, means = known[front(known)], values.mean(axis=1)
    gains, fresh = contributions(known, values, reference), np.ones(len(values), bool)
    while len(chosen) < min(count, len(values)):
        # A gain only falls as more networks are known, so that an old one is a bound: the best may be the next.
        pick = int(np.lexsort((-means, -gains))[0])
        if fresh[pick]:
            chosen.append(pick)
            known = np.concatenate([known, values[pick : pick + 1]])
            gains[pick], fresh[:] = -1.0, gains <= 0.0
        else:
            gains[pick], fresh[pick] = contributions(known, values[pick : pick + 1], reference)[0], True
    return np.asarray(chosen, np.int64)
