"""Looking at a graph: tables, Graphviz DOT, networkx, an SVG drawing, and one self-contained HTML page.

Everything is collapsed to blocks (`cgir.blocks`) unless asked for `full`; `depth` says how many levels of modules are
opened, as many as fit in a readable picture if None. With an `importance` (`cgir.importance`) drawings are shaded by it
instead of coloured by category.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING

from cgir.atomic_files import atomic_path
from cgir.cost import node_flops
from cgir.graph import Graph, Shape
from cgir.node_text import color, heading, operators, shape_text, short_attributes, short_number, table, title
from cgir.report import costs

from .importance import Importance, Shades
from .module_blocks import Box, Nodes, View, collapse, every_node

if TYPE_CHECKING:
    import networkx


def dump(graph: Graph) -> str:
    """A table, one line a node: index, operator, output shape, attributes, inputs, parameters, module path."""
    rows = [("", "op", "shape", "attributes", "inputs", "params", "module")]
    for index, node in enumerate(graph.nodes):
        params = " ".join(shape_text(param.shape) for param in node.params)
        rows.append(
            (
                str(index),
                node.op,
                shape_text(node.shape),
                short_attributes(node),
                " ".join(map(str, node.inputs)),
                params,
                node.module,
            )
        )
    return "\n".join([heading(graph), *table(rows, right=[0])])


def summary(graph: Graph, depth: int | None = None) -> str:
    """A table, one line a block, indented below the blocks that it is part of; nodes, parameters and FLOPs are those of
    all copies.
    """
    view = collapse(graph, depth)
    cost = costs(graph)
    total = sum(flops for _, flops in cost)
    rows = [("", "block", "operators", "nodes", "parameters", "FLOPs", "shape", "reads")]
    for number, (box, sources) in enumerate(zip(view.boxes, view.sources, strict=True)):
        level = 0
        for frame in view.frames:
            if number in frame.boxes:
                if number == frame.boxes[0]:
                    rows.append(
                        ("", "  " * level + repeated(frame.copies, frame.label or "nodes"), "", "", "", "", "", "")
                    )
                level += 1
        params, flops = (sum(cost[index][what] for index in box.nodes) for what in (0, 1))
        figures = f"{len(box.nodes):,}", f"{params:,}" if params else "", f"{flops / total:.1%}" if flops else ""
        name = "  " * level + repeated(len(box.block.copies), name_of(box))
        rows.append(
            (
                str(number),
                name,
                _content(graph, box),
                *figures,
                shape_text(shape_of(graph, box.nodes)),
                " ".join(map(str, sources)),
            )
        )
    totals = f"{graph.num_params:,} parameters, {short_number(graph.flops)} FLOPs; {len(view.boxes)} blocks"
    return "\n".join([heading(graph), totals, *table(rows, right=[0, 3, 4, 5])])


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """Nodes carry op, shape, in_shapes, params, attrs, name and module; an edge's key and attribute `slot` is the
    argument it feeds.
    """
    import networkx

    out = networkx.MultiDiGraph(name=graph.name, level=graph.level)
    for index, node in enumerate(graph.nodes):
        params = [(param.id, param.shape) for param in node.params]
        fields = {
            "op": node.op,
            "shape": node.shape,
            "in_shapes": node.in_shapes,
            "params": params,
            "attrs": dict(node.attrs),
        }
        out.add_node(index, **fields, name=node.name, module=node.module)
    for index, node in enumerate(graph.nodes):
        for slot, source in enumerate(node.inputs):
            out.add_edge(source, index, key=slot, slot=slot)
    return out


def to_dot(graph: Graph, depth: int | None = None, full: bool = False) -> str:
    """Graphviz source: boxes coloured by category, opened blocks as clusters."""
    view = every_node(graph) if full else collapse(graph, depth)
    lines = [
        f"digraph {_quoted(graph.name or 'graph')} {{", "  rankdir=TB; ranksep=0.25;",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=10, height=0.3];', "  edge [arrowsize=0.6];",
        *_dot_boxes(graph, view, range(len(view.boxes)), 0, "  "),
    ]  # fmt: skip
    lines += [f"  n{source} -> n{index};" for index, sources in enumerate(view.sources) for source in sources]
    return "\n".join([*lines, "}"])


def _dot_boxes(graph: Graph, view: View, boxes: range | Nodes, first: int, indent: str) -> Iterator[str]:
    """The boxes in their clusters: those of frame `first` and of later, inner ones."""
    left = dict.fromkeys(boxes)
    for number in range(first, len(view.frames)):
        frame = view.frames[number]
        if not frame.boxes or any(box not in left for box in frame.boxes):
            continue
        yield f"{indent}subgraph cluster_{number} {{ label={_quoted(repeated(frame.copies, frame.label))}; color=gray; fontsize=10;"
        yield from _dot_boxes(graph, view, frame.boxes, number + 1, indent + "  ")
        yield f"{indent}}}"
        for box in frame.boxes:
            del left[box]
    for box in left:
        label = "\n".join(
            line
            for line in (*labels(graph, view.boxes[box]), shape_text(shape_of(graph, view.boxes[box].nodes)))
            if line
        )
        yield f"{indent}n{box} [label={_quoted(label)}, fillcolor={_quoted(fill(graph, view.boxes[box]))}];"


def to_svg(
    graph: Graph,
    path: str | PathLike[str],
    depth: int | None = None,
    full: bool = False,
    importance: Importance | None = None,
) -> None:
    """Write the drawing as an SVG file; nothing needs to be installed for it."""
    from .svg import svg

    shades = Shades(graph, importance) if importance else None
    _write(path, svg(graph, every_node(graph) if full else collapse(graph, depth), shades=shades))


def to_html(
    graph: Graph,
    path: str | PathLike[str],
    depth: int | None = None,
    full: bool = False,
    importance: Importance | None = None,
) -> None:
    """Write one self-contained HTML page: report and drawing. Blocks open when clicked; all about a node shows when it
    is pointed at.
    """
    from .html_page import page

    shades = Shades(graph, importance) if importance else None
    _write(path, page(graph, every_node(graph) if full else collapse(graph, depth), shades))


def _write(path: str | PathLike[str], text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


# --- what boxes say


def labels(graph: Graph, box: Box) -> tuple[str, str]:
    """A box's first two lines: what it is, and what is in it or where it belongs."""
    nodes = box.block.copies[0]
    if len(nodes) == 1:
        return repeated(box.times, title(graph.nodes[nodes[0]])), box.label
    return repeated(box.times, name_of(box)), _content(graph, box)


def name_of(box: Box) -> str:
    """The module, or the nodes where a block of several has none."""
    nodes = box.block.copies[0]
    return box.label or (f"nodes {nodes[0]} to {nodes[-1]}" if len(nodes) > 1 else "")


def repeated(copies: int, name: str) -> str:
    """The name, with how often where that is more than once."""
    return f"{copies} \u00d7 {name}" if copies > 1 else name


def fill(graph: Graph, box: Box) -> str:
    """Colour of the operator that costs most."""
    return color(max((graph.nodes[index] for index in box.block.copies[0]), key=node_flops))


def shape_of(graph: Graph, nodes: Nodes) -> Shape:
    """Shape of the last tensor that leaves these nodes."""
    inside = set(nodes)
    leaving = [index for index in nodes if any(reader not in inside for reader in graph.consumers[index])]
    return graph.nodes[max(leaving, default=nodes[-1])].shape


def _content(graph: Graph, box: Box) -> str:
    nodes = [graph.nodes[index] for index in box.block.copies[0]]
    return title(nodes[0]) if len(nodes) == 1 else operators(nodes)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
