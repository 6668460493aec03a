"""Group normalisation, recognised in its decomposed form, and gated linear units, which are decomposed."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from cgir.graph import Graph, Node, Param, attributes

from .rewrite import rebuild


def recognize_groups(graph: Graph) -> Graph:
    """Replace instance normalisation of reshaped groups and its scale and shift by `GroupNorm` (Wu and He 2018)."""
    nodes: list[Node | None] = list(graph.nodes)
    alias: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if node.op != "InstanceNorm" or node.params or len(node.inputs) != 1 or not node.in_shapes[0]:
            continue
        shapes = {
            shape
            for i in graph.consumers[index]
            for source, shape in zip(graph.nodes[i].inputs, graph.nodes[i].in_shapes, strict=True)
            if source == index
        }
        read_shape = next(iter(shapes)) if len(shapes) == 1 else ()
        groups = node.in_shapes[0][0]
        if (
            not read_shape
            or read_shape == node.shape
            or prod(read_shape) != prod(node.shape)
            or read_shape[0] == groups
            or read_shape[0] % groups
        ):
            continue
        params: tuple[Param, ...] = ()
        last = index
        for op in ("Mul", "Add"):
            reader = graph.consumers[last][0] if len(graph.consumers[last]) == 1 else None
            if reader is None or not _is_affine(graph.nodes[reader], op, read_shape[0]):
                break
            params += (Param(graph.nodes[reader].params[0].id, (read_shape[0],)),)
            nodes[reader] = None
            alias[reader] = last = reader
        nodes[index] = replace(
            node,
            op="GroupNorm",
            in_shapes=(read_shape,),
            shape=read_shape,
            params=params,
            attrs=attributes({**dict(node.attrs), "groups": groups}),
        )
        alias.update({reader: index for reader in alias if alias[reader] == reader})
    return rebuild(graph, nodes, alias)


def _is_affine(node: Node, op: str, channels: int) -> bool:
    return (
        node.op == op
        and len(node.inputs) == 1
        and len(node.params) == 1
        and not node.attrs
        and prod(node.params[0].shape) == channels
    )


def split_gates(graph: Graph) -> Graph:
    """Decompose gated linear units (Dauphin et al. 2017, eq. 1): one half times the sigmoid of the other."""
    if all(node.op != "GLU" for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    new_index: dict[int, int] = {}
    for old_index, node in enumerate(graph.nodes):
        inputs = tuple(new_index[source] for source in node.inputs)
        if node.op == "GLU":
            nodes.append(
                Node("Sigmoid", inputs, (node.shape,), node.shape, name=f"{node.name}.gate", module=node.module)
            )
            node = replace(node, op="Mul", in_shapes=(node.shape, node.shape), attrs=())
            inputs = (*inputs, len(nodes) - 1)
        new_index[old_index] = len(nodes)
        nodes.append(replace(node, inputs=inputs))
    return graph.with_nodes(nodes)
