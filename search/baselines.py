"""Baselines of `search.evolve` with the same arguments: random search and regularised (aging) evolution."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from cgir.errors import CgirError
from encoders.predictors.stacking import Model
from frontends.spaces import Space

from .ask_tell import Known, Method
from .candidates import Candidates
from .guides import Guide
from .history import History
from .query_loop import Oracle, SearchOptions, run_method

GENERATION_SIZE = 100  # networks that random search samples at a time
MAX_TOURNAMENTS = 200  # without a child that is new, after which a network is drawn from the whole space


def random_method(space: Space[Any], predictor: Model | None = None) -> Method:
    """The method of `random_search`, for `Search`; with a predictor, which scores what is drawn, there is no oracle."""

    def propose(known: Known, rng: np.random.Generator, count: int) -> Candidates:
        return _scored(known.filter.sample_new(lambda: space.sample(rng), count), predictor, known, rng)

    return Method("random search", {}, propose, lambda asked: GENERATION_SIZE)


def aging_method(
    space: Space[Any], predictor: Model | None = None, *, population: int = 50, tournament: int = 10
) -> Method:
    """The method of `aging_evolution`, for `Search`.

    Args:
        space: the search space.
        predictor: what scores children in a search without an oracle.
        population: number of networks alive.
        tournament: number that compete to be a parent.

    Raises:
        CgirError: a number is out of range.
    """
    for name, value in (("population", population), ("tournament", tournament)):
        if not isinstance(value, int) or value < 1:
            raise CgirError(f"aging evolution: {name}={value!r}; expected a whole number, at least 1")

    def child(known: Known, rng: np.random.Generator) -> Candidates:
        alive = known.rows[-population:]
        scores = np.nan_to_num(known.history.scores[alive], nan=-np.inf)

        def draw() -> Any:  # each time of another tournament, as a parent may have no child that is new
            competitors = rng.integers(len(alive), size=tournament)
            best = int(competitors[scores[competitors].argmax()])
            failed = np.isneginf(scores[best])
            return space.sample(rng) if failed else space.mutate(known.history.rows[alive[best]].spec, rng)

        return known.filter.sample_new(draw, 1, MAX_TOURNAMENTS)

    def propose(known: Known, rng: np.random.Generator, count: int) -> Candidates:
        missing = population - len(known.history)
        found = child(known, rng) if missing <= 0 and known.rows else known.filter.new(())
        if not len(found):
            found = known.filter.sample_new(lambda: space.sample(rng), min(max(missing, 1), count))
        return _scored(found, predictor, known, rng)

    sizes = {"population": population, "tournament": tournament}
    return Method("aging evolution", sizes, propose, lambda asked: max(population - asked, 1))


def random_search(
    space: Space[Any],
    predictor: Model | None,
    oracle: Oracle | None,
    queries: int,
    seed: int = 0,
    **options: Unpack[SearchOptions],
) -> History:
    """Query networks sampled at random, without repetition.

    Args:
        space: the search space.
        predictor: used only where there is no oracle.
        oracle: spec -> the network's true value; see `evolve`.
        queries: budget.
        seed: of the sampling.
        options: objectives, limits, path, executor, workers, timeout, memory, progress; see `SearchOptions`.

    Raises:
        CgirError: as `evolve`.
    """
    method = random_method(space, predictor if oracle is None else None)
    return run_method(space, method, oracle, queries, seed, **options)


def aging_evolution(
    space: Space[Any],
    predictor: Model | None,
    oracle: Oracle | None,
    queries: int,
    seed: int = 0,
    *,
    population: int = 50,
    tournament: int = 10,
    **options: Unpack[SearchOptions],
) -> History:
    """Regularised evolution (Real et al. 2019, algorithm 1), except that no network is evaluated twice.

    The population is the most recent networks, whatever their scores. A parent is the best of a random sample of them,
    by the first objective; its mutation replaces the oldest. Default sizes are those of Ying et al. 2019 on
    NAS-Bench-101.

    Args:
        space: the search space.
        predictor: used only where there is no oracle.
        oracle: spec -> the network's true value; see `evolve`.
        queries: budget.
        seed: of all random choices.
        population: number of networks alive; as many are first sampled at random.
        tournament: number of networks, sampled with replacement, that compete to be a parent.
        options: objectives, limits, path, executor, workers, timeout, memory, progress; see `SearchOptions`.

    Raises:
        CgirError: as `evolve`.
    """
    method = aging_method(space, predictor if oracle is None else None, population=population, tournament=tournament)
    return run_method(space, method, oracle, queries, seed, **options)


def _scored(found: Candidates, predictor: Model | None, known: Known, rng: np.random.Generator) -> Candidates:
    if predictor is None or not len(found):
        return found
    return Guide(known.space, predictor, False, "mean", 0).score(found, known, rng)[0]
