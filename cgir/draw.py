"""Looking at a graph: a table or a page of text, Graphviz DOT, networkx, an SVG drawing, and one self-contained HTML page."""

from __future__ import annotations

import html
from collections import defaultdict
from math import prod
from os import PathLike
from typing import TYPE_CHECKING, Any

from .cost import activation_bytes, node_flops
from .files import atomic_path
from .graph import Graph, Node, Shape
from .ops import OPS

if TYPE_CHECKING:
    import networkx

# Fill colours by category of operator; the rest is white.
COLORS = {
    "io": "#d9d9d9", "conv": "#a6cee3", "linear": "#b2b8e8", "matmul": "#b2b8e8", "attention": "#b2b8e8", "recurrent": "#b2b8e8",
    "embedding": "#b2b8e8", "norm": "#e5e5f0", "activation": "#fdd9a0", "pool": "#c7e9c0", "resample": "#c7e9c0", "arithmetic": "#f6b6b0",
    "join": "#f6b6b0", "reduction": "#c7e9c0", "opaque": "#ff7f7f", "control": "#ffd0f0", "source": "#f0f0f0", "movement": "#f0f0f0", "identity": "#f0f0f0",
}  # fmt: skip


def dump(graph: Graph) -> str:
    """A table, one line a node: index, operator, output shape, attributes, inputs, parameters, module path."""
    rows = [("", "op", "shape", "attributes", "inputs", "params", "module")]
    for index, node in enumerate(graph.nodes):
        params = " ".join(shape_text(param.shape) for param in node.params)
        rows.append((str(index), node.op, shape_text(node.shape), short_attributes(node), " ".join(map(str, node.inputs)), params, node.module))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].rjust(widths[0]), *map(str.ljust, row[1:], widths[1:])]).rstrip() for row in rows)
    return "\n".join([_title(graph), *lines])


def report(graph: Graph) -> str:
    """A page of text: sizes, what every operator occurs and costs, opaque operators, and what canonicalisation contracted."""
    counts, seen = graph.op_counts(), set[str]()
    flops, params = dict.fromkeys(counts, 0), dict.fromkeys(counts, 0)
    for node in graph.nodes:
        name = f"Opaque:{node.attr('name')}" if node.op == "Opaque" else node.op
        flops[name] += node_flops(node)
        for param in node.params:
            params[name] += 0 if param.id in seen else prod(param.shape)
            seen.add(param.id)
    width = max(map(len, (*counts, "operator")))
    lines = [
        _title(graph), "",
        f"{'parameters':<12}{graph.num_params:>16,}", f"{'FLOPs':<12}{graph.flops:>16,}  (1 multiply-add = 2)",
        f"{'activations':<12}{activation_bytes(graph):>16,}  bytes in float32", "",
        f"{'operator':<{width}} {'count':>7} {'parameters':>14} {'FLOPs':>18} {'share':>7}",
    ]  # fmt: skip
    for name, count in counts.items():
        share = flops[name] / graph.flops if graph.flops else 0.0
        lines.append(f"{name:<{width}} {count:>7,} {params[name]:>14,} {flops[name]:>18,} {share:>7.1%}")
    opaque = sum(count for name, count in counts.items() if name.startswith("Opaque:"))
    if opaque:
        lines += ["", f"opaque nodes: {opaque}, kept with name and shapes, their FLOPs counted as 0"]
    if graph.notes:
        lines += ["", "contracted: " + ", ".join(f"{count} {name}" for name, count in graph.notes)]
    return "\n".join(lines)


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """Nodes carry op, shape, in_shapes, params, attrs, name and module; an edge's key and attribute `slot` is the argument it feeds."""
    import networkx

    out = networkx.MultiDiGraph(name=graph.name, level=graph.level)
    for index, node in enumerate(graph.nodes):
        params = [(param.id, param.shape) for param in node.params]
        fields = {"op": node.op, "shape": node.shape, "in_shapes": node.in_shapes, "params": params, "attrs": dict(node.attrs)}
        out.add_node(index, **fields, name=node.name, module=node.module)
    for index, node in enumerate(graph.nodes):
        for slot, source in enumerate(node.inputs):
            out.add_edge(source, index, key=slot, slot=slot)
    return out


