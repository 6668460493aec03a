"""Evolution guided by a predictor: the oracle, which is costly, is asked only about those children that the predictor,
which is cheap, likes best.
"""

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

POOL = 256  # unlabelled networks that the predictor is fitted beside
NUM_INITIAL = 10  # networks asked about before there is a predictor
RANDOM_CHILD_RATE = 0.1  # of the children are drawn from the whole space, so that no search is caught where it began


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
    """Look for the best networks of a space with a budget of `queries`, each network being asked about at most once.

    A generation: `children` of the `parents` best networks so far, one or a few mutations away; the predictor scores
    them, and the oracle is asked about the `batch` that it likes best; then the predictor is fitted to all answers.
    Without an oracle the predictor's scores take the place of its answers, and all children are queries (so Han et al.
    2023, section 5.3, search Once-for-All, after 50 labels).

    Args:
        space: what is searched; it has to sample, mutate, format and give graphs.
        predictor: anything with `fit` and `predict` of graphs, higher is better.
        oracle: spec -> what training it gives, higher is better; NaN, or anything not finite, if it failed: it counts,
            is kept, and has no children. What it raises ends the search; with a `path` all earlier answers are kept.
        queries: of the oracle, or, without one, of the predictor, at most; fewer if nothing new is found.
        seed: of everything drawn here, and of the predictor's fits.
        start: how many to ask about at random before the predictor is asked at all, or specs to ask about first, such
            as those that it was fitted to; by default 10 where it is to be fitted to answers, else 0. With 0 it has to
            be fitted already.
        parents: how many of the best have children.
        children: scored in each generation.
        batch: asked about in each generation.
        refit: fit the predictor, the one given, to all answers before each generation, as soon as two of them differ.
        allowed: spec -> whether it may be asked about, such as a limit on FLOPs. Given ones are not checked.
        path: a file for the history, written after each answer: the same call goes on from there, with more `queries`
            too, and asks nothing again.
        progress: show a progress bar.

    Returns:
        All queries in their order.

    Raises:
        CgirError: bad numbers, no network allowed, a score or an answer that is no number, or `path` belongs to another
            search.
    """
    learns = refit and oracle is not None
    first, about = _first(space, (NUM_INITIAL if learns else 0) if start is None else start, queries)
    sizes = {"parents": parents, "children": children, "batch": batch}
    run = BudgetedRun(
        Settings(space, predictor, oracle, queries, seed, allowed, path, progress),
        "evolve",
        sizes,
        refit=learns,
        start=about,
    )
    pool = cache(partial(_pool, space, seed))

    def propose(run: BudgetedRun, rng: np.random.Generator) -> Candidates:
        if first and not len(run.history):
            return run.sample_new(lambda: space.sample(rng), first) if isinstance(first, int) else run.filter_new(first)
        ready = not learns or _learn(predictor, run.history, seed, pool) or not first
        best = [run.history.specs[row] for row in run.history.top(parents)]
        found = run.sample_new(lambda: _child(space, best, rng), children)
        if oracle is None or not len(found):
            return found
        found = found.scored(predictor) if ready else found
        return found.select(np.argsort(-found.scores, kind="stable")[:batch])

    return run.run(propose)


def _first(space: Space[Any], start: int | Sequence[Any], queries: int) -> tuple[int | list[Any], str]:
    """How many networks to begin with, or which, and a word on them to know them by."""
    if isinstance(start, int):
        if start < 0:
            raise CgirError(f"evolve: start={start}; expected a number of networks, or specs")
        return start, f"{start} drawn"
    given = list(start)
    if len(given) > queries:
        raise CgirError(
            f"evolve: {len(given)} networks to start with, but queries={queries}; they count, so give more queries or fewer networks"
        )
    digest = sha256("\n".join(map(space.format, given)).encode()).hexdigest()[:16]
    return given, f"{len(given)} given, {digest}"


def _pool(space: Space[Any], seed: int) -> GraphBatch:
    rng = np.random.default_rng((seed, 0))
    return space.graphs([space.sample(rng) for _ in range(POOL)])


def _learn(predictor: Model, history: History, seed: int, pool: Callable[[], GraphBatch]) -> bool:
    """Fit the predictor to all answers; False if they say nothing: fewer than two, or all equal."""
    known = np.flatnonzero(np.isfinite(history.values))
    labels = history.values[known]
    if len(np.unique(labels)) < 2:
        return False
    predictor.fit(history.space.graphs([history.specs[row] for row in known]), labels, seed=seed, pool=pool())
    return True


def _child(space: Space[Any], parents: Sequence[Any], rng: np.random.Generator) -> Any:
    if not parents or rng.random() < RANDOM_CHILD_RATE:
        return space.sample(rng)
    spec = parents[int(rng.integers(len(parents)))]
    for _ in range(rng.geometric(0.5)):
        spec = space.mutate(spec, rng)
    return spec
