"""Functions of an ONNX model, which are replaced by their bodies; constants in them are the same in every call."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import inliner

from cgir import TraceError
from cgir.errors import one_line

CONSTANT_ID = "cgir.function_constant"


def inline_functions(model: onnx.ModelProto, model_label: str) -> onnx.ModelProto:
    """The model with its own functions replaced by their bodies.

    Args:
        model: the model, in whose functions constants are marked.
        model_label: how messages refer to the model.

    Raises:
        TraceError: a function calls itself, or its body is damaged.
    """
    if not model.functions:
        return model
    try:
        for function in model.functions:
            _mark_constants(function.node, ".".join((function.domain, function.name, function.overload)))
        return inliner.inline_local_functions(model)
    except Exception as error:  # whatever the C++ code throws; names that are not text
        raise TraceError(f"{model_label}: its functions cannot be inlined: {one_line(error, 300)}") from error


def constant_id(node: onnx.NodeProto) -> str:
    """The name of a Constant node's tensor, which copies of it by inlined functions share."""
    return str(next((entry.value for entry in node.metadata_props if entry.key == CONSTANT_ID), node.output[0]))


def _mark_constants(nodes: Iterable[onnx.NodeProto], prefix: str) -> None:
    for node in nodes:
        if node.op_type == "Constant" and not any(attribute.ref_attr_name for attribute in node.attribute):
            node.metadata_props.add(key=CONSTANT_ID, value=f"{prefix}.{node.output[0]}")
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _mark_constants(attribute.g.node, f"{prefix}.{node.name}")
