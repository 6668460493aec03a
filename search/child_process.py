"""One function called in another process, which may be slow, leak memory, crash or hang without harm to this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from cgir.errors import CgirError, one_line

from .child_main import IMPORTING

START_SECONDS = 600.0  # for a child to start and import the function, which may bring a framework
STOPPED = "the call was stopped: its workers are shut down"
ADVICE = (
    "define it by `def` at the top level of a module that the process can import, "
    "or send the function itself: joblib.wrap_non_picklable_objects(oracle)"
)


class OracleError(CgirError):
    """A call in another process that gave no answer: it raised, took too long, needed too much memory or was killed."""


class OracleTimeout(OracleError):
    """The call was not over in time; its process was killed, with all that it had started."""


class OracleKilled(OracleError):
    """The process died in the middle of the call."""


class OracleImportError(OracleError):
    """The function cannot be sent to another process, or not imported there: no call of it will be answered."""


class Child:
    """A process that answers calls, one at a time; started by the first call, and again after it died.

    It prints nothing, ends with this process even where that is killed, and takes with it what the function started.
    The function is sent once and stays there as long as the process lives, with what it keeps in its attributes.

    Args:
        seconds: for one call, without the start of the process and the import of the function; None for no limit.
        memory: bytes that the function may map in addition to what its imports took; None for no limit. Linux only.
    """

    def __init__(self, seconds: float | None = None, memory: int | None = None) -> None:
        for name, value in (("seconds", seconds), ("memory", memory)):
            if value is not None and not value > 0:
                raise CgirError(f"{name} of a call: {value!r}; expected more than 0, or None for no limit")
        self.seconds, self.memory = seconds, None if memory is None else int(memory)
        self._function: Callable[..., Any] | None = None
        self._process: _Process | None = None
        self._end: Callable[[], object] | None = None  # kills the child, also when this object or the program ends
        self._lock = threading.Lock()  # of starting and closing
        self._closed = False

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`, computed in the child.

        Args:
            function: what pickle can send: a function at the top level of a module, or an object made of such.
            arguments: the same.

        Raises:
            OracleError: it raised, its answer cannot be sent, or this object was closed.
            OracleTimeout: it took more than `seconds`.
            OracleKilled: the child died in the middle.
            OracleImportError: the function cannot be sent to the child, or not imported there.
        """
        payload = pickled(arguments, "a network")
        process = self._process
        if process is None or not process.alive():
            self._kill()
            process = self._start()
        if self._function is not function:
            self._ask(process, True, pickled(function, "the oracle"), START_SECONDS)
            self._function = function
        return self._ask(process, False, payload, self.seconds)

    def close(self) -> None:
        """Kill the child; a call that is running raises, and so do all calls from now on."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()  # its pipe may be in use

    def _start(self) -> _Process:
        check_not_importing()
        with self._lock:
            if self._closed:
                raise OracleError(STOPPED)
            self._process = process = _Process(self.memory)
            self._end = weakref.finalize(self, process.kill)
        return process

    def _ask(self, process: _Process, is_function: bool, payload: bytes, seconds: float | None) -> Any:
        with _deadline(process, seconds) as late:
            try:
                reply = process.ask(is_function, payload)
            except BaseException:  # as a Ctrl-C: the reply to this call must not answer the next one
                self._kill()
                raise
        if reply is None:
            self._kill()
            if self._closed:
                raise OracleError(STOPPED)
            if late.is_set():
                raise OracleTimeout(f"no answer within {seconds:g} s; the call was stopped")
            raise OracleKilled(f"the process of the call {_fate(process.code)}{self._limit()}")
        return self._result(*reply)

    def _result(self, kind: str, content: Any, story: str = "") -> Any:
        if kind in ("result", "ready"):
            return content
        error = OracleError(content)
        if kind == "unsendable":
            error = OracleError(f"the answer cannot be sent to the search ({content}); expected a number")
        elif kind == "unreadable":
            self._kill()
            error = OracleImportError(f"another process cannot import the oracle ({content}): {ADVICE}")
        elif kind == "no memory":
            self._kill()  # what is left of it may not work
            error = OracleError(content + self._limit())
        error.add_note(story.rstrip())
        raise error

    def _limit(self) -> str:
        return "" if self.memory is None else f"; memory is limited to {self.memory:,} bytes more than the imports took"

    def _kill(self) -> None:
        with self._lock:
            process, self._process, self._function = self._process, None, None
        if process is not None and self._end is not None:
            self._end()
            process.hang_up()


class _Process:
    """A running child and the pipe to it."""

    def __init__(self, memory: int | None) -> None:
        if sys.platform == "win32":
            raise CgirError("limits and workers of a search need Linux or macOS; on Windows give an executor=")
        self._pipe, theirs = multiprocessing.Pipe()
        self._lock, self._owner = threading.Lock(), os.getpid()
        command = [sys.executable, "-P", str(Path(__file__).with_name("child_main.py")), str(theirs.fileno())]
        with theirs:
            self._popen = subprocess.Popen(  # -P: the folder of the script, this package, stays out of the path
                [*command, str(self._owner)],
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # a Ctrl-C of the terminal comes here only; what the child starts dies with it
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        with suppress(OSError):  # it died at once, which the first question finds
            path = [entry or os.getcwd() for entry in sys.path]
            self._pipe.send({"sys_path": path, "sys_argv": sys.argv, "main_module": main_module(), "memory": memory})

    def hang_up(self) -> None:
        """Close this end of the pipe."""
        self._pipe.close()

    @property
    def code(self) -> int:
        """Exit code of a child that was killed."""
        return self._popen.wait()

    def alive(self) -> bool:
        """Whether an idle child still runs and belongs to this process; an idle one says nothing but that it ended."""
        return self._owner == os.getpid() and not self._pipe.closed and not self._pipe.poll()

    def ask(self, is_function: bool, payload: bytes) -> tuple[Any, ...] | None:
        """The child's reply, or None where it died."""
        try:
            self._pipe.send((is_function, payload))
            reply: tuple[Any, ...] = self._pipe.recv()
            return reply
        except (EOFError, OSError):
            return None
        except Exception as error:  # the reply came as a whole, but cannot be unpickled here
            return ("unsendable", one_line(error, named=True), "")

    def kill(self) -> None:
        """Kill the child and its group; any thread may, and more than once."""
        if self._owner != os.getpid():
            return  # a fork of the process that owns it
        with self._lock:
            if self._popen.returncode is None:  # not waited for, so its id is still its own, also if it is dead
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._popen.pid, signal.SIGKILL)
                self._popen.wait()


