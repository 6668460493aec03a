"""Entry point of the TensorFlow frontend: functions, SavedModels, frozen graphs, concrete functions of Keras models.

The graph is read as TensorFlow wrote it: it is never frozen or optimised, and no value of a variable is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from cgir.typing import AnyArray
from frontends.common.batch_axis import BatchPlan, graph_of_one_example, plan_batch
from frontends.common.tape import Size, Tape
from frontends.common.trace_request import TraceRequest, import_optional, shapes_from
from frontends.registry import SAVED_MODEL_FILES

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = import_optional("tensorflow", "a TensorFlow model", "tensorflow")

from tensorflow.core.framework import graph_pb2
from tensorflow.python.eager import wrap_function
from tensorflow.python.util import nest as tree

from . import saved_model
from .constant_folding import MAX_ELEMENTS
from .control_flow import CONTROL_FLOW
from .converters import CONVERTERS
from .expanded_size import check_expanded_size
from .frozen_weights import weights_are_constants
from .graph_def import GraphInput, Program, TFTensor, Variable, functions_of, handle_of
from .graph_walk import TensorFlowImporter
from .lowered_control_flow import raise_loops


def trace(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of a ConcreteFunction, a tf.function, a loaded SavedModel, a GraphDef, or a path.

    Raises:
        TraceError: the model, its file or its inputs are not what tracing needs.
    """
    try:
        return _import_program(_read_program(model, request), request)
    except CgirError:
        raise
    except Exception as error:
        label = model if isinstance(model, str | os.PathLike) else f"the {type(model).__name__}"
        raise TraceError(
            f"{label} cannot be read, it is damaged or of an unknown kind: {one_line(error, 400, named=True)}"
        ) from error


def trace_keras(function: tf.types.experimental.ConcreteFunction, request: TraceRequest) -> Graph:
    """The raw graph of the concrete function of a Keras model: its weights are variables, and no constant is one.

    Raises:
        TraceError: it cannot be followed.
    """
    return _import_program(replace(_concrete_program(function, request.name), frozen=False), request)


def _read_program(model: Any, request: TraceRequest) -> Program:
    """The program of a model in any form."""
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if path.name in SAVED_MODEL_FILES:
            path = path.parent
        read_file = saved_model.read_saved_model if path.is_dir() else saved_model.read_frozen_graph
        return read_file(path, request.name)
    if isinstance(model, graph_pb2.GraphDef):
        return saved_model.frozen_program(model, request.name or "graph", "the GraphDef")
    if not hasattr(model, "captured_inputs"):
        model = _function_of(model, request)
    return _concrete_program(model, request.name or _function_name(model))


def _function_of(model: Any, request: TraceRequest) -> tf.types.experimental.ConcreteFunction:
    """The concrete function of a tf.function, of a loaded SavedModel's signature, or of the call of a tf.Module.

    Raises:
        TraceError: it is none of these, or its inputs are not given.
    """
    if hasattr(model, "get_concrete_function"):
        return _concrete_function(model, request)
    functions = [name for name, item in vars(model).items() if hasattr(item, "get_concrete_function")]
    if getattr(model, "signatures", None) or (hasattr(model, "signatures") and not callable(model)):
        signature = saved_model.select_signature(list(model.signatures), functions, "the loaded model")
        return model.signatures[signature]
    if callable(model):
        call = model.__call__
        return _concrete_function(call if hasattr(call, "get_concrete_function") else tf.function(call), request)
    there = f"trace one of its functions {functions}" if functions else "trace a tf.function"
    raise TraceError(f"cannot trace a {type(model).__name__}, which cannot be called; {there}")


def _function_name(function: object) -> str:
    """The Python function's name, without TensorFlow's prefix and suffix."""
    name = getattr(function, "name", "function")
    name = name.decode() if isinstance(name, bytes) else str(name)
    return name.removeprefix("__inference_").rstrip("0123456789").strip("_") or "function"


def _concrete_function(
    function: tf.types.experimental.PolymorphicFunction, request: TraceRequest
) -> tf.types.experimental.ConcreteFunction:
    """The concrete function of a tf.function for the requested inputs."""
    specs = _requested_specs(request)
    try:
        if specs:
            return function.get_concrete_function(*specs)
        if function.input_signature is None:
            raise TraceError(
                "a tf.function without input_signature needs example inputs or input_shape=, "
                "for instance input_shape=(1, 224, 224, 3)"
            )
        return function.get_concrete_function()
    except TraceError:
        raise
    except Exception as error:
        raise TraceError(f"the tf.function cannot be traced: {one_line(error, 400, named=True)}") from error


