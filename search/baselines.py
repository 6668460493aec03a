"""Rivals of `search.evolve`, called alike: what its budget reaches without a predictor, or its predictor without
evolution.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np

from encoders.predictors.stacking import Model
from frontends.spaces import Space

from .budgeted_run import BudgetedRun, Candidates, Oracle, Settings
from .history import History

AT_ONCE = 100  # networks drawn together by random search


def random_search(
    space: Space[Any],
    predictor: Model,
    oracle: Oracle | None,
    queries: int,
    seed: int = 0,
    *,
    allowed: Callable[[Any], bool] | None = None,
    path: str | PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Networks drawn at random, each once; the predictor is asked only where there is no oracle. Arguments and errors
    as those of `evolve`.
    """
    run = BudgetedRun(Settings(space, predictor, oracle, queries, seed, allowed, path, progress), "random search", {})
    return run.run(lambda run, rng: run.sample_new(lambda: space.sample(rng), AT_ONCE))


def aging_evolution(
    space: Space[Any],
    predictor: Model,
    oracle: Oracle | None,
    queries: int,
    seed: int = 0,
    *,
    population: int = 50,
    tournament: int = 10,
    allowed: Callable[[Any], bool] | None = None,
    path: str | PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Regularised evolution (Real et al. 2019, algorithm 1): a mutation of the best of a random few of the youngest;
    the oldest dies, however good.

    Unlike there no network is evaluated twice. The predictor is asked only where there is no oracle.

    Args:
        population: how many are alive; the first are drawn at random. Defaults of this and the next are those of Ying
            et al. 2019 on NAS-Bench-101.
        tournament: how many of them are drawn, with replacement, for each parent.

    The other arguments and errors are those of `evolve`.
    """
    sizes = {"population": population, "tournament": tournament}
    run = BudgetedRun(
        Settings(space, predictor, oracle, queries, seed, allowed, path, progress), "aging evolution", sizes
    )

    def propose(run: BudgetedRun, rng: np.random.Generator) -> Candidates:
        born = len(run.history)
        if born < population:
            return run.sample_new(lambda: space.sample(rng), population - born)
        drawn = born - 1 - rng.integers(population, size=tournament)
        scores = run.history.scores[drawn]
        if not np.isfinite(scores).any():
            return run.sample_new(lambda: space.sample(rng), 1)
        parent = run.history.specs[drawn[np.nanargmax(scores)]]
        child = run.sample_new(lambda: space.mutate(parent, rng), 1)
        return child if len(child) else run.sample_new(lambda: space.sample(rng), 1)

    return run.run(propose)
