"""Executors of an oracle: every call is answered once, in spite of what happens to its process, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent import futures
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import oracle_samples
import pytest
from running_processes import all_end, wait_for, written

from cgir.errors import CgirError
from search.child_process import OracleError, OracleImportError, OracleKilled, OracleTimeout
from search.workers import ProcessWorkers, check_sendable, limited

ROOT = Path(__file__).resolve().parents[2]
# Of the package `search`, only what a script needs here: the whole of it imports PyTorch, for seconds.
PROLOGUE = f"""
import os, signal, sys, types
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests" / "helpers")!r}]
sys.modules["search"] = types.ModuleType("search")
sys.modules["search"].__path__ = [{str(ROOT / "search")!r}]
import oracle_samples
from search.workers import ProcessWorkers, check_sendable, limited
mark = sys.argv[1]
"""


def start(tmp_path: Path, script: str) -> subprocess.Popen[str]:
    """Run a script beside this process; its argument is the path of a file that is not there yet."""
    path = tmp_path / "driver.py"
    path.write_text(PROLOGUE + script)
    command = [sys.executable, str(path), str(tmp_path / "mark")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_answers_and_errors_are_those_of_the_calls() -> None:
    with ProcessWorkers(2) as executor:
        assert isinstance(executor, futures.Executor)
        wrong = executor.submit(oracle_samples.fails, "x")
        assert list(executor.map(oracle_samples.double, range(20))) == list(range(0, 40, 2))
        with pytest.raises(OracleError, match=r"^KeyError: 'x'"):
            wrong.result()
        processes = {executor.submit(oracle_samples.process).result() for _ in range(10)}
    assert len(processes) <= 2
    assert os.getpid() not in processes
    assert all_end(processes)
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(oracle_samples.process)


def test_calls_run_side_by_side(tmp_path: Path) -> None:
    """Each waits for the other's file."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    with ProcessWorkers(2, seconds=60) as executor:
        both = [executor.submit(oracle_samples.meets, *pair) for pair in ((first, second), (second, first))]
        assert [future.result() for future in both] == [True, True]


def test_a_call_whose_process_is_killed_is_made_again(tmp_path: Path) -> None:
    mark = tmp_path / "process"
    with ProcessWorkers(2) as executor:
        answers = [executor.submit(oracle_samples.waits_once, str(mark), number) for number in (1.0, 1.5)]
        os.kill(written(mark)[0], signal.SIGKILL)
        assert sorted(future.result() for future in answers) == [2.0, 3.0]


