"""Entry point of the ONNX frontend: from a model in any form to the raw graph.

Weights are never read: files are mapped and their large tensors skipped, external data are not opened. See `graph_walk`
for how nodes are imported, `converters` for what each operator becomes, `shape_inference` for where sizes come from,
`control_flow` for the bodies of `If`, `Loop` and `Scan`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
from onnx import inliner

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.tape import Size, Tape
from frontends.common.trace_request import TraceRequest

from . import weight_stripping
from .control_flow import CONTROL_FLOW
from .converters import converter_of
from .expanders import EXPANDERS
from .graph_inputs import add_inputs, batch_size, input_tensors
from .graph_walk import OnnxImporter
from .parameters import initializer_tensors
from .tensors import OnnxTensor
from .unread_nodes import without_unread


def trace(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of a model: a path, bytes, `onnx.ModelProto`, `onnx_ir.Model` or `torch.onnx.ONNXProgram`.

    Raises:
        TraceError: the model is damaged, sizes cannot be known, or the request does not fit.
    """
    importer, outputs, name = _import_model(model, request)
    for index, (output_name, tensor) in enumerate(outputs):
        value = tensor.to_value(importer.tape)
        importer.tape.output(value, value.size, output_name or f"output.{index}")
    graph = importer.tape.graph(request.name or name)
    return graph.with_nodes(without_unread(graph.nodes))


def tensor_sizes(model: Any, request: TraceRequest) -> dict[str, Size]:
    """Sizes of all tensors of the main graph, batch included and in the model's own order of axes, by name."""
    importer, _, _ = _import_model(model, request)
    return {name: tensor.size for name, tensor in importer.scope.items()}


def _import_model(model: Any, request: TraceRequest) -> tuple[OnnxImporter, list[tuple[str, OnnxTensor]], str]:
    """The importer after the last node, the graph's outputs with their names, and the graph's name."""
    proto, name, model_label = _load(model)
    try:
        return *_import_graph(_inline_functions(proto, model_label), request, model_label), name
    except CgirError:
        raise
    except Exception as error:  # such as names that are not text or unknown types, which no valid model has
        raise TraceError(f"{model_label}: the model is damaged: {one_line(error, 200, named=True)}") from error


def _import_graph(
    proto: onnx.ModelProto, request: TraceRequest, model_label: str
) -> tuple[OnnxImporter, list[tuple[str, OnnxTensor]]]:
    """The importer after the last node of the main graph, and the graph's outputs with their names."""
    if not proto.graph.output:
        raise TraceError(f"{model_label}: no ONNX model: there is no graph with outputs")
    initializers = initializer_tensors(proto.graph, model_label)
    inputs = input_tensors(proto, set(initializers), request, model_label)
    tape = Tape(batch_size(proto, inputs), request.strict)
    add_inputs(tape, proto, inputs)
    importer = OnnxImporter(tape, proto, request.dims, converter_of, CONTROL_FLOW, EXPANDERS)
    scope = importer.scope
    scope.update(initializers | {tensor.name: tensor for tensor in inputs})
    try:
        importer.import_nodes(proto.graph.node, scope)
        outputs = [(info.name, importer.lookup(info.name, scope, "the model's output")) for info in proto.graph.output]
    except CgirError as error:
        raise type(error)(f"{model_label}: {error}{_open_dims_hint(proto, request)}") from error
    return importer, outputs


def _open_dims_hint(model: onnx.ModelProto, request: TraceRequest) -> str:
    """Advice on sizes that do not fit, if the model leaves some open; empty otherwise."""
    names = {
        dim.dim_param for info in model.graph.input for dim in info.type.tensor_type.shape.dim if dim.dim_value <= 0
    } - set(request.dims)
    if not names or request.inputs is not None or request.input_shape is not None:
        return ""
    dim_names = ", ".join(map(repr, sorted(filter(None, names)))) or "some, without a name,"
    return (
        f" (the file leaves the dimensions {dim_names} open, which were taken as 1; "
        "pass dims={name: size}, input_shape= or example inputs)"
    )


# --- reading


def _load(model: Any) -> tuple[onnx.ModelProto, str, str]:
    """The model without weights, the graph's name, and how messages refer to the model."""
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        return weight_stripping.from_file(path), path.stem, str(path)
    if isinstance(model, bytes):
        proto = weight_stripping.from_bytes(model)
        return proto, proto.graph.name or "onnx", "the ONNX model"
    if isinstance(model, onnx.ModelProto):
        return weight_stripping.from_proto(model), model.graph.name or "onnx", "the ONNX model"
    ir_model = getattr(model, "model", model)  # of a torch.onnx.ONNXProgram
    return weight_stripping.from_ir(ir_model), ir_model.graph.name or "onnx", "the ONNX model"


def _inline_functions(model: onnx.ModelProto, model_label: str) -> onnx.ModelProto:
    """The model with its own functions replaced by their bodies."""
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # whatever the C++ code throws
        raise TraceError(f"{model_label}: its functions cannot be inlined: {one_line(error, 300)}") from error
