"""A small search whose history depends on every answer, to be run in several ways."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import oracle_samples

import search
from encoders import CostPredictor
from frontends import spaces

SPACE = spaces.get("nasbench_macro", stages=(2, 2), channels=4, head=8)
QUERIES = 12
Found = list[tuple[str, dict[str, float] | None]]  # networks and their answers


def run(oracle: Any = oracle_samples.planted, **options: Any) -> Found:
    """A search that expects two workers."""
    settings: dict[str, Any] = {"start": 4, "batch": 2, "workers": 2, "progress": False, "seed": 3} | options
    history = search.evolve(SPACE, CostPredictor(), oracle, QUERIES, **settings)
    return [(text, row.answer) for text, row in zip(history.spec_strings, history.rows, strict=True)]


@cache
def in_order() -> Found:
    """Its history where one network is asked at a time, in order."""
    with ThreadPoolExecutor(1) as executor:
        found = run(executor=executor)
    expected = [{"accuracy": oracle_samples.planted(SPACE.parse(text))} for text, _ in found]
    assert [answer for _, answer in found] == expected
    assert len({text for text, _ in found}) == QUERIES
    return found
