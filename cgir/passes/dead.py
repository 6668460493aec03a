"""Remove what no input reaches or no output needs."""

from __future__ import annotations

from ..graph import Graph
from .rewrite import rebuild


def remove_dead(graph: Graph) -> Graph:
    """Keep nodes on a path from an input to an output.

    Inputs always stay, being the network's signature. Constant outputs go, unless every output is constant: then the network is its
    unconnected inputs and outputs.
    """
    reached: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if node.op == "Input" or any(source in reached for source in node.inputs):
            reached.add(index)
    outputs = [index for index, node in enumerate(graph.nodes) if node.op == "Output"]
    needed = {index for index in outputs if index in reached} or set(outputs)
    for index in range(len(graph.nodes) - 1, -1, -1):
        if index in needed:
            needed.update(source for source in graph.nodes[index].inputs if source in reached)
    nodes = [node if index in needed or node.op == "Input" else None for index, node in enumerate(graph.nodes)]
    return rebuild(graph, nodes, note="removed dead")
