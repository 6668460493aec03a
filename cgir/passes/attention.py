"""Recognition of scaled dot-product attention, and packing of its projections into one linear layer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from cgir.graph import Graph, Node, Param, Shape

from .dead import remove_dead
from .rewrite import rebuild


def recognize_attention(graph: Graph) -> Graph:
    """Replace softmax(scale(q k^T) + mask) v by one `Attention` node.

    Vaswani et al. 2017, eq. 1. Masks that depend on the inputs stay as further inputs. Scalar scales of query, key or
    scores are dropped: they are part of the operator. `causal` is dropped too, because exporters write it as a constant
    mask, which cannot be distinguished from any other.
    """
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if node.op == "Attention":
            cost = {key: value for key, value in node.attrs if key == "flops"}  # of constant keys and values
            nodes[index] = replace(node, attrs=node.carry_trips(**cost))
        elif node.op == "MatMul" and len(node.inputs) == 2:
            _rewrite(graph, nodes, index)
    rewritten = rebuild(graph, nodes)
    return remove_dead(rewritten) if rewritten is not graph else graph  # dropped scales of queries and keys


def _rewrite(graph: Graph, nodes: list[Node | None], index: int) -> None:
    weights, value = graph.nodes[index].inputs
    softmax = graph.nodes[weights]
    if softmax.op != "Softmax" or not _private(graph, weights):
        return
    inner = {weights}
    masks: list[tuple[int, Shape]] = []
    biases: tuple[Param, ...] = ()
    source = softmax.inputs[0]
    while _is_mask_or_scale(graph.nodes[source]) and _private(graph, source):
        inner.add(source)
        biases += graph.nodes[source].params
        edges = list(zip(graph.nodes[source].inputs, graph.nodes[source].in_shapes, strict=True))
        source, _ = edges.pop(-1 if graph.nodes[source].op == "Where" else 0)  # where(mask, number, scores)
        masks += edges
    scores = graph.nodes[source]
    if (
        scores.op != "MatMul"
        or len(scores.inputs) != 2
        or min(map(len, scores.in_shapes)) < 2
        or not _private(graph, source)
    ):
        return
    inner.add(source)
    query, key = (_unscaled(graph, i) for i in scores.inputs)
    query_shape, key_shape = scores.in_shapes[0], _swapped(scores.in_shapes[1])
    if scores.shape[-2:] == softmax.in_shapes[0][:-3:-1] != softmax.in_shapes[0][-2:]:
        # (k q^T)^T: einsums of Keras 2 write the keys first
        query, key, query_shape, key_shape = key, query, key_shape, query_shape
    in_shapes = (query_shape, key_shape, graph.nodes[index].in_shapes[1], *(shape for _, shape in masks))
    inputs = (query, key, value, *(i for i, _ in masks))
    nodes[index] = replace(
        graph.nodes[index],
        op="Attention",
        inputs=inputs,
        in_shapes=in_shapes,
        params=biases,
        attrs=graph.nodes[index].carry_trips(),
    )
    for i in inner:
        nodes[i] = None


def _private(graph: Graph, index: int) -> bool:
    return len(graph.consumers[index]) == 1


def _is_mask_or_scale(node: Node) -> bool:
    return node.op in ("Add", "Where") or (node.op in ("Mul", "Div") and node.attr("scalar") is not None)


def _unscaled(graph: Graph, index: int) -> int:
    node = graph.nodes[index]
    return node.inputs[0] if node.op in ("Mul", "Div") and node.attr("scalar") is not None else index


def _swapped(shape: Shape) -> Shape:
    return (*shape[:-2], shape[-1], shape[-2])


def pack_projections(graph: Graph) -> Graph:
    """Merge the projections of query, key and value of self-attention into one `Linear`.

    `torch.nn.MultiheadAttention` has one, Keras and others have three. Only where the three read the same tensor, have
    no other reader, all or none have a bias, and their weights are used by nothing but triples of the same weights.
    """
    triples = {
        index: projections
        for index, node in enumerate(graph.nodes)
        if node.op == "Attention" and (projections := _projections(graph, node))
    }
    weights = {index: tuple(graph.nodes[i].params for i in triple) for index, triple in triples.items()}
    packed, used = Counter(weights.values()), Counter(param.id for node in graph.nodes for param in node.params)
    nodes: list[Node | None] = list(graph.nodes)
    alias: dict[int, int] = {}
    for index, triple in triples.items():
        ids = [param.id for params in weights[index] for param in params]
        if len(set(ids)) == len(ids) and all(used[name] == packed[weights[index]] for name in ids):
            *merged, last = sorted(triple)
            nodes[last] = _packed([graph.nodes[i] for i in triple], graph.nodes[index].module)
            for projection in merged:
                nodes[projection], alias[projection] = None, last
    return rebuild(graph, nodes, alias)


def _projections(graph: Graph, attention: Node) -> tuple[int, ...] | None:
    """The three linear layers that compute query, key and value from one tensor."""
    triple = attention.inputs[:3]
    nodes = [graph.nodes[index] for index in triple]
    signatures = {(node.op, node.inputs, node.in_shapes, node.shape[1:], len(node.params)) for node in nodes}
    if (
        len(set(triple)) < 3
        or len(signatures) > 1
        or nodes[0].op != "Linear"
        or not nodes[0].params
        or len(nodes[0].inputs) != 1
    ):
        return None
    return triple if all(len(graph.consumers[index]) == 1 for index in triple) else None


def _packed(nodes: list[Node], module: str) -> Node:
    features = sum(node.shape[0] for node in nodes)
    columns = zip(*(node.params for node in nodes), strict=True)
    params = tuple(
        Param("+".join(param.id for param in column), (features, *column[0].shape[1:])) for column in columns
    )
    return replace(nodes[0], shape=(features, *nodes[0].shape[1:]), params=params, module=module)
