"""Contraction of nodes that compute nothing: data movement, identities, and operators with neutral settings."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from cgir.graph import Graph, Node, attributes
from cgir.ops import OPS

from .rewrite import rebuild, resolve

NEUTRAL = {"Add": 0, "Mul": 1, "Div": 1, "Pow": 1}


def contract_movement(graph: Graph) -> Graph:
    """Turn reshapes, transposes, slices, expansions and shuffles into edges; consumers keep the shape they see.

    A concatenation that puts the parts of one tensor together again is contracted too: files write `roll` so.
    """
    return _contract(graph, {"movement"})


def contract_identities(graph: Graph) -> Graph:
    """Remove identities, casts, dropout, and operators whose settings are neutral.

    x + 0, x * 1, pooling 1x1, adaptive pooling to the same size, zero padding.
    """
    return _contract(graph.with_nodes(map(_without_empty, graph.nodes)), {"identity"})


def _without_empty(node: Node) -> Node:
    """A concatenation without its empty parts."""
    if node.op != "Concat" or all(map(prod, node.in_shapes)) or not prod(node.shape):
        return node
    slots = [slot for slot, shape in enumerate(node.in_shapes) if prod(shape)]
    return replace(
        node, inputs=tuple(node.inputs[slot] for slot in slots), in_shapes=tuple(node.in_shapes[slot] for slot in slots)
    )


def _contract(graph: Graph, categories: set[str]) -> Graph:
    alias: dict[int, int] = {}
    nodes: list[Node | None] = []
    for index, node in enumerate(graph.nodes):
        moves = (
            node.op == "Concat"
            and "movement" in categories
            and _rearranges(graph, node, {resolve(alias, source) for source in node.inputs})
        )
        starts_from_param = node.op == "Identity" and node.params  # the first state of a loop
        if (
            node.inputs
            and not starts_from_param
            and (moves or OPS[node.op].category in categories or ("identity" in categories and _is_neutral(node)))
        ):
            alias[index] = node.inputs[0]
            nodes.append(None)
        else:
            nodes.append(node)
    return rebuild(graph, nodes, alias)


def _rearranges(graph: Graph, node: Node, sources: set[int]) -> bool:
    """Whether a concatenation puts the parts of one tensor together again, as many elements as before."""
    return len(sources) == 1 and not node.params and prod(node.shape) == prod(graph.nodes[next(iter(sources))].shape)


def _is_neutral(node: Node) -> bool:
    if len(node.inputs) != 1 or node.params:
        return False
    if node.op in NEUTRAL:
        return node.attr("scalar") == NEUTRAL[node.op] and not node.attr("reverse", False)
    if node.op == "Unfold":  # windows that cover everything once
        return prod(node.shape) == prod(node.in_shapes[0]) and not any(map(any, node.attr("padding", ())))
    if node.op in ("AdaptiveAvgPool", "AdaptiveMaxPool", "Resize", "Concat", "Pad"):
        return node.shape == node.in_shapes[0]
    if node.op in ("Mean", "Sum", "Prod", "ReduceMax", "ReduceMin"):
        return prod(node.shape) == prod(node.in_shapes[0])
    if node.op in ("MaxPool", "AvgPool"):
        return node.shape == node.in_shapes[0] and prod(node.attr("kernel")) == 1
    if node.op in ("GlobalAvgPool", "GlobalMaxPool"):  # of a single position
        before = node.in_shapes[0]
        return len(before) > 1 and before[:1] == node.shape[:1] and prod(before[1:]) == prod(node.shape[1:]) == 1
    return False


def unify_pools(graph: Graph) -> Graph:
    """One form for pooling over all positions, `GlobalAvgPool` or `GlobalMaxPool` with shape (C,).

    It is written as adaptive pooling to size 1, as a mean or maximum over every position, or as pooling with a kernel
    of the input's size.
    """
    return graph.with_nodes(_unify_pool(node) for node in graph.nodes)


def _unify_pool(node: Node) -> Node:
    average = node.op in ("AdaptiveAvgPool", "AvgPool", "Mean", "GlobalAvgPool")
    if not average and node.op not in ("AdaptiveMaxPool", "MaxPool", "ReduceMax", "GlobalMaxPool"):
        return node
    before, after = node.in_shapes[0], node.shape
    is_global = len(before) > 1 and after[:1] == before[:1] and prod(after[1:]) == 1
    windowed = node.op in ("AvgPool", "MaxPool") and (
        node.attr("kernel") != before[1:] or any(map(any, node.attr("padding")))
    )
    if node.op in ("AdaptiveAvgPool", "AdaptiveMaxPool") and not is_global:
        return _as_windows(node)
    if not is_global or windowed:
        return node
    return replace(node, op="GlobalAvgPool" if average else "GlobalMaxPool", shape=before[:1], attrs=())


def _as_windows(node: Node) -> Node:
    """Adaptive pooling to a size that divides the input's is pooling in windows, which is how exporters write it."""
    before, after = node.in_shapes[0], node.shape
    if (
        len(before) != len(after)
        or len(before) < 2
        or before[0] != after[0]
        or any(not b or a % b for a, b in zip(before, after, strict=True))
    ):
        return node
    kernel = tuple(a // b for a, b in zip(before[1:], after[1:], strict=True))
    attrs = {**dict(node.attrs), "kernel": kernel, "stride": kernel, "padding": ((0, 0),) * len(kernel)}
    if node.op == "AdaptiveMaxPool":
        attrs["dilation"] = (1,) * len(kernel)
    return replace(node, op=node.op.removeprefix("Adaptive"), attrs=attributes(attrs))


def fold_padding(graph: Graph) -> Graph:
    """Move zero padding into the convolutions and sliding windows that read it."""
    alias: dict[int, int] = {}
    graph = graph.with_nodes(map(_without_channels, graph.nodes))
    nodes: list[Node | None] = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        if node.op != "Pad" or node.attr("mode") != "constant" or node.attr("value") != 0:
            continue
        padded = {reader: _padded(graph, index, reader) for reader in graph.consumers[index]}
        nodes_of = {reader: folded for reader, folded in padded.items() if folded is not None}
        for reader, folded in nodes_of.items():
            nodes[reader] = folded
        if padded and len(nodes_of) == len(padded):
            nodes[index] = None
            alias[index] = node.inputs[0]
    return rebuild(graph, nodes, alias)


def _without_channels(node: Node) -> Node:
    """Padding of the spatial axes only, also where the frontend could not determine the channel axis."""
    padding = node.attr("padding") if node.op == "Pad" else ()
    if not padding or len(padding) != len(node.in_shapes[0]) or padding[0] != (0, 0):
        return node
    return replace(node, attrs=tuple((key, padding[1:] if key == "padding" else value) for key, value in node.attrs))


def _padded(graph: Graph, index: int, reader_index: int) -> Node | None:
    """A convolution or unfold with the padding of the node before it added to its own."""
    node, reader = graph.nodes[index], graph.nodes[reader_index]
    extra = node.attr("padding")
    if (
        reader.op not in ("Conv", "Unfold")
        or reader.attr("padding") is None
        or len(reader.in_shapes[0]) != len(extra) + 1
        or reader.inputs[0] != index
        or index in reader.inputs[1:]
    ):
        return None
    before, after = node.in_shapes[0], reader.in_shapes[0]
    # the two nodes have different channel axes
    if after != (before[:1] + tuple(n + a + b for n, (a, b) in zip(before[1:], extra, strict=False))):
        return None
    between = len(extra) - len(reader.attr("padding"))  # axes between channels and space, such as frames
    if between < 0 or any(map(any, extra[:between])):
        return None
    padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(reader.attr("padding"), extra[between:], strict=True))
    attrs = tuple((key, padding if key == "padding" else value) for key, value in reader.attrs)
    return replace(
        reader,
        inputs=(node.inputs[0], *reader.inputs[1:]),
        in_shapes=(*node.in_shapes, *reader.in_shapes[1:]),
        attrs=attrs,
    )
