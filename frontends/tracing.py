"""`trace`: the computation graph of a model of any framework."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from cgir import Graph, TraceError, canonicalize
from cgir.limits import DEFAULT, Limits
from cgir.verifier import MAX_ELEMENTS

from .common.trace_request import BatchAxis, InputShape, TraceRequest
from .registry import frontend_of


def trace(
    model: Any,
    inputs: Any = None,
    *,
    input_shape: InputShape | None = None,
    dims: Mapping[str, int] | None = None,
    batch: BatchAxis = 0,
    raw: bool = False,
    level: str = "module",
    strict: bool = False,
    name: str = "",
    limits: Limits = DEFAULT,
) -> Graph:
    """The computation graph of a model.

    Args:
        model: a `torch.nn.Module` with real weights or on the meta device, a `torch.export.ExportedProgram`, an ONNX
            `ModelProto` or its bytes, a Keras model, a TensorFlow `ConcreteFunction` or `tf.function`; or a path:
            `.onnx`, `.pt2`, `.keras`, `.h5`, a frozen `.pb` or `.pbtxt`, a SavedModel folder. It is not changed;
            weights are not read.
        inputs: example inputs, real or meta: a tensor, a tuple of positional arguments or a dict of keyword arguments.
            Only shapes and types matter. Models with declared input shapes (exported programs, ONNX, Keras,
            SavedModel) need none.
        input_shape: instead of `inputs`, the shape of one floating-point tensor, batch included, or a tuple of such
            shapes; of an ONNX model also a dict from input name to shape.
        dims: sizes for the named dimensions that an ONNX model leaves open, such as `{"batch": 1}`; those without one
            are 1.
        batch: the axis of the inputs that holds the batch, by which costs are divided: the first one, whatever the
            layers inside take for it, unless said otherwise. A dict from an input's name to its axis (None: it has no
            batch) says it for some of them; None: there is no batch, as where nodes of a graph are the first axis.
            Inputs without that axis, or of another size there, have no batch, which the graph's `gaps` name.
        raw: keep every recorded call instead of the canonical form.
        level: of the canonical form, "module" or "inference" (see `cgir.canonicalize`).
        strict: refuse operators outside the vocabulary instead of keeping them as `Opaque` nodes.
        name: of the graph; the model's class, or the file's name, if empty.
        limits: what a file may take, so that a small hostile one is refused instead of filling the memory.

    Raises:
        TraceError: the model cannot be followed (the message names the user's line or the file's node), or its
            framework is not installed.
        LimitError: it would take more than `limits` allow.
        UnsupportedOpError: with `strict`, for an operator outside the vocabulary.
    """
    if not isinstance(limits, Limits):
        raise TraceError(f"limits: found a {type(limits).__name__}, expected cgir.Limits(nodes=..., ...)")
    request = TraceRequest(inputs, input_shape, dims or {}, strict, name, batch, limits)
    graph = frontend_of(model).trace(model, request)
    for node in graph.nodes:
        if prod(node.shape) >= MAX_ELEMENTS:
            raise TraceError(f"{graph.name}: node {node.name!r} ({node.op}) has the size {node.shape}: 2^63 or more")
    return graph if raw else canonicalize(graph, level=level)
