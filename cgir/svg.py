"""A graph as SVG: boxes coloured by category, tooltips with all there is to know, brackets for the top-level modules."""

from __future__ import annotations

import html

from .cost import node_flops
from .draw import color, module_groups, shape_text, title
from .graph import Graph, Node
from .layout import Item, Layout, layout

BOX, HEIGHT, PITCH = 132, 32, 52  # width and height of a box, distance of layers, in pixels
MARGIN, BRACKET = 12, 18
STYLE = (
    ".cgir text{font-family:Helvetica,Arial,sans-serif;text-anchor:middle}.cgir .e{fill:none;stroke:#777;stroke-width:1.2}"
    ".cgir rect{stroke:#888}.cgir g:hover rect{stroke:#000;stroke-width:2}.cgir .m{fill:none;stroke:#bbb}"
)


def svg(graph: Graph) -> str:
    """The drawing as an `<svg>` element, also good as a file of its own."""
    places = layout(graph)
    brackets, columns = _brackets(graph, places.layer)
    left = MARGIN + columns * BRACKET
    width = left + BOX * max((x + (0.5 if item[1] == places.layer[item[0]] else 0.1) for item, x in places.x.items()), default=0) + MARGIN
    height = 2 * MARGIN + PITCH * max(places.layer, default=0) + HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cgir" width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="cgir-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#777"/></marker></defs>',
        *brackets,
        *_edges(places, left),
        *(_box(graph, index, left + BOX * places.x[index, layer], MARGIN + PITCH * layer) for index, layer in enumerate(places.layer)),
        "</svg>",
    ]
    return "\n".join(parts)


def tooltip(graph: Graph, index: int) -> str:
    """All about a node, a line each."""
    node = graph.nodes[index]
    lines = [f"{index}: {node.op} {node.name}", f"module {node.module}" if node.module else "", f"shape {shape_text(node.shape)}"]
    lines += [f"input {slot}: node {i} as {shape_text(s)}" for slot, (i, s) in enumerate(zip(node.inputs, node.in_shapes, strict=True))]
    lines += [f"{key} = {value}" for key, value in node.attrs]
    lines += [f"parameter {param.id}: {shape_text(param.shape)}" for param in node.params]
    flops = node_flops(node)
    return "\n".join([line for line in lines if line] + ([f"{flops:,} FLOPs"] if flops else []))


def _box(graph: Graph, index: int, x: float, y: float) -> str:
    node: Node = graph.nodes[index]
    name = title(node)
    name = name if len(name) <= 22 else name[:21] + "\u2026"
    return (
        f"<g><title>{_text(tooltip(graph, index))}</title>"
        f'<rect x="{x - BOX / 2:.1f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="5" fill="{color(node)}"/>'
        f'<text x="{x:.1f}" y="{y + 13}" font-size="11">{_text(name)}</text>'
        f'<text x="{x:.1f}" y="{y + 26}" font-size="9" fill="#555">{_text(shape_text(node.shape))}</text></g>'
    )


def _edges(places: Layout, left: float) -> list[str]:
    def is_lane(item: Item) -> bool:
        return item[1] != places.layer[item[0]]

    paths = []
    for upper, lower in places.pieces:
        x0, x1 = (left + BOX * places.x[item] for item in (upper, lower))
        y0, y1 = MARGIN + PITCH * upper[1] + HEIGHT, MARGIN + PITCH * lower[1]
        bend = (y1 - y0) * 0.6
        # A lane goes straight down past the boxes of its layer; only what reaches a box has an arrow.
        tail, arrow = (f" L{x1:.1f},{y1 + HEIGHT}", "") if is_lane(lower) else ("", ' marker-end="url(#cgir-arrow)"')
        paths.append(f'<path class="e" d="M{x0:.1f},{y0} C{x0:.1f},{y0 + bend:.1f} {x1:.1f},{y1 - bend:.1f} {x1:.1f},{y1}{tail}"{arrow}/>')
    return paths


def _brackets(graph: Graph, layer: list[int]) -> tuple[list[str], int]:
    """Brackets along the left side, one for each top-level module, side by side where modules overlap; and how many stand side by side."""
    spans: dict[str, list[int]] = {}
    for index, group in enumerate(module_groups(graph)):
        if group:
            span = spans.setdefault(group, [layer[index], layer[index]])
            span[:] = min(span[0], layer[index]), max(span[1], layer[index])
    parts: list[str] = []
    ends: list[int] = []  # of each column, the last layer taken
    for group, (first, last) in sorted(spans.items(), key=lambda item: item[1]):
        column = next((c for c, end in enumerate(ends) if end < first), len(ends))
        ends[column : column + 1] = [last]
        x, top, bottom = MARGIN + BRACKET * (column + 0.75), MARGIN + PITCH * first, MARGIN + PITCH * last + HEIGHT
        middle, room = (top + bottom) / 2, (bottom - top) // 6
        name = group if len(group) <= room else group[: max(room - 1, 1)] + "\u2026"
        parts.append(f'<g><title>{_text(group)}</title><path class="m" d="M{x + 4},{top} H{x} V{bottom} H{x + 4}"/>')
        parts.append(f'<text x="{x - 4}" y="{middle}" font-size="10" fill="#777" transform="rotate(-90 {x - 4} {middle})">{_text(name)}</text></g>')
    return parts, len(ends)


def _text(value: str) -> str:
    """Text for XML; characters that XML forbids are replaced."""
    return html.escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in value))
