"""Report of `cgir demo`: a table for the terminal, and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import mean, stdev

from cgir.drawing.module_blocks import collapse
from cgir.drawing.svg import svg
from cgir.graph import Graph
from cgir.pages import layout
from cgir.pages.charts import Axis, Chart
from cgir.pages.layout import figure, html_table, next_steps
from cgir.typing import FloatArray


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


def text_table(outcomes: Sequence[Outcome], labels: int) -> str:
    """The comparison as text in columns; `labels` is how many a method was given."""
    lines = [_columns(labels), *(outcome.cells() for outcome in outcomes)]
    return "\n".join("   " + f"{line[0]:22s}" + "".join(f"{cell:>22s}" for cell in line[1:]) for line in lines)


def scatter(scores: FloatArray, accuracies: FloatArray, labels: int) -> str:
    """A chart of accuracy against predicted rank.

    Args:
        scores: (G,) predictions for networks that were held out.
        accuracies: (G,) theirs, 0 to 1.
        labels: how many the predictor was given.
    """
    from scipy.stats import rankdata  # takes longer to import than a help text to appear

    from encoders.metrics import spearman

    ranks = rankdata(-scores)
    chart = Chart(
        Axis.around("predicted rank, 1 is the best", ranks, whole=True), Axis.around("accuracy, %", accuracies * 100)
    )
    chart.dots(ranks, 100 * accuracies, "dot")
    caption = (
        f"{len(scores)} networks that were not shown to it, ranked after {labels} labels (the first draw): the rank "
        f"correlation (Spearman) is {spearman(scores, accuracies):.2f}; 1 would be the true order, 0 none at all."
    )
    return figure("Ranking after few labels", chart.svg("accuracy against predicted rank"), caption)


def write_page(
    path: Path, outcomes: Sequence[Outcome], labels: int, picture: str, graph: Graph, commands: Sequence[str]
) -> None:
    """Write one HTML page with everything in it.

    Args:
        path: the page.
        outcomes: one a method, the library's own first.
        labels: how many each method was given.
        picture: of `scatter`.
        graph: a network that was traced, which is drawn.
        commands: to go on with.
    """
    head, *rows = [_columns(labels), *(outcome.cells() for outcome in outcomes)]
    parts = [
        "<p class=big>250 small networks of one family are ranked. Of two other families all accuracies are known; "
        f"of this one those of {labels} networks, or none.</p>",
        f"<p>Rank correlations of predicted and true order on the other networks, mean and standard deviation over "
        f"{len(outcomes[0].spearman)} draws of the {labels}.</p>",
        html_table(head, rows),
        picture,
        f"<h2>{escape(graph.name)} as a graph</h2><pre>{escape(graph.report())}</pre>",
        f"<div class=drawing>{svg(graph, collapse(graph))}</div>",
        next_steps(commands),
    ]
    layout.write_page(path, "What cgir does: the demonstration", parts)


def _cell(values: Sequence[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def _columns(labels: int) -> tuple[str, str, str, str]:
    return "method", "Spearman, 0 labels", f"Spearman, {labels} labels", f"Kendall, {labels} labels"
