"""Executors that make life hard for who uses them, in this process."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np


class HostileFuture:
    """As of an engine without `concurrent.futures`: it knows `done` and `result` only."""

    def __init__(self, executor: "HostileExecutor", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.executor, self.function, self.arguments = executor, function, arguments
        self.outcome = Future[Any]()

    def done(self) -> bool:
        self.executor.finish_one()
        return self.outcome.done()

    def result(self) -> Any:
        self.executor.finish(self)
        return self.outcome.result()


class HostileExecutor:
    """Whenever one looks, it makes one of its calls, drawn by a seed: the last may come first.

    Args:
        seed: of the order.
        lose: after this many calls all workers die.
    """

    def __init__(self, seed: int, lose: int | None = None) -> None:
        self.rng, self.waiting, self.order = np.random.default_rng(seed), list[HostileFuture](), list[int]()
        self.submitted, self.lose = list[HostileFuture](), lose

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> HostileFuture:
        future = HostileFuture(self, function, arguments)
        self.waiting.append(future)
        self.submitted.append(future)
        return future

    def finish_one(self) -> None:
        if self.waiting:
            self.finish(self.waiting[int(self.rng.integers(len(self.waiting)))])

    def finish(self, future: HostileFuture) -> None:
        if future.outcome.done():
            return
        self.waiting.remove(future)
        if self.lose is not None and len(self.order) >= self.lose:
            future.outcome.set_exception(OSError("connection lost"))
        else:
            future.outcome.set_result(future.function(*future.arguments))
        self.order.append(self.submitted.index(future))
