"""The page of `cgir finetune`: what the predictor says of labels that it was not shown, and the ranking of all."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cgir.errors import LabelError, printable
from cgir.graph_batch import GraphBatch
from cgir.pages.charts import Axis, Chart, number
from cgir.pages.layout import figure, html_table, next_steps, side_by_side, write_page
from cgir.typing import FloatArray

from .score_table import Scored

if TYPE_CHECKING:
    from encoders import Predictor
    from encoders.predictors.predictor import Hints

ONE_BY_ONE = 12  # labels up to which each is held out alone
FOLDS = 5  # of more
FEWEST = 4  # labels of which some can be spared
QUICK = ("blend", "gp")  # heads that learn in no time
SHOWN = 50  # networks of the table


class HeldOut(NamedTuple):
    """What was expected of labelled networks whose label was held out: `rows` (n,), `scores` (n,), `stds` (n,)."""

    rows: FloatArray
    scores: FloatArray
    stds: FloatArray


def hold_out(predictor: Predictor, graphs: GraphBatch, y: FloatArray, seed: int, hints: Hints) -> HeldOut | None:
    """Cross-validation: each label as expected by a copy that learned from the others; None where it says nothing.

    Args:
        predictor: fitted to the labels.
        graphs: G of them.
        y: (G,) labels that it learned, NaN where unknown.
        seed: of the folds and fits.
        hints: of the fits.
    """
    from encoders import GraphFeatures, GraphTensors

    rows = np.random.default_rng(seed).permutation(np.flatnonzero(np.isfinite(y)))
    if predictor.head not in QUICK or len(rows) < FEWEST:
        return None
    features = GraphFeatures(GraphTensors(graphs), predictor.encoder)
    scores, stds = np.zeros(len(rows)), np.zeros(len(rows))
    fold = np.arange(len(rows)) % (len(rows) if len(rows) <= ONE_BY_ONE else FOLDS)
    for index in range(fold.max() + 1):
        known, held = rows[fold != index], rows[fold == index]
        other = copy(predictor)
        try:
            other.fit(features.select(known), y[known], seed=seed, pool=features, hints=hints, metric=predictor.metric)
        except LabelError:  # all that are left are equal
            return None
        scores[fold == index], stds[fold == index] = other.predict(features.select(held), return_std=True)
    return HeldOut(rows, scores, stds)


def write_report(
    path: Path, predictor: Predictor, scored: Scored, y: FloatArray, held_out: HeldOut | None, folder: Path
) -> None:
    """Write the page.

    Args:
        path: of the page.
        predictor: fitted.
        scored: all G networks.
        y: (G,) labels, NaN where unknown.
        held_out: of the labels.
        folder: of the predictor.
    """
    metric = predictor.metric
    what, *lines = str(predictor).splitlines()
    parts = [f"<p class=big>{escape(what)}</p>", *(f"<p>{escape(line.strip())}.</p>" for line in lines)]
    charts = [] if held_out is None else [_held_out_figure(held_out, scored, y)]
    parts.append(side_by_side(*charts, _ranking_figure(scored, y)))
    if scored.outside:
        parts.append("<h2>Unlike all that was seen</h2><p>Scores of these networks are guesses.</p>")
        parts.append(html_table(("network", "why"), _rows_outside(scored), (0, 1)))
    parts += [f"<h2>The best {min(SHOWN, len(scored.scores))}</h2>", _table(scored, y)]
    parts.append(
        next_steps([
            f"cgir predict @models.txt --predictor {printable(folder)}",
            f"cgir explain net.py:build --predictor {printable(folder)} -o why.html",
            f"cgir search SPACE --oracle measure.py:measure --predictor {printable(folder)}",
        ])
    )  # fmt: skip
    write_page(path, f"Ranking by {metric.name if metric else 'score'}", parts)


def _held_out_figure(held_out: HeldOut, scored: Scored, y: FloatArray) -> str:
    from encoders.metrics import spearman

    found, low, high = y[held_out.rows], held_out.scores - held_out.stds, held_out.scores + held_out.stds
    ends = np.concatenate([found, held_out.scores])
    expected = _with_bars(ends, held_out.scores, held_out.stds)
    chart = Chart(Axis.around(f"{scored.title} measured", ends), Axis.around(f"{scored.title} expected", expected))
    chart.diagonal("same")
    chart.errors(found, low, high, "error")
    tips = [
        f"{scored.names[row]}\nmeasured {number(value)}, expected {number(score)}"
        for row, value, score in zip(held_out.rows.tolist(), found, held_out.scores, strict=True)
    ]
    chart.dots(found, held_out.scores, "dot", tips)
    inside = int((np.abs(found - held_out.scores) <= held_out.stds).sum())
    caption = (
        f"Each of {len(found)} labels as expected by a predictor that was not shown it. On the dashed line both are "
        f"the same; {inside} are within one standard deviation, which two in three should be. "
        f"Spearman's rank correlation {spearman(held_out.scores, found):.2f}."
    )
    return figure("Labels that were held out", chart.svg("expected against measured"), caption)


def _ranking_figure(scored: Scored, y: FloatArray) -> str:
    order = scored.best_first
    rank, scores = np.arange(1, len(order) + 1), scored.scores[order]
    stds = np.zeros(len(order)) if scored.stds is None else scored.stds[order]
    shown = np.concatenate([scores, y[np.isfinite(y)]])
    chart = Chart(Axis.around("rank", rank, whole=True), Axis.around(scored.title, _with_bars(shown, scores, stds)))
    chart.errors(rank, scores - stds, scores + stds, "error")
    tips = [f"{place}. {scored.names[row]}\n{number(scored.scores[row])}" for place, row in enumerate(order, 1)]
    chart.dots(rank, scores, "dot", tips)
    chart.dots(rank, y[order], "front")
    caption = f"All {len(order):,} networks, best first, with a standard deviation; orange is what was measured."
    return figure("The ranking", chart.svg("scores by rank"), caption)


def _with_bars(shown: FloatArray, scores: FloatArray, stds: FloatArray) -> FloatArray:
    """What an axis has to show: values, and ends of error bars as far as they leave the values legible.

    Args:
        shown: values.
        scores: (N,) middles of the bars.
        stds: (N,) their half lengths.
    """
    reach = max(float(np.ptp(shown)), float(np.median(stds)))  # one network with a huge deviation flattens no others
    ends = np.concatenate([scores - stds, scores + stds]).clip(shown.min() - reach, shown.max() + reach)
    return np.concatenate([shown, ends])


def _table(scored: Scored, y: FloatArray) -> str:
    digits = scored.decimals
    head = ("rank", scored.title, *(() if scored.stds is None else ("+- 1 std",)), "measured", "network")
    rows: list[Sequence[str]] = []
    for rank, row in enumerate(scored.best_first[:SHOWN].tolist(), 1):
        deviation = () if scored.stds is None else (f"{scored.stds[row]:.{digits}f}",)
        measured = "" if np.isnan(y[row]) else f"{y[row]:.6g}"
        rows.append((str(rank), f"{scored.scores[row]:.{digits}f}", *deviation, measured, printable(scored.names[row])))
    return html_table(head, rows, (len(head) - 1,))


def _rows_outside(scored: Scored) -> list[tuple[str, str]]:
    return [(printable(scored.names[row]), reason) for row, reason in list(scored.outside.items())[:SHOWN]]
