"""Removal of what nothing reads any more once sizes are known: arithmetic on sizes, and tensors that were measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from cgir import Node


def without_unread(nodes: Sequence[Node], measured: Collection[int]) -> tuple[Node, ...]:
    """The nodes without those that nothing reads and that depend on no graph input, or of which only the size is read.

    Nodes that only such nodes read go too. Others that nothing reads stay: the file has them, and their costs.

    Args:
        nodes: of a graph.
        measured: indices of nodes whose sizes are read.
    """
    static: list[bool] = []
    for node in nodes:
        static.append(node.op not in ("Input", "Output") and all(static[source] for source in node.inputs))
    read = {source for node in nodes for source in node.inputs}
    needed = [index not in read and not static[index] and index not in measured for index in range(len(nodes))]
    for index in range(len(nodes) - 1, -1, -1):
        needed[index] |= nodes[index].op == "Input"
        for source in nodes[index].inputs if needed[index] else ():
            needed[source] = True
    kept = [index for index in range(len(nodes)) if needed[index]]
    places = {old: new for new, old in enumerate(kept)}
    return tuple(
        replace(nodes[index], inputs=tuple(places[source] for source in nodes[index].inputs)) for index in kept
    )
