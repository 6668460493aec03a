"""Recognition of decomposed activations: clips from two bounds, PReLU from weighted ReLUs."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from cgir.graph import Attr, Graph, Node, Param, attributes

from .rewrite import rebuild

NAMED: dict[tuple[float, float], str] = {(0, 6): "ReLU6", (-1, 1): "HardTanh"}


def recognize_clips(graph: Graph) -> Graph:
    """Replace max(min(x, high), low), in either order, by one `Clip`, `ReLU6` or `HardTanh`."""
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        inner = _bounded(graph, index)
        if inner is None or nodes[inner] is not graph.nodes[inner]:
            continue
        bounds = {n.op: float(n.attr("scalar")) for n in (node, graph.nodes[inner])}
        low, high = bounds["Maximum"], bounds["Minimum"]
        op = NAMED.get((low, high), "Clip")
        attrs: dict[str, Attr] = {"min": low, "max": high} if op == "Clip" else {}
        nodes[index] = replace(
            node,
            op=op,
            inputs=graph.nodes[inner].inputs,
            in_shapes=graph.nodes[inner].in_shapes,
            attrs=attributes(attrs),
        )
        nodes[inner] = None
    return rebuild(graph, nodes)


def _bounded(graph: Graph, index: int) -> int | None:
    """The node of the opposite bound that this node reads, if it has no other reader."""
    node = graph.nodes[index]
    opposite = {"Maximum": "Minimum", "Minimum": "Maximum"}.get(node.op)
    if (
        opposite is None
        or len(node.inputs) != 1
        or node.params
        or node.attr("scalar") is None
        or len(graph.consumers[node.inputs[0]]) != 1
    ):
        return None
    inner = graph.nodes[node.inputs[0]]
    return (
        node.inputs[0]
        if inner.op == opposite and len(inner.inputs) == 1 and not inner.params and inner.attr("scalar") is not None
        else None
    )


def recognize_prelu(graph: Graph) -> Graph:
    """Replace relu(x) - slope * relu(-x) with learned slopes by `PReLU` (He et al. 2015, eq. 1)."""
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if node.op not in ("Add", "Sub") or len(node.inputs) != 2 or node.params:
            continue
        for right, left in (node.inputs, node.inputs[::-1]):
            chain = _chain(graph, left, ("Mul", "ReLU", "Neg"))
            positive = graph.nodes[right]
            if (
                chain is None
                or positive.op != "ReLU"
                or positive.inputs != graph.nodes[chain[-1]].inputs
                or len(graph.consumers[right]) != 1
            ):
                continue
            slope = graph.nodes[left].params[0]
            shape = (prod(slope.shape),) if sum(n > 1 for n in slope.shape) < 2 else slope.shape
            nodes[index] = replace(
                node,
                op="PReLU",
                inputs=positive.inputs,
                in_shapes=(node.shape,),
                params=(Param(slope.id, shape),),
                attrs=(),
            )
            for i in (right, *chain):
                nodes[i] = None
            break
    return rebuild(graph, nodes)


def _chain(graph: Graph, index: int, ops: tuple[str, ...]) -> list[int] | None:
    """A chain of nodes with one input and one reader, from last to first; the last has one parameter, others none."""
    chain: list[int] = []
    for op in ops:
        node = graph.nodes[index]
        if (
            node.op != op
            or len(node.inputs) != 1
            or len(node.params) != (not chain)
            or len(graph.consumers[index]) != 1
        ):
            return None
        chain.append(index)
        index = node.inputs[0]
    return chain
