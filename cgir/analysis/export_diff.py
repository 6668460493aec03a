"""Differences that exporters make: BatchNorm folded; zeros, ones and equal tensors of untrained networks left out.

PyTorch's exporters and the optimisers of ONNX drop a bias of zeros and a factor of one, and store equal tensors once.
Which values a network has is not in its graph: such a graph stays another one, and here it is said that this is all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from math import prod
from typing import NamedTuple

from cgir.errors import InvalidGraphError
from cgir.graph import Graph, Node, Param
from cgir.graph_batch import GraphBatch
from cgir.limits import Limits
from cgir.node_text import op_name
from cgir.passes import canonicalize
from cgir.passes.rewrite import rebuild

from .isomorphism import isomorphic
from .weisfeiler_lehman import HASH_SWEEPS, stable_colors, structure_of

LISTED = 5  # nodes named
BIASED = ("Conv", "ConvTranspose", "Linear")


class _Bare(NamedTuple):
    """A graph without what exporters may leave out.

    `origin`: the node of the whole graph that each of its nodes is; `numbers`: nodes that scale or shift by one number;
    `vectors`: how many slots of vectors there are, and how many vectors.
    """

    whole: Graph
    graph: Graph
    origin: list[int]
    numbers: list[int]
    vectors: tuple[int, int]


class Explanation(NamedTuple):
    """What distinguishes two graphs: `line`, empty if there is nothing to say; and whether that is `all` of it."""

    line: str
    all: bool


def explain_export(a: Graph, b: Graph, limits: Limits) -> Explanation:
    """Whether two graphs, which are not isomorphic, differ in nothing but what an exporter does.

    Args:
        a: a graph.
        b: the other one.
        limits: whose seconds bound each search for an isomorphism.
    """
    if "raw" in (a.level, b.level):
        return Explanation("", False)
    if a.level == b.level and (text := _left_out(a, b, limits)):
        return Explanation(f"equal but for {text}", True)
    if a.level == b.level == "inference":
        return Explanation("", False)
    try:
        left, right = (canonicalize(graph, level="inference") for graph in (a, b))
    except InvalidGraphError:
        hint = 'exported files are compared at level="inference" (--level inference); trace both at it'
        return Explanation(hint, False)
    at = 'at level="inference" (--level inference), where BatchNorm is folded, they are'
    if isomorphic(left, right, limits):
        return Explanation(f"{at} isomorphic", True)
    text = _left_out(left, right, limits)
    return Explanation(f"{at} equal but for {text}" if text else "", bool(text))


def _left_out(a: Graph, b: Graph, limits: Limits) -> str:
    """What one of the graphs lacks of the other, where it is all that distinguishes them; else empty."""
    if _operators(a) != _operators(b):  # most graphs differ in these, which is quick to see
        return ""
    first, second = _bare(a), _bare(b)
    if not isomorphic(first.graph, second.graph, limits):
        return ""
    biases = _unequal_biases(first, second)
    # + where a has more, - where b has: an export has less of everything
    signs = {sign for sign, nodes in zip((1, -1), biases, strict=True) if nodes}
    signs |= {_sign(len(first.numbers), len(second.numbers)), _sign(_repeats(second), _repeats(first))} - {0}
    if len(signs) != 1:
        return ""
    whole, part, name, other = (first, second, "a", "b") if signs == {1} else (second, first, "b", "a")
    parts = []
    if nodes := biases[0] or biases[1]:
        parts.append(f"biases that only {name} has, {_names(whole, nodes)}; exporters leave out zeros")
    if len(whole.numbers) > len(part.numbers):
        parts.append(
            f"single numbers that only {name} has, {_names(whole, whole.numbers)}; exporters leave out 0 and 1"
        )
    if _repeats(part) > _repeats(whole):
        repeated = f"vectors that are used again, {_repeats(whole)} in {name}, {_repeats(part)} in {other}"
        parts.append(f"{repeated}; exporters store equal tensors once")
    return ", and ".join(parts)


def _operators(graph: Graph) -> Counter[str]:
    """How often each operator occurs, single numbers left out."""
    return Counter(node.op for node in graph.nodes if not _is_single_number(node))


def _sign(left: int, right: int) -> int:
    return (left > right) - (left < right)


def _repeats(bare: _Bare) -> int:
    """How often a vector is used again."""
    return bare.vectors[0] - bare.vectors[1]


def _bare(graph: Graph) -> _Bare:
    """The graph without biases and single numbers, every vector apart."""
    nodes: list[Node | None] = []
    alias: dict[int, int] = {}
    numbers, origin = [], []
    vectors: list[str] = []
    for index, node in enumerate(graph.nodes):
        if _is_single_number(node):
            numbers.append(index)
            alias[index] = node.inputs[0]
            nodes.append(None)
            continue
        origin.append(index)
        if not node.params:
            nodes.append(node)
            continue
        params = node.params[:1] if _has_bias(node) else node.params
        vectors += [param.id for param in node.params if _is_vector(param)]
        apart = (Param(f"{index}.{slot}", p.shape) if _is_vector(p) else p for slot, p in enumerate(params))
        nodes.append(replace(node, params=tuple(apart)))
    return _Bare(graph, rebuild(graph, nodes, alias), origin, numbers, (len(vectors), len(set(vectors))))


def _has_bias(node: Node) -> bool:
    return node.op in BIASED and len(node.params) == 2 and node.params[1].shape == node.shape[:1]


def _is_vector(param: Param) -> bool:
    return prod(param.shape) == max(param.shape, default=1)


def _is_single_number(node: Node) -> bool:
    """Whether a node multiplies by one trained number, or adds one."""
    return (
        node.op in ("Mul", "Add")
        and len(node.inputs) == len(node.params) == 1
        and prod(node.params[0].shape) == 1
        and prod(node.in_shapes[0]) == prod(node.shape)
    )


def _unequal_biases(first: _Bare, second: _Bare) -> tuple[list[int], list[int]]:
    """Nodes of each graph with a bias that their counterparts in the other one do not have."""
    batch = GraphBatch.from_graphs([first.graph, second.graph])
    classes: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    structure = structure_of(batch, None)
    node_colors = iter(stable_colors(structure, HASH_SWEEPS)[structure.rank].tolist())
    for side, bare in enumerate((first, second)):
        for index in bare.origin:
            color = next(node_colors)
            if _has_bias(bare.whole.nodes[index]):
                classes[color][side].append(index)
    only: tuple[list[int], list[int]] = [], []
    for left, right in classes.values():
        only[0].extend(left[len(right) :])
        only[1].extend(right[len(left) :])
    return sorted(only[0]), sorted(only[1])


def _names(bare: _Bare, indices: list[int]) -> str:
    """The number of nodes, and the first of them by name."""
    nodes = [(index, bare.whole.nodes[index]) for index in indices]
    listed = ", ".join(f"node {i} {op_name(n)}" + (f" ({n.module})" if n.module else "") for i, n in nodes[:LISTED])
    more = f" and {len(nodes) - LISTED} more" if len(nodes) > LISTED else ""
    return f"of {len(nodes)} node{'s' * (len(nodes) != 1)} ({listed}{more})"
