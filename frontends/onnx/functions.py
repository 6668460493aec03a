"""Functions of an ONNX model, which are replaced by their bodies; constants in them are the same in every call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

import onnx

from cgir import CgirError, TraceError
from cgir.errors import printable
from cgir.limits import Limits

from .module_paths import as_text
from .onnx_process import call

CONSTANT_ID = "cgir.function_constant"
GRAPH_TYPES = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_Key: TypeAlias = tuple[str, str, str]  # domain, name and overload of a function


class _Expanded(NamedTuple):
    """What nodes take once the functions that they call are expanded; depth of calls."""

    nodes: int
    bytes: int
    depth: int


def inline_functions(model: onnx.ModelProto, model_label: str, limits: Limits) -> onnx.ModelProto:
    """The model with its own functions replaced by their bodies.

    Args:
        model: the model, in whose functions constants are marked.
        model_label: how messages refer to the model.
        limits: of what the expanded model may take.

    Raises:
        TraceError: a function calls itself, or its body is damaged.
        LimitError: the expanded model would be too large.
    """
    if not model.functions:
        return model
    where = f"{model_label}: its functions, expanded"
    _check_expansion(model, where, limits)
    for function in model.functions:
        _mark_constants(function.node, ".".join(map(as_text, (function.domain, function.name, function.overload))))
    try:
        error, *inlined = call("inline", {}, [model.SerializeToString()], limits)
    except CgirError as ended:
        raise type(ended)(f"{where}: {ended}") from ended
    if error:
        reason = printable(error.decode(), 300)
        raise TraceError(f"{model_label}: its functions cannot be inlined: {reason}")
    result = onnx.ModelProto()
    result.ParseFromString(inlined[0])
    return result


def _check_expansion(model: onnx.ModelProto, where: str, limits: Limits) -> None:
    """Count the nodes over the graph of calls, before any of them is expanded; `where` starts the message."""
    functions = {_key(f.domain, f.name, f.overload): f for f in model.functions}
    known: dict[_Key, _Expanded] = {}

    def expanded(nodes: Iterable[onnx.NodeProto], depth: int) -> _Expanded:
        limits.check("depth", depth, where)
        num_nodes, num_bytes, deepest = 0, 0, depth
        for node in _with_nested(nodes):
            key = _key(node.domain, node.op_type, node.overload)
            num_nodes, num_bytes = num_nodes + 1, num_bytes + node.ByteSize()
            if key not in functions:
                continue
            if key not in known:
                known[key] = _Expanded(0, 0, 0)  # a function that calls itself is refused later
                known[key] = expanded(functions[key].node, depth + 1)
            num_nodes, num_bytes = num_nodes + known[key].nodes, num_bytes + known[key].bytes
            deepest = max(deepest, depth + known[key].depth)
        limits.check("nodes", num_nodes, where)
        limits.check("bytes", num_bytes, where)
        return _Expanded(num_nodes, num_bytes, deepest - depth + 1)

    limits.check("depth", expanded(model.graph.node, 0).depth - 1, where)


def _key(domain: str, name: str, overload: str) -> _Key:
    return ("" if domain == "ai.onnx" else domain), name, overload


def _with_nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs) if attribute.type in GRAPH_TYPES else ():
                yield from _with_nested(graph.node)


def constant_id(node: onnx.NodeProto) -> str:
    """The name of a Constant node's tensor, which copies of it by inlined functions share."""
    return str(next((entry.value for entry in node.metadata_props if entry.key == CONSTANT_ID), node.output[0]))


def _mark_constants(nodes: Iterable[onnx.NodeProto], prefix: str) -> None:
    for node in nodes:
        if (
            node.op_type == "Constant"
            and node.output
            and not any(attribute.ref_attr_name for attribute in node.attribute)
        ):
            node.metadata_props.add(key=CONSTANT_ID, value=f"{prefix}.{node.output[0]}")
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _mark_constants(attribute.g.node, f"{prefix}.{node.name}")