def _requested_specs(request: TraceRequest) -> list[tf.TensorSpec]:
    """Specifications of the inputs that the request gives."""
    if request.inputs is not None and request.input_shape is not None:
        raise TraceError("trace takes example inputs or input_shape=, found both")
    if request.input_shape is not None:
        return [tf.TensorSpec(shape, tf.float32) for shape in shapes_from(request.input_shape)]
    if request.inputs is None:
        return []
    items = request.inputs if isinstance(request.inputs, tuple | list) else (request.inputs,)
    try:
        return [tf.nest.map_structure(_tensor_spec, item) for item in items]
    except (TypeError, ValueError, AttributeError) as error:
        raise TraceError(
            "the inputs must be tensors, arrays or tf.TensorSpec, "
            f"found {type(request.inputs).__name__}: {one_line(error, 400)}"
        ) from error


def _tensor_spec(item: Any) -> tf.TensorSpec:
    if isinstance(item, tf.TensorSpec):
        return item
    return tf.TensorSpec(
        tuple(item.shape), tf.as_dtype(getattr(item.dtype, "name", str(item.dtype).removeprefix("torch.")))
    )


def _concrete_program(function: tf.types.experimental.ConcreteFunction, name: str) -> Program:
    """The graph of a concrete function; its captured inputs are variables and constants made outside."""
    graph = function.graph
    num_inputs = len(graph.inputs) - len(function.captured_inputs)
    variables = {id(variable.handle): variable for variable in graph.variables}
    captures: dict[str, TFTensor] = {}
    for captured, placeholder in zip(function.captured_inputs, graph.inputs[num_inputs:], strict=True):
        variable = variables.get(id(captured))
        captures[placeholder.op.name] = (
            _captured_tensor(captured, placeholder)
            if variable is None
            else handle_of(_captured_variable(variable, placeholder))
        )
    definition = graph.as_graph_def()
    inputs = [_graph_input(placeholder) for placeholder in graph.inputs[:num_inputs]]
    nodes, functions = raise_loops(definition.node, functions_of(definition))
    program = Program(nodes, functions, inputs, _outputs(graph), captures, name=name)
    # made from a GraphDef, as convert_variables_to_constants_v2 does
    is_wrapped = isinstance(function, wrap_function.WrappedFunction)
    return replace(program, frozen=not graph.variables and (is_wrapped or weights_are_constants(program)))


def _graph_input(placeholder: tf.Tensor) -> GraphInput:
    name, shape = placeholder.op.name, placeholder.shape
    size = None if shape.rank is None else tuple(shape.as_list())
    return GraphInput(name, name, size, placeholder.dtype.as_datatype_enum)


def _captured_variable(variable: tf.Variable, placeholder: tf.Tensor) -> Variable:
    name = f"{variable.name.partition(':')[0]}#{placeholder.op.name}"
    return Variable(name, tuple(variable.shape.as_list()), variable.dtype.as_datatype_enum, bool(variable.trainable))


def _captured_tensor(captured: tf.Tensor, placeholder: tf.Tensor) -> TFTensor:
    """A tensor made outside the function, a constant, or the handle of a table or of another's variable."""
    dtype = placeholder.dtype.as_datatype_enum
    if placeholder.dtype == tf.resource:
        return TFTensor((), dtype)
    shape = placeholder.shape if placeholder.shape.is_fully_defined() else captured.shape
    if not shape.is_fully_defined():
        return TFTensor((), dtype, unsized=f"the captured tensor {placeholder.name!r} has an open size, {shape}")
    size = tuple(shape.as_list())
    is_small = prod(size) <= MAX_ELEMENTS and isinstance(captured, tf.__internal__.EagerTensor)
    is_number = placeholder.dtype.is_integer or placeholder.dtype.is_floating or placeholder.dtype.is_bool
    return TFTensor(size, dtype, captured.numpy() if is_small and is_number else None)


def _outputs(graph: tf.Graph) -> list[tuple[str, str]]:
    """Names of the outputs, and references to their tensors; a tensor that is returned twice is one output."""
    paths: dict[str, str] = {}
    for path, tensor in zip(_paths(graph), graph.outputs, strict=True):
        paths.setdefault(tensor.name, path)
    if not paths:
        raise TraceError("the function returns no tensor; a graph needs at least one output")
    return [(path, ref) for ref, path in paths.items()]


