"""Layers of graph networks as nodes of canonical graphs: what `torch_layers` computes, (C, N) -> (width, N).

Their cost is that of their linear layers, 2 x nodes x weights: sums over neighbours multiply nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from cgir.builder import GraphBuilder
from cgir.graph import Shape

from .layer_names import GAT_HEADS, GAT_SLOPE, SOFTMAX_SHIFT

LayerWriter = Callable[[GraphBuilder, int, int, int], int]  # (builder, node that is read, width, edges) -> result


def add_bias(build: GraphBuilder, *terms: int) -> int:
    """The sum of the terms and a bias for each channel."""
    shape = build.shape(terms[0])
    return build.add_node("Add", terms, shape, (shape[:1],))


def gather(build: GraphBuilder, x: int, edges: int) -> int:
    """The value at one end of every edge, (C, N) -> (C, E).

    Args:
        build: the builder.
        x: the node that is read.
        edges: E.
    """
    return build.add_node("Gather", (x,), (build.shape(x)[0], edges))


def scatter(build: GraphBuilder, messages: int, nodes: int, op: str = "Scatter") -> int:
    """The messages that reach a node, (C, E) -> (C, N).

    Args:
        build: the builder.
        messages: of every edge.
        nodes: N.
        op: "Scatter" for their sum, "ReduceMax" for the largest.
    """
    return build.add_node(op, (messages,), (build.shape(messages)[0], nodes))


def scaled(build: GraphBuilder, x: int, op: str = "Mul") -> int:
    """Product with constants, or another operator on them.

    Args:
        build: the builder.
        x: the node that is read.
        op: "Mul", or "Div" for a quotient.
    """
    return build.add_node(op, (x,), build.shape(x))


def neighbour_sum(build: GraphBuilder, x: int, edges: int) -> int:
    """The sum over the nodes from which an edge comes, (C, N) -> (C, N).

    Args:
        build: the builder.
        x: the node that is read.
        edges: E.
    """
    return scatter(build, gather(build, x, edges), build.shape(x)[1])


def _gat(build: GraphBuilder, x: int, width: int, edges: int) -> int:
    nodes, size = build.shape(x)[1], width // GAT_HEADS
    edges += nodes  # every node reads itself
    values = build.linear(x, width, bias=False)
    heads: Shape = (nodes, GAT_HEADS, size)
    flat, on_edges = (nodes, GAT_HEADS), (edges, GAT_HEADS)
    ends = []
    for _ in ("source", "target"):
        product = build.add_node("Mul", (values,), heads, ((1, GAT_HEADS, size),), (heads,))
        ends.append(build.add_node("Gather", (build.add_node("Sum", (product,), flat, dims=1),), on_edges))
    scores = build.add_node("LeakyReLU", (build.add(*ends),), on_edges, slope=GAT_SLOPE)
    largest = build.add_node("Gather", (build.add_node("ReduceMax", (scores,), flat),), on_edges)
    exponentials = build.add_node("Exp", (build.add_node("Sub", (scores, largest), on_edges),), on_edges)
    total = build.add_node("Scatter", (exponentials,), flat)
    total = build.add_node("Gather", (build.add_node("Add", (total,), flat, scalar=SOFTMAX_SHIFT),), on_edges)
    attention = build.add_node("Div", (exponentials, total), on_edges)
    gathered = build.add_node("Gather", (values,), (edges, GAT_HEADS, size), (), (heads,))
    shapes: tuple[Shape, ...] = ((edges, GAT_HEADS, 1), (edges, GAT_HEADS, size))
    messages = build.add_node("Mul", (attention, gathered), shapes[1], (), shapes)
    result = build.add_node("Scatter", (messages,), heads)
    return build.add_node("Add", (result,), (nodes, width), ((width,),), ((nodes, width),))


def _gcn(build: GraphBuilder, x: int, width: int, edges: int) -> int:
    nodes = build.shape(x)[1]
    messages = scaled(build, gather(build, build.linear(x, width, bias=False), edges + nodes))
    return add_bias(build, scatter(build, messages, nodes))


def _gin(build: GraphBuilder, x: int, width: int, edges: int) -> int:
    return build.linear(build.add(neighbour_sum(build, x, edges), x), width)


def _cheb(build: GraphBuilder, x: int, width: int, edges: int) -> int:
    neighbours = scatter(build, scaled(build, gather(build, x, edges)), build.shape(x)[1])
    return add_bias(build, build.linear(x, width, bias=False), build.linear(neighbours, width, bias=False))


def _sage(build: GraphBuilder, x: int, width: int, edges: int) -> int:
    mean = scaled(build, neighbour_sum(build, x, edges), "Div")
    return build.add(build.linear(mean, width), build.linear(x, width, bias=False))


def _arma(build: GraphBuilder, x: int, width: int, edges: int) -> int:
    messages = scaled(build, gather(build, build.linear(x, width, bias=False), edges))
    neighbours = scatter(build, messages, build.shape(x)[1])
    return build.relu(add_bias(build, neighbours, build.linear(x, width, bias=False)))


def _graph(build: GraphBuilder, x: int, width: int, edges: int) -> int:
    return build.add(build.linear(neighbour_sum(build, x, edges), width), build.linear(x, width, bias=False))


def _fc(build: GraphBuilder, x: int, width: int, edges: int) -> int:
    return build.linear(x, width)


LAYERS: dict[str, LayerWriter] = {
    "gat": _gat, "gcn": _gcn, "gin": _gin, "cheb": _cheb, "sage": _sage, "arma": _arma, "graph": _graph, "fc": _fc,
}  # fmt: skip
