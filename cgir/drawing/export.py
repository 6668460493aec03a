"""Export of a graph for reading: tables, Graphviz DOT, networkx, an SVG drawing, one self-contained HTML page.

Drawings are collapsed to blocks (`module_blocks`) unless they are `full`; `depth` is how many levels of modules are
opened. With an `importance` they are shaded by it instead of coloured by category.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING

from cgir.atomic_files import atomic_path
from cgir.graph import Graph
from cgir.node_text import heading, shape_text, short_attributes, short_number, table
from cgir.report import caveats, costs, total_texts

from .box_text import content, fill, labels, name_of, repeated, shape_of
from .drawing_files import check_suffix
from .html_page import page
from .importance import Importance, Shading
from .module_blocks import BlockDiagram, Nodes, collapse, every_node
from .page_data import page_data
from .png import write_png
from .svg import svg

if TYPE_CHECKING:
    import networkx

EMBEDDED = 5_000  # nodes of a graph whose page is part of a notebook


def dump(graph: Graph) -> str:
    """A table, one line a node: index, operator, output shape, attributes, inputs, parameters, module path.

    Below it stands why totals are not exact, and what is detached.
    """
    rows = [("", "op", "shape", "attributes", "inputs", "params", "module")]
    for index, node in enumerate(graph.nodes):
        inputs = " ".join(map(str, node.inputs))
        params = " ".join(shape_text(param.shape) for param in node.params)
        rows.append((str(index), node.op, shape_text(node.shape), short_attributes(node), inputs, params, node.module))
    return "\n".join([heading(graph), *table(rows, right=[0]), *caveats(graph)])


def summary(graph: Graph, depth: int | None = None) -> str:
    """A table, one line a block, indented in its frames; nodes, parameters and FLOPs are those of all copies.

    Below it stands why totals are not exact, and what is detached.
    """
    diagram = collapse(graph, depth)
    cost = costs(graph)
    total = sum(flops for _, flops in cost)
    rows = [("", "block", "operators", "nodes", "parameters", "FLOPs", "shape", "reads")]
    for number, (box, sources) in enumerate(zip(diagram.boxes, diagram.sources, strict=True)):
        level = 0
        for frame in diagram.frames:
            if number in frame.boxes:
                if number == frame.boxes[0]:
                    name = "  " * level + repeated(frame.copies, frame.label or "nodes", frame.beside)
                    rows.append(("", name, "", "", "", "", "", ""))
                level += 1
        params, flops = (sum(cost[index][column] for index in box.nodes) for column in (0, 1))
        figures = f"{len(box.nodes):,}", f"{params:,}" if params else "", f"{flops / total:.1%}" if flops else ""
        name = "  " * level + repeated(len(box.block.copies), name_of(box), box.block.beside)
        shape, reads = shape_text(shape_of(graph, box.nodes)), " ".join(map(str, sources))
        rows.append((str(number), name, content(graph, box), *figures, shape, reads))
    weights, products = total_texts(graph, short_number)
    totals = f"{weights} parameters, {products} FLOPs; {len(diagram.boxes)} blocks"
    return "\n".join([heading(graph), totals, *table(rows, right=[0, 3, 4, 5]), *caveats(graph)])


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """The graph for networkx.

    Nodes carry op, shape, in_shapes, params, attrs, name and module; the key of an edge, also its attribute `slot`, is
    the argument that it feeds.
    """
    import networkx

    result = networkx.MultiDiGraph(name=graph.name, level=graph.level)
    for index, node in enumerate(graph.nodes):
        params = [(param.id, param.shape) for param in node.params]
        fields = {
            "op": node.op,
            "shape": node.shape,
            "in_shapes": node.in_shapes,
            "params": params,
            "attrs": dict(node.attrs),
        }
        result.add_node(index, **fields, name=node.name, module=node.module)
    for index, node in enumerate(graph.nodes):
        for slot, source in enumerate(node.inputs):
            result.add_edge(source, index, key=slot, slot=slot)
    return result


def to_dot(graph: Graph, depth: int | None = None, full: bool = False) -> str:
    """Graphviz source: boxes coloured by category, opened blocks as clusters.

    Args:
        graph: to draw.
        depth: levels of modules that are opened; None: as many as fit in a readable picture.
        full: every node instead of blocks.
    """
    diagram = _diagram(graph, depth, full)
    lines = [
        f"digraph {_quoted(graph.name or 'graph')} {{",
        "  rankdir=TB; ranksep=0.25;",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=10, height=0.3];',
        "  edge [arrowsize=0.6];",
        *_dot_boxes(graph, diagram, range(len(diagram.boxes)), 0, "  "),
    ]
    lines += [f"  n{source} -> n{index};" for index, sources in enumerate(diagram.sources) for source in sources]
    return "\n".join([*lines, "}"])


def _dot_boxes(graph: Graph, diagram: BlockDiagram, boxes: range | Nodes, first: int, indent: str) -> Iterator[str]:
    """The boxes in their clusters: those of frame `first` and of later, inner ones."""
    remaining = dict.fromkeys(boxes)
    for number in range(first, len(diagram.frames)):
        frame = diagram.frames[number]
        if not frame.boxes or any(box not in remaining for box in frame.boxes):
            continue
        label = _quoted(repeated(frame.copies, frame.label, frame.beside))
        yield f"{indent}subgraph cluster_{number} {{ label={label}; color=gray; fontsize=10;"
        yield from _dot_boxes(graph, diagram, frame.boxes, number + 1, indent + "  ")
        yield f"{indent}}}"
        for box in frame.boxes:
            del remaining[box]
    for index in remaining:
        shown = diagram.boxes[index]
        lines = (*labels(graph, shown), shape_text(shape_of(graph, shown.nodes)))
        label = _quoted("\n".join(line for line in lines if line))
        yield f"{indent}n{index} [label={label}, fillcolor={_quoted(fill(graph, shown))}];"


def to_svg(
    graph: Graph,
    path: str | PathLike[str],
    depth: int | None = None,
    full: bool = False,
    importance: Importance | None = None,
) -> None:
    """Write the drawing as an SVG file, which ends in .svg; nothing needs to be installed for it.

    Args:
        graph: to draw.
        path: the file.
        depth: levels of modules that are opened; None: as many as fit in a readable picture.
        full: every node instead of blocks.
        importance: shade by it.

    Raises:
        CgirError: the file does not end in .svg.
    """
    check_suffix(path, (".svg",))
    _write(path, _drawn(graph, depth, full, importance))


def to_png(
    graph: Graph,
    path: str | PathLike[str],
    depth: int | None = None,
    full: bool = False,
    importance: Importance | None = None,
) -> None:
    """Write the drawing as a PNG file, which ends in .png, by matplotlib (the extra `png`).

    Args:
        graph: to draw.
        path: the file.
        depth: levels of modules that are opened; None: as many as fit in a readable picture.
        full: every node instead of blocks.
        importance: shade by it.

    Raises:
        CgirError: the file does not end in .png, or matplotlib is missing.
    """
    check_suffix(path, (".png",))
    text = _drawn(graph, depth, full, importance)
    with atomic_path(path) as temporary:
        write_png(text, temporary)


def _drawn(graph: Graph, depth: int | None, full: bool, importance: Importance | None) -> str:
    """The drawing as the text of an SVG file."""
    shading = Shading(graph, importance) if importance else None
    return svg(graph, _diagram(graph, depth, full), shading=shading)


def to_html(
    graph: Graph,
    path: str | PathLike[str],
    depth: int | None = None,
    full: bool = False,
    importance: Importance | None = None,
) -> None:
    """Write one self-contained HTML page: a drawing whose blocks open in place, search, and all about what is chosen.

    Args:
        graph: to draw.
        path: the file.
        depth: levels of modules that are open at first; None: as many as can be read.
        full: all blocks are open at first.
        importance: shade by it.

    Raises:
        CgirError: the file does not end in .html.
    """
    check_suffix(path, (".html", ".htm"))
    shading = Shading(graph, importance) if importance else None
    _write(path, page(graph.name or "graph", page_data(graph, depth, full, shading)))


def to_iframe(graph: Graph) -> str:
    """The page of a graph as an element of another page, such as a notebook; of a large graph a table of its blocks."""
    if len(graph) > EMBEDDED:
        return f"<pre>{html.escape(summary(graph))}</pre>"
    text = html.escape(page(graph.name or "graph", page_data(graph)))
    style = "width:100%;height:30rem;border:1px solid #8886"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{text}"></iframe>'


def _diagram(graph: Graph, depth: int | None, full: bool) -> BlockDiagram:
    return every_node(graph) if full else collapse(graph, depth)


def _write(path: str | PathLike[str], text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
