"""The charts of a search: the best so far, predicted against answered, the front."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from cgir.pages.charts import Axis, Chart, number
from cgir.typing import FloatArray
from encoders.metrics import spearman

from .. import pareto
from ..objectives import Objective
from .searched import Searched

LOWEST = 0.1  # of all answers so many may lie below the drawing of the best one


class Figure(NamedTuple):
    """A chart, its heading, and what is to be seen."""

    title: str
    svg: str
    caption: str


def best_figure(histories: Sequence[Searched]) -> Figure:
    """The best so far against the number of networks, of one search or of several."""
    return _one_search(histories[0]) if len(histories) == 1 else _several_searches(histories)


def _one_search(history: Searched) -> Figure:
    objective, count = history.objectives[0], np.arange(1, len(history) + 1)
    values, best = history.objective_values[:, 0], history.running_best
    within = np.isfinite(history.maximised[:, 0])
    chart = Chart(
        Axis.around("networks asked", count, whole=True), _robust_axis(objective.name, values, objective.sign)
    )
    failed = ~np.isfinite(values)
    failed[history.pending()] = False
    chart.crosses(count[failed], "fail")
    tips = [
        f"query {n}: {number(value)}\n{text}"
        for n, value, text in zip(count, values, history.spec_strings, strict=True)
    ]
    chart.dots(count, np.where(within, values, np.nan), "dot", tips)
    chart.dots(count, np.where(within, np.nan, values), "out", tips)
    chart.steps(count, best, "best")
    outside = int(((values < chart.y.low) | (values > chart.y.high)).sum())
    notes = ["Dots are answers, the line is the best so far"]
    notes += ["crosses are networks that failed"] if failed.any() else []
    notes += ["hollow ones break a limit"] if (~within & np.isfinite(values)).any() else []
    notes += [f"{outside} worse ones lie farther away than their place at the edge"] if outside else []
    return Figure("Best so far", chart.svg("best value against networks asked"), "; ".join(notes) + ".")


def _several_searches(histories: Sequence[Searched]) -> Figure:
    objective, length = histories[0].objectives[0], min(map(len, histories))
    best = np.stack([history.running_best[:length] for history in histories]).reshape(len(histories), length)
    best = best[:, ~np.isnan(best).any(axis=0)]
    count = np.arange(length - best.shape[1] + 1, length + 1)
    low, first, median, third, high = (
        np.quantile(best, [0, 0.25, 0.5, 0.75, 1], axis=0) if best.size else np.zeros((5, 0))
    )
    # where the search has just begun, all would be squeezed into the rest
    late = len(count) // 20
    shown = np.concatenate([low[late:], high] if objective.maximise else [low, high[late:]])
    chart = Chart(Axis.around("networks asked", count, whole=True), Axis.around(f"best {objective.name}", shown))
    chart.band(count, low, high, "wide")
    chart.band(count, first, third, "narrow")
    chart.steps(count, median, "best")
    caption = (
        f"Median of {len(histories)} searches, half of which lie in the darker band and all in the lighter one, as far "
        "as all of them got."
    )
    return Figure("Best so far", chart.svg("best value against networks asked"), caption)


def _robust_axis(label: str, values: FloatArray, sign: int) -> Axis:
    """An axis with the best answers on it; a few failed trainings would squeeze all others into a line."""
    found = values[np.isfinite(values)] * sign
    if not len(found):
        return Axis.around(label, found)
    shown = found[found >= np.quantile(found, LOWEST)]
    axis = Axis.around(label, shown * sign)
    if sign > 0:
        return Axis(label, min(axis.low, float(found.min())) if _is_near(found, shown) else axis.low, axis.high)
    return Axis(label, axis.low, max(axis.high, float(-found.min())) if _is_near(found, shown) else axis.high)


def _is_near(found: FloatArray, shown: FloatArray) -> bool:
    """Whether the worst is not much farther away than the others are from each other."""
    return float(np.ptp(found)) <= 2 * float(np.ptp(shown))


def predicted_figures(history: Searched) -> list[Figure]:
    """For each objective that a predictor was asked for, what it expected against what was answered."""
    return [figure for item in history.objectives if (figure := _predicted_figure(history, item)) is not None]


def _predicted_figure(history: Searched, objective: Objective) -> Figure | None:
    name, texts = objective.name, history.spec_strings
    expected, answered = history.predictions(name), history.column(name)
    rows = np.flatnonzero(np.isfinite(expected) & np.isfinite(answered))
    generations = np.asarray([row.generation for row in history.rows])[rows]
    # before there was an answer a predictor knew other families alone, whose scores have another unit
    learned = generations > generations.min(initial=0) if history.config.get("refit") else np.ones(len(rows), bool)
    before, rows = rows[~learned], rows[learned] if learned.any() else rows
    if len(rows) < 2:
        return None
    chart = Chart(
        _robust_axis(f"{name} expected", expected[rows], objective.sign),
        _robust_axis(f"{name} answered", answered[rows], objective.sign),
    )
    chart.dots(expected[rows], answered[rows], "dot", [f"query {row + 1}\n{texts[row]}" for row in rows])
    caption = f"What the predictor expected of {len(rows)} networks before they were asked"
    caption += _agreement(expected[rows], answered[rows])
    caption += ", all chosen as promising, so that they differ less than networks drawn at random."
    if len(before) > 1 and learned.any():
        caption += f" Not shown are {len(before)} that it chose before the first answer, in another unit"
        caption += _agreement(expected[before], answered[before]) + "."
    return Figure(f"Expected and answered: {name}", chart.svg(f"{name} expected against answered"), caption)


def _agreement(expected: FloatArray, answered: FloatArray) -> str:
    if len(np.unique(expected)) < 2 or len(np.unique(answered)) < 2:
        return ""
    return f" (Spearman's rank correlation {spearman(expected, answered):.3f})"


def front_figures(histories: Sequence[Searched]) -> list[Figure]:
    """For each pair of the first three objectives all networks, and those that no other beats in all of them."""
    objectives = histories[0].objectives
    values = np.concatenate([history.objective_values for history in histories])
    maximised = np.concatenate([history.maximised for history in histories])
    texts = [text for history in histories for text in history.spec_strings]
    front = np.zeros(len(values), bool)
    front[pareto.front(maximised)] = True
    within = np.isfinite(maximised).all(axis=1)
    signs = " and ".join(f"{'more' if item.maximise else 'less'} {item.name}" for item in objectives)
    caption = (
        f"{int(front.sum())} of {int(within.sum())} networks are on the front: no other is at least as good in all, "
        f"where {signs} is better."
    )
    figures = []
    for y, x in combinations(range(min(len(objectives), 3)), 2):
        names = objectives[x].name, objectives[y].name
        chart = Chart(
            Axis.around(names[0], values[within, x]),
            _robust_axis(names[1], values[within, y], objectives[y].sign),
        )
        if len(objectives) == 2:
            order = np.flatnonzero(front)[np.argsort(values[front, x] * -objectives[x].sign, kind="stable")]
            chart.steps(values[order, x], values[order, y], "edge")
        rest = within & ~front
        chart.dots(values[rest, x], values[rest, y], "dot")
        tips = [
            f"{names[1]} {number(values[row, y])}, {names[0]} {number(values[row, x])}\n{texts[row]}"
            for row in np.flatnonzero(front)
        ]
        chart.dots(values[front, x], values[front, y], "front", tips)
        figures.append(Figure(f"{names[1]} and {names[0]}", chart.svg(f"{names[1]} against {names[0]}"), caption))
    return figures


def worst_point(histories: Sequence[Searched]) -> list[float] | None:
    """(M,) the worst value of each objective that was answered, in its unit; None where nothing was."""
    maximised = np.concatenate([history.maximised for history in histories])
    maximised = maximised[np.isfinite(maximised).all(axis=1)]
    signs = np.asarray([item.sign for item in histories[0].objectives])
    return (maximised.min(axis=0) * signs).tolist() if len(maximised) else None