def test_a_call_that_kills_its_process_again_fails(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with ProcessWorkers(1) as executor:
        future = executor.submit(oracle_samples.counts_and_kills_itself, str(log))
        with pytest.raises(OracleKilled, match="signal 9"):
            future.result()
        assert executor.submit(oracle_samples.double, 2).result() == 4
    assert log.read_text() == "xx"


def test_a_call_that_takes_too_long_is_not_made_again(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    with ProcessWorkers(1, seconds=0.5) as executor:
        with pytest.raises(OracleTimeout, match=r"no answer within 0\.5 s"):
            executor.submit(oracle_samples.counts_and_sleeps, str(log)).result()
        assert executor.submit(oracle_samples.double, 2).result() == 4
    assert log.read_text() == "x"


def test_an_error_in_the_block_stops_what_runs_and_cancels_what_waits(tmp_path: Path) -> None:
    mark = tmp_path / "processes"
    running, waiting = futures.Future[None](), futures.Future[float]()

    def fail() -> None:
        nonlocal running, waiting
        with ProcessWorkers(1) as executor:
            running = executor.submit(oracle_samples.starts_others, str(mark))
            waiting = executor.submit(oracle_samples.double, 1)
            written(mark)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all_end(written(mark))
    with pytest.raises(OracleError, match="the call was stopped"):
        running.result()
    assert waiting.cancelled()


def test_workers_that_nobody_shuts_down_end_with_their_object() -> None:
    executor = ProcessWorkers(2)
    processes = [executor.submit(oracle_samples.process).result() for _ in range(4)]
    threads = executor._threads
    del executor
    assert all_end(processes)
    assert wait_for(lambda: not any(thread.is_alive() for thread in threads))


@pytest.mark.parametrize("count", [0, -1])
def test_no_workers(count: int) -> None:
    with pytest.raises(CgirError, match=f"count of workers is {count}; expected 1 or more"):
        ProcessWorkers(count)


@pytest.mark.parametrize("block", ["with ProcessWorkers(2) as executor:", "executor = ProcessWorkers(2)\nif True:"])
def test_ctrl_c_ends_all_processes(block: str, tmp_path: Path) -> None:
    """With and without a block that ends them; the driver does not wait for its calls."""
    driver = start(tmp_path, f"{block}\n    executor.submit(oracle_samples.starts_others, mark).exception()\n")
    processes = written(tmp_path / "mark")
    os.kill(driver.pid, signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert out == ""
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert all_end([*processes, driver.pid])


def test_functions_of_a_script_and_of_one_without_guard(tmp_path: Path) -> None:
    """As multiprocessing, a child imports the script; without a guard, it would start the search once more."""
    script = "def oracle(x):\n    return 3 * x\n"
    call = "check_sendable(oracle)\n    print(ProcessWorkers(1).submit(oracle, 5).result())\n"
    out, err = start(tmp_path, f"{script}if __name__ == '__main__':\n    {call}").communicate(timeout=60)
    assert (out, err) == ("15\n", "")
    out, err = start(tmp_path, f"{script}if True:\n    {call}").communicate(timeout=60)
    assert out == ""
    assert "starts the search when another process imports it; put the call" in err.splitlines()[-1]


def test_limited_keeps_one_process_for_all_copies_of_an_oracle() -> None:
    oracle = limited(oracle_samples.process)
    first = oracle()
    copy = round_trip(oracle)
    assert copy is not oracle
    assert copy() == oracle() == first != os.getpid()
    other = limited(oracle_samples.process)
    assert other() != first


def test_limited_keeps_the_state_of_an_oracle_that_comes_anew_with_each_call() -> None:
    oracle = limited(oracle_samples.Counter())
    assert [round_trip(oracle)() for _ in range(3)] == [1, 2, 3]


def test_limited_calls_of_several_threads_run_side_by_side(tmp_path: Path) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    oracle = limited(oracle_samples.meets, seconds=60)
    with futures.ThreadPoolExecutor(2) as executor:
        assert list(executor.map(oracle, (first, second), (second, first))) == [True, True]


def test_limited_stops_and_repeats_as_workers_do(tmp_path: Path) -> None:
    slow, log = limited(oracle_samples.counts_and_sleeps, seconds=0.5), tmp_path / "calls"
    with pytest.raises(OracleTimeout):
        slow(str(log))
    assert log.read_text() == "x"
    assert limited(oracle_samples.kills_itself_once)(str(tmp_path / "mark"), 4) == 8
    with pytest.raises(OracleError, match=r"^MemoryError"):
        limited(oracle_samples.allocates, memory=2**20)(2**27)
    with pytest.raises(CgirError, match="seconds of a call: -1; expected more than 0"):
        limited(oracle_samples.process, seconds=-1)


def test_limited_in_a_process_that_may_have_no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon of multiprocessing, as dask's workers are."""
    multiprocessing = import_module("multiprocessing")
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(AssertionError, match="daemonic processes are not allowed to have children"):
        multiprocessing.Process(target=oracle_samples.process).start()
    assert limited(oracle_samples.double)(4) == 8


def outer() -> Any:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    ("oracle", "reason"),
    [
        (lambda spec: 1.0, "lambda"),
        (outer(), "local object"),
        (partial(print, file=sys.stdout), "TextIOWrapper|EncodedFile"),
    ],
    ids=["lambda", "inner function", "open file"],
)
def test_oracles_that_cannot_be_sent(oracle: Any, reason: str) -> None:
    with pytest.raises(
        OracleImportError, match=rf"^the oracle cannot be sent to another process \(.*({reason})"
    ) as caught:
        check_sendable(oracle)
    assert "\n" not in str(caught.value)
    assert "joblib.wrap_non_picklable_objects(oracle)" in str(caught.value)


def test_what_the_message_advises_works() -> None:
    factor = 3
    oracle = import_module("joblib").wrap_non_picklable_objects(lambda spec: factor * spec)
    check_sendable(oracle)
    with ProcessWorkers(1) as executor:
        assert executor.submit(oracle, 5).result() == 15


def test_an_oracle_of_a_notebook() -> None:
    """Where the main module has no file, as in notebooks and at the prompt."""
    code = f"{PROLOGUE}\ndef oracle(spec): return 1.0\ncheck_sendable(oracle)"
    found = subprocess.run([sys.executable, "-c", code, ""], capture_output=True, text=True, check=False)
    assert (
        "the oracle is defined in a notebook or at a prompt, which another process cannot import: define it"
        in (found.stderr.splitlines()[-1])
    )


def round_trip(content: Any) -> Any:
    """As it comes out of another process."""
    ours, theirs = import_module("multiprocessing").Pipe()
    with ours, theirs:
        ours.send(content)
        return theirs.recv()
