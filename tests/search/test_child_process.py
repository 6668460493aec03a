"""A function in another process: whatever it does there, here it is an answer or one line, and no process is left."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import oracle_samples
import pytest
from running_processes import all_end, runs, written

from cgir.errors import CgirError
from search.child_process import Child, OracleError, OracleImportError, OracleKilled, OracleTimeout

MEGABYTE = 2**20
PLACE = r" \(oracle_samples\.py:\d+\)"


@pytest.fixture(scope="module")
def shared() -> Iterator[Child]:
    """Without limits; it starts again where a test ends it."""
    child = Child()
    yield child
    child.close()


def test_a_call_is_answered_in_another_process(shared: Child) -> None:
    assert shared.call(oracle_samples.double, 21) == 42
    assert shared.call(oracle_samples.process) == shared.call(oracle_samples.process) != os.getpid()


def test_a_child_imports_no_framework_and_nothing_of_ours(shared: Child) -> None:
    """Or each would take seconds to start."""
    found = {name.partition(".")[0] for name in shared.call(oracle_samples.modules)}
    assert not found & {"torch", "numpy", "cgir", "search", "pytest"}
    assert "oracle_samples" in found


def test_many_calls_are_quick(shared: Child) -> None:
    process, start = shared.call(oracle_samples.process), time.perf_counter()
    assert [shared.call(oracle_samples.double, number) for number in range(200)] == list(range(0, 400, 2))
    assert time.perf_counter() - start < 10  # 0.1 s on an idle machine; 20 s there if each call started a process
    assert shared.call(oracle_samples.process) == process


def test_an_object_keeps_its_state_in_the_child_and_not_here(shared: Child) -> None:
    counter = oracle_samples.Counter()
    assert [shared.call(counter) for _ in range(3)] == [1, 2, 3]
    assert counter.calls == 0


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (oracle_samples.fails, ("two\nlines",), r"KeyError: 'two\\nlines'" + PLACE),
        (oracle_samples.fails_not_picklable, (), "NotPicklable: 1 and 2" + PLACE),
        (oracle_samples.fails_silently, (), "Silent" + PLACE),
        (oracle_samples.exits, (3,), "SystemExit: 3" + PLACE),
        (oracle_samples.double, (), r"TypeError: double\(\) missing 1 required positional argument: 'number'"),
        (
            oracle_samples.answers_not_picklable,
            (),
            r"the answer cannot be sent to the search \(.*\); expected a number",
        ),
        (oracle_samples.answers_only_there, (), r"the answer cannot be sent .* \(ValueError: only there\); .*"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_failure_is_one_line_and_harms_nothing(
    shared: Child, function: Callable[..., Any], arguments: tuple[Any, ...], message: str
) -> None:
    process = shared.call(oracle_samples.process)
    with pytest.raises(OracleError) as caught:
        shared.call(function, *arguments)
    assert type(caught.value) is OracleError
    assert re.fullmatch(message, str(caught.value))
    assert shared.call(oracle_samples.process) == process


def test_the_traceback_comes_with_the_error(shared: Child) -> None:
    with pytest.raises(OracleError) as caught:
        shared.call(oracle_samples.fails, "x")
    assert "raise KeyError(message)" in caught.value.__notes__[0]


def test_what_it_prints_goes_nowhere(shared: Child, capfd: pytest.CaptureFixture[str]) -> None:
    assert shared.call(oracle_samples.prints, 4 * MEGABYTE) == 4 * MEGABYTE
    assert capfd.readouterr() == ("", "")


def test_large_arguments_and_answers(shared: Child) -> None:
    assert shared.call(oracle_samples.double, "x" * (8 * MEGABYTE)) == "x" * (16 * MEGABYTE)


def test_too_long(tmp_path: Path) -> None:
    """It ends with all that it started, and the next call is answered."""
    child, mark = Child(seconds=1.0), tmp_path / "processes"
    start = time.monotonic()
    with pytest.raises(OracleTimeout, match=r"^no answer within 1 s; the call was stopped$"):
        child.call(oracle_samples.starts_others, str(mark))
    assert 1 <= time.monotonic() - start < 60
    assert all_end(written(mark))
    assert child.call(oracle_samples.double, 1) == 2
    child.close()


def test_the_start_of_the_child_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(0.8)\ndef double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    child = Child(seconds=0.6)
    assert child.call(import_module("slow_module").double, 2) == 4
    child.close()


def test_too_much_memory() -> None:
    child = Child(memory=100 * MEGABYTE)
    assert child.call(oracle_samples.allocates, 50 * MEGABYTE) == 50 * MEGABYTE
    with pytest.raises(OracleError, match="^MemoryError" + PLACE + "; memory is limited to 104,857,600 bytes more"):
        child.call(oracle_samples.allocates, 200 * MEGABYTE)
    assert child.call(oracle_samples.allocates, 50 * MEGABYTE) == 50 * MEGABYTE
    child.close()


@pytest.mark.parametrize(
    ("function", "number", "message"),
    [
        (oracle_samples.kills_itself, signal.SIGKILL, r"was killed by signal 9, SIGKILL \(out of memory\?\)"),
        (oracle_samples.kills_itself, signal.SIGSEGV, "was killed by signal 11, SIGSEGV"),
        (oracle_samples.exits_at_once, 3, "ended with exit code 3"),
    ],
    ids=["SIGKILL", "SIGSEGV", "exit"],
)
def test_a_child_that_dies(shared: Child, function: Callable[..., Any], number: int, message: str) -> None:
    with pytest.raises(OracleKilled, match=f"^the process of the call {message}$"):
        shared.call(function, number)
    assert shared.call(oracle_samples.double, 4) == 8


def test_killed_from_outside_with_others_that_hold_its_files(shared: Child, tmp_path: Path) -> None:
    """Its copy and its program would keep the pipe open, and the call would wait for ever."""
    mark = tmp_path / "processes"
    killer = threading.Thread(target=lambda: os.kill(written(mark)[0], signal.SIGKILL))
    killer.start()
    with pytest.raises(OracleKilled, match="signal 9"):
        shared.call(oracle_samples.starts_others, str(mark))
    killer.join()
    assert all_end(written(mark))


def test_killed_between_two_calls(shared: Child) -> None:
    process = shared.call(oracle_samples.process)
    os.kill(process, signal.SIGKILL)
    assert all_end([process])
    assert shared.call(oracle_samples.process) != process


def test_a_copy_that_comes_back_from_the_function_answers_nothing(shared: Child, tmp_path: Path) -> None:
    mark = tmp_path / "copy"
    process = shared.call(oracle_samples.process)
    assert shared.call(oracle_samples.forks, str(mark)) == 7
    assert all_end(written(mark))
    assert [shared.call(oracle_samples.double, number) for number in range(20)] == list(range(0, 40, 2))
    assert shared.call(oracle_samples.process) == process


@pytest.mark.parametrize("function", [oracle_samples.starts_others, oracle_samples.answers_and_leaves_others])
def test_no_process_outlives_a_parent_that_is_killed(function: Callable[..., Any], tmp_path: Path) -> None:
    """In the middle of a call and between two."""
    mark = tmp_path / "processes"
    if (parent := os.fork()) == 0:
        child = Child()
        child.call(function, str(mark))
        time.sleep(30)
        os._exit(1)
    processes = written(mark)
    assert all(map(runs, processes))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert all_end(processes)


def test_close_stops_a_call(tmp_path: Path) -> None:
    child, mark = Child(), tmp_path / "processes"
    closer = threading.Thread(target=lambda: (written(mark), child.close()))
    closer.start()
    for _ in range(2):
        with pytest.raises(OracleError, match=r"^the call was stopped: its workers are shut down$"):
            child.call(oracle_samples.starts_others, str(mark))
    closer.join()
    assert all_end(written(mark))


def test_a_child_ends_with_its_object() -> None:
    child = Child()
    process = child.call(oracle_samples.process)
    del child
    assert all_end([process])


def test_a_fork_of_the_parent_has_a_child_of_its_own(shared: Child, tmp_path: Path) -> None:
    """Two that read from one pipe would get each other's answers."""
    process, mark = shared.call(oracle_samples.process), tmp_path / "process"
    if (fork := os.fork()) == 0:
        mark.write_text(str(shared.call(oracle_samples.process)))
        shared.close()
        os._exit(0)
    assert os.waitpid(fork, 0)[1] == 0
    assert written(mark) != [process]
    assert shared.call(oracle_samples.process) == process


def test_what_cannot_be_sent(shared: Child) -> None:
    process = shared.call(oracle_samples.process)
    with pytest.raises(
        OracleImportError, match=r"^the oracle cannot be sent to another process \(.*lambda.*\): define"
    ):
        shared.call(lambda: 1)
    with pytest.raises(OracleImportError, match=r"^a network cannot be sent to another process \("):
        shared.call(oracle_samples.double, lambda: 1)
    assert shared.call(oracle_samples.process) == process


def test_what_cannot_be_imported_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is here in memory only."""
    (tmp_path / "vanished.py").write_text("def double(x):\n    return 2 * x\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        vanished = import_module("vanished")
    child = Child()
    with pytest.raises(OracleImportError) as caught:
        child.call(vanished.double, 1)
    assert str(caught.value).startswith(
        "another process cannot import the oracle (ModuleNotFoundError: No module named 'vanished'): define it by `def`"
    )
    child.close()


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"seconds": float("nan")}, {"memory": -1}], ids=str)
def test_limits_that_are_none(limits: dict[str, Any]) -> None:
    with pytest.raises(CgirError, match=r"of a call: .*; expected more than 0, or None for no limit"):
        Child(**limits)
