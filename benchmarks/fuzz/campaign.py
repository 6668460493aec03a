"""Run a kind of input by the thousand, resumably: `runs/fuzz/KIND.jsonl` has a line for every hundred inputs."""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from .target import Target
from .watched import FINDINGS, Outcome, outcomes

BATCH = 100
# MODULE of this folder, which has a TARGET; or MODULE.NUMBER of those in its TARGETS
KINDS: tuple[str, ...] = (
    "onnx_fields", "onnx_operators", "tensorflow_files.0", "tensorflow_files.1", "keras_files.0", "keras_files.1",
    "pt2_files", "modules", "label_tables", "specifications", "graph_files", "store_files", "model_files",
    "search_logs", "command_line",
)  # fmt: skip


class Result(NamedTuple):
    """Outcomes of one kind: their counts, those that should not be, the slowest and the largest input."""

    title: str
    counts: Counter[str]
    findings: tuple[Outcome, ...]
    seconds: float
    megabytes: float

    @property
    def inputs(self) -> int:
        """How many inputs were read."""
        return self.counts.total()


def target_of(kind: str) -> Target:
    """The kind of input of that name."""
    module, _, number = kind.partition(".")
    loaded = importlib.import_module(f".{module}", __package__)
    found: Target = loaded.TARGETS[int(number)] if number else loaded.TARGET
    return found


def run(kind: str, folder: Path, inputs: int, seed: int, seconds: float, said: Callable[[int], object]) -> None:
    """Read inputs until there are `inputs` of them, going on where an earlier run ended.

    Args:
        kind: of input.
        folder: of the campaign: outcomes, and files while they are needed.
        inputs: how many, in all.
        seed: of the campaign.
        seconds: to stop after, from when its seeds are made.
        said: called with the number of inputs after each hundred.
    """
    target, path = target_of(kind), folder / f"{kind}.jsonl"
    start = max((line["stop"] for line in lines(path)), default=0)
    if start >= inputs:
        return
    seeds = _prepared(kind, folder / f"{kind}.seeds")
    if path.exists():  # without a last line that was not finished
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    until = time.monotonic() + seconds
    with path.open("a", encoding="utf-8") as file:
        while start < inputs and time.monotonic() < until:
            indices = range(start, min(start + BATCH, inputs))
            found = list(outcomes(target, seeds, seed, indices, folder / f"{kind}.files"))
            file.write(json.dumps(_line(target.title, indices, found)) + "\n")
            file.flush()
            start = indices.stop
            said(len(indices))
    shutil.rmtree(folder / f"{kind}.files", ignore_errors=True)


def run_quietly(kind: str, folder: Path, inputs: int, seed: int, seconds: float, progress: Any) -> None:
    """`run` in a process of its own, which puts its progress into a queue and logs nothing.

    Args:
        kind: of input.
        folder: of the campaign.
        inputs: how many, in all.
        seed: of the campaign.
        seconds: to stop after.
        progress: a `multiprocessing.Queue`.
    """
    logging.disable(logging.WARNING)
    run(kind, folder, inputs, seed, seconds, progress.put)


def _prepared(kind: str, folder: Path) -> Any:
    """What a kind's `prepare` makes, made in a process of its own: frameworks that have run do not survive a fork."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_prepare, args=(kind, folder, sending))
    process.start()
    sending.close()
    try:
        return receiving.recv()
    except EOFError as error:
        raise RuntimeError(f"the seeds of {kind} could not be made") from error
    finally:
        process.join()


def _prepare(kind: str, folder: Path, sending: Connection) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sending.send(target_of(kind).prepare(folder))


def _line(title: str, indices: range, found: list[Outcome]) -> dict[str, Any]:
    return {
        "start": indices.start,
        "stop": indices.stop,
        "title": title,
        "counts": Counter(outcome.name for outcome in found),
        "findings": [outcome for outcome in found if outcome.name in FINDINGS],
        "seconds": max(outcome.seconds for outcome in found),
        "megabytes": max(outcome.megabytes for outcome in found),
    }


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """What an earlier run kept; a last line that was not finished is left out."""
    for line in path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else ():
        yield json.loads(line)


def result(kind: str, folder: Path) -> Result:
    """What became of all inputs of one kind so far."""
    counts: Counter[str] = Counter()
    findings: list[Outcome] = []
    title, seconds, megabytes = kind, [0.0], [0.0]
    for line in lines(folder / f"{kind}.jsonl"):
        title = line["title"]
        counts.update(line["counts"])
        findings += [Outcome(*finding) for finding in line["findings"]]
        seconds.append(line["seconds"])
        megabytes.append(line["megabytes"])
    return Result(title, counts, tuple(findings), max(seconds), max(megabytes))


def again(kind: str, folder: Path, seed: int) -> list[Outcome]:
    """What becomes now of the inputs that were findings."""
    findings = [outcome.number for outcome in result(kind, folder).findings]
    seeds = _prepared(kind, folder / f"{kind}.seeds") if findings else None
    files = folder / f"{kind}.files"
    return [
        outcome
        for index in findings
        for outcome in outcomes(target_of(kind), seeds, seed, range(index, index + 1), files)
    ]
