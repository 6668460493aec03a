"""Common subexpression elimination."""

from __future__ import annotations

from cgir.cost import node_flops
from cgir.graph import Graph, Node

from .rewrite import rebuild, resolve


def merge_duplicates(graph: Graph) -> Graph:
    """Merge equal nodes that read the same tensors and parameters, as optimising exporters do.

    Nodes with a cost stay: a layer that is applied to several slices of a tensor, such as its time steps, reads that
    tensor itself once movement is contracted.
    """
    first: dict[tuple[object, ...], int] = {}
    alias: dict[int, int] = {}
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if node.op in ("Input", "Output") or node_flops(node):
            continue
        inputs = tuple(resolve(alias, source) for source in node.inputs)
        first_index = first.setdefault((node.op, inputs, node.in_shapes, node.shape, node.params, node.attrs), index)
        if first_index != index:
            nodes[index], alias[index] = None, first_index
    return rebuild(graph, nodes, alias)
