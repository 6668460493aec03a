"""Canonical form of sums, concatenations, linear layers and, at inference, batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from math import prod

from cgir.graph import Graph, Node, Param, Shape

from .constants import with_shape
from .rewrite import rebuild


def unify_reciprocals(graph: Graph) -> Graph:
    """One form of a number divided by a tensor, `Div` with the number: exporters write a reciprocal and a product."""
    nodes: list[Node | None] = [_as_division(node) for node in graph.nodes]
    alias: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        factor = node.attr("scalar")
        if node.op != "Mul" or len(node.inputs) != 1 or node.params or not isinstance(factor, float):
            continue
        source = node.inputs[0]
        division = nodes[source]
        if (
            division is not None
            and division.op == "Div"
            and division.attr("reverse", False)
            and isinstance(division.attr("scalar"), float)
            and division.attr("trips") == node.attr("trips")
            and len(graph.consumers[source]) == 1
        ):
            attrs = division.carry_trips(scalar=division.attr("scalar") * factor, reverse=True)
            nodes[source], nodes[index], alias[index] = replace(division, attrs=attrs), None, source
    return rebuild(graph, nodes, alias)


def _as_division(node: Node) -> Node:
    if node.op != "Reciprocal":
        return node
    return replace(node, op="Div", attrs=node.carry_trips(scalar=1.0, reverse=True))


def merge_adds(graph: Graph) -> Graph:
    """Merge sums of sums into one n-ary Add.

    Only where the inner sum has no other reader, runs as often, and no broadcasting happens.
    """
    merged = {
        source
        for node in graph.nodes
        if node.op == "Add" and node.attrs == node.carry_trips()
        for source in node.inputs
        if (inner := graph.nodes[source]).op == "Add"
        and inner.attrs == node.attrs
        and inner.shape == node.shape
        and len(graph.consumers[source]) == 1
    }
    return _merge_into_readers(graph, merged)


def merge_concats(graph: Graph) -> Graph:
    """Merge a concatenation into its only reader, if that is a concatenation along the same axis."""
    axes = [_concat_axis(node) for node in graph.nodes]
    merged = {
        source
        for node, axis in zip(graph.nodes, axes, strict=True)
        if axis is not None
        for source, shape in zip(node.inputs, node.in_shapes, strict=True)
        if axes[source] == axis
        and not graph.nodes[source].params
        and graph.nodes[source].shape == shape
        and len(graph.consumers[source]) == 1
    }
    return _merge_into_readers(graph, merged)


def _merge_into_readers(graph: Graph, merged: Set[int]) -> Graph:
    """The graph where what `merged` nodes read is read by their only readers, in their place."""
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if index in merged:
            nodes[index] = None
        elif not merged.isdisjoint(node.inputs):
            edges: list[tuple[int, Shape]] = []
            params = list(node.params)
            stack = _edges(node)[::-1]
            while stack:
                source, shape = stack.pop()
                if source in merged:
                    params += graph.nodes[source].params
                    stack += _edges(graph.nodes[source])[::-1]
                else:
                    edges.append((source, shape))
            inputs, shapes = zip(*edges, strict=True) if edges else ((), ())
            nodes[index] = replace(node, inputs=inputs, in_shapes=shapes, params=tuple(params))
    return rebuild(graph, nodes)


def _edges(node: Node) -> list[tuple[int, Shape]]:
    return list(zip(node.inputs, node.in_shapes, strict=True))


def _concat_axis(node: Node) -> int | None:
    """The axis of a concatenation: the one on which the result is larger than the inputs."""
    if node.op != "Concat" or any(len(shape) != len(node.shape) for shape in node.in_shapes):
        return None
    axes = [axis for axis, n in enumerate(node.shape) if any(shape[axis] != n for shape in node.in_shapes)]
    return axes[0] if len(axes) == 1 else None


def unify_linear(graph: Graph) -> Graph:
    """Recognise linear layers: a product with a weight matrix, then the sum with a bias vector."""
    linear = [_with_weight_straight(_linear_from_matmul(node)) for node in graph.nodes]
    nodes: list[Node | None] = [*_with_one_shape(graph.nodes, linear)]
    alias: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if node.op != "Add" or len(node.inputs) != 1 or len(node.params) != 1 or node.attrs:
            continue
        source = node.inputs[0]
        before = nodes[source]
        if (
            before is None
            or before.op not in ("Linear", "Conv", "ConvTranspose")
            or len(before.params) != 1
            or len(graph.consumers[source]) != 1
        ):
            continue
        bias = node.params[0]
        if prod(bias.shape) != before.shape[0] or prod(node.shape) != prod(before.shape):
            continue
        nodes[source] = replace(before, params=(*before.params, Param(bias.id, (before.shape[0],))))
        nodes[index] = None
        alias[index] = source
    return rebuild(graph, nodes, alias)


def _linear_from_matmul(node: Node) -> Node:
    """`x @ w` with a weight (in, out), of more axes where einsum merged some, as `Linear`.

    Linear's weight is (out, in), and its shapes are channels first.
    """
    if node.op != "MatMul" or len(node.inputs) != 1 or len(node.params) != 1 or len(node.params[0].shape) < 2:
        return node
    before, inner = node.in_shapes[0], node.attr("inner")
    weight = node.params[0]
    if prod(weight.shape) != inner * (outer := prod(weight.shape) // inner) or inner not in (before[0], before[-1]):
        return node
    if prod(node.shape) * inner != prod(before) * outer:  # the weight is only a part of the parameter, or repeats it
        return node
    positions = before[1:] if before[0] == inner and node.shape[0] == outer else before[:-1]
    return replace(
        node,
        op="Linear",
        in_shapes=((inner, *positions),),
        shape=(outer, *positions),
        params=(Param(weight.id, (outer, inner)),),
        attrs=node.carry_trips(),
    )


def _with_weight_straight(node: Node) -> Node:
    """A linear layer that reads its weight transposed, with the weight as it reads it."""
    if node.op != "Linear" or not node.params or node.params[0].shape != (node.in_shapes[0][0], node.shape[0]):
        return node
    weight, *bias = node.params
    return replace(node, params=(Param(weight.id, weight.shape[::-1]), *bias))


def _with_one_shape(before: Sequence[Node], after: Sequence[Node]) -> Iterator[Node]:
    """The nodes after a change of weights' shapes; a weight that others read in another shape keeps theirs.

    Tied layers read one weight straight and transposed.
    """
    unchanged = (new for old, new in zip(before, after, strict=True) if old is new)
    shapes = {param.id: param.shape for node in unchanged for param in node.params}
    for old, new in zip(before, after, strict=True):
        if old is not new:
            new = replace(new, params=tuple(Param(p.id, shapes.setdefault(p.id, p.shape)) for p in new.params))
        yield new


def recognize_affine(graph: Graph) -> Graph:
    """Replace a scale and then a shift per channel by `BatchNorm`, at inference.

    They are what folding the statistics of a batch normalisation leaves.
    """
    nodes: list[Node | None] = list(graph.nodes)
    alias: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        shift = graph.consumers[index][0] if len(graph.consumers[index]) == 1 else index
        if not (_is_per_channel(node, "Mul") and _is_per_channel(graph.nodes[shift], "Add")):
            continue
        params = tuple(with_shape(param, node.shape[:1]) for param in (*node.params, *graph.nodes[shift].params))
        nodes[index] = replace(node, op="BatchNorm", params=params)
        nodes[shift], alias[shift] = None, index
    return rebuild(graph, nodes, alias)


def _is_per_channel(node: Node, op: str) -> bool:
    return (
        node.op == op
        and len(node.inputs) == len(node.params) == 1
        and not node.attrs
        and prod(node.params[0].shape) == (*node.shape, 0)[0]
    )


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold BatchNorm into the layer (convolution or linear) whose only reader it is, at inference; it gains a bias."""
    nodes: list[Node | None] = list(graph.nodes)
    alias: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if node.op != "BatchNorm" or len(node.inputs) != 1:
            continue
        source = node.inputs[0]
        conv = nodes[source]
        if (
            conv is None
            or conv.op not in ("Conv", "ConvTranspose", "Linear")
            or len(graph.consumers[source]) != 1
            or not conv.params
        ):
            continue
        bias = conv.params[1] if len(conv.params) > 1 else Param(f"{conv.params[0].id}.folded_bias", (conv.shape[0],))
        nodes[source] = replace(conv, params=(conv.params[0], bias))
        nodes[index] = None
        alias[index] = source
    return rebuild(graph, nodes, alias)
