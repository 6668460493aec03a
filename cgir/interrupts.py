"""Ctrl-C and SIGTERM: what is done is kept, and the exception that ends a run says in one line how to go on."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any, NoReturn

log = logging.getLogger(__name__)
REPEAT_SECONDS = 1.0  # torchrun passes a Ctrl-C on that the terminal has sent to all


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


class Deferred:
    """A signal that waits.

    Attributes:
        requested: the number of a signal that has come, 0 if none has.
        message: for the exception that it becomes.
    """

    def __init__(self) -> None:
        self.requested, self.message = 0, ""
        self._since, self._restore = 0.0, list[Callable[[], object]]()

    def end(self, message: str) -> None:
        """Raise at the end of the block, also where the signal has come to another process only."""
        self.requested, self.message = self.requested or int(signal.SIGTERM), message

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._since = number, monotonic()
        elif monotonic() - self._since > REPEAT_SECONDS:
            for restore in self._restore:
                restore()
            signal.raise_signal(number)


@contextmanager
def deferred() -> Iterator[Deferred]:
    """In the main thread, Ctrl-C and SIGTERM wait for the end of the block, whose loop asks for `requested`.

    At the end KeyboardInterrupt or `Terminated` is raised with `message`; where SIGTERM kills the process, it does so
    then. A second signal does not wait. Signals for which the program has a handler of its own are left to it.
    """
    request, replaced = Deferred(), dict[int, Any]()
    if threading.current_thread() is threading.main_thread():
        for number in map(int, (signal.SIGINT, signal.SIGTERM)):
            handler = signal.getsignal(number)
            if handler in (signal.default_int_handler, signal.SIG_DFL, _terminate):
                replaced[number] = handler

    def restore() -> None:
        for number, handler in replaced.items():
            signal.signal(number, handler)

    request._restore.append(restore)
    try:
        for number in replaced:
            signal.signal(number, request._receive)
        yield request
    finally:
        restore()
    if request.requested and replaced.get(request.requested) == signal.SIG_DFL:
        log.warning("%s", request.message)
        signal.raise_signal(request.requested)
    if request.requested:
        raise (KeyboardInterrupt if request.requested == signal.SIGINT else Terminated)(request.message)


@contextmanager
def advised(advice: str) -> Iterator[None]:
    """An interruption of the block that says nothing yet says how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not any(error.args):
            error.args = (advice,)
        raise


@contextmanager
def termination_as_exception() -> Iterator[None]:
    """SIGTERM, where it would kill the process, raises `Terminated` in the block, so that workers and files are closed.

    In other threads than the main one, nothing changes.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
