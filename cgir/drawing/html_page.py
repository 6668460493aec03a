"""One self-contained HTML page: the drawing, and beside it the report and all blocks, which open when clicked."""

from __future__ import annotations

import html

from cgir.graph import Graph
from cgir.report import costs, report

from .box_text import labels, repeated
from .importance import Shading
from .module_blocks import BlockDiagram, Box, ModuleTree
from .svg import Costs, svg

STYLE = (
    "body{font-family:Helvetica,Arial,sans-serif;margin:0;display:flex;align-items:flex-start}"
    "main{padding:1em;overflow-x:auto}aside{position:sticky;top:0;max-height:100vh;overflow:auto;box-sizing:border-box;"
    "padding:1em;flex:1;min-width:22em}"
    "pre{font-size:12px;background:#f7f7f7;padding:1em;margin:.5em 0;white-space:pre-wrap}"
    "summary{cursor:pointer;padding:.2em 0}"
    "details details{margin-left:1em}h1{font-size:1.1em;margin:.2em 0}p{color:#555;font-size:.9em}"
)
SCRIPT = (
    "document.addEventListener('click',e=>{const box=e.target.closest('[data-block]');if(!box)return;"
    "const block=document.getElementById(box.dataset.block);if(!block)return;block.open=true;"
    "const side=document.querySelector('aside');"
    "side.scrollTop+=block.getBoundingClientRect().top-side.getBoundingClientRect().top})"
)


LARGE = 20_000  # nodes; above, a page with all blocks in blocks would be too large for a browser


def page(graph: Graph, diagram: BlockDiagram, tree: ModuleTree, shading: Shading | None = None) -> str:
    """The text of the page.

    Args:
        graph: that is shown.
        diagram: of the main drawing; every block has one more, of its own nodes, those of the first copy if it repeats.
        tree: of its blocks.
        shading: colours by importance instead of category.
    """
    cost, title = costs(graph), html.escape(graph.name or "graph")
    blocks = "\n".join(_blocks(graph, tree, diagram, cost, "", shading))
    hint = "<p>Click a block to open it here; point at a box for all about it.</p>" if blocks else ""
    if blocks and len(graph) > LARGE:
        hint += "<p>The graph is large: blocks inside of these are not drawn.</p>"
    if blocks and shading:
        hint += "<p>A block that repeats is opened once: its nodes are then as dark as the darkest of their copies.</p>"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{STYLE}</style></head><body>\n"
        f"<main>{svg(graph, diagram, cost, shading=shading)}</main>\n<aside><h1>{title}</h1>\n"
        f"<details open><summary>report</summary><pre>{html.escape(report(graph))}</pre></details>\n"
        f"{hint}{blocks}</aside>\n<script>{SCRIPT}</script></body></html>\n"
    )


def _blocks(
    graph: Graph, tree: ModuleTree, diagram: BlockDiagram, cost: Costs, prefix: str, shading: Shading | None
) -> list[str]:
    """A closed section for each box of several nodes, with the sections of the boxes in it."""
    parts = []
    shading = shading.collapse(diagram) if shading else None
    for number, box in enumerate(diagram.boxes):
        if len(box.block.copies[0]) > 1:
            name = f"{prefix}b{number}"
            inner = tree.diagram(within=box.block.copies[0])
            drawing = svg(graph, inner, cost, name, shading)
            parts.append(f'<details id="{name}"><summary>{_caption(graph, box)}</summary>\n{drawing}')
            if len(graph) <= LARGE:
                parts += _blocks(graph, tree, inner, cost, name, shading)
            parts.append("</details>")
    return parts


def _caption(graph: Graph, box: Box) -> str:
    name, content = labels(graph, box)
    name = repeated(box.times, box.block.name, box.block.beside) if box.block.name else name
    return f"<b>{html.escape(name)}</b> {html.escape(content)}"
