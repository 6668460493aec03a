"""A block diagram as SVG: boxes coloured by category or importance, tooltips, brackets around opened blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

from cgir.cost import node_flops
from cgir.graph import Graph
from cgir.node_text import operators, shape_text, short_number, xml_text
from cgir.report import costs

from . import legend
from .box_text import fill, labels, repeated, shape_of
from .importance import Scale, Shading, max_by_abs, text_color
from .layered_layout import Layout, LayoutItem, layout
from .module_blocks import BlockDiagram, Box

Costs = Sequence[tuple[int, int]]  # parameters and FLOPs of each node, as `cgir.report.costs` counts them
Segment = tuple[LayoutItem, LayoutItem]


class BoxSize(NamedTuple):
    """Width and height of a box, and distance from layer to layer, in pixels."""

    width: int
    height: int
    pitch: int


NODE, BLOCK = BoxSize(132, 32, 52), BoxSize(250, 48, 70)
LANE, GAP = 18, 21  # width of a lane, distance of neighbours
MARGIN, BRACKET = 12, 18
ROW = 13  # height of a line of text
LISTED = 100  # inputs and parameters named in a tooltip
STYLE = (
    ".cgir text{font-family:Helvetica,Arial,sans-serif;text-anchor:middle}"
    ".cgir .e{fill:none;stroke:#777;stroke-width:1.2}"
    ".cgir rect{stroke:#888}.cgir g:hover rect{stroke:#000;stroke-width:2}.cgir .m{fill:none;stroke:#bbb}"
    ".cgir .r{fill:none;stroke:#555;stroke-width:1.5}"
)
DEFINITIONS = (
    f"<style>{STYLE}</style>"
    '<defs><marker id="cgir-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#777"/></marker></defs>'
)


def svg(graph: Graph, diagram: BlockDiagram, cost: Costs | None = None, shading: Shading | None = None) -> str:
    """The drawing as an `<svg>` element, which is also a complete file.

    Args:
        graph: that is drawn.
        diagram: its boxes.
        cost: parameters and FLOPs of its nodes; computed if None.
        shading: colours by importance instead of category.
    """
    single = all(len(box.nodes) == 1 for box in diagram.boxes)
    size = NODE if single else BLOCK
    cost = cost or costs(graph)
    placed = layout(diagram.sources, LANE / size.width, GAP / size.width)
    brackets, columns = _brackets(diagram, placed.layer, size)
    left = MARGIN + columns * BRACKET
    width = left + size.width * _right_end(placed) + MARGIN
    height = 2 * MARGIN + size.pitch * max(placed.layer, default=0) + size.height
    top = legend.HEIGHT if shading else 0
    width = max(width, legend.WIDTH) if top else width
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cgir" width="{width:.0f}" height="{height + top}" '
        f'viewBox="0 {-top} {width:.0f} {height + top}">',
        DEFINITIONS,
        *(legend.legend(shading, single) if shading and top else ()),
        *brackets,
        *_edges(placed, left, size, diagram, shading),
    ]
    for number, (box, layer) in enumerate(zip(diagram.boxes, placed.layer, strict=True)):
        lines = _node_lines(graph, box) if single else _block_lines(graph, box, cost)
        tip = tooltip(graph, box, cost)
        color, text_colors = fill(graph, box), ("", "#555")
        if shading:
            tip += f"\n{shading.describe_box(box)}"
            color = shading.node_scale.color(shading.box_value(box))
            text_colors = text_color(color), text_color(color)
        x, y = left + size.width * placed.x[number, layer], MARGIN + size.pitch * layer
        content = f"<title>{xml_text(tip)}</title>{_rect(x, y, size, color)}{_texts(lines, text_colors, x, y, size)}"
        parts.append(f"<g>{content}</g>")
    return "\n".join([*parts, "</svg>"])


def _right_end(placed: Layout) -> float:
    """The right end of the drawing, in widths of a box."""
    ends = (x + (0.5 if layer == placed.layer[node] else 0.1) for (node, layer), x in placed.x.items())
    return max(ends, default=0)


def _node_lines(graph: Graph, box: Box) -> list[str]:
    return [labels(graph, box)[0], shape_text(shape_of(graph, box.nodes))]


def _block_lines(graph: Graph, box: Box, cost: Costs) -> list[str]:
    params, flops = _total(box, cost)
    figures = [f"{len(box.nodes):,} nodes"] if len(box.block.copies[0]) > 1 else []
    figures += [f"{short_number(params)} params"] if params else []
    figures += [f"{flops / graph.flops:.1%} FLOPs"] if flops > 0.0005 * graph.flops else []
    return [*labels(graph, box), " \u00b7 ".join([*figures, shape_text(shape_of(graph, box.nodes))])]


def _total(box: Box, cost: Costs) -> tuple[int, int]:
    """Parameters and FLOPs of all nodes of a box."""
    return sum(cost[index][0] for index in box.nodes), sum(cost[index][1] for index in box.nodes)


def tooltip(graph: Graph, box: Box, cost: Costs) -> str:
    """Details of a node, or the content of a block.

    Args:
        graph: that is drawn.
        box: of it.
        cost: parameters and FLOPs of the graph's nodes.

    Returns:
        Lines of text.
    """
    first = box.block.copies[0]
    beside = " side by side" if box.block.beside else ""
    times = [f"{box.times:,} times{beside}, the first of them:"] if box.times > 1 else []
    if len(first) == 1:
        return "\n".join([*times, *_node_tooltip(graph, first[0])])
    params, flops = _total(box, cost)
    lines = [
        box.block.name,
        *times,
        operators(graph.nodes[index] for index in first),
        f"{len(box.nodes):,} nodes in all, {params:,} parameters, {flops:,} FLOPs",
        f"output {shape_text(shape_of(graph, box.nodes))}",
    ]
    return "\n".join(line for line in lines if line)


def _node_tooltip(graph: Graph, index: int) -> list[str]:
    node = graph.nodes[index]
    lines = [
        f"{index}: {node.op} {node.name}",
        f"module {node.module}" if node.module else "",
        f"shape {shape_text(node.shape)}",
    ]
    # nodes of cells may have more inputs than their kind has shapes
    shapes = [f" as {shape_text(shape)}" for shape in node.in_shapes]
    inputs = zip_longest(node.inputs[:LISTED], shapes[: len(node.inputs)][:LISTED], fillvalue="")
    lines += [f"input {slot}: node {i}{shape}" for slot, (i, shape) in enumerate(inputs)]
    lines += [f"... and {len(node.inputs) - LISTED:,} more inputs"] if len(node.inputs) > LISTED else []
    lines += [f"{key} = {value}" for key, value in node.attrs]
    lines += [f"parameter {param.id}: {shape_text(param.shape)}" for param in node.params[:LISTED]]
    lines += [f"... and {len(node.params) - LISTED:,} more parameters"] if len(node.params) > LISTED else []
    flops = node_flops(node)
    return [line for line in lines if line] + ([f"{flops:,} FLOPs"] if flops else [])


def _rect(x: float, y: float, size: BoxSize, color: str) -> str:
    return (
        f'<rect x="{x - size.width / 2:.1f}" y="{y}" width="{size.width}" height="{size.height}" rx="5" '
        f'fill="{color}"/>'
    )


def _texts(lines: Sequence[str], colors: tuple[str, str], x: float, y: float, size: BoxSize) -> str:
    """Lines of text centred in a box, cut to its width; `colors`: of the first line and of the others."""
    lines = [line for line in lines if line]
    top = y + (size.height - ROW * len(lines)) / 2
    texts = []
    for number, line in enumerate(lines):
        points, color = (11, colors[0]) if number == 0 else (9, colors[1])
        max_length = int(size.width / (0.53 * points))
        line = line if len(line) <= max_length else line[: max_length - 1] + "\u2026"
        color = f' fill="{color}"' if color else ""
        bold = ' font-weight="bold"' if number == 0 and size.height > NODE.height else ""
        position = f'x="{x:.1f}" y="{top + ROW * (number + 1) - 3.5:.1f}"'
        texts.append(f'<text {position} font-size="{points}"{color}{bold}>{xml_text(line)}</text>')
    return "".join(texts)


def _edges(placed: Layout, left: float, size: BoxSize, diagram: BlockDiagram, shading: Shading | None) -> Iterator[str]:
    values = _segment_values(placed, diagram, shading) if shading else {}
    # the most important on top
    for upper, lower in sorted(placed.segments, key=lambda segment: abs(values.get(segment, 0.0))):
        x0, x1 = (left + size.width * placed.x[item] for item in (upper, lower))
        y0, y1 = MARGIN + size.pitch * upper[1] + size.height, MARGIN + size.pitch * lower[1]
        bend = (y1 - y0) * 0.6
        # A lane goes straight down past the boxes of its layer; only what reaches a box has an arrow.
        is_lane = lower[1] != placed.layer[lower[0]]
        tail = f" L{x1:.1f},{y1 + size.height}" if is_lane else ""
        line = f"M{x0:.1f},{y0} C{x0:.1f},{y0 + bend:.1f} {x1:.1f},{y1 - bend:.1f} {x1:.1f},{y1}{tail}"
        if shading:
            arrow_at = None if is_lane else (x1, y1)
            yield _shaded_segment(line, arrow_at, values[upper, lower], shading.edge_scale)
        else:
            arrow = "" if is_lane else ' marker-end="url(#cgir-arrow)"'
            yield f'<path class="e" d="{line}"{arrow}/>'


def _segment_values(placed: Layout, diagram: BlockDiagram, shading: Shading) -> dict[Segment, float]:
    """The importance of each segment; of a lane that edges share, the value farthest from zero."""
    values_of: dict[Segment, list[float]] = {}
    values = shading.edge_values(diagram)
    for target, sources in enumerate(diagram.sources):
        for source in set(sources):
            stops = [
                *((source, depth) for depth in range(placed.layer[source], placed.layer[target])),
                (target, placed.layer[target]),
            ]
            for segment in pairwise(stops):
                values_of.setdefault(segment, []).append(values[source, target])
    return {segment: max_by_abs(shared) for segment, shared in values_of.items()}


def _shaded_segment(line: str, arrow_at: tuple[float, int] | None, value: float, scale: Scale) -> str:
    """A segment in its colour, wider the more important; markers take no colour from their line, so heads are drawn."""
    color, width = scale.color(value), 1.2 + 2 * scale.intensity(value)
    style = f"stroke:{color};stroke-width:{width:.1f}"
    path = f'<path class="e" d="{line}" style="{style}"><title>importance {value:.4g}</title></path>'
    if arrow_at is None:
        return path
    x, y = arrow_at
    base = y - 5 - width
    head = f"M{x - 2 - width:.1f},{base:.1f} L{x:.1f},{y} L{x + 2 + width:.1f},{base:.1f} z"
    return f'{path}<path d="{head}" fill="{color}"/>'


def _brackets(diagram: BlockDiagram, layer: Sequence[int], size: BoxSize) -> tuple[list[str], int]:
    """Brackets along the left side, one for each frame, in columns where frames overlap; and how many columns."""
    parts: list[str] = []
    column_ends: list[int] = []  # the last layer taken
    spans = [
        (min(layer[box] for box in frame.boxes), max(layer[box] for box in frame.boxes), frame)
        for frame in diagram.frames
        if frame.boxes
    ]
    for first, last, frame in sorted(spans, key=lambda span: (span[0], -span[1])):
        column = next((c for c, end in enumerate(column_ends) if end < first), len(column_ends))
        column_ends[column : column + 1] = [last]
        x = MARGIN + BRACKET * (column + 0.75)
        top, bottom = MARGIN + size.pitch * first, MARGIN + size.pitch * last + size.height
        middle, max_length = (top + bottom) / 2, (bottom - top) // 6
        name, label = (repeated(frame.copies, text, frame.beside) for text in (frame.name, frame.label))
        label = label if len(label) <= max_length else label[: max(max_length - 1, 1)] + "\u2026"
        style, color = ("r", "#222") if frame.copies > 1 else ("m", "#777")
        parts.append(
            f'<g><title>{xml_text(name)}</title><path class="{style}" d="M{x + 4},{top} H{x} V{bottom} H{x + 4}"/>'
        )
        parts.append(
            f'<text x="{x - 4}" y="{middle}" font-size="10" fill="{color}" '
            f'transform="rotate(-90 {x - 4} {middle})">{xml_text(label)}</text></g>'
        )
    return parts, len(column_ends)
