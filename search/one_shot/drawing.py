"""A selection as SVG: the cell that was selected, and beside it the scores of all options, the chosen outlined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import NamedTuple

import numpy as np

from cgir.drawing.importance import Scale, text_color
from cgir.node_text import xml_text
from cgir.typing import FloatArray

from .cell_pictures import CellPicture
from .choices import Choice, Picks

MARGIN, GAP, LINE = 16, 36, 15
PITCH, RADIUS, BEND = 122, 15, 40  # distance and size of nodes, height of an arc's handles for each node it passes
BOX, ROW = 84, 20  # width of a cell of the heat map, height of its rows
LETTER = 5.6  # width of a letter of 10 pixels
CHOSEN, PALEST = "#e66100", "#f7f7f7"
STYLE = (
    ".cgir text{font-family:Helvetica,Arial,sans-serif;font-size:10px;text-anchor:middle}"
    ".cgir .h{font-size:14px;font-weight:bold;text-anchor:start}.cgir .s{fill:#555;text-anchor:start}"
    ".cgir .b{font-weight:bold}.cgir .l{text-anchor:end}"
    ".cgir .e{fill:none;stroke:#555;stroke-width:1.4}.cgir .j{fill:none;stroke:#aaa;stroke-width:1.2}"
    ".cgir .n{fill:none;stroke:#bbb;stroke-width:1.2;stroke-dasharray:3 3}"
)
DEFINITIONS = (
    f"<style>{STYLE}</style>"
    '<defs><marker id="cgir-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
)


class Block(NamedTuple):
    """SVG elements from (0, 0) on, and their width and height in pixels."""

    parts: list[str]
    width: float
    height: float


def selection_svg(
    title: str,
    subtitle: str,
    cells: Sequence[CellPicture],
    choices: Sequence[Choice],
    scores: Sequence[FloatArray],
    picks: Picks,
) -> str:
    """The drawing as an `<svg>` element, which is also a complete file.

    Args:
        title: its first line.
        subtitle: small lines under it.
        cells: that were selected.
        choices: of the supernet.
        scores: for each choice those of its options.
        picks: for each choice its chosen options.
    """
    rows = [Row(*row) for row in zip(choices, scores, picks, strict=True)]
    names = 10 + LETTER * max(len(choice.name) for choice in choices)
    kinds = ([row for row in rows if row.choice.of_inputs == of_inputs] for of_inputs in (False, True))
    right = _stacked([_heat_map(kind, names) for kind in kinds if kind])
    left = _stacked([_cell(cell) for cell in cells])
    width = 2 * MARGIN + left.width + right.width + (GAP if cells else 0)
    lines = wrap(subtitle, max(20, int((width - 2 * MARGIN) / LETTER)), break_on_hyphens=False)
    top = MARGIN + 22 + LINE * len(lines) + 8
    height = top + max(left.height, right.height) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cgir" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        DEFINITIONS,
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        _text(MARGIN, MARGIN + 12, title, "h"),
        *(_text(MARGIN, MARGIN + 22 + LINE * (n + 0.6), line, "s") for n, line in enumerate(lines)),
        f'<g transform="translate({MARGIN},{top})">',
        *left.parts,
        "</g>",
        f'<g transform="translate({MARGIN + left.width + (GAP if cells else 0):.0f},{top})">',
        *right.parts,
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts)


def cells_svg(cells: Sequence[CellPicture]) -> str:
    """The cells alone, one under the other, as an `<svg>` element, which is also a complete file."""
    block = _stacked([_cell(cell) for cell in cells])
    width, height = block.width + 2 * MARGIN, block.height + 2 * MARGIN
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cgir" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-MARGIN} {-MARGIN} {width:.0f} {height:.0f}">'
    )
    return "\n".join([start, DEFINITIONS, *block.parts, "</svg>"])


def _stacked(blocks: Sequence[Block]) -> Block:
    parts, y = [], 0.0
    for block in blocks:
        parts += [f'<g transform="translate(0,{y:.0f})">', *block.parts, "</g>"]
        y += block.height + GAP / 2
    return Block(parts, max((block.width for block in blocks), default=0), max(0.0, y - GAP / 2))


def _cell(cell: CellPicture) -> Block:
    """Nodes in a row; edges to the next node straight, to later ones as arcs above, what is joined as arcs below."""
    last = len(cell.nodes) - 1
    longest = max((target - source for source, target, _ in cell.edges), default=1)
    joined = max((last - node for node in cell.joined), default=0)
    half = max(RADIUS, *(LETTER * len(name) / 2 + 9 for name in cell.nodes))
    y = LINE + 8 + RADIUS + 0.75 * BEND * (longest if longest > 1 else 0)
    lines, labels = [], []
    for source, target, label in cell.edges:
        line, at = _edge(half + PITCH * source, half + PITCH * target, y, target - source, half)
        kind = "n" if label == "none" else "e"
        lines.append(f'<path class="{kind}" d="{line}" marker-end="url(#cgir-arrow)"/>')
        labels += [_label(*at, label)] if label else []
    for node in cell.joined:
        line, _ = _edge(half + PITCH * node, half + PITCH * last, y, node - last, half)
        lines.append(f'<path class="j" d="{line}" marker-end="url(#cgir-arrow)"/>')
    nodes = []
    for n, name in enumerate(cell.nodes):
        fill, stroke = ("#fff", "#bbb") if n in cell.unused else ("#e8e8e8", "#555")
        nodes.append(
            f'<rect x="{PITCH * n:.1f}" y="{y - RADIUS:.1f}" width="{2 * half:.1f}" height="{2 * RADIUS}" '
            f'rx="{RADIUS}" fill="{fill}" stroke="{stroke}"/>{_text(half + PITCH * n, y + 3.5, name)}'
        )
    title = [f'<text class="b" x="0" y="11" style="text-anchor:start">{xml_text(cell.title)}</text>']
    return Block(
        [*title, *lines, *labels, *nodes],
        PITCH * last + 2 * half,
        y + RADIUS + (0.75 * BEND * joined if joined > 0 else 0) + 8,
    )


def _edge(x0: float, x1: float, y: float, span: int, half: float) -> tuple[str, tuple[float, float]]:
    """The path from one node to another and where its label stands; below the nodes where `span` is negative."""
    if span in (1, -1):
        return f"M{x0 + half:.1f},{y:.1f} L{x1 - half:.1f},{y:.1f}", ((x0 + x1) / 2, y - 8)
    side = 1 if span > 0 else -1
    start, top = y - side * RADIUS, y - side * RADIUS - BEND * span
    x0, x1 = x0 + 6, x1 - 6
    return (
        f"M{x0:.1f},{start:.1f} C{x0 + 14:.1f},{top:.1f} {x1 - 14:.1f},{top:.1f} {x1:.1f},{start:.1f}",
        ((x0 + x1) / 2, start + 0.75 * (top - start)),
    )


def _label(x: float, y: float, text: str) -> str:
    width = LETTER * len(text) + 4
    color = ' fill="#999"' if text == "none" else ""
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - 7:.1f}" width="{width:.1f}" height="13" fill="#fff"/>'
        f'<text x="{x:.1f}" y="{y + 3.5:.1f}"{color}>{xml_text(text)}</text>'
    )


class Row(NamedTuple):
    """A choice in the heat map."""

    choice: Choice
    scores: FloatArray
    picks: tuple[int, ...]


def _heat_map(rows: Sequence[Row], left: float) -> Block:
    """One row a choice, its name left of `left`; options under headings, or named in their boxes where names differ."""
    headings = max((row.choice.options for row in rows), key=len)
    is_headed = all(set(row.choice.options) <= set(headings) for row in rows)
    values = np.concatenate([row.scores for row in rows])
    values = values[np.isfinite(values)]
    scale = Scale.from_values(values, bool(len(values) and values.min() < 0 < values.max()), PALEST)
    height = ROW if is_headed else ROW + 10
    parts, top = [_text(left, 11, _legend(scale), "s")], LINE + 6
    if is_headed:
        parts += [_text(left + BOX * (c + 0.5), top + 10, name, "b") for c, name in enumerate(headings)]
        top += LINE + 2
    chosen = []
    for number, row in enumerate(rows):
        y = top + height * number
        parts.append(_text(left - 8, y + height / 2 + 3.5, row.choice.name, "l"))
        for option, (name, score) in enumerate(zip(row.choice.options, row.scores, strict=True)):
            x = left + BOX * (headings.index(name) if is_headed else option)
            parts += _box(x, y, height, "" if is_headed else name, float(score), scale)
            if option in row.picks:
                chosen.append(
                    f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{BOX - 2}" height="{height - 2}" fill="none" '
                    f'stroke="{CHOSEN}" stroke-width="2.5"/>'
                )
    return Block([*parts, *chosen], left + BOX * len(headings) + 2, top + height * len(rows) + 2)


def _legend(scale: Scale) -> str:
    meaning = "blue above zero, red below, darker farther from it" if scale.signed else "darker is higher"
    return f"scores; {meaning}; outlined: chosen"


def _box(x: float, y: float, height: float, name: str, score: float, scale: Scale) -> Iterator[str]:
    fill = scale.color(score) if np.isfinite(score) else "#ffffff"
    color = text_color(fill)
    yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{BOX}" height="{height}" fill="{fill}" stroke="#fff"/>'
    for n, line in enumerate(text for text in (name, f"{score:.3g}") if text):
        at = y + height / 2 + 3.5 + (0 if not name else 11 * n - 5.5)
        yield f'<text x="{x + BOX / 2:.1f}" y="{at:.1f}" fill="{color}">{xml_text(line)}</text>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}">{xml_text(text)}</text>'
