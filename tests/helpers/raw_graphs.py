"""Raw graphs written node by node, as frontends record them before canonicalisation."""

from __future__ import annotations

from typing import Any

import cgir
from cgir import Graph, Node, Param
from cgir.graph import attributes

IMAGE, CHANNELS = (8, 4, 4), (8,)


class RawGraph:
    """A raw graph, node by node; `call` returns the index of a node."""

    def __init__(self, shape: tuple[int, ...] = IMAGE) -> None:
        self.nodes = [Node("Input", shape=shape)]

    def call(
        self, op: str, *inputs: int, shape: tuple[int, ...] | None = None, params: tuple[Param, ...] = (), **attrs: Any
    ) -> int:
        shapes = tuple(self.nodes[i].shape for i in inputs)
        shape = max(shapes, key=len) if shape is None else shape
        self.nodes.append(Node(op, inputs, shapes, shape, params, attributes(attrs), f"n{len(self.nodes)}"))
        return len(self.nodes) - 1

    def param(self, name: str, shape: tuple[int, ...] = CHANNELS) -> int:
        return self.call("Param", shape=shape, params=(Param(name, shape),))

    def constant(self, shape: tuple[int, ...] = CHANNELS) -> int:
        return self.call("Constant", shape=shape)

    def number(self, value: float) -> int:
        return self.call("Constant", shape=(), value=value)

    def standard_deviation(self) -> int:
        """sqrt(variance + eps)."""
        return self.call("Sqrt", self.call("Add", self.constant(), self.number(1e-3)))

    def canonical(self, last: int, level: str = "module") -> Graph:
        self.call("Output", last)
        graph = Graph(tuple(self.nodes))
        cgir.verify(graph)
        graph = cgir.canonicalize(graph, level=level)
        cgir.verify(graph)
        return graph
