"""Search by a proxy: the networks of a random sample in the order of a score that costs less than training."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Unpack

import numpy as np

from cgir.errors import CgirError
from frontends.spaces import Space

from .ask_tell import Known, Method
from .candidates import Candidates
from .history import History
from .query_loop import Oracle, SearchOptions, run_method

Proxy = Callable[[Any], float | None]


def proxy_method(space: Space[Any], proxy: Proxy, *, sample: int = 300, seed: int = 0) -> Method:
    """The method of `proxy_search`, for `Search`.

    Args:
        space: the search space.
        proxy: spec -> score, higher is better; None or NaN where it is undefined, which ranks last.
        sample: number of networks that are scored.
        seed: of the sample.

    Raises:
        CgirError: a number is out of range.
    """
    if not isinstance(sample, int) or sample < 1:
        raise CgirError(f"proxy search: sample={sample!r}; expected a whole number, at least 1")

    @cache
    def ranked() -> list[Any]:
        rng = np.random.default_rng((seed, 0))
        texts = dict.fromkeys(space.format(space.sample(rng)) for _ in range(sample))
        specs = [space.parse(text) for text in texts]
        scores = [score if (score := proxy(spec)) is not None else np.nan for spec in specs]
        return [specs[row] for row in np.argsort(-np.asarray(scores, np.float64), kind="stable")]

    def propose(known: Known, rng: np.random.Generator, count: int) -> Candidates:
        specs, size = ranked(), known.num_queries + count
        found = known.filter.new(specs[:size])
        while len(found) < count and size < len(specs):  # some were known, or a limit forbids them
            size *= 2
            found = known.filter.new(specs[:size])
        return found.select(range(min(count, len(found))))

    return Method("proxy search", {"sample": sample}, propose, lambda asked: 1)


def proxy_search(
    space: Space[Any],
    proxy: Proxy,
    oracle: Oracle,
    queries: int,
    seed: int = 0,
    *,
    sample: int = 300,
    **options: Unpack[SearchOptions],
) -> History:
    """Query the best networks of a random sample by a proxy, best first.

    Args:
        space: the search space.
        proxy: spec -> score, higher is better, such as a proxy of `search.zero_cost` of `space.module(spec)`; None or
            NaN where it is undefined, which ranks last. It is computed once for every network of the sample, and again
            when a search is resumed.
        oracle: spec -> the network's true value; see `evolve`.
        queries: budget.
        seed: of the sample.
        sample: number of networks that are scored.
        options: objectives, limits, path, executor, workers, timeout, memory, progress; see `SearchOptions`.

    Raises:
        CgirError: as `evolve`.
    """
    method = proxy_method(space, proxy, sample=sample, seed=seed)
    return run_method(space, method, oracle, queries, seed, **options)
