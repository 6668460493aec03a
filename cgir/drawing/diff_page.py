"""Two graphs side by side on one page: what is equal, what changed, what only one of them has."""

from __future__ import annotations

from os import PathLike
from typing import Any

from cgir.analysis.graph_diff import diff, kind_changes
from cgir.analysis.node_pairs import node_pairs
from cgir.atomic_files import atomic_path
from cgir.errors import printable
from cgir.graph import Graph
from cgir.limits import DEFAULT, Limits

from .drawing_files import check_suffix
from .html_page import page
from .page_data import NAME, page_data

SAME, CHANGED, ONLY = range(3)
LEGEND = [["same", "the same in both"], ["changed", "other sizes or attributes"], ["only", "in this graph only"]]


def diff_to_html(a: Graph, b: Graph, path: str | PathLike[str], limits: Limits = DEFAULT) -> None:
    """Write one self-contained page with both graphs, coloured by where they differ, and the lines of `cgir.diff`.

    Choosing a node on one side chooses its counterpart on the other.

    Args:
        a: the graph on the left.
        b: the graph on the right.
        path: the file, which ends in .html.
        limits: whose seconds bound the search for an isomorphism.

    Raises:
        CgirError: the file does not end in .html.
        LimitError: whether they are isomorphic was not decided within the limit.
    """
    check_suffix(path, (".html", ".htm"))
    lines = diff(a, b, limits) or "the graphs are isomorphic"
    pairs = node_pairs(a, b)
    data = {
        "lines": "\n".join(printable(line, 4 * NAME) for line in lines.split("\n")),
        "sides": [
            page_data(a) | {"difference": _difference(a, b, pairs)},
            page_data(b) | {"difference": _difference(b, a, [(j, i) for i, j in pairs])},
        ],
    }
    title = f"{a.name or 'graph'} | {b.name or 'graph'}"
    with atomic_path(path) as temporary:
        temporary.write_text(page(title, data, "compare"), encoding="utf-8")


def _difference(graph: Graph, other: Graph, pairs: list[tuple[int, int]]) -> dict[str, Any]:
    """Of each node its state, its counterpart (-1: none), and what changed in it."""
    state, partner = [ONLY] * len(graph), [-1] * len(graph)
    changes: dict[int, list[list[str]]] = {}
    for i, j in pairs:
        partner[i] = j
        state[i] = SAME
        if graph.nodes[i].kind != other.nodes[j].kind:
            state[i] = CHANGED
            changes[i] = [
                [what, f"{printable(here, NAME)} here, {printable(there, NAME)} there"]
                for what, here, there in kind_changes(graph.nodes[i], other.nodes[j])
            ]
    return {"state": state, "partner": partner, "changes": changes, "legend": LEGEND, "names": dict(LEGEND)}
