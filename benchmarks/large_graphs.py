"""Families of large graphs: name -> a function from a number of nodes to a valid graph with about as many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from cgir import Graph, Node
from cgir.ops import OPS

SHAPE = (4,)


def node(op: str, inputs: Iterable[int] = ()) -> Node:
    """A node whose tensors all have one shape."""
    sources = tuple(inputs)
    return Node(op, sources, tuple(SHAPE for _ in sources), SHAPE)


def graph_of(nodes: Sequence[Node], name: str) -> Graph:
    """The graph whose output is the last of the nodes."""
    return Graph((*nodes, node("Output", (len(nodes) - 1,))), name, "module")


def reordered(graph: Graph, rng: Generator) -> Graph:
    """An isomorphic graph: nodes of equal depth in any order, and so are inputs of commutative operators."""
    depth = np.zeros(len(graph), np.int64)
    for index, node in enumerate(graph.nodes):
        depth[index] = 1 + max((depth[source] for source in node.inputs), default=0)
    order = np.lexsort((rng.random(len(graph)), depth))
    position = np.empty(len(graph), np.int64)
    position[order] = np.arange(len(graph))
    nodes = []
    for index in order.tolist():
        node = graph.nodes[index]
        slots = rng.permutation(len(node.inputs)) if OPS[node.op].commutative else np.arange(len(node.inputs))
        inputs = position[list(node.inputs)][slots].tolist()
        nodes.append(replace(node, inputs=tuple(inputs), in_shapes=tuple(node.in_shapes[slot] for slot in slots)))
    return graph.with_nodes(nodes)


def chain(nodes: int) -> Graph:
    """One operator after the other."""
    return graph_of([node("Input"), *(node("ReLU", (i,)) for i in range(nodes - 2))], "chain")


def fan(nodes: int) -> Graph:
    """One node that adds up all others, which read the same input."""
    readers = nodes - 3
    return graph_of(
        [node("Input"), *(node("ReLU", (0,)) for _ in range(readers)), node("Add", range(1, readers + 1))], "fan"
    )


def random_dag(nodes: int, seed: int = 0) -> Graph:
    """Every node reads one or two random ones before it, and the output all that nobody reads."""
    rng = np.random.default_rng(seed)
    found, unread = [node("Input")], {0}
    for index in range(1, nodes - 2):
        inputs = [int(rng.integers(index)) for _ in range(int(rng.integers(1, 3)))]
        found.append(node("ReLU" if len(inputs) == 1 else "Add", inputs))
        unread.difference_update(inputs)
        unread.add(index)
    return graph_of([*found, node("Add", sorted(unread))], "random DAG")


def mixture_of_experts(nodes: int, experts: int = 64) -> Graph:
    """Layers of equal experts of three nodes beside a residual connection."""
    found, x = [node("Input")], 0
    for _ in range(max(1, round((nodes - 2) / (3 * experts + 1)))):
        ends = []
        for _ in range(experts):
            found += [node("ReLU", (x,)), node("Sigmoid", (len(found),)), node("Tanh", (len(found) + 1,))]
            ends.append(len(found) - 1)
        found.append(node("Add", (x, *ends)))
        x = len(found) - 1
    return graph_of(found, "mixture of experts")


def branches(nodes: int, length: int = 10) -> Graph:
    """Equal branches, chains of equal nodes, between one input and one sum."""
    found, ends = [node("Input")], []
    for _ in range(max(1, round((nodes - 3) / length))):
        found.append(node("ReLU", (0,)))
        found += [node("ReLU", (len(found) + step,)) for step in range(-1, length - 2)]
        ends.append(len(found) - 1)
    return graph_of([*found, node("Add", ends)], "branches")


def rings(nodes: int, size: int = 6) -> Graph:
    """Equal rings: nodes that read the input, and for every two neighbours a node that adds them."""
    return cycles([size] * max(1, round((nodes - 3) / (2 * size))))


def ring(nodes: int) -> Graph:
    """One ring."""
    return cycles([max(3, round((nodes - 3) / 2))])


def cycles(sizes: Iterable[int]) -> Graph:
    """Rings of these sizes, at least 3, whose edges are all added up."""
    edges, start = [], 0
    for size in sizes:
        edges += [(start + step, start + (step + 1) % size) for step in range(size)]
        start += size
    return undirected(start, edges, "rings")


def undirected(vertices: int, edges: Sequence[tuple[int, int]], name: str) -> Graph:
    """An undirected simple graph: vertices are nodes that read the input, edges are nodes that add both ends.

    Args:
        vertices: their number.
        edges: pairs of vertices.
        name: of the graph.
    """
    found = [node("Input"), *(node("ReLU", (0,)) for _ in range(vertices))]
    found += [node("Add", sorted((a + 1, b + 1))) for a, b in edges]
    return graph_of([*found, node("Add", range(vertices + 1, len(found)))], name)


FAMILIES: MappingProxyType[str, Callable[[int], Graph]] = MappingProxyType(
    {
        "chain": chain,
        "fan": fan,
        "random DAG": random_dag,
        "mixture of experts": mixture_of_experts,
        "branches": branches,
        "rings of 6": rings,
        "one ring": ring,
    }
)
