"""Pattern matching of decomposed operators: a table of patterns and one matcher.

A pattern is an operator with patterns as operands; the string "x" is the one tensor that the pattern reads. `c=value`
requires this scalar of the operator, `c=ANY` any scalar, `c=(value,)` this one on its left. Operands of commutative
operators match in any order. Inner nodes must have no reader outside the match.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from math import isclose, pi, prod, sqrt
from typing import NamedTuple

from cgir.graph import Attr, Graph, Node, Shape
from cgir.ops import OPS

from .rewrite import rebuild

ANY = "any scalar"
Scalar = float | str | tuple[float] | None


class Operator(NamedTuple):
    """A node of a pattern; an operand is another one, or "x"."""

    op: str
    scalar: Scalar
    operands: tuple[Operator | str, ...]


def _p(op: str, *operands: Operator | str, c: Scalar = None) -> Operator:
    return Operator(op, c, operands)


_CUBE = _p("Pow", "x", c=3)
_TANH_INNER = _p("Tanh", _p("Mul", _p("Add", "x", _p("Mul", _CUBE, c=0.044715)), c=sqrt(2 / pi)))
_ERF = _p("Add", _p("Erf", _p("Mul", "x", c=1 / sqrt(2))), c=1)
_ERFC = _p("Sub", _p("Erf", _p("Mul", _p("Neg", "x"), c=1 / sqrt(2))), c=(1,))
_TANH = _p("Add", _TANH_INNER, c=1)
_RELU6 = _p("ReLU6", _p("Add", "x", c=3))
_MEAN_SQUARE = _p("Rsqrt", _p("Add", _p("Mean", _p("Pow", "x", c=2)), c=ANY))
_CENTERED = _p("Sub", "x", _p("Mean", "x"))
_SQUARES_NEARBY = _p("AvgPool", _p("Pad", _p("Mul", "x", "x")))  # over neighbouring channels
_DEVIATION = _p("Sqrt", _p("Add", _p("Mean", _p("Pow", _CENTERED, c=2)), c=ANY))

# (pattern, operator, attributes); earlier rows are applied first, to the whole graph
PATTERNS: tuple[tuple[Operator, str, dict[str, Attr]], ...] = (
    (_p("Reciprocal", _p("Sqrt", "x")), "Rsqrt", {}),
    (_p("Div", _p("Sqrt", "x"), c=(1,)), "Rsqrt", {}),
    (_p("Where", _p("Compare", "x", c=ANY), "x", _p("Softplus", "x")), "Softplus", {}),
    (_p("Log", _p("Sigmoid", "x")), "LogSigmoid", {}),
    (_p("Mul", _RELU6, c=1 / 6), "HardSigmoid", {}),
    (_p("Mul", "x", _p("HardSigmoid", "x")), "HardSwish", {}),
    (_p("Mul", _p("Mul", "x", _RELU6), c=1 / 6), "HardSwish", {}),
    (_p("Mul", "x", _p("Sigmoid", "x")), "SiLU", {}),
    (_p("Mul", "x", _p("Tanh", _p("Softplus", "x"))), "Mish", {}),
    (_p("Mul", _p("Mul", "x", _ERF), c=0.5), "GELU", {}),
    (_p("Mul", _p("Mul", "x", c=0.5), _ERF), "GELU", {}),
    (_p("Mul", "x", _p("Mul", _ERF, c=0.5)), "GELU", {}),
    (_p("Mul", _p("Mul", "x", c=0.5), _ERFC), "GELU", {}),
    (_p("Mul", _p("Mul", "x", _TANH), c=0.5), "GELU", {"tanh": True}),
    (_p("Mul", _p("Mul", "x", c=0.5), _TANH), "GELU", {"tanh": True}),
    (_p("Mul", "x", _p("Mul", _TANH, c=0.5)), "GELU", {"tanh": True}),
    (_p("Mul", "x", _MEAN_SQUARE), "RMSNorm", {"dims": 1}),
    (_p("Div", _CENTERED, _DEVIATION), "LayerNorm", {"dims": 1}),
    (_p("Neg", _p("Softplus", _p("Neg", "x"))), "LogSigmoid", {}),
    (_p("Sub", "x", _p("Tanh", "x")), "TanhShrink", {}),
    (_p("Div", "x", _p("Add", _p("Abs", "x"), c=1)), "Softsign", {}),
    (_p("Add", _p("Maximum", "x", c=0), _p("Exp", _p("Minimum", "x", c=0))), "CELU", {"alpha": 1.0}),
    (
        _p("Div", "x", _p("Pow", _p("Add", _p("Mul", _SQUARES_NEARBY, c=ANY), c=ANY), c=ANY)),
        "LocalResponseNorm",
        {},
    ),
    (_p("Div", "x", _p("Clip", _p("Norm", "x"))), "L2Norm", {}),
    (_p("Div", "x", _p("Maximum", _p("Norm", "x"), c=ANY)), "L2Norm", {}),
    (_p("Mul", "x", _p("Minimum", _p("Rsqrt", _p("Sum", _p("Pow", "x", c=2))), c=ANY)), "L2Norm", {}),
    (_p("Mul", "x", _p("Rsqrt", _p("Maximum", _p("Sum", _p("Pow", "x", c=2)), c=ANY))), "L2Norm", {}),
)


def recognize_in_parts(graph: Graph) -> Graph:
    """Replace patterns on one part of a tensor, such as x * sigmoid(x), before movement is contracted.

    Parts are slices with the attribute `part`: one part each. Of a node that returns several parts at once it is not
    known which of them a reader reads.
    """
    if not any(_is_part(node) for node in graph.nodes):
        return graph
    alias = {index: node.inputs[0] for index, node in enumerate(graph.nodes) if node.op == "Expand" and node.inputs}
    graph = rebuild(graph, [None if index in alias else node for index, node in enumerate(graph.nodes)], alias)
    for pattern, op, attrs in PATTERNS:
        graph = _replace_all(graph, pattern, op, attrs, parts=True)
    return graph


def forget_parts(graph: Graph) -> Graph:
    """Remove the attribute of slices that `recognize_in_parts` reads."""
    return graph.with_nodes(replace(node, attrs=()) if _is_part(node) else node for node in graph.nodes)


def _is_part(node: Node) -> bool:
    return node.op == "Slice" and node.attr("part") is not None


def recognize_patterns(graph: Graph) -> Graph:
    """Replace every match of the table, then give norms the weights that multiply and shift their result."""
    for pattern, op, attrs in PATTERNS:
        graph = _replace_all(graph, pattern, op, attrs)
    return _absorb_scale(graph)


def _replace_all(graph: Graph, pattern: Operator, op: str, attrs: dict[str, Attr], parts: bool = False) -> Graph:
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if node.op != pattern.op or not _plausible(graph, index, pattern):
            continue
        for entry in _entries(graph, index, pattern):
            if parts and graph.nodes[entry].op == "Slice" and not _is_part(graph.nodes[entry]):
                continue
            inner = _match(graph, index, pattern, entry)
            if inner is None or any(reader not in inner for i in inner - {index} for reader in graph.consumers[i]):
                continue
            if any(nodes[i] is not graph.nodes[i] for i in inner):
                continue
            nodes[index] = replace(
                node, op=op, inputs=(entry,), in_shapes=(node.shape,), attrs=node.carry_trips(**attrs)
            )
            for i in inner - {index}:
                nodes[i] = None
            break
    return rebuild(graph, nodes)


def _plausible(graph: Graph, index: int, pattern: Operator) -> bool:
    """Whether the operators match, whatever x is: rejects nearly every node before the search for x begins."""
    op, scalar, operands = pattern
    node = graph.nodes[index]
    if node.op != op or len(node.inputs) != len(operands) or node.params or not _scalar_fits(node, scalar):
        return False
    return all(
        isinstance(operand, str) or any(_plausible(graph, source, operand) for source in node.inputs)
        for operand in operands
    )


def _entries(graph: Graph, index: int, pattern: Operator) -> list[int]:
    """Candidates for x: everything within the pattern's depth above the node."""
    frontier, candidates = {index}, set()
    for _ in range(_depth(pattern)):
        frontier = {source for i in frontier for source in graph.nodes[i].inputs}
        candidates |= frontier
    return sorted(candidates)


