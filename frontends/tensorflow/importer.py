"""TensorFlow functions, SavedModels and frozen graphs, and the concrete functions of Keras models.

The graph is read as TensorFlow wrote it: it is never frozen or optimised, and no value of a variable is read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.tape import Size, Tape
from frontends.common.trace_request import TraceRequest, import_optional, shapes_from

tf = import_optional("tensorflow", "a TensorFlow model", "tensorflow")

from tensorflow.core.framework import graph_pb2  # noqa: E402
from tensorflow.python.util import nest as tree  # noqa: E402

from . import saved_model as files  # noqa: E402
from .control_flow import CONTROLS  # noqa: E402
from .converters import CONVERTERS  # noqa: E402
from .graph_def import Entry, Program, Variable, functions_of  # noqa: E402
from .graph_walk import Walk  # noqa: E402


def trace(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of a ConcreteFunction, a tf.function, a loaded SavedModel, a GraphDef, or a file or folder with one
    of them.

    Raises:
        TraceError: the model, its file or its inputs are not what tracing needs.
    """
    try:
        return _walked(_program(model, request), request)
    except CgirError:
        raise
    except Exception as error:
        where = model if isinstance(model, str | os.PathLike) else f"the {type(model).__name__}"
        raise TraceError(
            f"{where} cannot be read, it is damaged or of an unknown kind: {one_line(error, 400, named=True)}"
        ) from error


