"""How the scores of `examples.papers.universal` are shown."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean, stdev
from typing import Any

from benchmarks.report import Table
from examples.papers.universal_methods import METHODS

ABOUT = """TBD"""

PUBLISHED = {"NAS-Bench-201, the paper's 4,096 cells": (40, "0.917 ± 0.010"), "NAS-Bench-101": (50, "0.553 ± 0.090")}
OURS = "cgir"

Row = dict[str, Any]


def tables(rows: list[Row]) -> list[Table]:
    """For every target one table of Spearman's rho and one of Kendall's tau."""
    targets = dict.fromkeys(row["target"] for row in rows)
    return [_table([row for row in rows if row["target"] == target], target, measure) for measure in ("spearman", "kendall") for target in targets]


def _table(rows: list[Row], target: str, measure: str) -> Table:
    counts = sorted({row["labels"] for row in rows})
    cells = {(name, k): [row[measure] for row in rows if (row["method"], row["labels"]) == (name, k)] for name in METHODS for k in counts}
    lines = [(name, *(_cell(cells[name, k], cells[OURS, k]) for k in counts)) for name in METHODS if any(cells[name, k] for k in counts)]
    if measure == "spearman" and target in PUBLISHED:
        labels, text = PUBLISHED[target]
        lines.append(("*published, contrastive*", *(text if k == labels else "" for k in counts)))
    title = {"spearman": "Spearman's rho", "kendall": "Kendall's tau-b"}[measure]
    return Table(f"{target}: {title} by number of labels", ("method", *map(str, counts)), tuple(lines))


def _cell(values: Iterable[float], ours: list[float]) -> str:
    """Mean and deviation; marked where it beats ours by more than one deviation."""
    found = list(values)
    if not found:
        return ""
    text = f"{mean(found):.3f} ± {stdev(found):.3f}" if len(found) > 1 else f"{found[0]:.3f}"
    ahead = len(ours) > 1 and len(found) > 1 and mean(found) - mean(ours) > max(stdev(ours), stdev(found), 1e-9)
    return f"**{text}**" if ahead else text
