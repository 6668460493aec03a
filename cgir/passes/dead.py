"""Dead code elimination: removes nodes that no input reaches or no output needs."""

from __future__ import annotations

from cgir.graph import Graph

from .rewrite import rebuild


def remove_dead(graph: Graph) -> Graph:
    """Keep nodes on a path from an input to an output, inputs and outputs included.

    Where no output depends on any input, only the inputs and outputs remain, unconnected.
    """
    reached: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if node.op == "Input" or any(source in reached for source in node.inputs):
            reached.add(index)
    needed = {index for index in reached if graph.nodes[index].op == "Output"}
    if not needed:
        return rebuild(graph, [node if node.op in ("Input", "Output") else None for node in graph.nodes])
    for index in range(len(graph.nodes) - 1, -1, -1):
        if index in needed:
            needed.update(source for source in graph.nodes[index].inputs if source in reached)
    return rebuild(graph, [node if index in needed else None for index, node in enumerate(graph.nodes)])
