"""Tables of what `examples.papers.one_shot` selected, and the text above them in RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.report import Table
from frontends import spaces

from .one_shot_jobs import SPACES, Job
from .one_shot_judges import fitted, judge, nasbench201
from .one_shot_methods import METHODS, PARTIAL

Results = Mapping[Job, Mapping[str, Any]]
PUBLISHED_201 = {
    "argmax": "54.30 ± 0.00",
    "perturbation, fine-tuned": "89.63 ± 0.19",
    "influence": "91.84 ± 0.84",
    "influential magnitude, published finite differences": "93.61 ± 0.23",
    "causal, p = 1, prior of each operation": "93.49 ± 0.71",
    "causal game, p = 1, prior of each operation": "93.59 ± 0.67",
}
# test error, best cell of a training, mean of trainings
PUBLISHED_1SHOT1 = {
    1: {
        "argmax": ("6.17 ± 0.09", "6.30 ± 0.00", "6.80 ± 0.00"),
        "perturbation, fine-tuned": ("6.25 ± 0.05", "6.28 ± 0.06", "6.69 ± 0.21"),
        "influential magnitude, published finite differences": ("6.10 ± 0.24", "6.53 ± 0.05", "6.20 ± 0.00"),
    },
    4: {
        "argmax": ("6.37 ± 0.05", "6.30 ± 0.00", "6.50 ± 0.00"),
        "perturbation": ("6.14 ± 0.08", "6.37 ± 0.12", "6.38 ± 0.09"),
        "influential magnitude": ("5.90 ± 0.24", "6.20 ± 0.22", "6.10 ± 0.08"),
    },
}
OPERATIONS = {"3x3 convolutions": "nor_conv_3x3", "1x1 convolutions": "nor_conv_1x1", "skips": "skip_connect"}

ABOUT = "TODO"


def tables(results: Results) -> list[Table]:
    """All that was measured; schedules that were not run are left out."""
    found: list[Table] = []
    for schedule in dict.fromkeys(job.schedule for job in results):
        rows = {job: result for job, result in results.items() if job.schedule == schedule}
        found += [_nasbench201(rows, schedule), _training(rows, schedule)]
        found += [_one_shot(rows, schedule, partial) for partial in (1, 4)]
    return [table for table in found if table.rows]


def _of(results: Results, space: str, partial: int) -> list[Mapping[str, Any]]:
    return [result for job, result in results.items() if (job.space, job.partial) == (space, partial)]


def _nasbench201(results: Results, schedule: str) -> Table:
    runs = _of(results, "NAS-Bench-201", 1)
    lines = []
    for method in METHODS:
        rows = _selected(runs, method)
        if rows:
            accuracies = [row["accuracy"] for row in rows]
            cells = _spread(accuracies), " ".join(f"{value:.2f}" for value in accuracies)
            seconds = f"{mean(row['seconds'] for row in rows):.1f}"
            lines.append((method, *cells, seconds, PUBLISHED_201.get(method, "")))
    return Table(
        f"NAS-Bench-201, {schedule} schedule: test accuracy of the selected cell on CIFAR-10, %",
        ("rule", "mean", "each seed", "seconds", "published"),
        (*lines, *(_references() if lines else ())),
    )


def _references() -> list[tuple[str, ...]]:
    """What needs no search."""
    space, everything = spaces.get("nasbench201"), np.array(list(nasbench201().values()))
    rows = [
        (
            "*random cell* (the whole space)",
            f"{everything.mean():.2f} ± {everything.std():.2f}",
            "",
            "0",
            "86.61 ± 13.46",
        )
    ]
    for name, op in OPERATIONS.items():
        rows.append((f"*all {name}*", f"{judge(space, (op,) * 6).accuracy:.2f}", "", "0", ""))
    return [*rows, ("*best cell*", f"{everything.max():.2f}", "", "", "94.37")]


def _training(results: Results, schedule: str) -> Table:
    histories = [run["history"] for run in _of(results, "NAS-Bench-201", 1)]
    if not histories:
        return Table("", (), ())
    picked = [round(k * (len(histories[0]) - 1) / 9) for k in range(10)]
    lines = [
        (name, *(_spread([history[k][key] * factor for history in histories], digits) for k in picked))
        for name, key, factor, digits in (
            ("validation accuracy of the supernet, %", "valid_accuracy", 1, 0),
            ("skips among the six operations that argmax selects, %", "skips", 100, 0),
            ("test accuracy of that cell, %", "accuracy", 1, 1),
        )
    ]
    steps = (str(histories[0][k]["step"]) for k in picked)
    return Table(f"NAS-Bench-201, {schedule} schedule: along the training, by step", ("", *steps), tuple(lines))


def _one_shot(results: Results, schedule: str, partial: int) -> Table:
    names = [space for space in SPACES if SPACES[space]["name"] == "nasbench1shot1"]
    runs = {space: _of(results, space, partial) for space in names}
    published = PUBLISHED_1SHOT1[partial]
    lines = []
    for method in METHODS if partial == 1 else PARTIAL:
        cells = [_errors(_selected(runs[space], method)) for space in names]
        if any(cells):
            lines.append((method, *cells, " / ".join(published.get(method, ()))))
    kind = "" if partial == 1 else f", partial channels (K = {partial})"
    return Table(
        f"NAS-Bench-1Shot1, {schedule} schedule{kind}: validation error of the selected cell on CIFAR-10, %; "
        "in brackets how many of the seeds' cells have a label, the others are predicted "
        f"(rank correlation {fitted().correlation:.2f}, mean error {fitted().error:.2f})"
        if lines
        else "",
        ("rule", *(f"space {n}" for n in (1, 2, 3)), "published test error"),
        tuple(lines),
    )


def _selected(runs: Sequence[Mapping[str, Any]], method: str) -> list[Mapping[str, Any]]:
    """Rows of the seeds where the rule selected a cell."""
    return [run[method] for run in runs if method in run and "error" not in run[method]]


def _errors(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    measured = sum(row["measured"] for row in rows)
    return f"{_spread([100 - row['accuracy'] for row in rows])} ({measured} of {len(rows)})"


def _spread(values: Sequence[float], digits: int = 2) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"
