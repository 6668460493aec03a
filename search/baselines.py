"""Baselines of `search.evolve` with the same arguments: random search and regularised (aging) evolution."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np

from encoders.predictors.stacking import Model
from frontends.spaces import Space

from .budgeted_run import BudgetedRun, Candidates, Oracle, Settings
from .history import History

GENERATION_SIZE = 100  # networks that random search samples at a time


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
    """Query networks sampled at random, without repetition.

    Args:
        space: the search space.
        predictor: used only where there is no oracle.
        oracle: spec -> the network's true score, higher is better; see `evolve`.
        queries: budget.
        seed: of the sampling.
        allowed: spec -> whether it may be queried.
        path: file of the history, to resume from.
        progress: show a progress bar.

    Raises:
        CgirError: as `evolve`.
    """
    run = BudgetedRun(Settings(space, predictor, oracle, queries, seed, allowed, path, progress), "random search", {})
    return run.run(lambda run, rng: run.sample_new(lambda: space.sample(rng), GENERATION_SIZE))


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
    """Regularised evolution (Real et al. 2019, algorithm 1), except that no network is evaluated twice.

    The population is the most recent networks, whatever their scores. A parent is the best of a random sample of them;
    its mutation replaces the oldest. Default sizes are those of Ying et al. 2019 on NAS-Bench-101.

    Args:
        space: the search space.
        predictor: used only where there is no oracle.
        oracle: spec -> the network's true score, higher is better; see `evolve`.
        queries: budget.
        seed: of all random choices.
        population: number of networks alive; as many are first sampled at random.
        tournament: number of networks, sampled with replacement, that compete to be a parent.
        allowed: spec -> whether it may be queried.
        path: file of the history, to resume from.
        progress: show a progress bar.

    Raises:
        CgirError: as `evolve`.
    """
    sizes = {"population": population, "tournament": tournament}
    run = BudgetedRun(
        Settings(space, predictor, oracle, queries, seed, allowed, path, progress), "aging evolution", sizes
    )

    def propose(run: BudgetedRun, rng: np.random.Generator) -> Candidates:
        count = len(run.history)
        if count < population:
            return run.sample_new(lambda: space.sample(rng), population - count)
        competitors = count - 1 - rng.integers(population, size=tournament)
        scores = run.history.scores[competitors]
        if not np.isfinite(scores).any():
            return run.sample_new(lambda: space.sample(rng), 1)
        parent = run.history.specs[competitors[np.nanargmax(scores)]]
        child = run.sample_new(lambda: space.mutate(parent, rng), 1)
        return child if len(child) else run.sample_new(lambda: space.sample(rng), 1)

    return run.run(propose)
