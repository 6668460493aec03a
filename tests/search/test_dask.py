"""Searches on dask, the engine for many machines: one history, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import oracle_samples
import pytest
from distributed import Client, LocalCluster
from planted_search import in_order, run
from running_processes import all_end, written

from cgir.executors import wait_any
from search.child_process import OracleError, OracleTimeout
from search.workers import limited

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def executor(client: Client) -> Executor:
    found: Executor = client.get_executor(pure=False)
    return found


def test_calls_and_waiting_for_them(executor: Executor) -> None:
    waiting = [executor.submit(oracle_samples.double, number) for number in range(5)]
    answers = []
    while waiting:
        done = wait_any(waiting)
        answers += [future.result() for future in done]
        waiting = [future for future in waiting if future not in done]
    assert sorted(answers) == [0, 2, 4, 6, 8]


def test_limits_in_workers_that_may_have_no_children(executor: Executor) -> None:
    assert executor.submit(limited(oracle_samples.double, seconds=60), 4).result() == 8
    with pytest.raises(OracleTimeout, match=r"^no answer within 0\.5 s; the call was stopped$"):
        executor.submit(limited(oracle_samples.sleeps, seconds=0.5), 600).result()
    with pytest.raises(OracleError, match=r"^MemoryError .*; memory is limited to 1,048,576 bytes more"):
        executor.submit(limited(oracle_samples.allocates, memory=2**20), 2**27).result()
    counter = limited(oracle_samples.Counter())
    assert max(executor.submit(counter).result() for _ in range(6)) >= 3  # kept between calls, in each worker


def test_a_killed_worker_takes_its_children_with_it_and_loses_no_call(executor: Executor, tmp_path: Path) -> None:
    mark = tmp_path / "process"
    future = executor.submit(limited(oracle_samples.waits_once_below), str(mark), 4)
    worker, child = written(mark)
    os.kill(worker, signal.SIGKILL)
    assert future.result() == 8
    assert all_end([worker, child])


def test_one_history(executor: Executor) -> None:
    assert run(executor=executor) == in_order()
    assert run(executor=executor, timeout=60) == in_order()


def test_a_worker_that_is_killed_in_the_middle_changes_nothing(executor: Executor, tmp_path: Path) -> None:
    mark = tmp_path / "calls"
    assert run(partial(oracle_samples.planted_after_a_kill, str(mark), 5, "self"), executor=executor) == in_order()
    assert len(mark.read_text()) > 12


def test_a_driver_that_is_killed_goes_on_where_it_was(client: Client, executor: Executor, tmp_path: Path) -> None:
    """The driver is another client of the same cluster, as on a cluster of many users."""
    mark, path = tmp_path / "calls", tmp_path / "history.jsonl"
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import os, sys\nsys.path[:0] = {sys.path!r}\n"
        "from functools import partial\nimport oracle_samples\nfrom distributed import Client\n"
        "from planted_search import run\n"
        f"oracle = partial(oracle_samples.planted_after_a_kill, {str(mark)!r}, 6, os.getpid())\n"
        f"client = Client({client.scheduler.address!r})\n"
        f"run(oracle, path={str(path)!r}, executor=client.get_executor(pure=False))\n"
    )
    process = subprocess.run([sys.executable, str(driver)], capture_output=True, text=True, check=False, timeout=300)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert run(oracle_samples.planted, path=path, executor=executor) == in_order()
