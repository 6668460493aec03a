"""Compute equal things once."""

from __future__ import annotations

from cgir.graph import Graph, Node

from .rewrite import rebuild, resolve


def merge_duplicates(graph: Graph) -> Graph:
    """Merge nodes that do the same to the same tensors with the same parameters, as optimising exporters do."""
    first: dict[tuple[object, ...], int] = {}
    alias: dict[int, int] = {}
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if node.op in ("Input", "Output"):
            continue
        inputs = tuple(resolve(alias, source) for source in node.inputs)
        same = first.setdefault((node.op, inputs, node.in_shapes, node.shape, node.params, node.attrs), index)
        if same != index:
            nodes[index], alias[index] = None, same
    return rebuild(graph, nodes, alias)
