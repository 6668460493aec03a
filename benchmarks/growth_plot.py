"""Drawings of how cost grows: both axes in powers of ten, a line for each way to do the work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from cgir.atomic_files import atomic_path

MARKERS = "os^Dv"


def draw(found: Mapping[str, Mapping[int, float]], path: Path, across: str, up: str, title: str = "") -> None:
    """Write an SVG on white paper, which is readable where a page is dark.

    Args:
        found: name of a way -> size of the work -> its cost.
        path: of the file.
        across: label of sizes.
        up: label of costs.
        title: above the drawing.
    """
    # text as text, and the same bytes every time
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "growth"}):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        for (name, costs), marker in zip(found.items(), MARKERS, strict=False):
            axes.loglog(list(costs), list(costs.values()), marker=marker, label=name)
        axes.set(xlabel=across, ylabel=up, title=title)
        axes.grid(alpha=0.3)
        axes.legend()
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
