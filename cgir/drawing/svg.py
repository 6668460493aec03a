"""A view of a graph as SVG: boxes coloured by category or importance, tooltips with all there is to know, brackets
around opened blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, zip_longest

from cgir.cost import node_flops
from cgir.graph import Graph
from cgir.node_text import operators, shape_text, short_number, xml_text
from cgir.report import costs

from .export import fill, labels, repeated, shape_of
from .importance import Scale, Shades, ink, strongest
from .layered_layout import Item, Layout, layout
from .legend import HEIGHT, WIDTH, legend
from .module_blocks import Box, View

# width and height of a box, distance of layers, in pixels: of single nodes, of blocks
NODE, BLOCK = (132, 32, 52), (250, 48, 70)
LANE, GAP = 18, 21
MARGIN, BRACKET = 12, 18
ROW = 13
STYLE = (
    ".cgir text{font-family:Helvetica,Arial,sans-serif;text-anchor:middle}.cgir .e{fill:none;stroke:#777;stroke-width:1.2}"
    ".cgir rect{stroke:#888}.cgir g:hover rect{stroke:#000;stroke-width:2}.cgir .m{fill:none;stroke:#bbb}.cgir .r{fill:none;stroke:#555;stroke-width:1.5}"
    ".cgir .open{cursor:pointer}"
)
DEFINITIONS = (
    f"<style>{STYLE}</style>"
    '<defs><marker id="cgir-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="#777"/></marker></defs>'
)


def svg(
    graph: Graph,
    view: View,
    cost: Sequence[tuple[int, int]] | None = None,
    mark: str = "",
    shades: Shades | None = None,
) -> str:
    """The drawing as an `<svg>` element, also good as a file of its own.

    Boxes of several nodes carry `data-block`, `mark` and their number; a page with several drawings marks all but the
    first, which has the style of all. With `shades` colours are importance, and the first drawing has their legend
    above it.
    """
    single = all(len(box.nodes) == 1 for box in view.boxes)
    size = NODE if single else BLOCK
    wide, high, pitch = size
    places = layout(view.sources, LANE / wide, GAP / wide)
    brackets, columns = _brackets(view, places.layer, high, pitch)
    left = MARGIN + columns * BRACKET
    width = (
        left
        + wide
        * max((x + (0.5 if item[1] == places.layer[item[0]] else 0.1) for item, x in places.x.items()), default=0)
        + MARGIN
    )
    height = 2 * MARGIN + pitch * max(places.layer, default=0) + high
    cost = cost or costs(graph)
    top = HEIGHT if shades and not mark else 0
    width = max(width, WIDTH) if top else width
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cgir" width="{width:.0f}" height="{height + top}" viewBox="0 {-top} {width:.0f} {height + top}">',
        "" if mark else DEFINITIONS,
        *(legend(shades, single) if shades and top else ()),
        *brackets,
        *_edges(places, left, size, view, shades),
    ]
    for number, (box, layer) in enumerate(zip(view.boxes, places.layer, strict=True)):
        lines = _node_lines(graph, box) if single else _block_lines(graph, box, cost)
        opens = f' class="open" data-block="{mark}b{number}"' if len(box.block.copies[0]) > 1 else ""
        colour = shades.nodes.color(shades.of_box(box)) if shades else fill(graph, box)
        tip = tooltip(graph, box, cost) + (f"\n{shades.told(box)}" if shades else "")
        inks = (ink(colour), ink(colour)) if shades else ("", "#555")
        parts.append(
            _box(lines, tip, colour, inks, left + wide * places.x[number, layer], MARGIN + pitch * layer, size, opens)
        )
    return "\n".join([*parts, "</svg>"])


def _node_lines(graph: Graph, box: Box) -> list[str]:
    return [labels(graph, box)[0], shape_text(shape_of(graph, box.nodes))]


def _block_lines(graph: Graph, box: Box, cost: Sequence[tuple[int, int]]) -> list[str]:
    params, flops = (sum(cost[index][what] for index in box.nodes) for what in (0, 1))
    figures = [f"{len(box.nodes)} nodes"] if len(box.block.copies[0]) > 1 else []
    figures += [f"{short_number(params)} params"] if params else []
    figures += [f"{flops / graph.flops:.1%} FLOPs"] if flops > 0.0005 * graph.flops else []
    return [*labels(graph, box), " \u00b7 ".join([*figures, shape_text(shape_of(graph, box.nodes))])]


def tooltip(graph: Graph, box: Box, cost: Sequence[tuple[int, int]]) -> str:
    """All about a node, or what a block holds, a line each."""
    first = box.block.copies[0]
    times = [f"{box.times} times, the first of them:"] if box.times > 1 else []
    if len(first) == 1:
        return "\n".join([*times, *_node_tooltip(graph, first[0])])
    params, flops = (sum(cost[index][what] for index in box.nodes) for what in (0, 1))
    figures = f"{len(box.nodes):,} nodes in all, {params:,} parameters, {flops:,} FLOPs"
    lines = [
        box.block.name,
        *times,
        operators(graph.nodes[index] for index in first),
        figures,
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
    # nodes of cells may read more than their kind knows of
    shapes = [f" as {shape_text(shape)}" for shape in node.in_shapes]
    lines += [
        f"input {slot}: node {i}{shape}"
        for slot, (i, shape) in enumerate(zip_longest(node.inputs, shapes[: len(node.inputs)], fillvalue=""))
    ]
    lines += [f"{key} = {value}" for key, value in node.attrs]
    lines += [f"parameter {param.id}: {shape_text(param.shape)}" for param in node.params]
    flops = node_flops(node)
    return [line for line in lines if line] + ([f"{flops:,} FLOPs"] if flops else [])


def _box(
    lines: Sequence[str],
    tip: str,
    colour: str,
    inks: tuple[str, str],
    x: float,
    y: float,
    size: tuple[int, int, int],
    opens: str,
) -> str:
    """`inks`: colours of the first line and of the others."""
    wide, high, _ = size
    texts = []
    lines = [line for line in lines if line]
    top = y + (high - ROW * len(lines)) / 2
    for number, line in enumerate(lines):
        points, shade = (11, inks[0]) if number == 0 else (9, inks[1])
        fits = int(wide / (0.53 * points))
        line = line if len(line) <= fits else line[: fits - 1] + "\u2026"
        shade = f' fill="{shade}"' if shade else ""
        bold = ' font-weight="bold"' if number == 0 and high > NODE[1] else ""
        texts.append(
            f'<text x="{x:.1f}" y="{top + ROW * (number + 1) - 3.5:.1f}" font-size="{points}"{shade}{bold}>{xml_text(line)}</text>'
        )
    rect = f'<rect x="{x - wide / 2:.1f}" y="{y}" width="{wide}" height="{high}" rx="5" fill="{colour}"/>'
    return f"<g{opens}><title>{xml_text(tip)}</title>{rect}{''.join(texts)}</g>"


def _edges(places: Layout, left: float, size: tuple[int, int, int], view: View, shades: Shades | None) -> list[str]:
    wide, high, pitch = size
    values = _piece_values(places, view, shades) if shades else {}

    def is_lane(item: Item) -> bool:
        return item[1] != places.layer[item[0]]

    paths = []
    # the strongest on top
    for upper, lower in sorted(places.pieces, key=lambda piece: abs(values.get(piece, 0.0))):
        x0, x1 = (left + wide * places.x[item] for item in (upper, lower))
        y0, y1 = MARGIN + pitch * upper[1] + high, MARGIN + pitch * lower[1]
        bend = (y1 - y0) * 0.6
        # A lane goes straight down past the boxes of its layer; only what reaches a box has an arrow.
        tail, arrow = (f" L{x1:.1f},{y1 + high}", "") if is_lane(lower) else ("", ' marker-end="url(#cgir-arrow)"')
        line = f"M{x0:.1f},{y0} C{x0:.1f},{y0 + bend:.1f} {x1:.1f},{y1 - bend:.1f} {x1:.1f},{y1}{tail}"
        paths.append(
            _shaded(line, bool(arrow), x1, y1, values[upper, lower], shades.edges)
            if shades
            else f'<path class="e" d="{line}"{arrow}/>'
        )
    return paths


def _piece_values(places: Layout, view: View, shades: Shades) -> dict[tuple[Item, Item], float]:
    """The importance of each piece of an edge; of a lane that several edges share, that of the strongest that runs
    there.
    """
    found: dict[tuple[Item, Item], list[float]] = {}
    values = shades.of_edges(view)
    for target, sources in enumerate(view.sources):
        for source in set(sources):
            stops = [
                *((source, depth) for depth in range(places.layer[source], places.layer[target])),
                (target, places.layer[target]),
            ]
            for piece in pairwise(stops):
                found.setdefault(piece, []).append(values[source, target])
    return {piece: strongest(weights) for piece, weights in found.items()}


def _shaded(line: str, arrow: bool, x: float, y: int, value: float, scale: Scale) -> str:
    """A piece in its colour, wider the more important; markers take no colour from their line, so the head is drawn."""
    colour, width = scale.color(value), 1.2 + 2 * scale.strength(value)
    head = (
        f'<path d="M{x - 2 - width:.1f},{y - 5 - width:.1f} L{x:.1f},{y} L{x + 2 + width:.1f},{y - 5 - width:.1f} z" fill="{colour}"/>'
        if arrow
        else ""
    )
    return f'<path class="e" d="{line}" style="stroke:{colour};stroke-width:{width:.1f}"><title>importance {value:.4g}</title></path>{head}'


def _brackets(view: View, layer: Sequence[int], high: int, pitch: int) -> tuple[list[str], int]:
    """Brackets along the left side, one for each frame, side by side where frames overlap; and how many stand side by
    side.
    """
    parts: list[str] = []
    ends: list[int] = []  # of each column, the last layer taken
    spans = [
        (min(layer[box] for box in frame.boxes), max(layer[box] for box in frame.boxes), frame)
        for frame in view.frames
        if frame.boxes
    ]
    for first, last, frame in sorted(spans, key=lambda span: (span[0], -span[1])):
        column = next((c for c, end in enumerate(ends) if end < first), len(ends))
        ends[column : column + 1] = [last]
        x, top, bottom = MARGIN + BRACKET * (column + 0.75), MARGIN + pitch * first, MARGIN + pitch * last + high
        middle, room = (top + bottom) / 2, (bottom - top) // 6
        whole, name = repeated(frame.copies, frame.name), repeated(frame.copies, frame.label)
        name = name if len(name) <= room else name[: max(room - 1, 1)] + "\u2026"
        style, shade = ("r", "#222") if frame.copies > 1 else ("m", "#777")
        parts.append(
            f'<g><title>{xml_text(whole)}</title><path class="{style}" d="M{x + 4},{top} H{x} V{bottom} H{x + 4}"/>'
        )
        parts.append(
            f'<text x="{x - 4}" y="{middle}" font-size="10" fill="{shade}" transform="rotate(-90 {x - 4} {middle})">{xml_text(name)}</text></g>'
        )
    return parts, len(ends)
