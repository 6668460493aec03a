"""Recognition of decomposed normalisation: batch norm with fixed statistics; layer, group and instance norm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import NamedTuple

from cgir.graph import Graph, Node, Param, Shape

from .rewrite import origin, rebuild

ROOTS = ("Rsqrt", "Sqrt", "Pow")
MEANS = ("Mean", "GlobalAvgPool")  # a mean over all positions has become pooling by then


# --- batch normalisation: runs before constants are folded, because all its statistics are constants


def recognize_batch_norm(graph: Graph) -> Graph:
    """Replace (x - mean) / sqrt(variance + eps) * gamma + beta by one `BatchNorm` node.

    Ioffe and Szegedy 2015, algorithm 2; also as x * scale + shift computed from those. Scale and shift must not depend
    on the inputs, have one element per channel, and be computed from the square root of a constant plus another one; so
    layer scale and scales of pixels are not matched.
    """
    static = _static(graph)
    if not any(node.op in ROOTS and index in static for index, node in enumerate(graph.nodes)):
        return graph
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if index in static or node.op not in ("Mul", "Div") or nodes[index] is not node:
            continue
        norm = _batch_norm(graph, static, index)
        if norm is None or any(nodes[i] is not graph.nodes[i] for i in norm.nodes):
            continue
        first, last = graph.nodes[min(norm.nodes)], graph.nodes[max(norm.nodes)]
        slot = _live_slot(first, static)
        for i in norm.nodes:
            nodes[i] = None
        nodes[max(norm.nodes)] = Node(
            "BatchNorm",
            (first.inputs[slot],),
            (first.in_shapes[slot],),
            last.shape,
            norm.params,
            node.carry_trips(),
            last.name,
            last.module,
        )
    return rebuild(graph, nodes)


class _BatchNorm(NamedTuple):
    """A batch normalisation: its nodes that depend on the inputs, and its weights."""

    nodes: set[int]
    params: tuple[Param, ...]


def _batch_norm(graph: Graph, static: set[int], scale: int) -> _BatchNorm | None:
    """The batch normalisation whose division by the standard deviation is the node `scale`."""
    operand = _static_operand(graph, static, scale)
    if operand is None or not _is_per_channel(graph, scale, operand):
        return None
    roots = _roots(graph, operand)
    if not roots:
        return None
    gamma = _leaves(graph, operand, roots)
    beta: tuple[Param, ...] = ()
    after = _next(graph, static, scale, ("Add", "Sub"))
    if after is not None and roots & _ancestors(graph, after[1]):
        beta = _leaves(
            graph, after[1], {i for i in _ancestors(graph, after[1]) if _is_scaled_mean(graph, i, roots)} | roots
        )
        return _BatchNorm({scale, after[0]}, _weights(gamma, beta))
    before = graph.nodes[scale].inputs[_live_slot(graph.nodes[scale], static)]
    mean = _static_operand(graph, static, before)
    if (
        mean is None
        or graph.nodes[before].op not in ("Sub", "Add")
        or len(graph.consumers[before]) != 1
        or _leaves(graph, mean, set())
    ):
        return None
    nodes = {before, scale}
    after = _next(graph, static, scale, ("Mul",)) if not gamma else None
    if after is not None and _is_per_channel(graph, *after) and _leaves(graph, after[1], set()):
        nodes.add(after[0])
        gamma = _leaves(graph, after[1], set())
    after = _next(graph, static, max(nodes), ("Add",))
    if after is not None and _is_per_channel(graph, *after) and _leaves(graph, after[1], set()):
        nodes.add(after[0])
        beta = _leaves(graph, after[1], set())
    return _BatchNorm(nodes, _weights(gamma, beta))


def _static(graph: Graph) -> set[int]:
    """Nodes that depend on no graph input."""
    static: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if node.op != "Input" and all(source in static for source in node.inputs):
            static.add(index)
    return static


def _live_slot(node: Node, static: set[int]) -> int:
    return next(slot for slot, source in enumerate(node.inputs) if source not in static)


def _static_operand(graph: Graph, static: set[int], index: int) -> int | None:
    """The second operand of arithmetic with one that depends on the inputs and one that does not."""
    node = graph.nodes[index]
    if (
        index in static
        or len(node.inputs) != 2
        or len(set(node.inputs) & static) != 1
        or (node.op == "Div" and node.inputs[0] in static)
    ):
        return None
    return next(source for source in node.inputs if source in static)


def _next(graph: Graph, static: set[int], index: int, ops: tuple[str, ...]) -> tuple[int, int] | None:
    """The only reader of a node, if it is one of `ops` with a static operand; with that operand."""
    if len(graph.consumers[index]) != 1:
        return None
    reader = graph.consumers[index][0]
    operand = _static_operand(graph, static, reader)
    return (reader, operand) if operand is not None and graph.nodes[reader].op in ops else None


def _is_per_channel(graph: Graph, index: int, operand: int) -> bool:
    node = graph.nodes[index]
    shape = node.in_shapes[node.inputs.index(operand)]
    return bool(node.shape) and prod(shape) == node.shape[0]


def _ancestors(graph: Graph, index: int, stop: set[int] | None = None) -> set[int]:
    """A node and its ancestors, without those in `stop` and those that only they need."""
    ancestors: set[int] = set()
    stack = [index]
    while stack:
        i = stack.pop()
        if i not in ancestors and i not in (stop or ()):
            ancestors.add(i)
            stack += graph.nodes[i].inputs
    return ancestors


def _roots(graph: Graph, operand: int) -> set[int]:
    """Ancestors of an operand that are roots of a constant plus a number."""
    return {i for i in _ancestors(graph, operand) if _is_root(graph, i)}


def _is_root(graph: Graph, index: int) -> bool:
    node = graph.nodes[index]
    if node.op not in ROOTS:
        return False
    inner = graph.nodes[origin(graph, node.inputs[0])]
    if inner.op != "Add":
        return False
    variance = graph.nodes[origin(graph, inner.inputs[0])]
    return (
        variance.op == "Constant"
        and bool(variance.shape)
        and (inner.attr("scalar") is not None or len(inner.inputs) == 2)
    )


def _is_scaled_mean(graph: Graph, index: int, roots: set[int]) -> bool:
    return graph.nodes[index].op in ("Mul", "Div") and bool(roots & _ancestors(graph, index))


def _leaves(graph: Graph, index: int, stop: set[int]) -> tuple[Param, ...]:
    """The parameters that a tensor is computed from."""
    leaves = [i for i in sorted(_ancestors(graph, index, stop)) if graph.nodes[i].op == "Param"]
    return tuple(param for i in leaves for param in graph.nodes[i].params)


def _weights(gamma: tuple[Param, ...], beta: tuple[Param, ...]) -> tuple[Param, ...]:
    """Weights as vectors of channels."""
    return tuple(Param(param.id, param.shape) for param in (*gamma, *beta))


# --- layer, group and instance normalisation: runs on operators whose constants are folded and whose movement is
# contracted


def recognize_norms(graph: Graph) -> Graph:
    """Replace x * k - mean * k + beta by one norm, where k is gamma / sqrt(variance + eps).

    Mean and variance are those of x. Which norm follows from what they are taken over: channels are `LayerNorm` (Ba et
    al. 2016), positions `InstanceNorm` (Ulyanov et al. 2016), groups of channels with positions `GroupNorm` (Wu and He
    2018).
    """
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        for moments in (
            _normalised(graph, index) if node.op == "Add" and len(node.inputs) == 2 and not node.params else ()
        ):
            inner = moments.nodes
            if any(reader not in inner for i in inner - {index} for reader in graph.consumers[i]) or any(
                nodes[i] is not graph.nodes[i] for i in inner
            ):
                continue
            nodes[index] = _norm(graph, node, moments)
            for i in inner - {index}:
                nodes[i] = None
            break
    return rebuild(graph, nodes)


class _Moments(NamedTuple):
    """A normalisation: its nodes, the normalised tensor, its mean, and its weights."""

    nodes: set[int]
    source: int
    mean: int
    params: tuple[Param, ...]


def _normalised(graph: Graph, index: int) -> Iterator[_Moments]:
    """Matches of a sum with x * k + (beta - mean * k)."""
    for scaled, shift in (graph.nodes[index].inputs, reversed(graph.nodes[index].inputs)):
        product = graph.nodes[scaled]
        if product.op != "Mul" or len(product.inputs) != 2 or product.params:
            continue
        for source, factor in (product.inputs, reversed(product.inputs)):
            scale = _factor(graph, factor, source)
            offset = _shift(graph, shift, factor, scale.mean) if scale is not None else None
            if scale is not None and offset is not None:
                yield _Moments(
                    {index, scaled} | scale.nodes | offset.nodes, source, scale.mean, scale.params + offset.params
                )


def _factor(graph: Graph, index: int, source: int) -> _Moments | None:
    """k = gamma / sqrt(mean((x - mean(x))^2) + eps), with or without gamma."""
    nodes = {index}
    node = graph.nodes[index]
    params = node.params if node.op == "Mul" and len(node.inputs) == 1 and len(node.params) == 1 else ()
    if params:
        index = node.inputs[0]
        nodes.add(index)
    chain = _chain(graph, index, ("Rsqrt", "Add", MEANS, "Pow", "Sub"))
    if chain is None or graph.nodes[chain[-1]].inputs[0] != source or len(graph.nodes[chain[-1]].inputs) != 2:
        return None
    mean = graph.nodes[chain[-1]].inputs[1]
    fits = (
        graph.nodes[mean].op in MEANS
        and graph.nodes[mean].inputs == (source,)
        and graph.nodes[chain[1]].attr("scalar") is not None
    )
    return (
        _Moments(nodes | set(chain) | {mean}, source, mean, params)
        if fits and graph.nodes[chain[3]].attr("scalar") == 2
        else None
    )


def _chain(graph: Graph, index: int, ops: tuple[str | tuple[str, ...], ...]) -> list[int] | None:
    """The nodes of a chain of operators, each the first input of the one before it, from the last to the first."""
    chain = []
    for op in ops:
        if (
            graph.nodes[index].op not in (op if isinstance(op, tuple) else (op,))
            or not graph.nodes[index].inputs
            or graph.nodes[index].params
        ):
            return None
        chain.append(index)
        index = graph.nodes[index].inputs[0]
    return chain


def _shift(graph: Graph, index: int, factor: int, mean: int) -> _Moments | None:
    """beta - mean * k, with or without beta: as a sum with the negative, or as a difference from beta."""
    nodes = {index}
    node = graph.nodes[index]
    params: tuple[Param, ...] = ()
    negative = False
    if node.op in ("Add", "Sub") and len(node.inputs) == 1 and len(node.params) == 1:
        params, negative = node.params, node.op == "Sub"
        index = node.inputs[0]
        nodes.add(index)
        node = graph.nodes[index]
    if node.op == "Neg":
        negative = True
        index = node.inputs[0]
        nodes.add(index)
        node = graph.nodes[index]
    if node.op != "Mul" or len(node.inputs) != 2 or factor not in node.inputs or node.params:
        return None
    operand = node.inputs[0] if node.inputs[1] == factor else node.inputs[1]
    if graph.nodes[operand].op == "Neg" and not negative:
        nodes.add(operand)
        operand, negative = graph.nodes[operand].inputs[0], True
    return _Moments(nodes, operand, operand, params) if negative and operand == mean else None


def _norm(graph: Graph, node: Node, moments: _Moments) -> Node:
    """The norm with these moments; which one follows from the shape of the mean."""
    mean = graph.nodes[moments.mean]
    mean_input = mean.in_shapes[0]
    dims = mean.attr("dims", len(mean_input) - 1)
    shape = graph.nodes[moments.source].shape
    num_means = prod(mean.shape)
    features = moments.params[0].shape if moments.params else ()
    if len(mean_input) > len(shape) or (features and prod(features) == shape[0] and num_means == 1 and dims > 1):
        return _norm_node(node, "GroupNorm", shape, moments, {"groups": num_means})
    if (
        dims == len(mean_input) - 1
        and mean.shape[0] == mean_input[0]
        and num_means == mean_input[0]
        and prod(features or (num_means,)) == num_means
    ):
        return _norm_node(node, "InstanceNorm", mean_input, moments, {})
    return _norm_node(node, "LayerNorm", mean_input, moments, {"dims": dims})


def _norm_node(node: Node, op: str, shape: Shape, moments: _Moments, attrs: dict[str, int]) -> Node:
    return replace(
        node,
        op=op,
        inputs=(moments.source,),
        in_shapes=(shape,),
        shape=shape,
        params=moments.params,
        attrs=node.carry_trips(**attrs),
    )