def to_dot(graph: Graph) -> str:
    """Graphviz source: boxes coloured by category, one cluster for each top-level module."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(module_groups(graph)):
        members[group].append(index)
    lines = [
        f"digraph {_quoted(graph.name or 'graph')} {{", "  rankdir=TB; ranksep=0.25;",
        '  node [shape=box, style="filled,rounded", fontname="Helvetica", fontsize=10, height=0.3];', "  edge [arrowsize=0.6];",
    ]  # fmt: skip
    for number, (group, indices) in enumerate(members.items()):
        nodes = [f"n{i} [label={_quoted(_dot_label(graph.nodes[i]))}, fillcolor={_quoted(color(graph.nodes[i]))}];" for i in indices]
        if group:
            lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(group)}; color=gray; fontsize=10;"]
            lines += [*(f"    {line}" for line in nodes), "  }"]
        else:
            lines += [f"  {line}" for line in nodes]
    lines += [f"  n{source} -> n{index};" for index, node in enumerate(graph.nodes) for source in node.inputs]
    return "\n".join([*lines, "}"])


def to_svg(graph: Graph, path: str | PathLike[str]) -> None:
    """Write the drawing as an SVG file; nothing needs to be installed for it."""
    from .svg import svg

    with atomic_path(path) as temporary:
        temporary.write_text(svg(graph), encoding="utf-8")


def to_html(graph: Graph, path: str | PathLike[str]) -> None:
    """Write one self-contained HTML page: report and drawing, where every node shows all about itself when pointed at."""
    from .svg import svg

    title = html.escape(graph.name or "graph")
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n<style>'
        "body{font-family:sans-serif;margin:1.5em;display:flex;flex-wrap:wrap;gap:2em;align-items:flex-start}"
        "pre{font-size:12px;background:#f7f7f7;padding:1em;margin:0;position:sticky;top:1em}"
        "</style></head><body>\n"
        f"<pre>{html.escape(report(graph))}</pre>\n<div>{svg(graph)}</div>\n</body></html>\n"
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def color(node: Node) -> str:
    """Fill colour of a node's box."""
    return COLORS.get(OPS[node.op].category if node.op in OPS else "opaque", "#ffffff")


def shape_text(shape: Shape) -> str:
    """64x112x112, or () for a scalar."""
    return "x".join(map(str, shape)) or "()"


def title(node: Node) -> str:
    """Operator and what tells it from others of its sort, in a few characters: "Conv 3x3 /2"."""
    name = str(node.attr("name")) if node.op == "Opaque" else node.op
    if node.op in ("Conv", "ConvTranspose", "MaxPool", "AvgPool"):
        return f"{name} {_window(node)}"
    return name


def short_attributes(node: Node) -> str:
    """Attributes in a few characters: sliding windows as "3x3 /2 pad 1", others as name=value."""
    if node.op in ("Conv", "ConvTranspose", "MaxPool", "AvgPool"):
        known = ("kernel", "stride", "dilation", "groups", "padding")
        before, after = zip(*node.attr("padding", ((0, 0),)), strict=True)
        padding = [str(before[0])] if len({*before, *after}) == 1 else [f"{a}:{b}" for a, b in zip(before, after, strict=True)]
        parts = [_window(node), *(["pad " + ",".join(padding)] if any(before) or any(after) else [])]
        return " ".join([*parts, *(f"{key}={_compact(value)}" for key, value in node.attrs if key not in known)])
    return " ".join(f"{key}={_compact(value)}" for key, value in node.attrs)


def module_groups(graph: Graph) -> list[str]:
    """Each node's top-level module; a path that all modules begin with (a wrapper around the network) is skipped."""
    paths = [node.module.split(".") if node.module else [] for node in graph.nodes]
    named = [path for path in paths if path]
    common = 0
    while named and all(len(path) > common + 1 for path in named) and len({path[common] for path in named}) == 1:
        common += 1
    return [".".join(path[: common + 1]) for path in paths]


def _title(graph: Graph) -> str:
    return f"{graph.name or 'graph'} ({graph.level}): {len(graph):,} nodes, {graph.num_edges:,} edges"


def _window(node: Node) -> str:
    kernel, stride, dilation = (node.attr(key, (1,)) for key in ("kernel", "stride", "dilation"))
    groups = node.attr("groups", 1)
    parts = ["x".join(map(str, kernel))]
    parts += ["/" + ("x".join(map(str, stride)) if len(set(stride)) > 1 else str(stride[0]))] if set(stride) != {1} else []
    parts += ["dil " + "x".join(map(str, dilation))] if set(dilation) != {1} else []
    if groups > 1:
        parts.append("depthwise" if node.in_shapes and groups == node.in_shapes[0][0] else f"groups {groups}")
    return " ".join(parts)


def _compact(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ",".join(map(_compact, value)) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _dot_label(node: Node) -> str:
    return f"{title(node)}\n{shape_text(node.shape)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
