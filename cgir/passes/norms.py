"""Normalisation from its parts: batch norm with fixed statistics; layer, group and instance norm."""

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

    Ioffe and Szegedy 2015, algorithm 2; also as x * scale + shift computed from those. What multiplies and shifts must
    not depend on the inputs, have one element per channel, and lead back to the root of a constant plus another one; so
    the scales of layers and of pixels are left alone.
    """
    static = _static(graph)
    if not any(node.op in ROOTS and index in static for index, node in enumerate(graph.nodes)):
        return graph
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if index in static or node.op not in ("Mul", "Div") or nodes[index] is not node:
            continue
        found = _batch_norm(graph, static, index)
        if found is None or any(nodes[i] is not graph.nodes[i] for i in found.nodes):
            continue
        first, last = graph.nodes[min(found.nodes)], graph.nodes[max(found.nodes)]
        slot = _live_slot(first, static)
        for i in found.nodes:
            nodes[i] = None
        nodes[max(found.nodes)] = Node(
            "BatchNorm",
            (first.inputs[slot],),
            (first.in_shapes[slot],),
            last.shape,
            found.params,
            node.carry_trips(),
            last.name,
            last.module,
        )
    return rebuild(graph, nodes)


class _Found(NamedTuple):
    """The live nodes of a normalisation, and its weights."""

    nodes: set[int]
    params: tuple[Param, ...]


def _batch_norm(graph: Graph, static: set[int], scale: int) -> _Found | None:
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
        return _Found({scale, after[0]}, _weights(gamma, beta))
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
    return _Found(nodes, _weights(gamma, beta))


def _static(graph: Graph) -> set[int]:
    """Nodes that depend on no graph input."""
    found: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if node.op != "Input" and all(source in found for source in node.inputs):
            found.add(index)
    return found


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
    """The only reader of a node, if it is such arithmetic; with its static operand."""
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
    """A node and everything before it; what is in `stop`, and what only that needs, is left out."""
    found: set[int] = set()
    stack = [index]
    while stack:
        i = stack.pop()
        if i not in found and i not in (stop or ()):
            found.add(i)
            stack += graph.nodes[i].inputs
    return found


def _roots(graph: Graph, operand: int) -> set[int]:
    """Roots of a constant plus a number, among what an operand is computed from."""
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
    found = [i for i in sorted(_ancestors(graph, index, stop)) if graph.nodes[i].op == "Param"]
    return tuple(param for i in found for param in graph.nodes[i].params)


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
    """A normalisation: its nodes, what is normalised, its mean, and its weights."""

    nodes: set[int]
    source: int
    mean: int
    params: tuple[Param, ...]


def _normalised(graph: Graph, index: int) -> Iterator[_Moments]:
    """Readings of a sum as x * k + (beta - mean * k)."""
    for scaled, shift in (graph.nodes[index].inputs, reversed(graph.nodes[index].inputs)):
        product = graph.nodes[scaled]
        if product.op != "Mul" or len(product.inputs) != 2 or product.params:
            continue
        for source, factor in (product.inputs, reversed(product.inputs)):
            found = _factor(graph, factor, source)
            rest = _shift(graph, shift, factor, found.mean) if found is not None else None
            if found is not None and rest is not None:
                yield _Moments(
                    {index, scaled} | found.nodes | rest.nodes, source, found.mean, found.params + rest.params
                )


def _factor(graph: Graph, index: int, source: int) -> _Moments | None:
    """k = gamma / sqrt(mean((x - mean(x))^2) + eps), gamma or not."""
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
    found = []
    for op in ops:
        if (
            graph.nodes[index].op not in (op if isinstance(op, tuple) else (op,))
            or not graph.nodes[index].inputs
            or graph.nodes[index].params
        ):
            return None
        found.append(index)
        index = graph.nodes[index].inputs[0]
    return found


def _shift(graph: Graph, index: int, factor: int, mean: int) -> _Moments | None:
    """beta - mean * k, beta or not: as a sum with the negative, or as a difference from beta."""
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
    other = node.inputs[0] if node.inputs[1] == factor else node.inputs[1]
    if graph.nodes[other].op == "Neg" and not negative:
        nodes.add(other)
        other, negative = graph.nodes[other].inputs[0], True
    return _Moments(nodes, other, other, params) if negative and other == mean else None


def _norm(graph: Graph, node: Node, found: _Moments) -> Node:
    """The norm that these moments make."""
    mean = graph.nodes[found.mean]
    seen = mean.in_shapes[0]
    dims = mean.attr("dims", len(seen) - 1)
    shape = graph.nodes[found.source].shape
    kept = prod(mean.shape)
    features = found.params[0].shape if found.params else ()
    if len(seen) > len(shape) or (features and prod(features) == shape[0] and kept == 1 and dims > 1):
        return _made(node, "GroupNorm", shape, found, {"groups": kept})
    if dims == len(seen) - 1 and mean.shape[0] == seen[0] and kept == seen[0] and prod(features or (kept,)) == kept:
        return _made(node, "InstanceNorm", seen, found, {})
    return _made(node, "LayerNorm", seen, found, {"dims": dims})


def _made(node: Node, op: str, shape: Shape, found: _Moments, attrs: dict[str, int]) -> Node:
    return replace(
        node,
        op=op,
        inputs=(found.source,),
        in_shapes=(shape,),
        shape=shape,
        params=found.params,
        attrs=node.carry_trips(**attrs),
    )
