"""ONNX models: follow the nodes once, with the size of every tensor and the values of those that decide about sizes.

Weights are never read: files are mapped and their large tensors skipped, external data are not opened. See `converters`
for what each operator becomes, `onnx_shapes` for where sizes come from, `onnx_control` for bodies of `If`, `Loop` and
`Scan`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import onnx
from onnx import inliner

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.tape import Size, Tape
from frontends.common.trace_request import TraceRequest

from . import weight_stripping as strip
from .constant_folding import folded
from .control_flow import CONTROL
from .converters import CONVERTERS, generic
from .graph_inputs import graph_inputs, initializers, put_inputs
from .module_paths import module_path, node_label
from .shape_inference import Inference
from .tensors import Call, Tensor, decoded
from .topological_order import ordered

Scope = MutableMapping[str, Tensor]
LATEST = 1 << 20
# how PyTorch's TorchScript exporter calls constants; its weights are initializers
WRITTEN = re.compile(r"/Constant(_\d+)?_output_0$")


def trace(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of a model: a path, bytes, `onnx.ModelProto`, `onnx_ir.Model` or `torch.onnx.ONNXProgram`.

    Raises:
        TraceError: the model is damaged, sizes cannot be known, or the request does not fit.
    """
    walk, outputs, name = _followed(model, request)
    for index, (label, tensor) in enumerate(outputs):
        value = tensor.read(walk.tape)
        walk.tape.output(value, value.size, label or f"output.{index}")
    return Graph(tuple(walk.tape.nodes), request.name or name)


def sizes_of(model: Any, request: TraceRequest) -> dict[str, Size]:
    """Sizes of all tensors of the main graph, batch included and in the model's own order of axes, by name."""
    walk, _, _ = _followed(model, request)
    return {name: tensor.size for name, tensor in walk.scope.items()}


def _followed(model: Any, request: TraceRequest) -> tuple[Walk, list[tuple[str, Tensor]], str]:
    proto, name, where = _opened(model)
    try:
        return *_through(_inlined(proto, where), request, where), name
    except CgirError:
        raise
    except Exception as error:  # names that are no text, types that are none: nothing that a valid model has
        raise TraceError(f"{where}: the model is damaged: {one_line(error, 200, named=True)}") from error


def _through(proto: onnx.ModelProto, request: TraceRequest, where: str) -> tuple[Walk, list[tuple[str, Tensor]]]:
    """Follow the main graph; returns what it leaves behind, and the graph's outputs with their names."""
    if not proto.graph.output:
        raise TraceError(f"{where}: no ONNX model: there is no graph with outputs")
    found = initializers(proto.graph, where)
    tensors, batch = graph_inputs(proto, set(found), request, where)
    tape = Tape(batch, request.strict)
    put_inputs(tape, proto, tensors)
    walk = Walk(tape, proto, request.dims)
    walk.scope.update(found | {tensor.name: tensor for tensor in tensors})
    try:
        walk.run(proto.graph.node, walk.scope)
        outputs = [(info.name, walk.lookup(info.name, walk.scope, "the model's output")) for info in proto.graph.output]
    except CgirError as error:
        raise type(error)(f"{where}: {error}{_hint(proto, request)}") from error
    return walk, outputs


def _hint(model: onnx.ModelProto, request: TraceRequest) -> str:
    """What to do about sizes that do not fit, if the model leaves some open."""
    names = {
        dim.dim_param
        for info in model.graph.input
        for dim in info.type.tensor_type.shape.dim
        if not dim.HasField("dim_value")
    } - set(request.dims)
    if not names or request.inputs is not None or request.input_shape is not None:
        return ""
    known = ", ".join(map(repr, sorted(filter(None, names)))) or "some, without a name,"
    return f" (the file leaves the dimensions {known} open, which were taken as 1; pass dims={{name: size}}, input_shape= or example inputs)"


# --- reading


def _opened(model: Any) -> tuple[onnx.ModelProto, str, str]:
    """The model without weights, the graph's name, and how messages speak of the model."""
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        return strip.from_file(path), path.stem, str(path)
    if isinstance(model, bytes):
        proto = strip.from_bytes(model)
        return proto, proto.graph.name or "onnx", "the ONNX model"
    if isinstance(model, onnx.ModelProto):
        return strip.from_proto(model), model.graph.name or "onnx", "the ONNX model"
    inner = getattr(model, "model", model)  # of a torch.onnx.ONNXProgram
    return strip.from_ir(inner), inner.graph.name or "onnx", "the ONNX model"


