"""Executors by name: what they run, what is refused, and that nothing of them stays."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from multiprocessing import active_children

import pytest
from hostile_executor import HostileExecutor

from cgir import CgirError, executors
from cgir.executors import open_executor, wait_any


@pytest.mark.parametrize(
    "text", [pytest.param("processes:2", id="processes"), pytest.param("dask", marks=pytest.mark.slow)]
)
def test_calls_run_in_other_processes_that_end(text):
    before = set(active_children())
    with open_executor(text, workers=2) as executor:
        calls = [executor.submit(pow, 2, n) for n in range(5)]
        worker = executor.submit(os.getpid).result()
        assert [call.result() for call in calls] == [1, 2, 4, 8, 16]
        assert all(call.done() for call in calls)
        assert worker != os.getpid()
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()
    assert set(active_children()) == before
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize(
    "text", [pytest.param("processes:2", id="processes"), pytest.param("dask", marks=pytest.mark.slow)]
)
def test_an_error_does_not_wait_for_running_calls(text):
    start = time.monotonic()
    with pytest.raises(KeyError):
        fail_while_calls_run(text)
    assert time.monotonic() - start < 60


def fail_while_calls_run(text):
    with open_executor(text, workers=2) as executor:
        for _ in range(4):
            executor.submit(time.sleep, 600)
        raise KeyError


def test_workers_leave_the_keyboard_to_the_main_process():
    with open_executor("processes:1") as executor:
        assert executor.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result().isdecimal()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ray",
        "processes:-1",
        "processes:0",
        "processes:two",
        "dask:",
        "dask:8786",
        "dask:tcp://host",
        "dask:x://h:1",
    ],
)
def test_other_names_are_refused(text):
    with (
        pytest.raises(CgirError, match=r"is no executor; expected processes:4 .*dask:tcp://HOST:PORT"),
        open_executor(text),
    ):
        pass


def test_dask_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with (
        pytest.raises(CgirError, match=r"dask is not installed: pip install 'cgir\[distributed\]'"),
        open_executor("dask"),
    ):
        pass


def test_an_address_without_a_scheduler(monkeypatch):
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(CgirError, match=r"dask:127.0.0.1:9: no scheduler answers there within 0.5 s") as caught,
        open_executor("dask:127.0.0.1:9"),
    ):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_cluster_that_runs_is_used_and_stays():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, processes=False, dashboard_address=None, host="tcp://127.0.0.1") as cluster:
        for _ in range(2):
            with open_executor(f"dask:{cluster.scheduler_address}") as executor:
                assert executor.submit(pow, 2, 5).result() == 32


def test_dask_is_not_imported_unasked():
    program = "import sys, cgir.executors; sys.exit('distributed' in sys.modules or 'dask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_waiting_for_any_future_of_the_library():
    first, second = Future(), Future()
    threading.Timer(0.05, second.set_result, [1]).start()
    assert wait_any([first, second]) == [second]
    first.set_exception(ValueError())
    assert wait_any([second, first]) == [second, first]
    assert wait_any([]) == []


def test_waiting_for_other_futures_is_not_busy(monkeypatch):
    """The pauses double up to a second; what is done is given in the order asked."""
    pauses = []
    monkeypatch.setattr(executors.time, "sleep", pauses.append)
    asked = 0

    class Call:
        def done(self):
            nonlocal asked
            asked += 1
            return asked > 10

    call = Call()
    assert wait_any([call]) == [call]
    assert pauses == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]


def test_waiting_for_an_executor_that_answers_in_a_hostile_order():
    executor = HostileExecutor(seed=0)
    waiting = [executor.submit(abs, -2 * number) for number in range(8)]
    answers = []
    while waiting:
        done = wait_any(waiting)
        answers += [future.result() for future in done]
        waiting = [future for future in waiting if future not in done]
    assert sorted(answers) == list(range(0, 16, 2)) != answers
