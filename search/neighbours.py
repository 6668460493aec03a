"""Local search: the neighbours of the best network, then of the next best."""

from __future__ import annotations

from functools import cache
from typing import Any, Unpack

import numpy as np

from cgir.errors import CgirError
from frontends.spaces import Space

from .ask_tell import Known, Method
from .candidates import Candidates
from .history import History
from .query_loop import Oracle, SearchOptions, run_method

DRAWS = 200  # mutations of a network among which all its neighbours are likely to be
NUM_INITIAL = 10  # random networks, the best of which is the first to have neighbours


def local_method(space: Space[Any], *, start: int = NUM_INITIAL) -> Method:
    """The method of `local_search`, for `Search`.

    Raises:
        CgirError: a number is out of range.
    """
    if not isinstance(start, int) or start < 1:
        raise CgirError(f"local search: start={start!r}; expected a whole number, at least 1")

    @cache
    def neighbours(text: str) -> list[Any]:
        # drawn once for each network, from a generator of its own, so that a resumed search draws the same ones
        rng, spec = np.random.default_rng(list(text.encode())), space.parse(text)
        drawn = (space.mutate(spec, rng) for _ in range(DRAWS))
        return list({space.format(neighbour): neighbour for neighbour in drawn}.values())

    def propose(known: Known, rng: np.random.Generator, count: int) -> Candidates:
        if known.num_queries < start:
            return known.filter.sample_new(lambda: space.sample(rng), min(count, start - known.num_queries))
        for row in known.top(len(known.rows)):
            found = known.filter.new(neighbours(space.format(known.history.rows[row].spec)))
            if len(found):
                return found.select(rng.permutation(len(found))[:count])
        return known.filter.sample_new(lambda: space.sample(rng), count)

    return Method("local search", {"start": start}, propose, lambda asked: max(start - asked, 1))


def local_search(
    space: Space[Any],
    oracle: Oracle,
    queries: int,
    seed: int = 0,
    *,
    start: int = NUM_INITIAL,
    **options: Unpack[SearchOptions],
) -> History:
    """Query a neighbour, one mutation away, of the best network so far, until it has none that is new.

    White et al. 2021 ("Exploring the loss landscape in neural architecture search", algorithm 1), moving at once to the
    first neighbour that is better; behind a local optimum it goes on with the next best network instead of a new draw.

    Args:
        space: the search space.
        oracle: spec -> the network's true value; see `evolve`.
        queries: budget.
        seed: of all random choices.
        start: number of random networks to begin with.
        options: objectives, limits, path, executor, workers, timeout, memory, progress; see `SearchOptions`.

    Raises:
        CgirError: as `evolve`.
    """
    return run_method(space, local_method(space, start=start), oracle, queries, seed, **options)
