"""Run a corpus: each case in a worker process with a time limit; results are kept, so that a run can resume.

A corpus is a module with COLUMNS, EXCEPTIONS, `cases()` and `check(case)`, and REQUIRES where it needs libraries that
are not the tests'; see `Corpus`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import multiprocessing
import os
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol, cast

from tqdm import tqdm

from cgir.errors import one_line

from ..report import Table

LIMIT = 600  # seconds for a case
FRESH = 200  # cases after which workers are replaced
Outcome = dict[str, Any]  # case, holds (column -> bool or None), message, seconds


class Corpus(Protocol):
    """What a module of this folder offers, and `REQUIRES` where it needs distributions that are not the tests'.

    `COLUMNS`: what is checked; `EXCEPTIONS`: pattern of a case, or "pattern: column" -> why it does not hold there;
    `cases()`: all names, in a fixed order; `check(case)`: column -> whether it holds, or why not; None where it does
    not apply.
    """

    COLUMNS: tuple[str, ...]
    EXCEPTIONS: Mapping[str, str]

    def cases(self) -> list[str]:
        """Names of all cases, which need nothing that `REQUIRES` names."""

    def check(self, case: str) -> Mapping[str, bool | str | None]:
        """What holds for one case."""


def load(name: str) -> Corpus:
    """The corpus of that name."""
    return cast(Corpus, importlib.import_module(f".{name}", __package__))


def not_installed(name: str) -> list[str]:
    """Distributions that a corpus needs and that are not installed."""
    return [library for library in getattr(load(name), "REQUIRES", ()) if not _installed(library)]


def _installed(library: str) -> bool:
    try:
        importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def run(name: str, folder: Path, jobs: int = 2, limit: int | None = None) -> list[Outcome]:
    """Check all cases of a corpus, or the first `limit`, resuming from `folder`; outcomes in the order of the cases.

    Args:
        name: of the corpus.
        folder: of the finished outcomes.
        jobs: number of worker processes.
        limit: number of cases; default all.
    """
    cases = load(name).cases()[:limit]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    done = {outcome["case"]: outcome for outcome in _read(path)}
    missing = [case for case in cases if case not in done]
    progress = tqdm(total=len(cases), initial=len(cases) - len(missing), desc=name)
    with path.open("a", encoding="utf-8") as file, progress:
        for start in range(0, len(missing), FRESH):
            for outcome in _outcomes(name, missing[start : start + FRESH], jobs):
                done[outcome["case"]] = outcome
                file.write(json.dumps(outcome) + "\n")
                file.flush()
                progress.update()
    return [done[case] for case in cases]


def _outcomes(name: str, cases: list[str], jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come, from worker processes that end with these cases: frameworks keep memory."""
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_quiet) as pool:
        for future in as_completed([pool.submit(outcome_of, name, case) for case in cases]):
            yield future.result()


def _read(path: Path) -> Iterable[Outcome]:
    """What an earlier run kept; its last line may be half written."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            logging.getLogger(__name__).warning("%s: a line is incomplete and will be measured again", path)


def _quiet() -> None:
    """Workers: one thread each, and nothing of what frameworks and their compiled parts print about the networks."""
    import torch

    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def outcome_of(name: str, case: str) -> Outcome:
    """Check one case; whatever goes wrong becomes the message, and the first column does not hold."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"no result after {LIMIT} s")

    corpus, start, message = load(name), time.perf_counter(), ""
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        holds = dict(corpus.check(case))
        message = "; ".join(f"{column}: {why}" for column, why in holds.items() if isinstance(why, str))[:600]
    except Exception as error:
        holds = {corpus.COLUMNS[0]: False}
        message = one_line(error, 400, named=True)
    finally:
        signal.alarm(0)
    return {"case": case, "holds": holds, "message": message, "seconds": round(time.perf_counter() - start, 2)}


def reason(corpus: Corpus, case: str, column: str) -> str | None:
    """Why `column` need not hold for `case`; a reason for the first column counts for all.

    Args:
        corpus: with its `EXCEPTIONS`.
        case: name of the case.
        column: what does not hold.
    """
    for pattern, why in corpus.EXCEPTIONS.items():
        target, _, only = pattern.partition(": ")
        if fnmatchcase(case, target) and (not only or only in (column, corpus.COLUMNS[0])):
            return why
    return None


def failures(corpus: Corpus, outcomes: list[Outcome]) -> list[tuple[Outcome, str]]:
    """Cases and columns that do not hold, listed or not."""
    return [
        (outcome, column)
        for outcome in outcomes
        for column in corpus.COLUMNS
        if outcome["holds"].get(column) not in (True, None)
    ]


def tables(name: str, outcomes: list[Outcome]) -> tuple[Table, Table]:
    """For RESULTS.md: how many cases hold in every column, and the exceptions with their reasons."""
    corpus = load(name)
    counts = []
    for column in corpus.COLUMNS:
        values = [outcome["holds"].get(column) for outcome in outcomes]
        counts.append((name, column, f"{values.count(True):,} of {len(values) - values.count(None):,}"))
    reasons: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for outcome, column in failures(corpus, outcomes):
        key = (column, reason(corpus, outcome["case"], column) or f"not explained: {outcome['message']}")
        reasons[key] += 1
        example.setdefault(key, outcome["case"])
    rows = tuple(
        (name, column, str(count), example[column, why], why.replace("|", "/"))
        for (column, why), count in reasons.items()
    )
    return Table("", (), tuple(counts)), Table("", (), rows)


def unexplained(name: str, outcomes: list[Outcome]) -> list[str]:
    """Failures without a listed reason, one line each."""
    corpus = load(name)
    return [
        f"{name}: {o['case']}: {column}: {o['message']}"
        for o, column in failures(corpus, outcomes)
        if reason(corpus, o["case"], column) is None
    ]
