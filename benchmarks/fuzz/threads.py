"""Threads: what traces and fits in one thread change for another one. Every count of `rows` but the first must be 0.

    python -m benchmarks.fuzz.threads

Threads change places every 10 microseconds, so that a state which two of them share is met half changed.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

import frontends
from encoders import Predictor
from frontends import spaces

from ..report import publish, show, table_of

Row: TypeAlias = Mapping[str, str | int]
SWITCH_SECONDS = 1e-5


ABOUT = (
    "What a user's thread does while others trace or fit, with threads that change places every 10 microseconds: a "
    "result that is not that of the thread alone, an error, or a draw of a global generator that is not that of its "
    "seed counts as disturbed."
)


def main() -> int:
    """Print the table, and with `--write` keep it for RESULTS.md; 1 if anything was disturbed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the table for RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = rows()
    table = table_of("work beside traces and fits of other threads", found)
    table = replace(table, rows=table.rows[:-1])  # their sum says nothing
    show([table])
    if options.write:
        publish("fuzz_threads", "Threads", ABOUT, "make fuzz", [table])
    return int(any(row["disturbed"] for row in found))


def rows(forwards: int = 20_000, draws: int = 300, predictions: int = 50, traces: int = 40) -> list[Row]:
    """One row for each kind of work beside which others trace or fit: how much of it, and how much was disturbed.

    Args:
        forwards: of a module that another thread traces.
        draws: of each global generator while another thread traces.
        predictions: at least so many while another thread fits.
        traces: of one module by eight threads.
    """
    with _fast_switches():
        return [
            forwards_beside_traces(forwards),
            draws_beside_traces(draws),
            predictions_beside_fits(predictions),
            traces_beside_traces(traces),
        ]


class Stateful(nn.Module):
    """Dropout, running statistics, and attributes that the forward writes to."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten())
        self.head = nn.Linear(144, 5)
        self.last: Tensor | None = None
        self.names: dict[str, int] = {}
        self.parts = [self.head]

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, 8, 8) -> (B, 5)."""
        self.last = self.body(x)
        self.names["batch"] = len(x)
        out: Tensor = self.parts[0](self.last)
        return out


def forwards_beside_traces(count: int) -> Row:
    """Forwards of a module that another thread traces all the time."""
    model = Stateful().eval()
    x = torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8)
    with torch.no_grad():
        expected = model(x)
    disturbed = 0
    with _beside(lambda: frontends.trace(model, input_shape=(1, 3, 8, 8))) as other:
        for _ in range(count):
            try:
                with torch.no_grad():
                    result = model(x)
                last = model.last
                disturbed += not torch.equal(result, expected) or last is None or last.is_meta
            except Exception:  # whatever the trace did to it
                disturbed += 1
    return {
        "work": "forwards of a module",
        "beside": f"{other[0]} traces of it",
        "count": count,
        "disturbed": disturbed,
    }


def draws_beside_traces(count: int) -> Row:
    """Numbers of the three global generators, while another thread traces a module that draws from all of them."""
    found, model = [], _Drawing()
    frontends.trace(model, input_shape=(2, 5, 8))  # imports what takes long
    _seed()
    expected = [_draw() for _ in range(count)]
    _seed()
    with _beside(lambda: frontends.trace(model, input_shape=(2, 5, 8))) as other:
        for _ in range(count):
            found.append(_draw())
            time.sleep(0.0005)
    wrong = sum(a != b for a, b in zip(found, expected, strict=True))
    return {"work": "draws of three generators", "beside": f"{other[0]} traces", "count": count, "disturbed": wrong}


class _Drawing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.rand(8) + float(np.random.rand()) + random.random()
        out: Tensor = self.layer(x * noise) + nn.functional.dropout(torch.ones(8))
        return out


def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def _draw() -> tuple[float, ...]:
    return float(torch.rand(1)), float(np.random.rand()), random.random()


def predictions_beside_fits(count: int) -> Row:
    """Scores of a predictor that another thread fits, in turns, to labels and to their opposites."""
    space, rng = spaces.get("nasbench_macro"), np.random.default_rng(0)
    graphs = space.graphs([space.sample(rng) for _ in range(24)])
    labels = np.arange(24.0) + rng.normal(size=24)
    fits = [Predictor(head="gp").fit(graphs, sign * labels).predict(graphs) for sign in (1, -1)]
    predictor, signs = Predictor(head="gp").fit(graphs, labels), [1]
    neither = 0

    def fit() -> None:
        signs[0] = -signs[0]
        predictor.fit(graphs, signs[0] * labels)

    with _beside(fit) as other:
        for _ in range(count):
            try:
                scores = predictor.predict(graphs)
                neither += not any(np.array_equal(scores, known) for known in fits)
            except Exception:
                neither += 1
    return {"work": "predictions", "beside": f"{other[0]} fits", "count": count, "disturbed": neither}


def traces_beside_traces(count: int) -> Row:
    """Traces of one module by eight threads at once."""
    model = Stateful()
    expected = frontends.trace(model, input_shape=(2, 3, 8, 8))
    wrong: list[object] = []

    def trace() -> None:
        for _ in range(-(-count // 8)):
            try:
                if frontends.trace(model, input_shape=(2, 3, 8, 8)) != expected:
                    wrong.append("another graph")
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=trace) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"work": "traces of a module", "beside": "7 threads that trace it", "count": count, "disturbed": len(wrong)}


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[list[int]]:
    """Another thread repeats `work` meanwhile; yields how often it did. Its error is raised at the end."""
    stop, done = threading.Event(), [0]
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.is_set():
                work()
                done[0] += 1
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def _fast_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


if __name__ == "__main__":
    sys.exit(main())
