"""Pictures of `examples.papers.search`: best so far against queries, mean and deviation over runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from cgir.typing import FloatArray
from examples.papers.search_problems import SOURCES, Problem, problem

mpl.use("Agg")
from matplotlib import pyplot as plt

Row = dict[str, Any]
COLUMNS = 4


def ranks(found: Problem, rows: Sequence[Row], queries: int) -> FloatArray:
    """(R, queries): 1 and how many networks are better than the best of each run so far; a search that ended stays.

    Args:
        found: the problem.
        rows: R runs.
        queries: budget.
    """
    ordered = np.sort(found.values)
    curves = [np.pad(row["best"][:queries], (0, max(queries - len(row["best"]), 0)), mode="edge") for row in rows]
    worse = np.searchsorted(ordered, np.stack(curves) + 1e-9)
    return np.asarray(1 + len(ordered) - worse, np.float64)


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Write `search.png`: geometric mean of ranks and its deviation, a panel for each problem.

    Args:
        rows: all runs.
        folder: of the file.
    """
    titles = [title for title in SOURCES if any(row["problem"] == title for row in rows)]
    if not titles:
        return
    height = -(-len(titles) // COLUMNS)
    figure, axes = plt.subplots(height, COLUMNS, figsize=(4 * COLUMNS, 3 * height), squeeze=False)
    methods = sorted({row["method"] for row in rows})
    colors = {method: plt.get_cmap("tab20")(2 * number % 20 + number // 10) for number, method in enumerate(methods)}
    colors["cgir"] = (0.0, 0.0, 0.0, 1.0)
    for title, axis in zip(titles, axes.flat, strict=False):
        found = problem(title)
        axis.set_title(title, fontsize=8)
        axis.set_yscale("log")
        for method in methods:
            group = [row for row in rows if row["problem"] == title and row["method"] == method]
            if group:
                logs = np.log(ranks(found, group, found.budget))
                middle, spread = logs.mean(axis=0), logs.std(axis=0)
                queries = np.arange(1, found.budget + 1)
                axis.plot(queries, np.exp(middle), label=method, color=colors[method], linewidth=1)
                band = np.exp(np.maximum(middle - spread, 0)), np.exp(middle + spread)
                axis.fill_between(queries, *band, color=colors[method], alpha=0.12, linewidth=0)
    for axis in axes.flat[len(titles) :]:
        axis.set_visible(False)
    axes.flat[0].legend(fontsize=6)
    figure.supxlabel("queries")
    figure.supylabel("rank of the best network so far")
    figure.tight_layout()
    figure.savefig(folder / "search.png", dpi=70)
    plt.close(figure)
