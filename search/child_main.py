"""What a child process runs: one function, called for its parent over and over.

It is started by its path and imports no package, so a child starts in the time of Python itself; what the function
needs comes in with the function.
"""

from __future__ import annotations

import multiprocessing.spawn
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

IMPORTING = "CGIR_CHILD_IMPORTS_MAIN"  # in a child's environment while it imports the script that its parent runs
IDLE_SECONDS = 900  # a child that is asked nothing for so long ends; the next call starts another
WATCH_SECONDS = 0.25


def main(handle: int, parent: int) -> None:
    """Serve the parent until it hangs up; all that the function started in this process's group ends with it."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.set_inheritable(handle, False)
    connection, own = Connection(handle), os.getpid()
    os.register_at_fork(after_in_child=connection.close)  # else a copy that outlives us keeps the parent waiting
    try:
        _serve(connection)
    except (EOFError, OSError):
        pass  # the parent hung up
    finally:
        if os.getpid() == own:
            os.killpg(own, signal.SIGKILL)
        os._exit(0)  # a copy of this process that came back from the function


def _end_with(parent: int) -> None:
    """Die with the parent; the end of the pipe would only tell a child that is idle."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _serve(connection: Connection) -> None:
    preparation: dict[str, Any] = connection.recv()
    memory, main_module = preparation.pop("memory"), preparation.pop("main_module")
    multiprocessing.spawn.prepare(preparation)
    function: Callable[..., Any] = print
    while connection.poll(IDLE_SECONDS):
        is_function, payload = connection.recv()
        try:
            if is_function:
                _limit_memory(None)
            if main_module and b"__main__" in payload:
                _import_main(main_module)
                main_module = {}
            content = ForkingPickler.loads(payload)
        except BaseException as error:
            connection.send(("unreadable", *_described(error)))
            continue
        if is_function:
            function = content
            _limit_memory(memory)
            connection.send(("ready", None))
        else:
            _answer(connection, function, content)


def _answer(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        reply: tuple[Any, ...] = ("result", function(*arguments))
    except MemoryError as error:
        reply = ("no memory", *_described(error))
    except BaseException as error:
        reply = ("raised", *_described(error))
    try:
        connection.send(reply)
    except ConnectionError:
        raise
    except Exception as error:  # the result cannot be pickled, so nothing was sent
        connection.send(("unsendable", *_described(error)))


def _import_main(main_module: dict[str, str]) -> None:
    """Import the parent's script as multiprocessing does: under another name, so that its guarded part does not run."""
    os.environ[IMPORTING] = "1"
    try:
        multiprocessing.spawn.prepare(main_module)
    finally:
        del os.environ[IMPORTING]


def _limit_memory(memory: int | None) -> None:
    """Let this process map `memory` bytes more than it has now, where the platform can limit that; None: no limit."""
    import resource

    try:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        soft = hard
        if memory is not None:
            with open("/proc/self/statm", encoding="ascii") as file:
                soft = memory + int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    except (ValueError, OSError):
        pass  # not Linux


def _described(error: BaseException) -> tuple[str, str]:
    """Type, message and place on one line, and the traceback: what is sent, as not every exception can be pickled."""
    text = type(error).__name__
    try:
        message, story = " ".join(str(error).split()), "".join(traceback.format_exception(error))
    except Exception:  # its own __str__ raises
        message, story = "", ""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if len(frames) > 1 else ""  # not here
    return (f"{text}: {message}{place}" if message else f"{text}{place}"), story


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
