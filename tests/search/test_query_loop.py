"""A search has one history, whoever answers its questions, in whatever order, and whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import oracle_samples
import pytest
from hostile_executor import HostileExecutor
from planted_search import QUERIES, SPACE, in_order, run

import search
from search.child_process import OracleImportError


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_answers_changes_nothing(seed: int) -> None:
    executor = HostileExecutor(seed)
    assert run(executor=executor) == in_order()
    assert executor.order != sorted(executor.order)


def test_processes_answer_as_one_does() -> None:
    assert run() == in_order()


def test_a_killed_process_changes_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "calls"
    assert run(partial(oracle_samples.planted_after_a_kill, str(mark), 5, "self")) == in_order()
    assert len(mark.read_text()) == QUERIES + 1  # one more, as one was killed


@pytest.mark.parametrize("moment", [1, 6, QUERIES])
def test_a_killed_driver_goes_on_where_it_was(moment: int, tmp_path: Path) -> None:
    mark, path = tmp_path / "calls", tmp_path / "history.jsonl"
    oracle = partial(oracle_samples.planted_after_a_kill, str(mark), moment, "parent")
    if (driver := os.fork()) == 0:
        run(oracle, path=path)
        os._exit(1)
    assert os.waitpid(driver, 0)[1] == signal.SIGKILL
    time.sleep(1)  # its processes, of which one may begin a call, look for it every quarter of a second
    before = len(mark.read_text())
    told = sum(row.answer is not None for row in search.History.load(path).rows)
    assert run(oracle, path=path) == in_order()
    assert len(mark.read_text()) - before == QUERIES - told  # no answer in the log is asked for again


def test_networks_that_take_too_long_are_failures() -> None:
    """Here those with values above 70, of which no five are asked in a row."""
    oracle = partial(oracle_samples.planted_but_slow, 70.0)
    options = {"seed": 3, "workers": 2, "timeout": 1.0, "progress": False}
    history = search.random_search(SPACE, None, oracle, QUERIES, **options)
    late = [row.error == "no answer within 1 s; the call was stopped" for row in history.rows]
    assert late == [oracle_samples.planted(row.spec) > 70 for row in history.rows]
    assert any(late)
    assert not all(late)


def test_an_oracle_that_no_process_can_import_ends_the_search_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone.py").write_text("def oracle(spec):\n    return 1.0\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        oracle = __import__("gone").oracle
    path = tmp_path / "history.jsonl"
    with pytest.raises(OracleImportError, match=r"another process cannot import the oracle .*No module named 'gone'"):
        run(oracle, path=path)
    assert run(path=path) == in_order()  # no network was spent
