"""Tables of what `examples.papers.one_shot` selected, and the text above them in RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
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

ABOUT = """\
Supernets are trained as DARTS does (first order, halves of the training images for weights and architecture) on
CIFAR-10, and every rule selects a cell from the same supernets; 5 seeds, of initial weights, halves, batches and rules.
What a selected cell is worth is looked up: on NAS-Bench-201 the mean test accuracy of its full trainings, on
NAS-Bench-1Shot1 the validation accuracy of one training where our table of NAS-Bench-101 has the cell (4.7 % of all),
else what a Gaussian process fitted to 1,000 of its cells expects. Seconds are processor time of one thread.

*Small schedule*: 16 x 16 pixels, 8 channels, one cell a stage, batches of 64, 2,000 steps (NAS-Bench-1Shot1: 500), the
published hyperparameters but for ten times the architecture's learning rate, as there are twenty times fewer steps.
The *published* numbers are of 32 x 32 pixels, 16 channels, five cells and 39,000 steps, which is `--schedule paper`:
it needs a GPU and was not run. Those of NAS-Bench-1Shot1 are test errors of the best cell along a whole training.

Rows: *perturbation* is DARTS-PT by accuracy, without tuning, or with 100 steps after each decision; *influence* is
eq. 5 and *influential magnitude* definition 1 of Zhang et al. 2022, with 20 batches, the Sherman-Morrison formula,
eta = .1 and exact second derivatives where no more is said; its conjugate gradients select nothing on any seed, because
the Hessian is not positive definite. *Untrained* is the same rule on a supernet that saw no image, *all normalised* has
BatchNorm behind skips and pooling too. *Causal* reads untrained supernets ("Causal Zero-Shot Neural Architecture
Search"): *observed* accuracies of 1,024 images, or draws from a Gaussian prior (p = 1) that is one for all operations
(which is chance), or each operation's own as measured on the trained supernet; *game* takes Shapley values.

What the rows say. No rule is on average better than six 3x3 convolutions, which need no search; perturbation by loss,
which agrees with leave-one-out retraining ("What selection rules know of a supernet's operations"), is as good. The
published order does not reproduce at this scale: argmax collapses to skips on one seed of five and is among the best on
three others; influential magnitude is below perturbation, and below eq. 5 unless `none` is excluded, does not gain by
the training or by the Hessian, and falls where skips and pooling are normalised as convolutions are. Most means are
closer to each other than the deviations of seeds. The prior of the causal rule is nearly chance: on the supernet of
seed 1 `one_shot_statistics` has mean accuracies of the operations, each alone on an edge, from .47 to .50, with a
deviation of .04 to .07 from edge to edge and batch to batch. On NAS-Bench-1Shot1 argmax is better than a random cell in
all spaces; influential magnitude hardly is on average, and scatters more than argmax and perturbation do."""


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
    if lines:
        lines.append(("*random cell*", *(_random_errors(SPACES[space]["subspace"]) for space in names), ""))
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


@lru_cache(maxsize=3)
def _random_errors(subspace: int) -> str:
    """Of 500 random cells of a sub-space."""
    space, rng = spaces.get("nasbench1shot1", subspace=subspace), np.random.default_rng(0)
    errors = [100 - judge(space, space.sample(rng)).accuracy for _ in range(500)]
    return f"{mean(errors):.2f} ± {stdev(errors):.2f}"


def _errors(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    measured = sum(row["measured"] for row in rows)
    return f"{_spread([100 - row['accuracy'] for row in rows])} ({measured} of {len(rows)})"


def _spread(values: Sequence[float], digits: int = 2) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"
