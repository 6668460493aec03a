"""The rows of `examples.papers.search`: searches that ask a table for labels, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import search
from encoders import Predictor, TrainConfig
from encoders.predictors.estimators import DEFAULT_TASK
from examples.papers import search_rivals
from examples.papers.carl_methods import ENCODER, training
from examples.papers.search_listed import CellSpace
from examples.papers.search_problems import Problem
from examples.papers.search_sources import SEED, encoder, source_predictor, teachers
from examples.papers.universal_families import family, trace_timm

FINE_TUNING_LABELS = 50  # of the recipe of Han et al., or half of a smaller budget
SCORED = 2_000  # networks that its evolution scores
LOOK_AHEAD_ON = "NAS-Bench-201, CIFAR-10"
CARL_BATCH = 10  # as many are asked by CARL between two trainings

# problem, queries, seed, folder of predictors -> the networks that were asked, in order
Search = Callable[[Problem, int, int, Path], list[int]]


class Method(NamedTuple):
    """`run`, and `skip`: problem -> why the method is not for it, or nothing."""

    run: Search
    skip: Callable[[Problem], str | None] = lambda found: None


def default(found: Problem, queries: int, seed: int, folder: Path) -> list[int]:
    """`search.evolve` as it comes, from the default predictor that other families taught.

    Args:
        found: the problem.
        queries: budget.
        seed: of the search.
        folder: of predictors.
    """
    history = search.evolve(
        found.space, source_predictor(found.family, folder), found.oracle, queries, seed, progress=False
    )
    return rows(found, history.specs)


def look_ahead(workers: int) -> Search:
    """`default` as with several workers, whose proposals do without the last answers; they are asked one by one here.

    Args: workers: as in `search.evolve`.
    """

    def run(found: Problem, queries: int, seed: int, folder: Path) -> list[int]:
        method = search.evolution_method(found.space, source_predictor(found.family, folder), seed=seed)
        engine = search.Search(found.space, method, seed=seed, look_ahead=2 * workers)
        return rows(found, search.run_search(engine, found.oracle, queries, progress=False).specs)

    return run


def scratch(found: Problem, queries: int, seed: int, folder: Path) -> list[int]:
    """The same with a predictor that knows no other family.

    Args:
        found: the problem.
        queries: budget.
        seed: of the search.
        folder: not read.
    """
    return rows(found, search.evolve(found.space, Predictor(), found.oracle, queries, seed, progress=False).specs)


def carl(found: Problem, queries: int, seed: int, folder: Path) -> list[int]:
    """`search.evolve` with CARL as in section 5.3 of its paper, trained anew on all answers.

    Args:
        found: the problem.
        queries: budget.
        seed: of the search.
        folder: not read.
    """
    predictor = Predictor(ENCODER, "carl", train=training(queries))
    space = CellSpace(found.space, found.specs, found.row)
    history = search.evolve(space, predictor, found.oracle, queries, seed, batch=CARL_BATCH, progress=False)
    return rows(found, history.specs)


def contrastive(found: Problem, queries: int, seed: int, folder: Path) -> list[int]:
    """Han et al. 2023: fine-tune on some labels, evolve by the predictor, spend the other queries on its best.

    Args:
        found: the problem.
        queries: budget.
        seed: of the labels and of the search.
        folder: of predictors.
    """
    model = fine_tuned(found.family, folder)
    first = search.random_search(
        found.space, model, found.oracle, min(FINE_TUNING_LABELS, queries // 2), seed, progress=False
    )
    asked = rows(found, first.specs)
    model.fit(found.space.graphs(first.specs), first.values, seed=seed)
    history = search.evolve(found.space, model, None, min(SCORED, len(found.specs)), seed, progress=False)
    best = rows(found, [history.specs[row] for row in history.top(len(history))])
    return [*asked, *[row for row in best if row not in set(asked)][: queries - len(asked)]]


def fine_tuned(target: str, folder: Path) -> Predictor:
    """The encoder with a head for squared errors, fine-tuned on other families' accuracies; made once.

    Args:
        target: name of the family that is left out.
        folder: of predictors.
    """
    place = folder / f"fine-tuned-{target}"
    if not place.exists():
        trace_timm()
        sources = [
            (family(name).graphs, family(name).labels[DEFAULT_TASK])
            for name in teachers(target)
            if DEFAULT_TASK in family(name).labels
        ]
        model = Predictor(encoder(), head="mse", train=TrainConfig(source_steps=300))
        model.fit_sources(sources, seed=SEED).save(place)
    return Predictor.load(place)


def random(found: Problem, queries: int, seed: int, folder: Path) -> list[int]:
    """Random search.

    Args:
        found: the problem.
        queries: budget.
        seed: of the draws.
        folder: not read.
    """
    return rows(
        found, search.random_search(found.space, Predictor(), found.oracle, queries, seed, progress=False).specs
    )


def aging(found: Problem, queries: int, seed: int, folder: Path) -> list[int]:
    """Aging evolution with the populations that suit the budgets: 20 networks, tournaments of 5.

    Args:
        found: the problem.
        queries: budget.
        seed: of all random choices.
        folder: not read.
    """
    history = search.aging_evolution(
        found.space, Predictor(), found.oracle, queries, seed, population=20, tournament=5, progress=False
    )
    return rows(found, history.specs)


def rows(found: Problem, specs: list[Any]) -> list[int]:
    """Which networks of the problem specs are, without repetition: different specs may be isomorphic."""
    return list(dict.fromkeys(found.row(spec) for spec in specs))


def no_tuple(found: Problem) -> str | None:
    """Why a search over tuples of choices is not for a problem."""
    return None if found.family in search_rivals.TUPLES else "its networks are graphs, not tuples of choices"


def elsewhere(found: Problem) -> str | None:
    """Why a row is not for a problem: it is measured on one."""
    return None if found.title == LOOK_AHEAD_ON else f"measured on {LOOK_AHEAD_ON}"


METHODS: dict[str, Method] = {
    "cgir": Method(default),
    **{f"cgir, {workers} workers": Method(look_ahead(workers), elsewhere) for workers in (2, 4, 8)},
    "cgir without sources": Method(scratch),
    "CARL": Method(carl),
    "Han et al.": Method(contrastive),
    "random": Method(random),
    "aging evolution": Method(aging),
    "TPE (Optuna)": Method(lambda found, queries, seed, folder: search_rivals.tpe(found, queries, seed), no_tuple),
    "NSGA-II (pymoo)": Method(lambda found, queries, seed, folder: search_rivals.nsga2(found, queries, seed), no_tuple),
}


def curve(found: Problem, asked: list[int]) -> list[float]:
    """Best label after each query."""
    best: list[float] = np.maximum.accumulate(found.values[asked]).tolist()
    return best
