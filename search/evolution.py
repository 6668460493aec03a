"""Predictor-guided evolution: a costly oracle is queried only for the children that a predictor thinks best of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Unpack

import numpy as np

from cgir.errors import CgirError, one_line
from encoders.predictors.stacking import Model
from frontends.spaces import Space

from .acquisition import best_rows, check_acquisition
from .ask_tell import Known, Method
from .candidates import Candidates
from .guides import Guide
from .history import History
from .query_loop import Oracle, SearchOptions, run_method

NUM_INITIAL = 10  # networks that are queried before the predictor is first fitted to answers
FIRST_SAMPLE = 2000  # networks of which a predictor that knows other families chooses the first ones
RANDOM_CHILD_RATE = 0.1  # probability that a child is sampled from the whole space, against local optima


def evolution_method(
    space: Space[Any],
    predictor: Model | Mapping[str, Model],
    *,
    start: int | Sequence[Any] | None = None,
    parents: int = 20,
    children: int = 200,
    batch: int = 5,
    acquisition: str = "mean",
    crossover: float = 0.0,
    refit: bool = True,
    oracle: bool = True,
    seed: int = 0,
) -> Method:
    """The method of `evolve`, for `Search`.

    Args:
        space: this and all that is not named here: as in `evolve`.
        predictor: what guides.
        start: networks to begin with.
        parents: number of networks that get children.
        children: number of these that are scored.
        batch: number of networks that are asked for at a time.
        acquisition: what makes a network worth a query.
        crossover: share of children with two parents.
        refit: whether the predictor learns from answers.
        oracle: whether there are any.
        seed: of the predictor's fits.

    Raises:
        CgirError: a number is out of range.
    """
    _check(parents=parents, children=children, batch=batch)
    check_acquisition("evolve", acquisition)
    if isinstance(crossover, str) or not 0 <= crossover <= 1:
        raise CgirError(f"evolve: crossover={crossover!r}; expected the share of children with two parents, 0 to 1")
    if crossover and type(space).crossover is Space.crossover:
        raise CgirError(f"evolve: crossover={crossover!r}, but two networks of {space.name} cannot be crossed")
    learns = refit and oracle
    guide = Guide(space, predictor, learns, acquisition, seed)
    first = _FirstNetworks.of(space, (NUM_INITIAL if learns else 0) if start is None else start)

    def propose(known: Known, rng: np.random.Generator, count: int) -> Candidates:
        guide.check(known)
        given = known.filter.new(first.specs[known.num_queries :], limited=False)
        if len(given):
            return given.select(range(min(count, len(given))))
        in_start = known.num_queries < first.number
        if (in_start and guide.needs_labels) or not (guide.fit(known) or not first.number):
            return known.filter.sample_new(lambda: space.sample(rng), count)
        best = [known.history.rows[row].spec for row in known.top(parents)]
        size = count if not oracle else children if best else max(children, FIRST_SAMPLE)
        found = known.filter.sample_new(lambda: _child(space, best, rng, crossover), size)
        if not len(found):
            return found
        found, values = guide.score(found, known, rng)
        return found.select(best_rows(values, count, known.values, known.signs)) if oracle else found

    config = {"parents": parents, "children": children, "batch": batch, "refit": learns, "start": first.text}
    config |= {"acquisition": acquisition, "crossover": crossover}
    size = batch if oracle else children
    return Method("evolve", config, propose, lambda asked: first.number - asked if asked < first.number else size)


def evolve(
    space: Space[Any],
    predictor: Model | Mapping[str, Model],
    oracle: Oracle | None,
    queries: int,
    seed: int = 0,
    *,
    start: int | Sequence[Any] | None = None,
    parents: int = 20,
    children: int = 200,
    batch: int = 5,
    acquisition: str = "mean",
    crossover: float = 0.0,
    refit: bool = True,
    **options: Unpack[SearchOptions],
) -> History:
    """Search a space for its best networks with a budget of `queries`; no network is queried twice.

    In each generation the `parents` best networks so far get `children`, one or a few mutations away. The predictor
    scores these, the oracle is queried for the `batch` best, and the predictor is fitted to all answers. With several
    objectives parents are those of the best fronts (Deb et al. 2002, NSGA-II), and the children queried are those that
    add most to the hypervolume. Without an oracle the predictor's scores take the place of answers, and all children
    count as queries (as in Han et al. 2023, section 5.3, on Once-for-All, after 50 labels).

    Args:
        space: the search space; it must sample, mutate, format and give graphs.
        predictor: anything with `fit` and `predict` of graphs, higher is better; for several objectives that the oracle
            answers a mapping, name -> predictor.
        oracle: spec -> the network's true value, such as its accuracy after training, or a mapping with all that are
            asked. A network for which it raises, answers NaN or infinity, takes too long or dies counts and is kept,
            with its error, but has no children; five in a row end the search.
        queries: budget, of the oracle or, without one, of the predictor; fewer are made if nothing new is found.
        seed: of all random choices and of the predictor's fits.
        start: number of networks to query before the predictor has learned from answers, or specs to query first. They
            are drawn at random, or, where the predictor knows other families (`load_pretrained`), the best of 2,000
            drawn; default 10, and 0 where it does not learn.
        parents: number of best networks that get children.
        children: number of networks that are scored in each generation.
        batch: number of networks that are queried in each generation.
        acquisition: "mean", what is expected; "ucb", one standard deviation more; "thompson", a draw for each network.
        crossover: share of the children that have two parents (`Space.crossover`).
        refit: fit a copy of the predictor to all answers before each generation, once two answers differ.
        options: objectives, limits, path, executor, workers, timeout, memory, progress; see `SearchOptions`.

    Returns:
        All queries in their order.

    Raises:
        CgirError: numbers out of range, the limits forbid all networks, a score or an answer is no number, the oracle
            fails five times in a row, or `path` belongs to another search or is in use.
        FileFormatError: `path` is not the log of a search in this space.
    """
    if isinstance(start, Sequence) and len(start) > queries:
        raise CgirError(
            f"evolve: {len(start)} networks to start with, but queries={queries}; "
            "they count, so give more queries or fewer networks"
        )
    method = evolution_method(
        space,
        predictor,
        start=start,
        parents=parents,
        children=children,
        batch=batch,
        acquisition=acquisition,
        crossover=crossover,
        refit=refit,
        oracle=oracle is not None,
        seed=seed,
    )
    return run_method(space, method, oracle, queries, seed, **options)


def _check(**sizes: int) -> None:
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise CgirError(f"evolve: {name}={value!r}; expected a whole number, at least 1")


class _FirstNetworks(NamedTuple):
    """How many networks are queried first, which ones if they were given, and a description for the log."""

    number: int
    specs: list[Any]
    text: str

    @classmethod
    def of(cls, space: Space[Any], start: int | Sequence[Any]) -> _FirstNetworks:
        """From the argument of `evolve`."""
        if isinstance(start, int):
            if start < 0:
                raise CgirError(f"evolve: start={start}; expected a number of networks, or specs")
            return cls(start, [], f"{start} chosen")
        if isinstance(start, str) or not isinstance(start, Iterable):
            raise CgirError(f"evolve: start={start!r}; expected a number of networks, or a list of specs")
        specs = [_network(space, spec) for spec in start]
        digest = sha256("\n".join(map(space.format, specs)).encode()).hexdigest()[:16]
        return cls(len(specs), specs, f"{len(specs)} given, {digest}")


def _network(space: Space[Any], spec: Any) -> Any:
    """A network to start with, from its spec or its string."""
    try:
        return space.parse(spec if isinstance(spec, str) else space.format(spec))
    except Exception as error:  # `format` may raise anything where it is given no spec
        raise CgirError(
            f"evolve: start has {spec!r:.200}, which is no network of {space.name} ({one_line(error, 200)})"
        ) from error


def _child(space: Space[Any], parents: Sequence[Any], rng: np.random.Generator, crossover: float) -> Any:
    if not parents or rng.random() < RANDOM_CHILD_RATE:
        return space.sample(rng)
    spec = parents[int(rng.integers(len(parents)))]
    if crossover and rng.random() < crossover:
        spec = space.crossover(spec, parents[int(rng.integers(len(parents)))], rng)
    for _ in range(rng.geometric(0.5)):
        spec = space.mutate(spec, rng)
    return spec
