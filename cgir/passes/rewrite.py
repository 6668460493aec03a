"""The one way passes change a graph: some nodes replaced, some removed, some standing for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..graph import Graph, Node


def rebuild(graph: Graph, nodes: Sequence[Node | None], alias: Mapping[int, int] | None = None, note: str = "", level: str | None = None) -> Graph:
    """A graph of the nodes that are not None, inputs renumbered.

    `nodes` are in the old numbering and in topological order; `alias` says, for a removed node, which node its consumers now read
    (followed transitively). `note`, if given, counts the removed nodes in the graph's notes.
    """
    alias = alias or {}
    index: dict[int, int] = {}
    kept: list[Node] = []
    for old, node in enumerate(nodes):
        if node is None:
            continue
        index[old] = len(kept)
        kept.append(replace(node, inputs=tuple(index[resolve(alias, source)] for source in node.inputs)))
    removed = len(nodes) - len(kept)
    return graph.with_nodes(kept, {note: removed} if note and removed else None, level)


def resolve(alias: Mapping[int, int], index: int) -> int:
    """The node that `index` finally stands for."""
    while index in alias:
        index = alias[index]
    return index
