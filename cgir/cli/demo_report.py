"""What `cgir demo` shows: a table for the terminal, a scatter plot, one self-contained page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import rankdata

from cgir import Graph
from cgir.atomic_files import atomic_path
from cgir.typing import FloatArray
from encoders.metrics import spearman

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { padding: .3rem .9rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } tr.first { font-weight: 600 }
.graph { overflow: auto; max-height: 40rem; border: 1px solid #ddd } img { max-width: 34rem }
"""


@dataclass(frozen=True)
class Outcome:
    """Rank correlations of one method over several draws of labels; `zero` is Spearman's rho without any."""

    method: str
    spearman: list[float]
    kendall: list[float]
    zero: list[float] | None = None

    def cells(self) -> tuple[str, str, str, str]:
        """Method, Spearman without labels, Spearman, Kendall."""
        return self.method, _cell(self.zero) if self.zero else "", _cell(self.spearman), _cell(self.kendall)


def _cell(values: list[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def _columns(labels: int) -> tuple[str, str, str, str]:
    return "method", "Spearman, 0 labels", f"Spearman, {labels} labels", f"Kendall, {labels} labels"


def text_table(outcomes: list[Outcome], labels: int) -> str:
    """The comparison in columns."""
    lines = [_columns(labels), *(outcome.cells() for outcome in outcomes)]
    return "\n".join("   " + f"{line[0]:22s}" + "".join(f"{cell:>22s}" for cell in line[1:]) for line in lines)


def scatter(path: Path, scores: FloatArray, labels: FloatArray, trained_on: int) -> Path:
    """True accuracy against predicted rank, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(rankdata(scores), 100 * labels, s=14, alpha=0.7, edgecolors="none", color="#2b6cb0")
    axes.set_xlabel("predicted rank (right is better)")
    axes.set_ylabel("accuracy on held-out digits, %")
    axes.set_title(
        f"{len(labels)} networks ranked after {trained_on} labels (one draw), Spearman {spearman(scores, labels):.3f}",
        fontsize=11,
    )
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))
    return path


def write_page(
    path: Path, outcomes: list[Outcome], labels: int, picture: Path, drawing: Path, graph: Graph, seconds: float
) -> None:
    """One page with everything in it."""
    head, *rows = [_columns(labels), *(outcome.cells() for outcome in outcomes)]
    body = "".join(
        f"<tr{' class=first' if i == 0 else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for i, row in enumerate(rows)
    )
    table = "<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + f"</tr>{body}</table>"
    image = base64.b64encode(picture.read_bytes()).decode()
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>cgir demo</title>",
        f"<style>{STYLE}</style><h1>cgir demo</h1>",
        "<p>250 networks of a family that was pretrained on without labels; the accuracies of a few are given, the others are ranked.",
        f"Mean and standard deviation over {len(outcomes[0].spearman)} draws of labels; measured in {seconds:.0f} s.</p>",
        f"{table}<p><img alt='predicted rank against accuracy' src='data:image/png;base64,{image}'></p>",
        f"<h2>{escape(graph.name)} as a graph</h2><pre>{escape(graph.report())}</pre><div class=graph>{drawing.read_text(encoding='utf-8')}</div></html>",
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
