"""Jobs that write small parts, here and in worker processes, and executors that are not kind to who uses them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from cgir_samples import ring_graph

from cgir.store import Content, Job


def rings(first: int, count: int, seconds: float = 0.0) -> Content:
    """Rings of more and more operators, with all columns."""
    time.sleep(seconds)
    sizes = range(first, first + count)
    return Content((ring_graph(n) for n in sizes), "rings", (f"{n}" for n in sizes), {"x": [n / 7 for n in sizes]})


def broken(message: str) -> Content:
    """Raises."""
    raise KeyError(message)


def no_content() -> int:
    """Returns something else."""
    return 3


def deadly(marker: str) -> Content:
    """Kills its process, but only the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rings(3, 2)


def ring_jobs(count: int = 5, seconds: float = 0.0) -> list[Job]:
    """Jobs of three rings each."""
    return [Job(rings, (3 + 3 * number, 3, seconds)) for number in range(count)]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class HostileExecutor:
    """Runs calls in this process when asked whether they are done, in a random order.

    Args:
        seed: of the order.
        lose: after this many calls all workers die.
    """

    def __init__(self, seed: int, lose: int | None = None) -> None:
        self._rng, self._lose = random.Random(seed), lose
        self._waiting: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self.num_calls = self.num_run = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> _Asked:
        """A call that is made at some later time."""
        future: Future[Any] = Future()
        self._waiting.append((future, function, arguments))
        self.num_calls += 1
        return _Asked(self, future)

    def step(self) -> None:
        """Perhaps make one of the calls that wait, any of them."""
        if self._waiting and self._rng.random() < 0.5:
            future, function, arguments = self._waiting.pop(self._rng.randrange(len(self._waiting)))
            if self._lose is not None and self.num_run >= self._lose:
                future.set_exception(OSError("connection lost"))
            else:
                future.set_result(function(*arguments))
            self.num_run += 1


class _Asked:
    def __init__(self, executor: HostileExecutor, future: Future[Any]) -> None:
        self._executor, self._future = executor, future

    def done(self) -> bool:
        self._executor.step()
        return self._future.done()

    def result(self) -> Any:
        return self._future.result(timeout=0)
