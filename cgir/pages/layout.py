"""A page of a report: head, sections, tables; whatever names are in it, they are text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from cgir.atomic_files import atomic_path

from .style import STYLE


def document(title: str, parts: Iterable[str]) -> str:
    """The text of a page that loads nothing; `parts` are HTML."""
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
    )
    return "\n".join([head, f"<h1>{escape(title)}</h1>", *parts, "</body></html>\n"])


def write_page(path: Path, title: str, parts: Iterable[str]) -> None:
    """Write a page, atomically.

    Args:
        path: of the page.
        title: its heading.
        parts: HTML below it.
    """
    text = document(title, parts)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], text: Iterable[int] = (0,)) -> str:
    """A table of texts.

    Args:
        head: names of the columns.
        rows: as many texts each.
        text: columns to the left; numbers are to the right.
    """
    left = set(text)
    classes = [" class=t" if index in left else "" for index in range(len(head))]
    lines = [f"<tr>{''.join(f'<th{c}>{escape(cell)}</th>' for c, cell in zip(classes, head, strict=True))}</tr>"]
    lines += [
        f"<tr>{''.join(f'<td{c}>{escape(cell)}</td>' for c, cell in zip(classes, row, strict=True))}</tr>"
        for row in rows
    ]
    return f"<div class=scroll><table>{''.join(lines)}</table></div>"


def figure(title: str, svg: str, caption: str) -> str:
    """A chart under its heading, and what is to be seen.

    Args:
        title: the heading.
        svg: the chart, HTML.
        caption: what is to be seen.
    """
    return f"<figure><h2>{escape(title)}</h2>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def side_by_side(*parts: str) -> str:
    """Figures side by side, as far as there is room."""
    return f'<div class="figures">{"".join(parts)}</div>'


def next_steps(lines: Sequence[str]) -> str:
    """Commands to go on with."""
    return f"<h2>What next</h2><pre>{escape(chr(10).join(lines))}</pre>"
