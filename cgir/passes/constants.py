"""Fold what does not depend on the inputs into the operators that use it."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Graph, Node, Param, attributes
from .rewrite import rebuild

ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow", "Maximum", "Minimum", "Mod"}


def fold_constants(graph: Graph) -> Graph:
    """Remove nodes that depend on no graph input; their parameters move to the first operators that do.

    1. a parameter, or anything computed from parameters alone, becomes `params` of its consumer (weight before own parameters);
    2. a scalar constant in arithmetic becomes the attribute `scalar`;
    3. other constants (masks, index tables) leave no trace but the consumer itself;
    4. a product with the scalar 0 is a constant, as NAS-Bench-201's `none` is written.
    An output that turns out constant loses its input; `remove_dead` decides what becomes of it.
    """
    constant: dict[int, tuple[Param, ...]] = {}
    nodes: list[Node | None] = []
    for index, node in enumerate(graph.nodes):
        inner = tuple(p for source in node.inputs if source in constant for p in constant[source])
        if node.op not in ("Input", "Output") and (_is_zero(node) or all(source in constant for source in node.inputs)):
            constant[index] = () if _is_zero(node) else _unique(inner + node.params)
            nodes.append(None)
        elif any(source in constant for source in node.inputs):
            nodes.append(_absorb(graph, node, constant, inner))
        else:
            nodes.append(node)
    return rebuild(graph, nodes, note="folded constants")


def _absorb(graph: Graph, node: Node, constant: dict[int, tuple[Param, ...]], params: tuple[Param, ...]) -> Node:
    """The node without its constant inputs."""
    kept = [slot for slot, source in enumerate(node.inputs) if source not in constant]
    gone = [graph.nodes[source] for source in node.inputs if source in constant]
    values = [0.0 if _is_zero(source) else source.attr("value") for source in gone]
    if node.op in ARITHMETIC and len(gone) == 1 and values[0] is not None:
        return _with_scalar(node, kept[0], float(values[0]))
    return replace(
        node,
        inputs=tuple(node.inputs[slot] for slot in kept),
        in_shapes=tuple(node.in_shapes[slot] for slot in kept),
        params=() if node.op == "Output" else _unique(params + node.params),
    )


def _with_scalar(node: Node, slot: int, value: float) -> Node:
    """Arithmetic with one scalar operand, in the one form frontends use too: x - c is Add, x / c is Mul, c - x and c / x are reversed."""
    op, scalar, reverse = node.op, value, slot == 1
    if op == "Sub" and not reverse:
        op, scalar = "Add", -value
    elif op == "Div" and not reverse and value != 0:
        op, scalar = "Mul", 1 / value
    attrs = dict(node.attrs) | {"scalar": scalar}
    if reverse and op in ("Sub", "Div", "Pow", "Mod"):
        attrs["reverse"] = True
    return replace(node, op=op, inputs=(node.inputs[slot],), in_shapes=(node.in_shapes[slot],), attrs=attributes(attrs))


def _is_zero(node: Node) -> bool:
    return node.op == "Mul" and node.attr("scalar") == 0


def _unique(params: tuple[Param, ...]) -> tuple[Param, ...]:
    return tuple(dict.fromkeys(params))
