"""Cost model: parameters, FLOPs and activation memory, for one example; 1 multiply-add = 2 FLOPs.

FLOPs count products (convolution, linear, matmul, attention, recurrent), the convention of `torch.utils.flop_counter`;
elementwise operators, norms and pooling count 0. What cannot be counted is a `Gap` of the graph.
"""

from __future__ import annotations

import re
from itertools import chain
from math import prod

from .graph import Gap, Graph, Node, NodeKind, Param
from .ops import OPS

SHAPE_SUFFIX = re.compile(r":(\d+(?:x\d+)*)$")


def num_params(graph: Graph) -> int:
    """Number of trainable scalars, those of detached nodes included; a tensor shared by several nodes counts once."""
    nodes = chain(graph.nodes, graph.detached)
    return sum(size for _, size in {tensor_of(param) for node in nodes for param in node.params})


def tensor_of(param: Param) -> tuple[str, int]:
    """Which tensor a parameter is, by name and number of elements, whatever shapes its readers have it in.

    A pass that reshapes a parameter writes the shape behind its name (`cgir.passes.constants.with_shape`).
    """
    size, name = prod(param.shape), param.id
    while (match := SHAPE_SUFFIX.search(name)) and prod(map(int, match[1].split("x"))) == size:
        name = name[: match.start()]
    return name, size


def kind_flops(kind: NodeKind) -> int:
    """FLOPs of one node by the formula in the operator's row, 0 without one; in the body of a loop, of all `trips`.

    The attribute `flops` stands in for the formula where operands that it reads are constants, which are no inputs.
    """
    cost, flops = OPS[kind.op].cost, kind.attr("flops")
    if flops is None:
        flops = cost(kind) if cost else 0
    return int(flops) * int(kind.attr("trips", 1))


def node_flops(node: Node) -> int:
    """FLOPs of one node, for one example."""
    return kind_flops(node.kind)


def flops(graph: Graph) -> int:
    """FLOPs of the whole graph, detached nodes included, for one example; a module counts every time it runs."""
    return sum(node_flops(node) for node in chain(graph.nodes, graph.detached))


def gaps(graph: Graph) -> tuple[Gap, ...]:
    """Why parameters or FLOPs are not exact: the graph's `known_gaps`, and opaque operators of unknown cost."""
    placed = [(f"node {index}", node) for index, node in enumerate(graph.nodes)]
    placed += [("detached", node) for node in graph.detached]
    opaque = tuple(Gap("FLOPs", _unknown_cost(place, node)) for place, node in placed if has_unknown_cost(node))
    return graph.known_gaps + opaque


def has_unknown_cost(node: Node) -> bool:
    """Whether nobody knows what a node costs: opaque operators without the attribute `flops`."""
    return node.op == "Opaque" and node.attr("flops") is None


def _unknown_cost(place: str, node: Node) -> str:
    module = f" in {node.module}" if node.module else ""
    return f"operator {node.attr('name')} ({place}{module}) is opaque, and its cost unknown"


def activation_bytes(graph: Graph, bytes_per_value: int = 4) -> int:
    """Memory of all operators' outputs together, for one example, `bytes_per_value` each (4 = float32)."""
    return bytes_per_value * sum(prod(node.shape) for node in graph.nodes if node.op != "Output")
