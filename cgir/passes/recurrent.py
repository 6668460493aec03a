"""Merging of stacked recurrent layers into one node, as PyTorch has them."""

from __future__ import annotations

from dataclasses import replace

from cgir.graph import Graph, Node, attributes

from .rewrite import rebuild, resolve

RECURRENT = ("LSTM", "GRU", "RNN")


def merge_recurrent(graph: Graph) -> Graph:
    """Merge a stack of recurrent layers of one kind and width into one node with their number as `layers`.

    Each is the only reader of the one before it. Last states of the layers joined by a Concat are the last states of
    the stack. A layer whose results anything else reads stays apart.
    """
    if sum(node.op in RECURRENT for node in graph.nodes) < 2:
        return graph
    nodes: list[Node | None] = list(graph.nodes)
    alias: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if node.op not in RECURRENT or not node.inputs:
            continue
        below = node.inputs[0]
        if (
            graph.nodes[below].op != node.op
            or not _reads_alone(graph, below, index)
            or not _same_kind(nodes[below], node)
        ):
            continue
        first = nodes[below]
        assert first is not None
        states = tuple(
            zip((*first.inputs[1:], *node.inputs[1:]), (*first.in_shapes[1:], *node.in_shapes[1:]), strict=True)
        )
        states = tuple(dict.fromkeys(states))
        attrs = {**dict(first.attrs), "layers": first.attr("layers") + node.attr("layers")}
        nodes[index] = replace(
            node,
            inputs=(first.inputs[0], *(source for source, _ in states)),
            in_shapes=(first.in_shapes[0], *(shape for _, shape in states)),
            params=first.params + node.params,
            attrs=attributes(attrs),
        )
        nodes[below] = None
        alias[below] = index
    if not alias:
        return graph
    _drop_joins(graph, nodes, alias)
    return rebuild(graph, nodes, alias)


def _reads_alone(graph: Graph, below: int, above: int) -> bool:
    """Whether only the layer above reads a layer, and Concats of its last states with those of later layers."""
    other_readers = [graph.nodes[reader] for reader in graph.consumers[below] if reader != above]
    return all(
        reader.op == "Concat" and above in reader.inputs and all(graph.nodes[i].op in RECURRENT for i in reader.inputs)
        for reader in other_readers
    )


def _same_kind(below: Node | None, node: Node) -> bool:
    if below is None or below.op != node.op:
        return False
    settings = [{key: value for key, value in n.attrs if key != "layers"} for n in (below, node)]
    wide = node.attr("hidden") * (2 if node.attr("bidirectional") else 1)
    return settings[0] == settings[1] and node.in_shapes[0][:1] == (wide,) and below.shape[1:] == node.in_shapes[0][1:]


def _drop_joins(graph: Graph, nodes: list[Node | None], alias: dict[int, int]) -> None:
    """Remove Concats of the last states of different layers of one stack."""
    for index, node in enumerate(graph.nodes):
        if (
            node.op != "Concat"
            or node.params
            or len(set(node.inputs)) < 2
            or not any(source in alias for source in node.inputs)
        ):
            continue
        tops = {resolve(alias, source) for source in node.inputs}
        if len(tops) == 1 and graph.nodes[next(iter(tops))].op in RECURRENT:
            nodes[index] = None
            alias[index] = next(iter(tops))
