"""Subgraphs of ONNX nodes: the nodes of a body are imported under the path of the node that has it."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from cgir import TraceError

from .graph_walk import OnnxImporter
from .parameters import initializer_tensors
from .tensors import OnnxTensor, Scope, get_attribute

MAX_DEPTH = 16  # nesting of subgraphs that is followed


def import_body(
    importer: OnnxImporter,
    node: onnx.NodeProto,
    graph_name: str,
    scope: Scope,
    arguments: Sequence[OnnxTensor],
    label: str,
) -> list[OnnxTensor]:
    """The results of the subgraph in an attribute of a node.

    Args:
        importer: of the model.
        node: that has the subgraph.
        graph_name: of the attribute.
        scope: tensors outside, which the subgraph may read.
        arguments: its inputs.
        label: of the subgraph in the module path of its nodes.
    """
    graph = get_attribute(node, graph_name)
    if importer.depth >= MAX_DEPTH:
        raise TraceError(f"subgraphs are nested more than {MAX_DEPTH} deep")
    importer.limits.check("depth", importer.depth + 1, "its subgraphs")
    if len(graph.input) > len(arguments):
        raise TraceError(f"its subgraph has {len(graph.input)} inputs, but gets {len(arguments)}")
    inner: Scope = dict(scope)
    weights = initializer_tensors(graph, "a subgraph")
    importer.name_weights(weights.values())
    inner.update(weights)
    inner.update((info.name, tensor) for info, tensor in zip(graph.input, arguments, strict=False))
    node_name = f"{node.name or node.op_type.lower()}".rpartition("/")[2]
    importer.depth += 1
    try:
        with importer.tape.child_scope(".".join(part for part in (node_name, label) if part)):
            importer.import_nodes(graph.node, inner, nested=True)
    finally:
        importer.depth -= 1
    return [importer.lookup(info.name, inner, "the subgraph's result") for info in graph.output]
