"""Constant folding: nodes that depend on no graph input move into the operators that read them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import prod

import numpy as np

from cgir.cost import node_flops
from cgir.graph import Attr, Graph, Node, Param, Shape, attributes
from cgir.ops import OPS
from cgir.report import COMPUTED

from .rewrite import rebuild

WEIGHTED = {"conv", "linear", "matmul", "embedding", "recurrent", "norm"}  # their weights have all axes
ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Pow", "Maximum", "Minimum", "Mod", "Compare"}


def fold_constants(graph: Graph, computed: bool = False) -> Graph:
    """Remove nodes that depend on no graph input; their parameters move to the first operators that do.

    1. a parameter, or anything computed from parameters alone, becomes `params` of its consumer (weight before own
       parameters);
    2. a scalar constant in arithmetic becomes the attribute `scalar`;
    3. other constants (masks, index tables) are dropped from the consumer's inputs;
    4. a product with the scalar 0 is a constant: NAS-Bench-201 writes its `none` so.
    A constant output loses its input; `remove_dead` then keeps or removes it. With `computed`, a tensor computed from
    parameters is one parameter with the shape of the result, as at inference, where it is computed beforehand. Without,
    a note counts the nodes where that makes a difference: their graph cannot be brought to that level afterwards.
    """
    constant: dict[int, tuple[Param, ...]] = {}
    nodes: list[Node | None] = []
    differing = 0
    for index, node in enumerate(graph.nodes):
        inner = tuple(
            p
            for source in node.inputs
            if source in constant
            for p in _constant_params(graph, source, constant[source], computed)
        )
        if node.op not in ("Input", "Output") and (is_zero(node) or all(source in constant for source in node.inputs)):
            constant[index] = (
                ()
                if is_zero(node)
                else _unique(tuple(p for source in node.inputs for p in constant[source]) + node.params)
            )
            nodes.append(None)
        elif any(source in constant for source in node.inputs):
            nodes.append(_absorb(graph, node, constant, inner))
            differing += not computed and node.op != "Output" and _reads_computed(graph, node, constant)
        else:
            nodes.append(node)
    folded = rebuild(graph, nodes)
    return folded.with_nodes(folded.nodes, {COMPUTED: differing}) if differing else folded


def _reads_computed(graph: Graph, node: Node, constant: dict[int, tuple[Param, ...]]) -> bool:
    """Whether a node reads tensors that parameters were computed into, and that have other shapes than those."""
    by_size = OPS[node.op].category == "matmul"  # its weight may be transposed
    for source in node.inputs:
        if not constant.get(source):
            continue
        computed = _constant_params(graph, source, constant[source], computed=True)
        before, after = (
            [(prod(param.shape),) if by_size else _without_ones(param.shape) for param in params]
            for params in (constant[source], computed)
        )
        if before != after:
            return True
    return False


def fold_computed_constants(graph: Graph) -> Graph:
    """`fold_constants` for inference: a tensor computed from parameters alone becomes one parameter."""
    return fold_constants(graph, computed=True)


def _constant_params(graph: Graph, source: int, params: tuple[Param, ...], computed: bool) -> tuple[Param, ...]:
    """The parameters that the reader of a constant input takes over."""
    if not computed or not params:
        return params
    shape = graph.nodes[source].shape
    origin = _origin(graph, source)
    if graph.nodes[origin].op == "Param":
        return (with_shape(params[0], shape),)
    return (Param(f"{'+'.join(param.id for param in params)}@{origin}:{'x'.join(map(str, shape))}", shape),)


def _origin(graph: Graph, index: int) -> int:
    """The node that computed a tensor, skipping movement and conversion that keep all its elements."""
    node = graph.nodes[index]
    while (
        len(node.inputs) == 1
        and OPS[node.op].category in ("movement", "identity")
        and prod(node.shape) == prod(graph.nodes[node.inputs[0]].shape)
    ):
        index = node.inputs[0]
        node = graph.nodes[index]
    return index


def with_shape(param: Param, shape: Shape) -> Param:
    """The parameter in another shape, which its name then ends with: one parameter has one shape in all nodes."""
    return param if param.shape == shape else Param(f"{param.id}:{'x'.join(map(str, shape))}", shape)


def squeeze_parameters(graph: Graph) -> Graph:
    """Drop leading axes of size 1 from parameters of elementwise operators.

    Broadcasting ignores them, and exported files differ in them. Slopes of `PReLU` have one axis, the channels.
    """
    return rebuild(graph, [node if OPS[node.op].category in WEIGHTED else _squeezed(node) for node in graph.nodes])


def _squeezed(node: Node) -> Node:
    after = [(prod(param.shape),) if node.op == "PReLU" else _without_ones(param.shape) for param in node.params]
    params = tuple(with_shape(param, shape) for param, shape in zip(node.params, after, strict=True))
    return node if params == node.params else replace(node, params=params)


def _without_ones(shape: Shape) -> Shape:
    while shape[:1] == (1,) and len(shape) > 1:
        shape = shape[1:]
    return shape


def _absorb(graph: Graph, node: Node, constant: dict[int, tuple[Param, ...]], params: tuple[Param, ...]) -> Node:
    """The node without its constant inputs."""
    slots = [slot for slot, source in enumerate(node.inputs) if source not in constant]
    constants = [graph.nodes[source] for source in node.inputs if source in constant]
    value = _scalar_value(constants[0])
    if node.op in ARITHMETIC and len(constants) == 1 and value is not None:
        return _with_scalar(node, slots[0], value)
    absorbed = replace(
        node,
        inputs=tuple(node.inputs[slot] for slot in slots),
        in_shapes=tuple(node.in_shapes[slot] for slot in slots),
        params=() if node.op == "Output" else _unique(params + node.params),
    )
    return _with_cost_of(node, absorbed)


def _with_cost_of(node: Node, absorbed: Node) -> Node:
    """The node without constant inputs, with the attribute `flops` where its cost is read from their shapes."""
    flops = node_flops(node)
    with suppress(IndexError):  # the formula reads the shape of an input that is left out
        if node_flops(absorbed) == flops:
            return absorbed
    attrs = dict(absorbed.attrs) | {"flops": flops // int(node.attr("trips", 1))}
    return replace(absorbed, attrs=attributes(attrs))


def _scalar_value(node: Node) -> float | None:
    """The number that a constant node is, None where it is a tensor or not known.

    Other operators have an attribute `value` too: what `Pad` fills with is not what it returns.
    """
    if is_zero(node):
        return 0.0
    value = node.attr("value") if node.op == "Constant" else None
    return None if value is None else float(value)


def _with_scalar(node: Node, slot: int, value: float) -> Node:
    """Canonical form of arithmetic with one scalar operand, which frontends use too.

    x - c is Add, x / c is Mul; c - x and c / x have `reverse`.
    """
    op, scalar, reverse = node.op, value, slot == 1
    if op == "Sub" and not reverse:
        op, scalar = "Add", -value
    elif op == "Div" and not reverse and value != 0:
        op, scalar = "Mul", 1 / value
    attrs = dict(node.attrs) | {"scalar": scalar}
    if reverse and op in ("Sub", "Div", "Pow", "Mod"):
        attrs["reverse"] = True
    return replace(node, op=op, inputs=(node.inputs[slot],), in_shapes=(node.in_shapes[slot],), attrs=attributes(attrs))


def is_zero(node: Node) -> bool:
    """Whether a node's result is zero whatever it reads."""
    return node.op == "Mul" and node.attr("scalar") == 0


def _unique(params: tuple[Param, ...]) -> tuple[Param, ...]:
    return tuple(dict.fromkeys(params))


def round_numbers(graph: Graph) -> Graph:
    """Round floating-point attributes to six digits of their single precision.

    Files store single precision, while Python computes in double.
    """
    return graph.with_nodes(
        _rounded_node(node) if any(_has_float(value) for _, value in node.attrs) else node for node in graph.nodes
    )


def _has_float(value: Attr) -> bool:
    return type(value) is float or (type(value) is tuple and any(map(_has_float, value)))


def _rounded_node(node: Node) -> Node:
    return replace(node, attrs=tuple((name, _rounded(value)) for name, value in node.attrs))


def _rounded(value: Attr) -> Attr:
    if type(value) is tuple:
        return tuple(map(_rounded, value))
    if type(value) is not float:
        return value
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(f"{float(str(single)) if np.isfinite(single) else value:.6g}")
