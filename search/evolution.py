"""Predictor-guided evolution: a costly oracle is queried only for the children with the best predicted scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from hashlib import sha256
from os import PathLike
from typing import Any

import numpy as np

from cgir.errors import CgirError
from cgir.graph_batch import GraphBatch
from encoders.predictors.stacking import Model
from frontends.spaces import Space

from .budgeted_run import BudgetedRun, Candidates, Oracle, Settings
from .history import History

POOL_SIZE = 256  # unlabelled networks of the space that the predictor's `fit` gets as pool
NUM_INITIAL = 10  # random networks that are queried before the predictor is first fitted
RANDOM_CHILD_RATE = 0.1  # probability that a child is sampled from the whole space, against local optima


def evolve(
    space: Space[Any],
    predictor: Model,
    oracle: Oracle | None,
    queries: int,
    seed: int = 0,
    *,
    start: int | Sequence[Any] | None = None,
    parents: int = 20,
    children: int = 200,
    batch: int = 5,
    refit: bool = True,
    allowed: Callable[[Any], bool] | None = None,
    path: str | PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Search a space for its best networks with a budget of `queries`; no network is queried twice.

    In each generation the `parents` best networks so far get `children`, one or a few mutations away. The predictor
    scores these, the oracle is queried for the `batch` best by score, and the predictor is fitted to all answers.
    Without an oracle the predictor's scores take the place of answers, and all children count as queries (as in Han et
    al. 2023, section 5.3, on Once-for-All, after 50 labels).

    Args:
        space: the search space; it must sample, mutate, format and give graphs.
        predictor: anything with `fit` and `predict` of graphs, higher is better.
        oracle: spec -> the network's true score, such as its accuracy after training; higher is better. NaN or infinity
            for a network that failed: it counts and is kept, but has no children. An exception ends the search; with a
            `path` all earlier answers are kept.
        queries: budget, of the oracle or, without one, of the predictor; fewer are made if nothing new is found.
        seed: of all random choices and of the predictor's fits.
        start: number of random networks to query before the predictor is used, or specs to query first, such as those
            that it was fitted to; default 10 where it is to be fitted to answers, else 0. With 0 the predictor must be
            fitted already.
        parents: number of best networks that get children.
        children: number of networks that are scored in each generation.
        batch: number of networks that are queried in each generation.
        refit: fit the given predictor to all answers before each generation, once two answers differ.
        allowed: spec -> whether it may be queried, such as a limit on FLOPs. Specs in `start` are not checked.
        path: file of the history, written after each answer. The same call, also with more `queries`, resumes from it
            and repeats no query.
        progress: show a progress bar.

    Returns:
        All queries in their order.

    Raises:
        CgirError: numbers out of range, no network is allowed, a score or an answer is no number, or `path` belongs to
            another search.
        FileFormatError: `path` is not the history of a search in this space.
    """
    learns = refit and oracle is not None
    first, description = _first_networks(space, (NUM_INITIAL if learns else 0) if start is None else start, queries)
    sizes = {"parents": parents, "children": children, "batch": batch}
    run = BudgetedRun(
        Settings(space, predictor, oracle, queries, seed, allowed, path, progress),
        "evolve",
        sizes,
        refit=learns,
        start=description,
    )
    pool = cache(partial(_pool, space, seed))

    def propose(run: BudgetedRun, rng: np.random.Generator) -> Candidates:
        if first and not len(run.history):
            return run.sample_new(lambda: space.sample(rng), first) if isinstance(first, int) else run.filter_new(first)
        is_fitted = not learns or _fit(predictor, run.history, seed, pool) or not first
        best = [run.history.specs[row] for row in run.history.top(parents)]
        candidates = run.sample_new(lambda: _child(space, best, rng), children)
        if oracle is None or not len(candidates):
            return candidates
        candidates = candidates.scored(predictor) if is_fitted else candidates
        return candidates.select(np.argsort(-candidates.scores, kind="stable")[:batch])

    return run.run(propose)


def _first_networks(space: Space[Any], start: int | Sequence[Any], queries: int) -> tuple[int | list[Any], str]:
    """The number or the specs of the first networks, and a description of them for the history's config."""
    if isinstance(start, int):
        if start < 0:
            raise CgirError(f"evolve: start={start}; expected a number of networks, or specs")
        return start, f"{start} drawn"
    specs = list(start)
    if len(specs) > queries:
        raise CgirError(
            f"evolve: {len(specs)} networks to start with, but queries={queries}; "
            "they count, so give more queries or fewer networks"
        )
    digest = sha256("\n".join(map(space.format, specs)).encode()).hexdigest()[:16]
    return specs, f"{len(specs)} given, {digest}"


def _pool(space: Space[Any], seed: int) -> GraphBatch:
    rng = np.random.default_rng((seed, 0))
    return space.graphs([space.sample(rng) for _ in range(POOL_SIZE)])


def _fit(predictor: Model, history: History, seed: int, pool: Callable[[], GraphBatch]) -> bool:
    """Fit the predictor to all answers; False, without a fit, if fewer than two of them differ."""
    labelled = np.flatnonzero(np.isfinite(history.values))
    labels = history.values[labelled]
    if len(np.unique(labels)) < 2:
        return False
    predictor.fit(history.space.graphs([history.specs[row] for row in labelled]), labels, seed=seed, pool=pool())
    return True


def _child(space: Space[Any], parents: Sequence[Any], rng: np.random.Generator) -> Any:
    if not parents or rng.random() < RANDOM_CHILD_RATE:
        return space.sample(rng)
    spec = parents[int(rng.integers(len(parents)))]
    for _ in range(rng.geometric(0.5)):
        spec = space.mutate(spec, rng)
    return spec