def _inlined(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """The model with its own functions replaced by their bodies."""
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # whatever the C++ code throws
        raise TraceError(f"{where}: its functions cannot be inlined: {one_line(error, 300)}") from error


# --- following


class Walk:
    """The state while nodes are followed; `scope` are the tensors of the main graph by name."""

    def __init__(self, tape: Tape, model: onnx.ModelProto, dims: Mapping[str, int]) -> None:
        opsets = {
            "" if entry.domain == "ai.onnx" else entry.domain: min(entry.version, LATEST)
            for entry in model.opset_import
        }
        sizes = _named(model.graph) | dict(dims)
        declared = {info.name: info.type for info in (*model.graph.value_info, *model.graph.output)}
        self.tape, self.scope = tape, {}  # type: Tape, Scope
        self.inference = Inference(opsets or {"": 1}, model.ir_version, declared, sizes)
        self.depth = 0

    def run(self, nodes: Iterable[onnx.NodeProto], scope: Scope, nested: bool = False) -> None:
        """Follow nodes in an order in which every tensor is there before it is read; a subgraph may call its tensors as
        others outside are called.

        Raises:
            TraceError: they go in a circle, read what nobody makes, or make something twice.
        """
        for index, node in ordered(list(nodes), scope, nested):
            with self.tape.module_scope(module_path(node) or self.tape.path[-1]):
                try:
                    self.step(node, scope)
                except CgirError as error:
                    raise type(error)(f"{node_label(node, index)}: {error}") from error
                except Exception as error:  # attributes and operands of a shape that no valid model has
                    raise TraceError(
                        f"{node_label(node, index)}: it is not what its operator allows: {type(error).__name__}: {error}"
                    ) from error

    def lookup(self, name: str, scope: Scope, what: str) -> Tensor:
        """A tensor by name.

        Raises:
            TraceError: nobody makes it.
        """
        if name not in scope:
            raise TraceError(f"{what} {name!r} is made by no node")
        return scope[name]

    def step(self, node: onnx.NodeProto, scope: Scope) -> None:
        """Follow one node."""
        inputs = [scope[name] if name else None for name in node.input]
        standard = node.domain in ("", "ai.onnx")
        if standard and node.op_type in CONTROL:
            CONTROL[node.op_type](self, node, scope)
            return
        schema = self.inference.schema(node)
        if standard and node.op_type == "Constant" and self._constant(node, scope):
            return
        types = self.inference.results(node, schema, inputs)
        sizes = self.inference.sizes(node, types, inputs)
        elems = [kind.tensor_type.elem_type or _elem(inputs) for kind in types]
        call = Call(
            self.tape, node, inputs, sizes, elems, schema.since_version if schema else LATEST, node.op_type.lower()
        )
        values = folded(call) if standard else None
        if values is not None:
            for name, elem, data in zip(node.output, elems, values, strict=False):
                scope[name] = _known(name, elem, data, call.tensors)
            return
        if standard and node.op_type == "Identity" and call.need(0).value is None:
            scope[node.output[0]] = call.need(0)
            return
        familiar = standard or (node.domain == "com.microsoft" and node.op_type in MICROSOFT)
        results = (CONVERTERS.get(node.op_type, generic) if familiar else generic)(call)
        hints = (
            folded(call, hints=True) if standard and any(tensor.hint is not None for tensor in call.tensors) else None
        )
        for slot, (name, elem, value) in enumerate(zip(node.output, elems, results, strict=False)):
            if name:
                scope[name] = Tensor(name, elem, value.size, value=value)
                scope[name].hint = hints[slot] if hints is not None and hints[slot].shape == value.size else None

    def _constant(self, node: onnx.NodeProto, scope: Scope) -> bool:
        """Tensors written into the graph: weights where they stand for weights, else constants."""
        for attribute in node.attribute:
            if attribute.name not in ("value", "sparse_value"):
                continue
            proto = attribute.t if attribute.name == "value" else attribute.sparse_tensor.values
            size = tuple(proto.dims if attribute.name == "value" else attribute.sparse_tensor.dims)
            tensor = Tensor(
                node.output[0], proto.data_type, size, decoded(proto) if attribute.name == "value" else None
            )
            tensor.weight = len(size) > 0 and WRITTEN.search(tensor.name) is None
            scope[node.output[0]] = tensor
            return True
        return False


# operators of com.microsoft that mean what the table's operator of that name means; its Attention, for one, does not
MICROSOFT = frozenset(
    (
        "FusedMatMul",
        "Gelu",
        "LayerNormalization",
        "SimplifiedLayerNormalization",
        "MatMulInteger",
        "DequantizeLinear",
        "QuantizeLinear",
    )
)


def _named(graph: onnx.GraphProto) -> dict[str, int]:
    """Named dimensions of the inputs, 1 unless the caller says otherwise."""
    return {dim.dim_param: 1 for info in graph.input for dim in info.type.tensor_type.shape.dim if dim.dim_param}


def _elem(inputs: list[Tensor | None]) -> int:
    return next((tensor.elem for tensor in inputs if tensor is not None), 1)


def _known(name: str, elem: int, data: Any, sources: list[Tensor]) -> Tensor:
    """A tensor whose values were computed from known ones."""
    tensor = Tensor(name, elem, tuple(data.shape), data)
    tensor.weight = data.ndim > 0 and any(source.weight for source in sources)
    return tensor