def _depth(pattern: Operator | str) -> int:
    return 0 if isinstance(pattern, str) else 1 + max(map(_depth, pattern.operands))


def _match(graph: Graph, index: int, pattern: Operator | str, entry: int, read_shape: Shape = ()) -> set[int] | None:
    """The nodes that the pattern covers when its root is `index` and x is `entry`, or None.

    `read_shape` is the shape that the reader of `index` sees: a reader of half of x (`a, b = x.chunk(2); a *
    sigmoid(b)`) is no match.
    """
    if isinstance(pattern, str):
        return set() if index == entry and prod(read_shape) == prod(graph.nodes[index].shape) else None
    op, scalar, operands = pattern
    node = graph.nodes[index]
    if (
        index == entry
        or node.op != op
        or len(node.inputs) != len(operands)
        or node.params
        or not _scalar_fits(node, scalar)
    ):
        return None
    edges = tuple(zip(node.inputs, node.in_shapes, strict=True))
    for order in permutations(edges) if OPS[op].commutative else [edges]:
        parts = [
            _match(graph, source, operand, entry, shape)
            for (source, shape), operand in zip(order, operands, strict=True)
        ]
        if all(part is not None for part in parts):
            return {index}.union(*(part for part in parts if part))
    return None


def _scalar_fits(node: Node, scalar: Scalar) -> bool:
    actual = node.attr("scalar")
    if scalar is None or isinstance(actual, str):  # complex numbers are texts
        return actual is scalar
    if isinstance(scalar, tuple):
        return actual is not None and node.attr("reverse", False) and isclose(actual, scalar[0], rel_tol=1e-3)
    return (
        actual is not None
        and not node.attr("reverse", False)
        and (scalar == ANY or isclose(actual, float(scalar), rel_tol=1e-3))
    )


def _absorb_scale(graph: Graph) -> Graph:
    """`norm(x) * weight + bias`, parameters of one axis or of all normalised ones, is the norm's own affine part."""
    nodes: list[Node | None] = list(graph.nodes)
    alias: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if (
            node.op not in ("Mul", "Add")
            or len(node.inputs) != 1
            or len(node.params) != 1
            or node.attrs
            or len(graph.consumers[node.inputs[0]]) != 1
        ):
            continue
        source = node.inputs[0]
        while source in alias:
            source = alias[source]
        norm = nodes[source]
        slot = 0 if node.op == "Mul" else 1
        if (
            norm is None
            or norm.op not in ("RMSNorm", "LayerNorm")
            or len(norm.params) != slot
            or len(OPS[norm.op].weights) <= slot
        ):
            continue
        if len(node.params[0].shape) not in (1, norm.attr("dims", 1)):
            continue
        nodes[source] = replace(norm, params=(*norm.params, node.params[0]))
        nodes[index] = None
        alias[index] = source
    return rebuild(graph, nodes, alias)
