"""Mutations of traced graphs: residual blocks are dropped or repeated, which varies the depth of any model.

A residual block is a single-entry single-exit region that ends in an Add, all of whose operands are computed from the
entry. Where entry and exit have the same shape, the network without the block and the network with the block twice are
valid as well (Huang et al. 2016, Deep Networks with Stochastic Depth, section 3, drop such blocks during training).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cgir.graph import Graph, Node, Param
from cgir.passes import canonicalize

ROOT = -1  # the virtual predecessor of all inputs


class ResidualBlock(NamedTuple):
    """A region of a graph with one entry and one exit.

    source: the only node outside that the region reads.
    nodes: of the region, ascending; only the last one is read from outside.
    """

    source: int
    nodes: tuple[int, ...]


def blocks(graph: Graph) -> list[ResidualBlock]:
    """The residual blocks whose output has the shape of their source.

    The activation after the sum is part of the block where the source is the same activation.
    """
    dominators = _dominators(graph)
    candidates = (
        _block(graph, dominators, index)
        for index, node in enumerate(graph.nodes)
        if node.op == "Add" and len(node.inputs) > 1
    )
    return [block for block in candidates if block]


def drop(graph: Graph, block: ResidualBlock) -> Graph:
    """The graph without a block, whose readers read the block's source instead."""
    inside, last = set(block.nodes), block.nodes[-1]
    kept = [index for index in range(len(graph)) if index not in inside]
    new_index = {index: new for new, index in enumerate(kept)}
    new_index[last] = new_index[block.source]
    return graph.with_nodes(_reindexed(graph.nodes[index], new_index) for index in kept)


def repeat(graph: Graph, block: ResidualBlock) -> Graph:
    """The graph with a block twice in a row.

    The copy has parameters of its own, except those that nodes outside the block share.
    """
    last, size = block.nodes[-1], len(block.nodes)
    copies = {index: last + 1 + offset for offset, index in enumerate(block.nodes)}
    names = _unused_names(graph, block)
    index_in_copy = {**copies, block.source: last}
    index_after = {index: index + size if index > last else index for index in range(len(graph))} | {last: copies[last]}
    before = graph.nodes[: last + 1]
    copy = (_renamed(_reindexed(graph.nodes[index], index_in_copy), names) for index in block.nodes)
    after = (_reindexed(node, index_after) for node in graph.nodes[last + 1 :])
    return graph.with_nodes((*before, *copy, *after))


def mutate(graph: Graph, rng: np.random.Generator, num_changes: int) -> Graph:
    """Drop or repeat random residual blocks of a canonical graph, one after the other.

    Args:
        graph: returned as it is where it has no residual block.
        rng: chooses blocks, and whether each is dropped or repeated, with equal probability.
        num_changes: upper bound of the blocks changed; fewer where none is left.
    """
    for _ in range(num_changes):
        choices = blocks(graph)
        if not choices:
            return graph
        change = drop if rng.random() < 0.5 else repeat
        graph = canonicalize(change(graph, choices[int(rng.integers(len(choices)))]), level=graph.level)
    return graph


def _dominators(graph: Graph) -> list[int]:
    """The immediate dominator of each node: the last node on all paths from the inputs to it, or `ROOT`."""
    dominators: list[int] = []
    depth = {ROOT: 0}
    for index, node in enumerate(graph.nodes):
        meet = node.inputs[0] if node.inputs else ROOT
        for source in node.inputs[1:]:
            while meet != source:
                if depth[meet] >= depth[source]:
                    meet = dominators[meet]
                else:
                    source = dominators[source]
        dominators.append(meet)
        depth[index] = depth[meet] + 1
    return dominators


def _block(graph: Graph, dominators: list[int], last: int) -> ResidualBlock | None:
    """The smallest region that ends in the sum `last` and can be dropped and repeated."""
    nodes, readers = graph.nodes, graph.consumers
    source = dominators[last]
    while source != ROOT and nodes[source].shape != nodes[last].shape:
        source = dominators[source]
    if source == ROOT or nodes[source].op == "Input":
        return None
    inside = _between(graph, source, last)
    if len(readers[last]) == 1 and _is_same_activation(nodes[readers[last][0]], nodes[source]):
        last = readers[last][0]
        inside.add(last)
    single_exit = all(reader in inside for index in inside if index != last for reader in readers[index])
    # the nodes of a loop's body stay: the loop finds them by their position
    in_loop = any(nodes[index].attr("trips") is not None for index in inside)
    return None if in_loop or not single_exit else ResidualBlock(source, tuple(sorted(inside)))


def _between(graph: Graph, source: int, last: int) -> set[int]:
    """The nodes on paths from `source` to `last`, without `source` and with `last`."""
    inside, pending = {last}, [last]
    while pending:
        new = set(graph.nodes[pending.pop()].inputs) - inside - {source}
        inside |= new
        pending += new
    return inside


def _is_same_activation(node: Node, first: Node) -> bool:
    """Whether the node after a block is the same activation as the node before it."""
    return (
        len(node.inputs) == 1
        and (node.op, node.attrs, node.shape, node.params) == (first.op, first.attrs, first.shape, ())
        and not first.params
    )


def _reindexed(node: Node, new_index: dict[int, int]) -> Node:
    return replace(node, inputs=tuple(new_index[index] for index in node.inputs))


def _renamed(node: Node, names: dict[str, str]) -> Node:
    return replace(node, params=tuple(Param(names.get(param.id, param.id), param.shape) for param in node.params))


def _unused_names(graph: Graph, block: ResidualBlock) -> dict[str, str]:
    """New names for the parameters that only the block has."""
    inside = set(block.nodes)
    outer = _param_names(node for index, node in enumerate(graph.nodes) if index not in inside)
    own = _param_names(graph.nodes[index] for index in block.nodes)
    number = 2
    while {f"{name}#{number}" for name in own} & (outer | own):
        number += 1
    return {name: f"{name}#{number}" for name in own - outer}


def _param_names(nodes: Iterable[Node]) -> set[str]:
    return {param.id for node in nodes for param in node.params}
