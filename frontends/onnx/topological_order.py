"""Topological order of the nodes of an ONNX graph, captures of their subgraphs included."""

from __future__ import annotations

from collections.abc import Container

import onnx

from cgir import TraceError

from .module_paths import node_label, shortened


def topological_order(
    nodes: list[onnx.NodeProto], scope: Container[str], nested: bool
) -> list[tuple[int, onnx.NodeProto]]:
    """The nodes with their indices, each behind those that it reads; nodes that are in order stay so.

    Args:
        nodes: of one graph.
        scope: names of the tensors available so far.
        nested: whether the graph is a subgraph, whose tensors may have names that occur outside.

    Raises:
        TraceError: a tensor is computed twice, read but never computed, or the nodes form a cycle.
    """
    producers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.output:
            if type(name) is bytes:
                raise TraceError(f"{node_label(node, index)} makes {name[:50]!r}, which is no UTF-8")
            if name and (name in producers or (not nested and name in scope)):
                raise TraceError(f"{node_label(node, index)} makes {shortened(name)!r}, which is there already")
            producers[name] = index
    producers.pop("", None)
    num_unmet = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        for name in {name for name in read_names(node) if name}:
            if name in producers:
                num_unmet[index] += 1
                readers[producers[name]].append(index)
            elif name not in scope:
                raise TraceError(f"{node_label(node, index)} reads {shortened(name)!r}, which nobody makes")
    return _sorted(nodes, num_unmet, readers)


def _sorted(
    nodes: list[onnx.NodeProto], num_unmet: list[int], readers: list[list[int]]
) -> list[tuple[int, onnx.NodeProto]]:
    """Kahn's algorithm (Communications of the ACM 5, 1962); nodes that are in order already stay so."""
    order: list[tuple[int, onnx.NodeProto]] = []
    visited = [False] * len(nodes)
    for start in range(len(nodes)):
        ready = [start] if not num_unmet[start] and not visited[start] else []
        while ready:
            index = ready.pop()
            visited[index] = True
            order.append((index, nodes[index]))
            for reader in readers[index]:
                num_unmet[reader] -= 1
                if not num_unmet[reader] and reader < start:
                    ready.append(reader)
    if len(order) < len(nodes):
        index = visited.index(False)
        raise TraceError(f"{node_label(nodes[index], index)} depends on its own result: the nodes go in a circle")
    return order


def read_names(node: onnx.NodeProto) -> list[str]:
    """Names of the tensors that a node reads, those that its subgraphs capture included."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (
            (attribute.g, *attribute.graphs)
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
            else ()
        ):
            inside = (
                {info.name for info in graph.input}
                | {tensor.name for tensor in graph.initializer}
                | {tensor.values.name for tensor in graph.sparse_initializer}
            )
            inside.update(name for inner in graph.node for name in inner.output)
            names += [name for inner in graph.node for name in read_names(inner) if name not in inside]
            names += [info.name for info in graph.output if info.name not in inside]
    return names
