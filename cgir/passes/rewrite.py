"""Graph rewriting shared by all passes: replace, remove and alias nodes; skip data movement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_

from cgir.graph import Graph, Node
from cgir.ops import OPS


def rebuild(graph: Graph, nodes: Sequence[Node | None], alias: Mapping[int, int] | None = None) -> Graph:
    """A graph of the nodes that are not None, inputs renumbered; the same object where nothing changed.

    Args:
        graph: the graph before.
        nodes: in its numbering and in topological order: nodes kept or replaced, None where one is removed.
        alias: for a removed node, which node its consumers now read (followed transitively).
    """
    if all(map(is_, nodes, graph.nodes)):
        return graph
    alias = alias or {}
    new_index: dict[int, int] = {}
    new_nodes: list[Node] = []
    for old_index, node in enumerate(nodes):
        if node is None:
            continue
        new_index[old_index] = len(new_nodes)
        inputs = tuple(new_index[resolve(alias, source)] for source in node.inputs)
        new_nodes.append(
            node
            if inputs == node.inputs
            else Node(node.op, inputs, node.in_shapes, node.shape, node.params, node.attrs, node.name, node.module)
        )
    return graph.with_nodes(new_nodes)


def resolve(alias: Mapping[int, int], index: int) -> int:
    """The node that replaces `index`, itself if none does; aliases are followed transitively."""
    while index in alias:
        index = alias[index]
    return index


def origin(graph: Graph, index: int) -> int:
    """The node that computed a tensor, skipping movement and identities."""
    while graph.nodes[index].inputs and OPS[graph.nodes[index].op].category in ("movement", "identity"):
        index = graph.nodes[index].inputs[0]
    return index


def reads_parameter(graph: Graph, index: int) -> bool:
    """Whether a node or one of its ancestors has a parameter."""
    stack, visited = [index], {index}
    while stack:
        node = graph.nodes[stack.pop()]
        if node.params:
            return True
        stack += set(node.inputs) - visited
        visited.update(node.inputs)
    return False
