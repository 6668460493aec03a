"""Removal of what is computed from constants and parameters and read by nothing, such as sizes once they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cgir import Node


def without_unread(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes without those that depend on no graph input and that no node reads, directly or through such nodes."""
    static: list[bool] = []
    for node in nodes:
        static.append(node.op not in ("Input", "Output") and all(static[source] for source in node.inputs))
    needed = [not is_static for is_static in static]
    for index in range(len(nodes) - 1, -1, -1):
        if needed[index]:
            for source in nodes[index].inputs:
                needed[source] = True
    kept = [index for index in range(len(nodes)) if needed[index]]
    places = {old: new for new, old in enumerate(kept)}
    return tuple(
        replace(nodes[index], inputs=tuple(places[source] for source in nodes[index].inputs)) for index in kept
    )
