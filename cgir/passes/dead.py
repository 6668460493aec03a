"""Dead code elimination: removes nodes that no input reaches or no output needs."""

from __future__ import annotations

from collections.abc import Set

from cgir.graph import Graph

from .rewrite import rebuild


def remove_dead(graph: Graph) -> Graph:
    """Keep nodes on a path from an input to an output, inputs and outputs included.

    Where no output depends on any input, only the inputs and outputs remain, unconnected.
    """
    live = needed_by_outputs(graph, graph.reached)
    if not live:
        return rebuild(graph, [node if node.op in ("Input", "Output") else None for node in graph.nodes])
    return rebuild(graph, [node if index in live else None for index, node in enumerate(graph.nodes)])


def needed_by_outputs(graph: Graph, nodes: Set[int]) -> set[int]:
    """Those of some nodes from which a path of them leads to an output."""
    needed = {index for index in nodes if graph.nodes[index].op == "Output"}
    for index in range(len(graph) - 1, -1, -1):
        if index in needed:
            needed.update(source for source in graph.nodes[index].inputs if source in nodes)
    return needed
