"""The page of `cgir explain --report`: the operators that a score hangs on, as bars and in a drawing."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cgir.drawing.importance import Shading
from cgir.drawing.module_blocks import collapse
from cgir.drawing.svg import svg
from cgir.node_text import title
from cgir.pages.layout import html_table, next_steps, write_page

from .score_table import Scored

if TYPE_CHECKING:
    from encoders.explain import Explanation

BAR = 240  # pixels of the longest bar


def write_report(path: Path, explanation: Explanation, std: float | None, outside: str, top: int) -> None:
    """Write the page.

    Args:
        path: of the page.
        explanation: of one graph.
        std: standard deviation of the score; None: there is none.
        outside: why the graph is unlike all that the predictor saw; "" where it is not.
        top: operators with a bar.
    """
    graph = explanation.graph
    scored = Scored([graph.name], np.asarray([explanation.score]), None if std is None else np.asarray([std]))
    deviation = "" if std is None else f" +- {std:.{scored.decimals}f}"
    score = f"{explanation.metric} {explanation.score:.{scored.decimals}f}{deviation} {explanation.unit}"
    meaning = (
        "shares of each operator that the predictor takes for causes"
        if explanation.method == "carl masks"
        else f"the {explanation.metric} with each operator, less the {explanation.metric} without it"
    )
    parts = [
        f"<p class=big>{escape(score)}</p>",
        f"<p>{escape(explanation.method)}: {escape(meaning)}.</p>",
        *([f"<p><b>Unlike all that the predictor saw</b>, so this is a guess: {escape(outside)}.</p>"] * bool(outside)),
        f"<h2>The {min(top, len(graph))} operators that matter most</h2>",
        _bars(explanation, top),
        "<h2>The network</h2><p>Shaded by the same numbers.</p>",
        f"<div class=drawing>{svg(graph, collapse(graph), shading=Shading(graph, explanation.importance))}</div>",
        next_steps([
            "cgir explain MODEL --predictor FOLDER -o why.html      a page whose blocks open",
            "cgir diff A B                                          what differs between two networks",
        ]),
    ]  # fmt: skip
    write_page(path, f"Why {graph.name or 'this network'} scores as it does", parts)


def _bars(explanation: Explanation, top: int) -> str:
    rows = explanation.top(top).tolist()
    largest = float(np.abs(explanation.nodes[rows]).max(initial=0)) or 1.0
    lines = []
    for row in rows:
        node, value = explanation.graph.nodes[row], float(explanation.nodes[row])
        kind = "less" if value < 0 else "more"
        bar = f'<i class="bar {kind}" style="width:{BAR * abs(value) / largest:.0f}px"></i>'
        cells = "".join(f"<td class=t>{escape(text)}</td>" for text in (title(node), node.module or node.name))
        lines.append(f"<tr><td>{value:.3g}</td><td class=t>{bar}</td><td>{row}</td>{cells}</tr>")
    head = html_table(("importance", "", "node", "operator", "module"), [], (1, 3, 4))
    return head.replace("</table></div>", f"{''.join(lines)}</table></div>")
