"""Text for tables and drawings: names, shapes, attributes and colours of nodes."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .errors import printable
from .graph import Graph, Node, Shape
from .ops import OPS

# Fill colours by category of operator; the rest is white.
COLORS = {
    "io": "#d9d9d9", "conv": "#a6cee3", "linear": "#b2b8e8", "matmul": "#b2b8e8", "attention": "#b2b8e8",
    "recurrent": "#b2b8e8", "embedding": "#b2b8e8", "norm": "#e5e5f0", "activation": "#fdd9a0", "pool": "#c7e9c0",
    "resample": "#c7e9c0", "arithmetic": "#f6b6b0", "join": "#f6b6b0", "reduction": "#c7e9c0", "opaque": "#ff7f7f",
    "control": "#ffd0f0", "source": "#f0f0f0", "movement": "#f0f0f0", "identity": "#f0f0f0",
}  # fmt: skip
WINDOWS = ("Conv", "ConvTranspose", "MaxPool", "AvgPool")
NAME = 200  # characters of a name in a text
KINDS_NAMED = 4  # operators named in a block's summary


def heading(graph: Graph) -> str:
    """Name, level and size of a graph."""
    return f"{printable(graph.name or 'graph', NAME)} ({graph.level}): {len(graph):,} nodes, {graph.num_edges:,} edges"


def node_category(node: Node) -> str:
    """Category of a node's operator, "opaque" for an unknown one."""
    return OPS[node.op].category if node.op in OPS else "opaque"


def color(node: Node) -> str:
    """Fill colour of a node's box."""
    return COLORS.get(node_category(node), "#ffffff")


def shape_text(shape: Shape) -> str:
    """64x112x112, or () for a scalar."""
    return "x".join(map(str, shape)) or "()"


def op_name(node: Node) -> str:
    """The operator; of opaque ones the framework's name for it."""
    return str(node.attr("name")) if node.op == "Opaque" else node.op


def title(node: Node) -> str:
    """Operator and, for sliding windows, their size: "Conv 3x3 /2"."""
    return f"{op_name(node)} {_window(node)}" if node.op in WINDOWS else op_name(node)


def operators(nodes: Iterable[Node]) -> str:
    """Which operators, the most frequent first: "3 Conv, 3 BatchNorm, ReLU"."""
    counts = Counter(map(op_name, nodes)).most_common()
    more = [f"{sum(count for _, count in counts[KINDS_NAMED:]):,} more"] if len(counts) > KINDS_NAMED + 1 else []
    return ", ".join(
        [f"{count:,} {name}" if count > 1 else name for name, count in counts[: KINDS_NAMED if more else None]] + more
    )


def short_number(value: float) -> str:
    """Three digits and a unit: 25.6M."""
    for unit in ("", "K", "M", "G", "T", "P"):
        if value < 999.5 or unit == "P":
            break
        value /= 1000
    return f"{value:.0f}{unit}" if value >= 100 or not unit else f"{value:.1f}{unit}"


def short_attributes(node: Node) -> str:
    """Attributes in a few characters: sliding windows as "3x3 /2 pad 1", others as name=value."""
    if node.op in WINDOWS:
        shown = ("kernel", "stride", "dilation", "groups", "padding")
        before, after = zip(*node.attr("padding", ((0, 0),)), strict=True)
        padding = (
            [str(before[0])]
            if len({*before, *after}) == 1
            else [f"{a}:{b}" for a, b in zip(before, after, strict=True)]
        )
        parts = [_window(node), *(["pad " + ",".join(padding)] if any(before) or any(after) else [])]
        return " ".join([*parts, *(f"{key}={compact(value)}" for key, value in node.attrs if key not in shown)])
    return " ".join(f"{key}={compact(value)}" for key, value in node.attrs)


def table(rows: Iterable[tuple[str, ...]], right: Iterable[int] = ()) -> list[str]:
    """Rows with aligned columns, those numbered in `right` to the right."""
    rows, right = [tuple(map(printable, row)) for row in rows], set(right)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (
        (
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return ["  ".join(line).rstrip() for line in cells]


def xml_text(value: str) -> str:
    """Text for XML and HTML; characters that XML forbids are replaced."""
    return html.escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in value))


def _window(node: Node) -> str:
    kernel, stride, dilation = (node.attr(key, (1,)) for key in ("kernel", "stride", "dilation"))
    groups = node.attr("groups", 1)
    parts = ["x".join(map(str, kernel))]
    parts += (
        ["/" + ("x".join(map(str, stride)) if len(set(stride)) > 1 else str(stride[0]))] if set(stride) != {1} else []
    )
    parts += ["dil " + "x".join(map(str, dilation))] if set(dilation) != {1} else []
    if groups > 1:
        parts.append("depthwise" if node.in_shapes and groups == node.in_shapes[0][0] else f"groups {groups}")
    return " ".join(parts)


def compact(value: Any) -> str:
    """An attribute's value in few characters."""
    if isinstance(value, tuple):
        return "(" + ",".join(map(compact, value)) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
