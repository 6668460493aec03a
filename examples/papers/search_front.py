"""Accuracy against FLOPs among the labelled networks of Once-for-All: how much of the table's front searches find."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import search
from benchmarks.report import Table
from cgir.analysis.batch_costs import batch_flops
from cgir.typing import FloatArray
from examples.papers import search_rivals
from examples.papers.search_methods import Search, random, rows
from examples.papers.search_problems import Problem, problem
from examples.papers.search_sources import source_predictor

Row = dict[str, Any]
TITLE, OF = "OFA-MobileNetV3 at 224, front", "OFA-MobileNetV3 at 224"
AIM = 0.95  # of the hypervolume of the table's front
OBJECTIVES = ("accuracy", "-flops")


def ours(found: Problem, queries: int, seed: int, folder: Path) -> list[int]:
    """`search.evolve` with both objectives; FLOPs come from the graphs and are not asked.

    Args:
        found: the problem.
        queries: budget.
        seed: of the search.
        folder: of predictors.
    """
    predictor = source_predictor(found.family, folder)
    history = search.evolve(found.space, predictor, found.oracle, queries, seed, objectives=OBJECTIVES, progress=False)
    return rows(found, history.specs)


@cache
def costs(title: str) -> FloatArray:
    """(G,) FLOPs of a problem's networks."""
    return batch_flops(problem(title).graphs).astype(np.float64)


METHODS: dict[str, Search] = {
    "cgir": ours,
    "random": random,
    "NSGA-II (pymoo)": lambda found, queries, seed, folder: search_rivals.nsga2(
        found, queries, seed, costs(found.title)
    ),
}


def points(found: Problem, asked: Sequence[int]) -> FloatArray:
    """(N, 2) accuracy and negative FLOPs of networks, both in units of the range among all, 0 worst and 1 best."""
    both = np.column_stack([found.values, -costs(found.title)])
    low, high = both.min(axis=0), both.max(axis=0)
    scaled: FloatArray = ((both - low) / (high - low))[list(asked)]
    return scaled


def shares(found: Problem, asked: Sequence[int]) -> list[float]:
    """After each query, the hypervolume of what was asked as a share of the whole table's."""
    reference = (-0.01, -0.01)
    whole = search.hypervolume(points(found, range(len(found.values))), reference)
    asked_points = points(found, asked)
    return [search.hypervolume(asked_points[: count + 1], reference) / whole for count in range(len(asked))]


def table(rows: Sequence[Row]) -> Table:
    """Shares of the hypervolume, and queries to `AIM`."""
    from examples.papers.search_table import cell

    found, lines = problem(OF), []
    for method in METHODS:
        curves = [row["best"] for row in rows if row["method"] == method]
        if curves:
            whens = [int(np.argmax(np.asarray(curve) >= AIM)) + 1 for curve in curves if curve[-1] >= AIM]
            at = (
                cell((100 * curve[min(count, len(curve)) - 1] for curve in curves), 1)
                for count in (found.aim, found.budget)
            )
            lines.append((method, *at, f"{len(whens)} of {len(curves)}", cell(whens, 0) if whens else "-"))
    columns = ("search", f"% with {found.aim}", f"% with {found.budget}", f"reached {AIM:.0%}", "queries to it")
    caption = f"{TITLE} of accuracy and FLOPs: hypervolume as a share of that of all {len(found.values):,} networks"
    return Table(caption, columns, tuple(lines))
