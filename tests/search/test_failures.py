"""Networks that fail are lines of the log; an oracle that fails is an error."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_samples import SPACE, Ridge, planted, quiet

import search
from cgir import CgirError


class Oracle:
    """Answers, but fails where `fails` says so, at calls counted from 0."""

    def __init__(self, *fails: int, how: Any = None) -> None:
        self.calls, self.fails, self.how = 0, set(fails), how or ZeroDivisionError("no such number")

    def __call__(self, spec: Any) -> float:
        self.calls += 1
        if self.calls - 1 not in self.fails:
            return planted(spec)
        if isinstance(self.how, BaseException):
            raise self.how
        return float(self.how)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (ZeroDivisionError("no such\nnumber"), "ZeroDivisionError: no such number"),
        (MemoryError(), "MemoryError"),
        (SystemError("x" * 5000), "SystemError: " + "x" * 100),
        (math.nan, None),
        (-math.inf, None),
    ],
)
def test_a_failure_is_a_line_and_the_search_goes_on(how: Any, error: str | None, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    history = search.evolve(SPACE, Ridge(), Oracle(2, 3, 11, 12, 14, how=how), 25, path=path, **quiet)
    read = search.History.load(path)
    assert history.num_queries == 25
    assert np.flatnonzero(np.isnan(history.values)).tolist() == [2, 3, 11, 12, 14]
    assert np.array_equal(read.values, history.values, equal_nan=True)
    for row, told in enumerate(read.errors):
        if error is None or row not in (2, 3, 11, 12, 14):
            assert told is None
        else:
            assert told is not None
            assert told.startswith(error[:100])
            assert len(told) < 400
            assert "\n" not in told
    assert all(row.seconds is not None for row in read.rows)
    table = history.table()
    assert np.isnan(table["accuracy"]).sum() == 5
    assert table["asked"].all()


def test_five_failures_in_a_row_end_it_and_the_same_call_goes_on(tmp_path: Path) -> None:
    path, broken = tmp_path / "log.jsonl", Oracle(7, 8, 9, 10, 11)
    with pytest.raises(CgirError, match="5 times in a row, the last time with: ZeroDivisionError: no such number"):
        search.evolve(SPACE, Ridge(), broken, 30, path=path, **quiet)
    assert broken.calls == 12
    mended = Oracle()
    history = search.evolve(SPACE, Ridge(), mended, 30, path=path, **quiet)
    assert mended.calls == 18  # what failed is not asked again
    assert np.isnan(history.values).sum() == 5
    assert history.num_queries == 30


def test_an_interruption_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for how in (KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(how)):
            search.evolve(SPACE, Ridge(), Oracle(5, how=how), 30, path=path, **quiet)
    history = search.evolve(SPACE, Ridge(), Oracle(), 30, path=path, **quiet)
    assert np.array_equal(history.values, search.evolve(SPACE, Ridge(), planted, 30, **quiet).values)


def test_a_search_without_any_success_has_no_best_one() -> None:
    history = search.evolve(SPACE, Ridge(), Oracle(*range(4)), 4, **quiet)
    assert history.num_queries == 4
    assert history.front() == []
    with pytest.raises(CgirError, match="none of 4 networks has a score"):
        _ = history.best


def test_a_network_that_breaks_a_limit_on_an_answer_is_no_result() -> None:
    history = search.evolve(SPACE, Ridge(), planted, 40, limits="accuracy<=20", **quiet)
    assert max(history.values) > 20
    assert history.best_value == max(value for value in history.values if value <= 20)
    assert all(history.values[row] <= 20 for row in history.top(40))