@contextmanager
def _deadline(process: _Process, seconds: float | None) -> Iterator[threading.Event]:
    """Kill the child when the time is over, which ends all waiting for it; the event tells whether that happened."""
    late = threading.Event()
    if seconds is None or seconds > threading.TIMEOUT_MAX:
        yield late
        return

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        timer.join()  # else it might kill the child in its next call


def _fate(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    return f"was killed by signal {-code}, {name}{' (out of memory?)' if -code == signal.SIGKILL else ''}"


def main_module() -> dict[str, str]:
    """How another process imports the script that runs here, as multiprocessing.spawn reads it; {} if it cannot."""
    module = sys.modules["__main__"]
    name, file = getattr(getattr(module, "__spec__", None), "name", None), getattr(module, "__file__", None)
    if name:
        return {} if name.endswith("__main__") else {"init_main_from_name": name}
    return {"init_main_from_path": os.path.abspath(file)} if file and os.path.isfile(file) else {}


def check_not_importing() -> None:
    """Raise where a child imports its parent's script and that, without the usual guard, starts the search again."""
    if IMPORTING in os.environ:
        raise CgirError(
            "the script that defines the oracle starts the search when another process imports it; "
            'put the call of the search below `if __name__ == "__main__":`'
        )


def pickled(content: Any, name: str) -> bytes:
    """What is sent of an object.

    Raises:
        OracleImportError: it cannot be pickled, or stands in a notebook or a script that no process can import.
    """
    try:
        payload = bytes(ForkingPickler.dumps(content))
    except Exception as error:
        text = one_line(error, limit=200, named=True)
        raise OracleImportError(f"{name} cannot be sent to another process ({text}): {ADVICE}") from None
    if b"__main__" in payload and not main_module():
        where = "in a notebook or at a prompt, which another process cannot import"
        raise OracleImportError(f"{name} is defined {where}: {ADVICE}")
    return payload
