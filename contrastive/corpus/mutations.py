"""Networks made of networks: residual blocks of a traced graph are dropped or repeated, which varies depth where no
search space does it.

A residual block leads from one node to an Add all of whose terms are computed from that node; nothing else enters or
leaves. Where result and source have the same shape, the network without the block, and the one with the block twice,
are networks as well (dropping is what Huang et al. 2016, Deep Networks with Stochastic Depth, section 3, do while they
train).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cgir.graph import Graph, Node, Param
from cgir.passes import canonicalize

ROOT = -1  # before all inputs


class Block(NamedTuple):
    """A part of a graph that reads the node `source` alone and is read through its last node alone; `nodes` ascend."""

    source: int
    nodes: tuple[int, ...]


def blocks(graph: Graph) -> list[Block]:
    """The residual blocks whose result has the shape of their source; with the activation behind the sum, where the
    source is one too.
    """
    gates = _dominators(graph)
    found = (
        _block(graph, gates, index)
        for index, node in enumerate(graph.nodes)
        if node.op == "Add" and len(node.inputs) > 1
    )
    return [block for block in found if block]


def drop(graph: Graph, block: Block) -> Graph:
    """The graph without a block: what read the block reads its source."""
    inside, last = set(block.nodes), block.nodes[-1]
    kept = [index for index in range(len(graph)) if index not in inside]
    place = {index: new for new, index in enumerate(kept)}
    place[last] = place[block.source]
    return graph.with_nodes(_moved(graph.nodes[index], place) for index in kept)


def repeat(graph: Graph, block: Block) -> Graph:
    """The graph with a block twice, one after the other; the second has parameters of its own, except what others share
    as well.
    """
    last = block.nodes[-1]
    copies = {index: last + 1 + new for new, index in enumerate(block.nodes)}
    names = _fresh(graph, block)
    inner = {**copies, block.source: last}
    before = graph.nodes[: last + 1]
    again = (_renamed(_moved(graph.nodes[index], inner), names) for index in block.nodes)
    outer = {index: index + len(block.nodes) if index > last else index for index in range(len(graph))} | {
        last: copies[last]
    }
    after = (_moved(node, outer) for node in graph.nodes[last + 1 :])
    return graph.with_nodes((*before, *again, *after))


def mutate(graph: Graph, rng: np.random.Generator, steps: int) -> Graph:
    """A canonical graph with up to `steps` residual blocks, one after the other, dropped or repeated at even odds;
    itself where it has none.
    """
    for _ in range(steps):
        choices = blocks(graph)
        if not choices:
            return graph
        change = drop if rng.random() < 0.5 else repeat
        graph = canonicalize(change(graph, choices[int(rng.integers(len(choices)))]), level=graph.level)
    return graph


def _dominators(graph: Graph) -> list[int]:
    """For each node the last node before it that every way from the inputs passes; `ROOT` where there is none."""
    found: list[int] = []
    depth = {ROOT: 0}
    for index, node in enumerate(graph.nodes):
        meet = node.inputs[0] if node.inputs else ROOT
        for source in node.inputs[1:]:
            while meet != source:
                if depth[meet] >= depth[source]:
                    meet = found[meet]
                else:
                    source = found[source]
        found.append(meet)
        depth[index] = depth[meet] + 1
    return found


def _block(graph: Graph, gates: list[int], last: int) -> Block | None:
    """The smallest part that ends in a sum and can be dropped and repeated."""
    nodes, readers = graph.nodes, graph.consumers
    source = gates[last]
    while source != ROOT and nodes[source].shape != nodes[last].shape:
        source = gates[source]
    if source == ROOT or nodes[source].op == "Input":
        return None
    inside = _between(graph, source, last)
    if len(readers[last]) == 1 and _closes(nodes[readers[last][0]], nodes[source]):
        last = readers[last][0]
        inside.add(last)
    alone = all(reader in inside for index in inside if index != last for reader in readers[index])
    # a step of a loop, whose end knows where it stands
    looped = any(nodes[index].attr("trips") is not None for index in inside)
    return None if looped or not alone else Block(source, tuple(sorted(inside)))


def _between(graph: Graph, source: int, last: int) -> set[int]:
    """What `last` is computed from, up to `source`, `last` included."""
    inside, waiting = {last}, [last]
    while waiting:
        new = set(graph.nodes[waiting.pop()].inputs) - inside - {source}
        inside |= new
        waiting += new
    return inside


def _closes(node: Node, first: Node) -> bool:
    """Whether a node behind a block is the activation that stands before it as well."""
    return (
        len(node.inputs) == 1
        and (node.op, node.attrs, node.shape, node.params) == (first.op, first.attrs, first.shape, ())
        and not first.params
    )


def _moved(node: Node, place: dict[int, int]) -> Node:
    return replace(node, inputs=tuple(place[index] for index in node.inputs))


def _renamed(node: Node, names: dict[str, str]) -> Node:
    return replace(node, params=tuple(Param(names.get(param.id, param.id), param.shape) for param in node.params))


def _fresh(graph: Graph, block: Block) -> dict[str, str]:
    """New names for the parameters that only the block has."""
    inside = set(block.nodes)
    outer = _names(node for index, node in enumerate(graph.nodes) if index not in inside)
    own = _names(graph.nodes[index] for index in block.nodes)
    number = 2
    while {f"{name}#{number}" for name in own} & (outer | own):
        number += 1
    return {name: f"{name}#{number}" for name in own - outer}


def _names(nodes: Iterable[Node]) -> set[str]:
    return {param.id for node in nodes for param in node.params}
