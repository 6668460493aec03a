"""The one way passes change a graph: some nodes replaced, some removed, some standing for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_

from cgir.graph import Graph, Node


def rebuild(
    graph: Graph,
    nodes: Sequence[Node | None],
    alias: Mapping[int, int] | None = None,
    note: str = "",
    level: str | None = None,
) -> Graph:
    """A graph of the nodes that are not None, inputs renumbered.

    `nodes` are in the old numbering and in topological order; `alias` says, for a removed node, which node its
    consumers now read (followed transitively). `note`, if given, counts the removed nodes in the graph's notes.
    """
    if all(map(is_, nodes, graph.nodes)) and level in (None, graph.level):
        return graph
    alias = alias or {}
    index: dict[int, int] = {}
    kept: list[Node] = []
    for old, node in enumerate(nodes):
        if node is None:
            continue
        index[old] = len(kept)
        inputs = tuple(index[resolve(alias, source)] for source in node.inputs)
        kept.append(
            node
            if inputs == node.inputs
            else Node(node.op, inputs, node.in_shapes, node.shape, node.params, node.attrs, node.name, node.module)
        )
    removed = len(nodes) - len(kept)
    return graph.with_nodes(kept, {note: removed} if note and removed else None, level)


def resolve(alias: Mapping[int, int], index: int) -> int:
    """The node that `index` finally stands for."""
    while index in alias:
        index = alias[index]
    return index
