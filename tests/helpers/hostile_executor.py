"""Executors that make life hard for a search, in this process."""

from collections.abc import Callable
from typing import Any

import numpy as np


class HostileFuture:
    """As of an engine without `concurrent.futures`: it knows `done` and `result` only."""

    def __init__(self, executor: "HostileExecutor", function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.executor, self.function, self.arguments = executor, function, arguments
        self.finished = False

    def done(self) -> bool:
        self.executor.finish_one()
        return self.finished

    def result(self) -> Any:
        self.executor.finish(self)
        return self.function(*self.arguments)


class HostileExecutor:
    """Whenever one looks, it finishes one of its calls, drawn by a seed: the last may come first."""

    def __init__(self, seed: int) -> None:
        self.rng, self.waiting, self.order = np.random.default_rng(seed), list[HostileFuture](), list[int]()
        self.submitted = list[HostileFuture]()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> HostileFuture:
        future = HostileFuture(self, function, arguments)
        self.waiting.append(future)
        self.submitted.append(future)
        return future

    def finish_one(self) -> None:
        if self.waiting:
            self.finish(self.waiting[int(self.rng.integers(len(self.waiting)))])

    def finish(self, future: HostileFuture) -> None:
        if not future.finished:
            future.finished = True
            self.waiting.remove(future)
            self.order.append(self.submitted.index(future))
