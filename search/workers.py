"""Where a search's oracle is called: in processes of this machine, within limits, or by the executor of a cluster."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any
from uuid import uuid4

from cgir.errors import CgirError

from .child_process import Child, OracleKilled, check_not_importing, pickled


class TimedFuture(futures.Future[Any]):
    """A future that knows how long its call took, without the time that it waited for a process."""

    seconds: float | None = None


@dataclass(frozen=True)
class _Task:
    owner: futures.Executor  # which is not given up while it has calls to answer
    future: TimedFuture
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class ProcessWorkers(futures.Executor):
    """An executor of processes on this machine, each with limits of its own, which leaves no process behind.

    A call whose process is killed from outside is made once more, in a new process. The functions of two calls are sent
    once if they are the same object. No call outlives this process.

    Args:
        count: number of processes.
        seconds: for one call, see `Child`; a call that takes longer raises `OracleTimeout`.
        memory: for one call, in bytes, see `Child`.
    """

    def __init__(self, count: int, seconds: float | None = None, memory: int | None = None) -> None:
        if count < 1:
            raise CgirError(f"count of workers is {count}; expected 1 or more")
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._children = [Child(seconds, memory) for _ in range(count)]
        self._threads = [Thread(target=_work, args=(self._tasks, child), daemon=True) for child in self._children]
        self._shut_down = False
        for thread in self._threads:
            thread.start()
        weakref.finalize(self, _stop, self._tasks, self._children)  # also where nobody calls `shutdown`

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> TimedFuture:  # type: ignore[override]
        """Call `function(*arguments)` in a process that is free, or as soon as one is."""
        if self._shut_down:
            raise RuntimeError("these workers are shut down")
        task = _Task(self, TimedFuture(), function, arguments)
        self._tasks.put(task)
        return task.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once all calls are answered.

        Args:
            wait: until then; without it, the processes end later.
            cancel_futures: cancel what is waiting and kill what is running: its futures raise `OracleError`.
        """
        self._shut_down = True
        if cancel_futures:
            _stop(self._tasks, self._children)
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.shutdown(cancel_futures=kind is not None)  # an error or Ctrl-C does not wait for hours of training
        return None


def _work(tasks: SimpleQueue[_Task | None], child: Child) -> None:
    while (task := tasks.get()) is not None:
        if not task.future.set_running_or_notify_cancel():
            continue
        start = time.perf_counter()
        try:
            answer = _call(child, task.function, task.arguments)
        except BaseException as error:
            task.future.seconds = time.perf_counter() - start
            task.future.set_exception(error)
        else:
            task.future.seconds = time.perf_counter() - start
            task.future.set_result(answer)
        del task  # or it would keep its function and answer until the next one
    child.close()


def _stop(tasks: SimpleQueue[_Task | None], children: Sequence[Child]) -> None:
    """Cancel what is waiting, kill what is running, end the threads."""
    with suppress(Empty):
        while True:
            if (task := tasks.get_nowait()) is not None:
                task.future.cancel()
                task.future.set_running_or_notify_cancel()
    for child in children:
        child.close()
        tasks.put(None)


def _call(child: Child, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return child.call(function, *arguments)
    except OracleKilled:
        return child.call(function, *arguments)  # once more; it may have been killed for the memory of others


@dataclass(frozen=True, eq=False)
class _Limited:
    """An oracle in a child of whatever process calls it."""

    oracle: Callable[..., Any]
    seconds: float | None
    memory: int | None
    key: str = field(default_factory=lambda: uuid4().hex)

    def __call__(self, *arguments: Any) -> Any:
        idle = _IDLE.setdefault(self.key, [])
        try:
            child, oracle = idle.pop()
        except IndexError:
            child, oracle = Child(self.seconds, self.memory), self.oracle
        try:
            return _call(child, oracle, arguments)
        finally:
            idle.append((child, oracle))


# The children of this process that wait for a call of the `_Limited` with that key, with the oracle as they know it:
# each call that comes from another process brings a new copy.
_IDLE: dict[str, list[tuple[Child, Callable[..., Any]]]] = {}


def limited(oracle: Callable[..., Any], seconds: float | None = None, memory: int | None = None) -> Callable[..., Any]:
    """The oracle with limits, for executors that cannot stop a call (dask, loky, mpi4py) or for none.

    It runs in a child of the process that calls it, which is kept for the next call.

    Args:
        oracle: what is called; see `check_sendable`.
        seconds: for one call, see `Child`.
        memory: for one call, in bytes, see `Child`.
    """
    Child(seconds, memory)  # checks both
    return _Limited(oracle, seconds, memory)


def check_sendable(oracle: Callable[..., Any]) -> None:
    """Raise if another process could not call the oracle, or if this one only imports the script of the search.

    Raises:
        CgirError: a lambda, a function of a notebook or inside another function, an object that cannot be pickled, or a
            script without `if __name__ == "__main__":`.
    """
    check_not_importing()
    pickled(oracle, "the oracle")
