"""Which node of one graph is which of another: by what is upstream, then by what is downstream, then by module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from cgir.graph import Graph
from cgir.node_text import op_name

Pairs = list[tuple[int, int]]


def node_pairs(a: Graph, b: Graph) -> Pairs:
    """Pairs of nodes that correspond; each node is in at most one, and a node without a counterpart in none.

    First those whose operators upstream are equal, and which are equal themselves; then those of the rest that are
    equal with all that is downstream, then those with equal operators upstream, and at last those of the same operator
    in the same module.
    """
    above = [_colors(graph, [node.inputs for node in graph.nodes], range(len(graph))) for graph in (a, b)]
    below = [_colors(graph, graph.consumers, range(len(graph) - 1, -1, -1)) for graph in (a, b)]
    kinds = [[node.kind for node in graph.nodes] for graph in (a, b)]
    places = [[(op_name(node), node.module) for node in graph.nodes] for graph in (a, b)]
    pairs: Pairs = []
    left, right = list(range(len(a))), list(range(len(b)))
    steps: tuple[Sequence[Sequence[Hashable]], ...] = (
        [list(zip(above[side], kinds[side], strict=True)) for side in (0, 1)],
        [list(zip(below[side], kinds[side], strict=True)) for side in (0, 1)],
        above,
        places,
    )
    for keys in steps:
        found = _in_order(left, right, keys[0], keys[1])
        pairs += found
        paired = {i for i, _ in found}, {j for _, j in found}
        left, right = [i for i in left if i not in paired[0]], [j for j in right if j not in paired[1]]
    return sorted(pairs)


def _colors(graph: Graph, neighbours: Sequence[Sequence[int]], order: Sequence[int]) -> list[int]:
    """Equal for nodes, also of different graphs, whose operators in this direction are equal.

    Args:
        graph: of the nodes.
        neighbours: of each node, all of which come before it in `order`.
        order: all nodes.
    """
    colors = [0] * len(graph)
    for index in order:
        node = graph.nodes[index]
        colors[index] = hash((op_name(node), node.op, tuple(sorted(colors[i] for i in neighbours[index]))))
    return colors


def _in_order(
    left: Sequence[int], right: Sequence[int], left_keys: Sequence[Hashable], right_keys: Sequence[Hashable]
) -> Pairs:
    """Pairs of the first with the first node of each key, the second with the second, and so on.

    Args:
        left: nodes of a graph.
        right: nodes of the other one.
        left_keys: of all nodes of the first graph.
        right_keys: of all nodes of the other one.
    """
    waiting: dict[Hashable, list[int]] = defaultdict(list)
    for j in reversed(right):
        waiting[right_keys[j]].append(j)
    return [(i, waiting[left_keys[i]].pop()) for i in left if waiting.get(left_keys[i])]