def trace_keras(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of a Keras model's call at inference, through a concrete function.

    Raises:
        TraceError: its inputs' shapes are not known, or its call fails.
    """
    specs = _specs_of_request(request, getattr(model, "compute_dtype", None)) or _specs_of_keras(model)
    structure = getattr(model, "_inputs_struct", None)

    def call(*args: Any) -> Any:
        flat = tf.nest.flatten(args)
        fits = structure is not None and len(tf.nest.flatten(structure)) == len(flat)
        return model(
            tf.nest.pack_sequence_as(structure, flat) if fits else args[0] if len(args) == 1 else list(args),
            training=False,
        )

    function = tf.function(call, autograph=False)
    name = request.name or type(model).__name__
    try:
        concrete = function.get_concrete_function(*specs)
    except Exception as error:
        raise TraceError(
            f"{name}: its call fails on inputs {[tuple(spec.shape) for spec in specs]}: {one_line(error, 400, named=True)}"
        ) from error
    return _walked(_program_of_concrete(concrete, name), request._replace(inputs=None, input_shape=None))


def _program(model: Any, request: TraceRequest) -> Program:
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        if path.name == "saved_model.pb":
            path = path.parent
        return files.saved_model(path, request.name) if path.is_dir() else files.frozen_file(path, request.name)
    if isinstance(model, graph_pb2.GraphDef):
        return files.frozen(model, request.name or "graph", "the GraphDef")
    if hasattr(model, "get_concrete_function") and not hasattr(model, "captured_inputs"):
        model = _concrete(model, request)
    if hasattr(model, "signatures") and not hasattr(model, "captured_inputs"):
        model = model.signatures[files.pick(list(model.signatures), "the loaded model")]
    if not hasattr(model, "captured_inputs"):
        raise TraceError(
            f"cannot trace a {type(model).__name__}; wrap its Python function in tf.function, and trace that"
        )
    return _program_of_concrete(model, request.name or _name(model))


def _name(function: Any) -> str:
    """The Python function's name, without what TensorFlow puts around it."""
    name = getattr(function, "name", "function")
    name = name.decode() if isinstance(name, bytes) else str(name)
    return name.removeprefix("__inference_").rstrip("0123456789").strip("_") or "function"


def _concrete(function: Any, request: TraceRequest) -> Any:
    """The concrete function of a tf.function for the inputs asked for."""
    specs = _specs_of_request(request, None)
    try:
        if specs:
            return function.get_concrete_function(*specs)
        if function.input_signature is None:
            raise TraceError(
                "a tf.function without input_signature needs example inputs or input_shape=, for instance input_shape=(1, 224, 224, 3)"
            )
        return function.get_concrete_function()
    except TraceError:
        raise
    except Exception as error:
        raise TraceError(f"the tf.function cannot be traced: {one_line(error, 400, named=True)}") from error


def _specs_of_request(request: TraceRequest, dtype: Any) -> list[Any]:
    """Specifications of the inputs that the caller gave."""
    if request.inputs is not None and request.input_shape is not None:
        raise TraceError("trace takes example inputs or input_shape=, found both")
    if request.input_shape is not None:
        return [tf.TensorSpec(shape, tf.as_dtype(dtype or "float32")) for shape in shapes_from(request.input_shape)]
    if request.inputs is None:
        return []
    given = request.inputs if isinstance(request.inputs, tuple | list) else (request.inputs,)
    try:
        return [tf.nest.map_structure(_spec, item) for item in given]
    except (TypeError, ValueError, AttributeError) as error:
        raise TraceError(
            f"the inputs must be tensors, arrays or tf.TensorSpec, found {type(request.inputs).__name__}: {one_line(error, 400)}"
        ) from error


def _spec(item: Any) -> Any:
    if isinstance(item, tf.TensorSpec):
        return item
    return tf.TensorSpec(
        tuple(item.shape), tf.as_dtype(getattr(item.dtype, "name", str(item.dtype).removeprefix("torch.")))
    )


def _specs_of_keras(model: Any) -> list[Any]:
    try:
        tensors = tf.nest.flatten(model.inputs)
    except (AttributeError, ValueError):
        tensors = []
    if not tensors:
        raise TraceError(f"{type(model).__name__} does not know its inputs' shapes; pass input_shape= or inputs=")
    return [tf.TensorSpec(tuple(tensor.shape), tf.as_dtype(str(tensor.dtype)), name=tensor.name) for tensor in tensors]


def _program_of_concrete(function: Any, name: str) -> Program:
    """The graph of a concrete function; what it captured are variables and constants made outside."""
    graph = function.graph
    variables = {id(variable.handle): variable for variable in graph.variables}
    captured = list(
        zip(function.captured_inputs, graph.inputs[len(graph.inputs) - len(function.captured_inputs) :], strict=True)
    )
    handles: dict[str, Variable] = {}
    for outer, inner in captured:
        found = variables.get(id(outer))
        handles[inner.op.name] = _variable(found, inner) if found is not None else _constant(outer, inner)
    entries = [
        Entry(
            tensor.op.name,
            tensor.op.name,
            None if tensor.shape.rank is None else tuple(tensor.shape.as_list()),
            tensor.dtype.as_datatype_enum,
        )
        for tensor in graph.inputs[: len(graph.inputs) - len(captured)]
    ]
    definition = graph.as_graph_def()
    functions = functions_of(definition)
    return Program(definition.node, functions, entries, _outputs(graph), handles, name=name)


def _variable(variable: Any, inner: Any) -> Variable:
    name = f"{variable.name.partition(':')[0]}#{inner.op.name}"
    return Variable(name, tuple(variable.shape.as_list()), variable.dtype.as_datatype_enum, bool(variable.trainable))


def _constant(outer: Any, inner: Any) -> Variable:
    """A tensor made outside the function: it counts as a variable that is not trained."""
    shape = inner.shape if inner.shape.rank is not None else outer.shape
    size = tuple(n or 1 for n in shape.as_list()) if shape.rank is not None else ()
    return Variable(inner.op.name, size, inner.dtype.as_datatype_enum, False)


def _outputs(graph: Any) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for path, tensor in zip(_paths(graph), graph.outputs, strict=True):
        found.setdefault(tensor.name, path)
    if not found:
        raise TraceError("the function returns no tensor; a graph needs at least one output")
    return [(path, name) for name, path in found.items()]


def _paths(graph: Any) -> list[str]:
    """A name for every output: "output", "output.1", "output.logits" ..."""
    structure = getattr(graph, "structured_outputs", None)
    if structure is None or len(graph.outputs) == 1:
        return ["output"] if len(graph.outputs) == 1 else [f"output.{place}" for place in range(len(graph.outputs))]
    paths = [".".join(str(part) for part in ("output", *path)) for path, _ in tree.flatten_with_tuple_paths(structure)]
    return paths if len(paths) == len(graph.outputs) else [f"output.{place}" for place in range(len(graph.outputs))]


# --- sizes of the inputs


def _walked(program: Program, request: TraceRequest) -> Graph:
    sizes = _sizes(program, request)
    batch = next((size[0] for size in sizes if size), 1)
    return Walk(program, Tape(max(batch, 1), request.strict), CONVERTERS, CONTROLS).graph(sizes)


def _sizes(program: Program, request: TraceRequest) -> list[Size]:
    given = _given(program, request)
    if given and len(given) != len(program.inputs):
        names = [entry.name for entry in program.inputs]
        raise TraceError(f"{program.name}: has {len(names)} inputs {names}, found {len(given)} shapes")
    return [
        _size(program, entry, given[place] if given else None, request) for place, entry in enumerate(program.inputs)
    ]


def _given(program: Program, request: TraceRequest) -> Sequence[Size]:
    """The sizes asked for; those in a dictionary go by the inputs' names."""
    if isinstance(request.inputs, dict):
        names = [entry.name for entry in program.inputs]
        if sorted(names) != sorted(request.inputs):
            raise TraceError(f"{program.name}: has inputs {names}, found {sorted(request.inputs)}")
        return [tuple(_spec(request.inputs[name]).shape) for name in names]
    specs = tf.nest.flatten(_specs_of_request(request, None))
    return [tuple(spec.shape.as_list()) for spec in specs]


def _size(program: Program, entry: Entry, given: Size | None, request: TraceRequest) -> Size:
    """The size of an input: as asked for, else as declared, with a batch of one where that is open."""
    where = f"{program.name}: input {entry.name!r} of shape {entry.size}"
    if given is not None:
        fits = entry.size is None or (
            len(given) == len(entry.size) and all(n is None or n == m for n, m in zip(entry.size, given, strict=True))
        )
        if not fits or None in given:
            raise TraceError(f"{where} does not take {given}")
        return given
    if entry.size is None:
        raise TraceError(f"{where}: its rank is open; pass input_shape= or inputs=")
    size = tuple(request.dims.get("batch", 1) if n is None and axis == 0 else n for axis, n in enumerate(entry.size))
    if None in size:
        raise TraceError(f"{where}: only the batch may be open; pass input_shape= or inputs=")
    return tuple(n for n in size if n is not None)
