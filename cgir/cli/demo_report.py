"""Report of `cgir demo`: a table for the terminal, a scatter plot, one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, stdev

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError
from cgir.graph import Graph
from cgir.typing import FloatArray

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .3rem .9rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } tr.first { font-weight: 600 }
.graph { overflow: auto; max-height: 40rem; border: 1px solid #ddd } img { max-width: 34rem }
"""


@dataclass(frozen=True)
class Outcome:
    """Rank correlations of one method over several draws of labels; `zero_label` is Spearman's rho without labels."""

    method: str
    spearman: list[float]
    kendall: list[float]
    zero_label: list[float] | None = None

    def cells(self) -> tuple[str, str, str, str]:
        """Method, Spearman without labels, Spearman, Kendall."""
        return self.method, _cell(self.zero_label) if self.zero_label else "", _cell(self.spearman), _cell(self.kendall)


def check_matplotlib() -> None:
    """Raise CgirError where matplotlib, which draws the scatter plot, is not installed."""
    try:
        found = find_spec("matplotlib") is not None
    except ValueError:  # its place in sys.modules is taken by something that is no module
        found = False
    if not found:
        raise CgirError("the demo draws with matplotlib, which is not installed: pip install 'cgir[demo]'")


def text_table(outcomes: Sequence[Outcome], labels: int) -> str:
    """The comparison as text in columns; `labels` is how many a method was given."""
    lines = [_columns(labels), *(outcome.cells() for outcome in outcomes)]
    return "\n".join("   " + f"{line[0]:22s}" + "".join(f"{cell:>22s}" for cell in line[1:]) for line in lines)


def draw_scatter(path: Path, scores: FloatArray, accuracies: FloatArray, labels: int) -> None:
    """Draw accuracy against predicted rank, as PNG.

    Args:
        path: the file.
        scores: (G,) predictions for networks that were held out.
        accuracies: (G,) theirs, 0 to 1.
        labels: how many the predictor was given.
    """
    from matplotlib.figure import Figure
    from scipy.stats import rankdata  # takes longer to import than a help text to appear

    from encoders.metrics import spearman

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(rankdata(scores), 100 * accuracies, s=14, alpha=0.7, edgecolors="none", color="#2b6cb0")
    axes.set_xlabel("predicted rank (right is better)")
    axes.set_ylabel("accuracy on held-out digits, %")
    agreement = f"Spearman {spearman(scores, accuracies):.3f}"
    axes.set_title(f"{len(scores)} networks ranked after {labels} labels (one draw), {agreement}", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def write_page(
    path: Path, outcomes: Sequence[Outcome], labels: int, picture: Path, drawing: Path, graph: Graph, seconds: float
) -> None:
    """Write one HTML page with everything in it.

    Args:
        path: the page.
        outcomes: one a method, the library's own first.
        labels: how many each method was given.
        picture: PNG to embed.
        drawing: SVG of `graph` to embed.
        graph: whose report is shown.
        seconds: that the demo took.
    """
    image = base64.b64encode(picture.read_bytes()).decode()
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>cgir demo</title>",
        f"<style>{STYLE}</style><h1>cgir demo</h1>",
        "<p>250 networks of a family, labels of two others known; "
        "the accuracies of a few are given, the others are ranked.",
        f"Mean and standard deviation over {len(outcomes[0].spearman)} draws of labels; "
        f"measured in {seconds:.0f} s.</p>",
        f"{_html_table(outcomes, labels)}"
        f"<p><img alt='predicted rank against accuracy' src='data:image/png;base64,{image}'></p>",
        f"<h2>{escape(graph.name)} as a graph</h2><pre>{escape(graph.report())}</pre>"
        f"<div class=graph>{drawing.read_text(encoding='utf-8')}</div></html>",
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")


def _html_table(outcomes: Sequence[Outcome], labels: int) -> str:
    head, *rows = [_columns(labels), *(outcome.cells() for outcome in outcomes)]
    body = "".join(
        f"<tr{' class=first' if i == 0 else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for i, row in enumerate(rows)
    )
    return "<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + f"</tr>{body}</table>"


def _cell(values: Sequence[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def _columns(labels: int) -> tuple[str, str, str, str]:
    return "method", "Spearman, 0 labels", f"Spearman, {labels} labels", f"Kendall, {labels} labels"
