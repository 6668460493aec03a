"""Entry point of the ONNX frontend: from a model in any form to the raw graph.

Weights are not read: files are mapped and their large tensors skipped, in the file and beside it. See `graph_walk`
for how nodes are imported, `converters` for what each operator becomes, `shape_inference` for where sizes come from,
`control_flow` for the bodies of `If`, `Loop` and `Scan`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.batch_axis import BatchPlan, graph_of_one_example
from frontends.common.tape import Size, Tape
from frontends.common.trace_request import TraceRequest

from . import onnx_process, weight_stripping
from .control_flow import CONTROL_FLOW
from .converters import converter_of
from .expanders import EXPANDERS
from .functions import inline_functions
from .graph_inputs import add_inputs, batch_plan, input_tensors
from .graph_walk import OnnxImporter
from .module_paths import as_text
from .parameters import initializer_tensors
from .tensors import OnnxTensor
from .unread_nodes import without_unread

LABEL = "the ONNX model"  # in messages, of one that is in no file


class _Model(NamedTuple):
    """A model without weights and functions, the graph's name, and how messages refer to it."""

    proto: onnx.ModelProto
    name: str
    label: str


class _Import(NamedTuple):
    """The importer after the last node of the main graph, the graph's outputs with their names, and the batch."""

    importer: OnnxImporter
    outputs: list[tuple[str, OnnxTensor]]
    plan: BatchPlan


def trace(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of a model: a path, bytes, `onnx.ModelProto`, `onnx_ir.Model` or `torch.onnx.ONNXProgram`.

    Raises:
        TraceError: the model is damaged, sizes cannot be known, or the request does not fit.
    """
    onnx_process.start()  # it loads onnx while the model is read
    with _named_if_damaged(str(model) if isinstance(model, str | os.PathLike) else LABEL):
        loaded = _load(model, request)
        first = _import_graph(loaded, request)

        def record(plan: BatchPlan) -> tuple[Tape, Graph]:
            imported = first if plan is first.plan else _import_graph(loaded, request, plan)
            return imported.importer.tape, _graph(imported, request.name or loaded.name)

        return graph_of_one_example(first.plan, request.batch, record)


def tensor_sizes(model: Any, request: TraceRequest) -> dict[str, Size]:
    """Sizes of all tensors of the main graph, batch included and in the model's own order of axes, by name."""
    scope = _import_graph(_load(model, request), request).importer.scope
    return {name: tensor.size for name, tensor in scope.items()}


def _graph(imported: _Import, name: str) -> Graph:
    """The raw graph of all nodes, and of outputs that read them."""
    tape = imported.importer.tape
    for index, (output_name, tensor) in enumerate(imported.outputs):
        value = tensor.to_value(tape)
        tape.output(value, value.size, output_name or f"output.{index}")
    graph = tape.graph(name)
    return replace(graph, nodes=without_unread(graph.nodes, imported.importer.measured))


@contextmanager
def _named_if_damaged(label: str) -> Iterator[None]:
    """Turn errors that no valid model causes, such as those of names that are no text, into one that names the model.

    Raises:
        TraceError: an error has occurred that is none of ours, nor one of the disk.
    """
    try:
        yield
    except (CgirError, OSError):
        raise
    except Exception as error:
        raise TraceError(f"{label}: the model is damaged: {one_line(error, 200, named=True)}") from error


def _import_graph(model: _Model, request: TraceRequest, plan: BatchPlan | None = None) -> _Import:
    """The import of a model, its inputs with batch axes as planned, or as requested."""
    proto = model.proto
    if not proto.graph.output:
        raise TraceError(f"{model.label}: no ONNX model: there is no graph with outputs")
    initializers = initializer_tensors(proto.graph, model.label)
    inputs = input_tensors(proto, set(initializers), request, model.label)
    plan = batch_plan(proto, inputs, request.batch) if plan is None else plan
    tape = plan.tape(request.strict)
    add_inputs(tape, inputs, plan)
    importer = OnnxImporter(tape, proto, request, converter_of, CONTROL_FLOW, EXPANDERS)
    importer.name_weights(initializers.values())
    scope = importer.scope
    scope.update(initializers | {tensor.name: tensor for tensor in inputs})
    try:
        importer.import_nodes(proto.graph.node, scope)
        outputs = [(info.name, importer.lookup(info.name, scope, "the model's output")) for info in proto.graph.output]
    except CgirError as error:
        raise type(error)(f"{model.label}: {error}{_open_dims_hint(proto, request)}") from error
    return _Import(importer, outputs, plan)


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


def _load(model: Any, request: TraceRequest) -> _Model:
    loaded = _without_weights(model)
    return loaded._replace(proto=inline_functions(loaded.proto, loaded.label, request.limits))


def _without_weights(model: Any) -> _Model:
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        return _Model(weight_stripping.from_file(path), path.stem, str(path))
    if isinstance(model, bytes):
        proto = weight_stripping.from_bytes(model)
        return _Model(proto, as_text(proto.graph.name) or "onnx", LABEL)
    if isinstance(model, onnx.ModelProto):
        return _Model(weight_stripping.from_proto(model), as_text(model.graph.name) or "onnx", LABEL)
    ir_model = getattr(model, "model", model)  # of a torch.onnx.ONNXProgram
    return _Model(weight_stripping.from_ir(ir_model), ir_model.graph.name or "onnx", LABEL)
