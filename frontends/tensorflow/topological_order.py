"""Topological order of the nodes of a TensorFlow graph."""

from __future__ import annotations

from collections.abc import Iterable

from cgir import TraceError

from .graph_def import NodeDef, data_inputs, source_of


def topological_order(
    nodes: Iterable[NodeDef], refs: Iterable[str], available: Iterable[str], label: str
) -> list[NodeDef]:
    """The nodes that the given tensors depend on, each behind those that it reads.

    Args:
        nodes: of one graph or function.
        refs: references to tensors.
        available: names that need no node, such as the arguments of a function.
        label: how messages refer to the graph.

    Raises:
        TraceError: a node reads one that is not there, two nodes have one name, or nodes depend on each other.
    """
    by_name: dict[str, NodeDef] = {}
    for node in nodes:
        if node.name in by_name:
            raise TraceError(f"{label}: two nodes are called {node.name!r}")
        by_name[node.name] = node
    done = set(available)
    open_nodes: set[str] = set()
    order: list[NodeDef] = []
    stack = [(source_of(ref), False) for ref in reversed(list(refs))]
    while stack:
        name, finished = stack.pop()
        if finished:
            open_nodes.discard(name)
            done.add(name)
            order.append(by_name[name])
        elif name not in done:
            if name in open_nodes:
                raise TraceError(f"{label}: node {name!r} waits for itself; a graph with cycles cannot run")
            if name not in by_name:
                raise TraceError(f"{label}: node {name!r} is read but not there; the graph is cut off or damaged")
            open_nodes.add(name)
            stack.append((name, True))
            sources = [source_of(ref) for ref in reversed(data_inputs(by_name[name]))]
            stack += [(source, False) for source in sources if source not in done]
    return order