def _paths(graph: tf.Graph) -> list[str]:
    """A name for every output: "output", "output.1", "output.logits" ..."""
    numbered = [f"output.{index}" for index in range(len(graph.outputs))]
    if len(graph.outputs) == 1:
        return ["output"]
    structure = getattr(graph, "structured_outputs", None)
    if structure is None:
        return numbered
    paths = [".".join(str(part) for part in ("output", *path)) for path, _ in tree.flatten_with_tuple_paths(structure)]
    return paths if len(paths) == len(graph.outputs) else numbered


# --- sizes of the inputs


def _import_program(program: Program, request: TraceRequest) -> Graph:
    """The graph of one example."""
    check_expanded_size(program, request.limits)
    sizes = _input_sizes(program, request)
    names = [graph_input.name for graph_input in program.inputs]
    plan = plan_batch(request.batch, list(zip(names, sizes, strict=True)))
    return graph_of_one_example(plan, request.batch, partial(_imported, program, request, sizes))


def _imported(program: Program, request: TraceRequest, sizes: Sequence[Size], plan: BatchPlan) -> tuple[Tape, Graph]:
    """The tape and the graph of a program for inputs of these sizes, their batch axes as planned."""
    tape = plan.tape(request.strict)
    graph = TensorFlowImporter(program, tape, CONVERTERS, CONTROL_FLOW, request.limits).import_graph(
        plan.sizes(sizes), plan.axes, _contents(program, request)
    )
    return tape, graph


def _input_sizes(program: Program, request: TraceRequest) -> list[Size]:
    """The concrete sizes of the inputs: as requested, else as declared, with a batch of one where that is open."""
    requested = _requested_sizes(program, request)
    if not requested:
        return [_declared_size(program, graph_input, request) for graph_input in program.inputs]
    if len(requested) != len(program.inputs):
        names = [graph_input.name for graph_input in program.inputs]
        raise TraceError(f"{program.name}: has {len(names)} inputs {names}, found {len(requested)} shapes")
    for graph_input, size in zip(program.inputs, requested, strict=True):
        declared = graph_input.size
        fits = declared is None or (
            len(size) == len(declared) and all(n is None or n == m for n, m in zip(declared, size, strict=True))
        )
        if not fits or None in size:
            raise TraceError(f"{_input_label(program, graph_input)} does not take {size}")
    return list(requested)


def _requested_sizes(program: Program, request: TraceRequest) -> Sequence[Size]:
    """The sizes that the request gives, none if it does not; those in a dictionary go by the inputs' names."""
    if isinstance(request.inputs, dict):
        names = [graph_input.name for graph_input in program.inputs]
        if sorted(names) != sorted(request.inputs):
            raise TraceError(f"{program.name}: has inputs {names}, found {sorted(request.inputs)}")
        return [tuple(_tensor_spec(request.inputs[name]).shape) for name in names]
    specs = tf.nest.flatten(_requested_specs(request))
    return [tuple(spec.shape.as_list()) for spec in specs]


def _contents(program: Program, request: TraceRequest) -> list[AnyArray | None]:
    """Contents of the inputs of one element, where the request gives values; they decide which branches run."""
    given = request.inputs
    items = [given[i.name] for i in program.inputs] if isinstance(given, dict) else tf.nest.flatten(given)
    if given is None or len(items) != len(program.inputs):
        return [None] * len(program.inputs)
    return [_number(item) for item in items]


def _number(item: Any) -> AnyArray | None:
    """The contents of an example input, if it is one integer or truth value that is there."""
    if isinstance(item, tf.TensorSpec) or prod(item.shape) != 1:
        return None
    try:
        array = np.asarray(item)
    except (TypeError, ValueError, RuntimeError):  # symbolic tensors, those on meta devices
        return None
    return array if array.dtype.kind in "biu" else None


def _declared_size(program: Program, graph_input: GraphInput, request: TraceRequest) -> Size:
    """The size that an input declares; the batch, if open, is that of the request or 1."""
    label = _input_label(program, graph_input)
    if graph_input.size is None:
        raise TraceError(f"{label}: its rank is open; pass input_shape= or inputs=")
    batch = request.dims.get("batch", 1)
    batch_axis = request.batch.get(graph_input.name, 0) if isinstance(request.batch, Mapping) else request.batch
    size = tuple(batch if n is None and axis == batch_axis else n for axis, n in enumerate(graph_input.size))
    if None in size:
        raise TraceError(f"{label}: only the batch may be open; pass input_shape= or inputs=")
    return tuple(n for n in size if n is not None)


def _input_label(program: Program, graph_input: GraphInput) -> str:
    """How messages refer to an input."""
    return f"{program.name}: input {graph_input.name!r} of shape {graph_input.size}"
