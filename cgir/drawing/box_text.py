"""Text and colour of a box of a drawing: its name, what is in it, its output shape."""

from __future__ import annotations

from cgir.cost import node_flops
from cgir.graph import Graph, Shape
from cgir.node_text import color, operators, title

from .module_blocks import Box, Nodes


def labels(graph: Graph, box: Box) -> tuple[str, str]:
    """A box's first two lines: what it is, and what is in it or where it belongs."""
    nodes = box.block.copies[0]
    if len(nodes) == 1:
        return repeated(box.times, title(graph.nodes[nodes[0]]), box.block.beside), box.label
    return repeated(box.times, name_of(box), box.block.beside), content(graph, box)


def name_of(box: Box) -> str:
    """The module, or the nodes where a block of several has none."""
    nodes = box.block.copies[0]
    return box.label or (f"nodes {nodes[0]} to {nodes[-1]}" if len(nodes) > 1 else "")


def content(graph: Graph, box: Box) -> str:
    """The operators in a box."""
    nodes = [graph.nodes[index] for index in box.block.copies[0]]
    return title(nodes[0]) if len(nodes) == 1 else operators(nodes)


def repeated(copies: int, name: str, beside: bool = False) -> str:
    """The name, after the number of copies if there are several.

    Args:
        copies: their number.
        name: may be empty.
        beside: say that they are side by side.
    """
    text = f"{copies:,} \u00d7 {name}" if copies > 1 else name
    return text.removesuffix(" \u00d7 ") + (", " if name else " ") + "side by side" if beside else text


def fill(graph: Graph, box: Box) -> str:
    """Colour of the operator with most FLOPs."""
    return color(max((graph.nodes[index] for index in box.block.copies[0]), key=node_flops))


def shape_of(graph: Graph, nodes: Nodes) -> Shape:
    """Shape of the last tensor that leaves these nodes."""
    inside = set(nodes)
    leaving = [index for index in nodes if any(reader not in inside for reader in graph.consumers[index])]
    return graph.nodes[max(leaving, default=nodes[-1])].shape
