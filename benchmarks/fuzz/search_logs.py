"""Logs of searches: changed bytes, and lines with changed values, moved, repeated or missing; read and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.random import Generator

import search
from frontends import spaces

from .mutation import mutate_bytes
from .resealing import mutated_json
from .target import Target

SPACE = spaces.get("nasbench201", cells=1, channels=4)


def log_of_a_search(path: Path) -> bytes:
    """Of asks, answers, a failure, an old result, costs and predictions."""
    made = search.Search(
        SPACE, search.random_method(SPACE), objectives=["accuracy", "-flops"], limits=["params<5M"], path=path, seed=1
    )
    with made as asks:
        asks.add(next(iter(SPACE.enumerate())), 50.0)
        for number in (0, 1):
            for trial in asks.ask(2):
                failed = number and trial.number % 2
                asks.tell(
                    trial.number, float("nan") if failed else 60.0 + trial.number, error="it failed" if failed else None
                )
        asks.ask(1)
    return path.read_bytes()


def prepare(folder: Path) -> bytes:
    """The bytes of one log."""
    return log_of_a_search(folder / "log.jsonl")


def write(rng: Generator, seed: bytes, folder: Path) -> Path:
    """One wrong log."""
    path, lines = folder / "log.jsonl", seed.splitlines(keepends=True)
    if rng.random() < 0.2:
        path.write_bytes(mutate_bytes(rng, seed))
        return path
    for _ in range(int(rng.integers(1, 4))):
        at, to = rng.integers(len(lines), size=2).tolist()
        kind = rng.integers(6)
        if kind == 0:
            lines[at], lines[to] = lines[to], lines[at]
        elif kind == 1 and len(lines) > 1:
            del lines[at]
        elif kind == 2:
            lines.insert(at, lines[to])
        else:
            lines[at] = mutated_json(rng, lines[at])
    path.write_bytes(b"".join(lines))
    return path


def read(path: Path) -> Any:
    """What a user does with a log: look at it, report it, and go on with the search."""
    history = search.History.load(path)
    repr(history), history.values, history.scores, history.front(), history.running_best, history.pending()
    history.table()
    history.save(path.with_suffix(".parquet"))
    if len(history.objectives) == 2:
        history.hypervolume([0.0, 1e12])
    history.report(path.with_suffix(".html"))


TARGET = Target("search log: bytes, lines and values", prepare, write, read)
