"""The report of a search as one self-contained HTML page."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from os import PathLike
from statistics import median
from typing import Any

import numpy as np

from cgir.atomic_files import atomic_path
from cgir.drawing.module_blocks import collapse
from cgir.drawing.svg import svg
from cgir.errors import CgirError
from cgir.pages.charts import number
from cgir.pages.layout import document, figure, side_by_side

from ..one_shot.cell_pictures import cell_pictures
from ..one_shot.drawing import cells_svg
from .build_code import build_lines, space_of
from .figures import Figure, best_figure, front_figures, predicted_figures, worst_point
from .searched import Searched

TOP = 10  # networks in the table
CAUSES = 20  # kinds of failures
LONGEST = 300  # letters of an error or a setting


def write_report(histories: Searched | Sequence[Searched], path: str | PathLike[str]) -> None:
    """Write what searches found, with pictures, as one HTML page that needs no network, atomically.

    Args:
        histories: a `search.History`; or several of one search with different seeds, whose best is shown in bands, and
            the best network of all of them.
        path: of the page.

    Raises:
        CgirError: there is none, or they are of different spaces or objectives.
    """
    several = list(histories) if isinstance(histories, Sequence) else [histories]
    if not several:
        raise CgirError("report: there is no history; expected one or more")
    for history in several[1:]:
        if _sought(history) != _sought(several[0]):
            found = f"{history.space.name} for {_objectives(history)}"
            raise CgirError(
                f"report: a history of {found} beside one of {several[0].space.name} for {_objectives(several[0])}; "
                "expected the same space and objectives"
            )
    text = page(several)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def page(histories: Sequence[Searched]) -> str:
    """The text of the page; see `write_report`."""
    best = _best(histories)
    title = f"{histories[0].config.get('method', 'search')} in {histories[0].space.name}"
    parts = [
        *_headline(histories, best),
        _figures([best_figure(histories), *(front_figures(histories) if len(histories[0].objectives) > 1 else [])]),
        *_hypervolume(histories),
        *(_network(*best) if best else []),
        *_best_ten(histories),
        *_predictions(histories),
        *_seeds(histories),
        *_failures(histories),
        *_settings(histories),
    ]
    return document(title, parts)


def _best(histories: Sequence[Searched]) -> tuple[Searched, int] | None:
    """The history with the best network, and its row."""
    found = [(history, rows[0]) for history in histories if (rows := history.top(1))]
    return max(found, key=lambda pair: pair[0].maximised[pair[1], 0], default=None)


def _headline(histories: Sequence[Searched], best: tuple[Searched, int] | None) -> Iterable[str]:
    queries = sum(history.num_queries for history in histories)
    failed = sum(len(_failed(history)) for history in histories)
    seconds = [row.seconds for history in histories for row in history.rows if row.seconds is not None]
    words = [f"{queries:,} queries" + (f" of {len(histories)} searches" if len(histories) > 1 else "")]
    words += [f"{failed:,} failed"] if failed else []
    waiting = sum(len(history.pending()) for history in histories)
    words += [f"{waiting:,} without an answer yet"] if waiting else []
    if sum(seconds) >= 1:  # less is a table that was read
        words += [
            f"the oracle took {_time(sum(seconds))}, {_time(median(seconds))} for a network in the median, "
            f"{_time(max(seconds))} at most"
        ]
    yield f"<p>{'; '.join(words)}.</p>"
    if best is None:
        yield "<p class=big>No network has a value within the limits yet.</p>"
        return
    history, row = best
    values = zip(history.objectives, history.objective_values[row], strict=True)
    text = ", ".join(f"{escape(item.name)} <b>{number(value)}</b>" for item, value in values)
    yield f"<p class=big>Best: {text}, network {row + 1}<br><code>{escape(_text(history, row))}</code></p>"


def _figures(found: Sequence[Figure]) -> str:
    return side_by_side(*(figure(item.title, item.svg, item.caption) for item in found))


def _hypervolume(histories: Sequence[Searched]) -> Iterable[str]:
    reference = worst_point(histories)
    if len(histories[0].objectives) < 2 or reference is None:
        return
    volumes = ", ".join(f"{history.hypervolume(reference):.5g}" for history in histories)
    where = ", ".join(
        f"{escape(item.name)} {number(value)}" for item, value in zip(histories[0].objectives, reference, strict=True)
    )
    yield f"<p>Hypervolume of the front: {volumes}, from the worst answers on: {where}.</p>"


def _network(history: Searched, row: int) -> Iterable[str]:
    """The drawn network, its cells, and how to build it."""
    space, spec, text = history.space, history.rows[row].spec, _text(history, row)
    yield "<h2>The best network</h2>"
    if cells := cell_pictures(space.name, spec):
        picture = base64.b64encode(cells_svg(cells).encode()).decode()
        yield f"<div class=drawing><img alt='its cells' src='data:image/svg+xml;base64,{picture}'></div>"
    graph = space.graph(spec)
    yield f"<p>{graph.num_params:,} parameters, {number(graph.flops)} FLOPs, {len(graph.nodes)} operators.</p>"
    yield f"<div class=drawing>{svg(graph, collapse(graph))}</div>"
    lines = [
        *build_lines(space, text),
        "",
        f"spec = space.parse({text!r})",
        'space.graph(spec).save("best.json")  # as it was searched',
        "",
        "import torch",
        'torch.onnx.export(module.eval(), space.inputs(spec), "best.onnx", dynamo=True)',
    ]
    yield f"<h2>How to build it</h2><pre>{escape(chr(10).join(lines))}</pre>"


def _best_ten(histories: Sequence[Searched]) -> Iterable[str]:
    found = [(history, row) for history in histories for row in history.top(TOP)]
    found.sort(key=lambda pair: -pair[0].maximised[pair[1], 0])
    if not found:
        return
    names = [item.name for item in histories[0].objectives]
    extra = dict.fromkeys(
        name
        for history, row in found[:TOP]
        for name in (*history.rows[row].costs, *(history.rows[row].answer or {}))
        if name not in names
    )
    expected = dict.fromkeys(name for history, row in found[:TOP] for name in history.rows[row].predicted)
    several = len(histories) > 1
    head = ["", *names, *extra, *(f"{name} expected" for name in expected), "network", *(["seed"] if several else [])]
    lines = []
    for place, (history, row) in enumerate(found[:TOP], 1):
        line = [str(place), *map(number, history.objective_values[row])]
        line += [_cell(history.column(name)[row]) for name in extra]
        line += [_cell(history.predictions(name)[row]) for name in expected]
        line += [str(row + 1), *([str(history.config.get("seed"))] if several else [])]
        lines.append(_row(line, _text(history, row)))
    yield f"<h2>The best {len(lines)}</h2><div class=scroll><table>{_head(head, 'specification')}{''.join(lines)}"
    yield "</table></div>"


def _predictions(histories: Sequence[Searched]) -> Iterable[str]:
    best = _best(histories)
    if figures := predicted_figures(best[0] if best else histories[0]):
        yield _figures(figures)


def _seeds(histories: Sequence[Searched]) -> Iterable[str]:
    if len(histories) < 2:
        return
    yield "<h2>The searches</h2><div class=scroll><table>" + _head(["seed", "queries", "best", "in query"], "network")
    for history in histories:
        row, line = history.top(1), [str(history.config.get("seed")), str(history.num_queries)]
        if row:
            line += [number(history.objective_values[row[0], 0]), str(row[0] + 1)]
        yield _row(line + [""] * (4 - len(line)), _text(history, row[0]) if row else "")
    yield "</table></div>"


def _failures(histories: Sequence[Searched]) -> Iterable[str]:
    failed = [
        (history.rows[row].error or "the answer was not finite", _text(history, row))
        for history in histories
        for row in _failed(history)
    ]
    if not failed:
        return
    counts, examples = Counter(error for error, _ in failed), dict(reversed(failed))
    yield f"<h2>{len(failed):,} networks failed</h2><div class=scroll><table>"
    yield "<tr><th></th><th class=t>error</th><th class=t>the first of them</th></tr>"
    for error, count in counts.most_common(CAUSES):
        text = f"<td class=t>{escape(_short(error))}</td><td class=t><code>{escape(examples[error])}</code></td>"
        yield f"<tr><td>{count}</td>{text}</tr>"
    yield "</table></div>"
    if len(counts) > CAUSES:
        yield f"<p>{len(counts) - CAUSES} other errors are in the log.</p>"


def _settings(histories: Sequence[Searched]) -> Iterable[str]:
    settings: dict[str, Any] = {"space": repr(histories[0].space), **histories[0].config}
    if len(histories) > 1:
        settings["seed"] = [history.config.get("seed") for history in histories]
    yield "<h2>How it was called</h2><table>"
    for name, value in settings.items():
        text = ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
        yield f"<tr><th class=t>{escape(name)}</th><td class=t>{escape(_short(text))}</td></tr>"
    yield "</table>"


def _text(history: Searched, row: int) -> str:
    """The network as the space's string; all of them at once would be many."""
    return history.space.format(history.rows[row].spec)


def _sought(history: Searched) -> tuple[Any, ...]:
    return space_of(history.space), history.objectives


def _failed(history: Searched) -> list[int]:
    """Rows with an answer that is not finite."""
    return [
        number
        for number, row in enumerate(history.rows)
        if row.answer is not None and not np.isfinite(list(row.answer.values())).all()
    ]


def _objectives(history: Searched) -> str:
    return ", ".join(item.text for item in history.objectives)


def _head(names: Sequence[str], last: str) -> str:
    return f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}<th class=t>{last}</th></tr>"


def _row(cells: Sequence[str], last: str) -> str:
    return f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in cells)}<td class=t><code>{escape(last)}</code></td></tr>"


def _cell(value: float) -> str:
    return number(value) if np.isfinite(value) else ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _time(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"
