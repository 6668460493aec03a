"""Topological order of the nodes of a TensorFlow graph, and where the loops of TensorFlow 1 return to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cgir import TraceError

from .graph_def import NodeDef, data_inputs, source_of


def topological_order(
    nodes: Iterable[NodeDef], refs: Iterable[str], available: Iterable[str], label: str
) -> list[NodeDef]:
    """The nodes that the given tensors depend on, each behind those that it reads.

    Loops of TensorFlow 1 run backwards at their NextIteration; any other cycle is an error.

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
                raise TraceError(
                    f"{label}: node {name!r} waits for itself; "
                    "a graph with cycles (other than the loops of TensorFlow 1) cannot run"
                )
            if name not in by_name:
                raise TraceError(f"{label}: node {name!r} is read but not there; the graph is cut off or damaged")
            open_nodes.add(name)
            stack.append((name, True))
            stack += [(source, False) for source in _sources(by_name[name], by_name) if source not in done]
    return order


def next_iteration_of(node: NodeDef, by_name: Mapping[str, NodeDef]) -> str:
    """The node whose tensor the loop of an Exit hands to its next iteration, "" if there is none.

    The Exit reads a Switch, that a Merge, that the NextIteration.
    """
    for op in ("Switch", "Merge"):
        sources = [source_of(ref) for ref in data_inputs(node)]
        node = next(
            (by_name[name] for name in sources if name in by_name and by_name[name].op.removeprefix("Ref") == op), node
        )
    return next(
        (source_of(ref) for ref in data_inputs(node) if by_name[source_of(ref)].op.endswith("NextIteration")), ""
    )


def _sources(node: NodeDef, by_name: Mapping[str, NodeDef]) -> list[str]:
    """Names of the nodes that must be imported before a node."""
    sources = [source_of(ref) for ref in reversed(data_inputs(node))]
    if node.op in ("Exit", "RefExit"):
        next_iteration = next_iteration_of(node, by_name)
        return sources + ([next_iteration] if next_iteration else [])
    if node.op in ("Merge", "RefMerge"):
        return [name for name in sources if name not in by_name or not by_name[name].op.endswith("NextIteration")]
    return sources
