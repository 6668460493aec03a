"""An order in which the nodes of an ONNX graph can be followed."""

from __future__ import annotations

from collections.abc import Container

import onnx

from cgir import TraceError

from .module_paths import node_label


def ordered(nodes: list[onnx.NodeProto], scope: Container[str], nested: bool) -> list[tuple[int, onnx.NodeProto]]:
    """Nodes with their places, each behind those that make what it reads: in their own order, if it is one.

    Args:
        nodes: of one graph.
        scope: names of the tensors that are there already.
        nested: the graph is a subgraph, which may give its tensors names that occur outside.

    Raises:
        TraceError: a tensor is made twice, read but never made, or the nodes go in a circle.
    """
    maker: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.output:
            if name and (name in maker or (not nested and name in scope)):
                raise TraceError(f"{node_label(node, index)} makes {name!r}, which is there already")
            maker[name] = index
    maker.pop("", None)
    waits = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for index, node in enumerate(nodes):
        for name in {name for name in needed(node) if name}:
            if name in maker:
                waits[index] += 1
                readers[maker[name]].append(index)
            elif name not in scope:
                raise TraceError(f"{node_label(node, index)} reads {name!r}, which nobody makes")
    return _sorted(nodes, waits, readers)


def _sorted(
    nodes: list[onnx.NodeProto], waits: list[int], readers: list[list[int]]
) -> list[tuple[int, onnx.NodeProto]]:
    """Kahn's algorithm (Communications of the ACM 5, 1962); nodes that are in order already stay so."""
    done: list[tuple[int, onnx.NodeProto]] = []
    finished = [False] * len(nodes)
    for start in range(len(nodes)):
        ready = [start] if not waits[start] and not finished[start] else []
        while ready:
            index = ready.pop()
            finished[index] = True
            done.append((index, nodes[index]))
            for reader in readers[index]:
                waits[reader] -= 1
                if not waits[reader] and reader < start:
                    ready.append(reader)
    if len(done) < len(nodes):
        index = finished.index(False)
        raise TraceError(f"{node_label(nodes[index], index)} depends on its own result: the nodes go in a circle")
    return done


def needed(node: onnx.NodeProto) -> list[str]:
    """Tensors that a node reads, those that its subgraphs take from outside included."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (
            (attribute.g, *attribute.graphs)
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
            else ()
        ):
            own = (
                {info.name for info in graph.input}
                | {tensor.name for tensor in graph.initializer}
                | {tensor.values.name for tensor in graph.sparse_initializer}
            )
            own.update(name for inner in graph.node for name in inner.output)
            names += [name for inner in graph.node for name in needed(inner) if name not in own]
            names += [info.name for info in graph.output if info.name not in own]
    return names
