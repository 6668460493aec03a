"""Entry point of the Keras frontend: Keras 3 models on any backend, followed with concrete shapes.

Functional and Sequential models are followed by the calls that Keras recorded; the code of custom layers and of
subclassed models is run on symbolic tensors. Models that this cannot follow (TensorFlow functions inside) go to the
TensorFlow frontend. No weight is read, and the model is unchanged afterwards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.batch_axis import BatchPlan, graph_of_one_example, plan_batch
from frontends.common.tape import Size, Tape, Value
from frontends.common.trace_request import TraceRequest, import_optional, shapes_from

if TYPE_CHECKING:
    import keras
else:
    keras = import_optional("keras", "a Keras model", "tensorflow")

# these import keras, whose absence has its own message above
from . import layer_converters, sequence_layer_converters, weightless_layer_converters
from .call_arguments import call_arguments
from .converters import OP_CONVERTERS
from .graph_walk import KerasImporter, UnfollowedError
from .layer_state import preserve_layers
from .model_files import load_model

LAYER_CONVERTERS = {
    **layer_converters.LAYER_CONVERTERS,
    **weightless_layer_converters.LAYER_CONVERTERS,
    **sequence_layer_converters.LAYER_CONVERTERS,
}


class ModelInputs(NamedTuple):
    """The inputs' names, sizes and types; `structure` is (args, kwargs) of the call, nested, with a leaf for each."""

    names: list[str]
    sizes: list[Size]
    dtypes: list[str]
    structure: Any

    def fill(self, leaves: Sequence[object]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with these leaves."""
        args, kwargs = keras.tree.pack_sequence_as(self.structure, list(leaves))
        return args, kwargs

    def symbolic_arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with symbolic tensors for the inputs."""
        return self.fill([keras.KerasTensor(size, dtype) for size, dtype in zip(self.sizes, self.dtypes, strict=True)])


def trace(model: keras.Operation | str | os.PathLike[str], request: TraceRequest) -> Graph:
    """The raw graph of a Keras model, layer or file.

    Raises:
        TraceError: the file cannot be loaded, shapes are missing or do not fit, or the model's code cannot be followed.
    """
    if isinstance(model, str | os.PathLike):
        request = request._replace(name=request.name or Path(model).stem)
        model = load_model(Path(model), request.limits)
    if not isinstance(model, keras.Layer):
        raise TraceError(
            f"cannot trace the Keras operation {type(model).__name__} by itself; call it in a keras.Model, "
            "or trace the model it is in"
        )
    request = request._replace(name=request.name or model.name)
    inputs = _model_inputs(model, request)
    model = _built_model(model, inputs)
    try:
        with preserve_layers(layers := model._flatten_layers()):
            return _import_examples(model, request, inputs)
    except UnfollowedError as error:
        if keras.backend.backend() != "tensorflow":
            raise TraceError(f"{request.name}: the code cannot be run on shapes alone, {error}") from error
        with preserve_layers(layers):
            return _trace_as_function(model, request, inputs, error)


def _trace_as_function(model: keras.Layer, request: TraceRequest, inputs: ModelInputs, reason: Exception) -> Graph:
    """The graph of the model's concrete function, called on inputs of these sizes."""
    import tensorflow as tf

    from .function_importer import import_function

    def call(*leaves: tf.Tensor) -> object:
        args, kwargs = inputs.fill(leaves)
        return model(*args, training=False, **kwargs)

    specs = [
        tf.TensorSpec(size, dtype, name=_plain(name))
        for name, size, dtype in zip(inputs.names, inputs.sizes, inputs.dtypes, strict=True)
    ]
    if isinstance(request.batch, Mapping):
        request = request._replace(batch={_plain(name): axis for name, axis in request.batch.items()})
    try:
        return import_function(call, specs, request)
    except TraceError as second:
        raise TraceError(
            f"{request.name}: neither as Keras operations ({reason}) nor as a TensorFlow function ({second})"
        ) from second


def _plain(name: str) -> str:
    """A name that TensorFlow takes for an operator."""
    return re.sub(r"\W", "_", name)


def _import_examples(model: keras.Layer, request: TraceRequest, inputs: ModelInputs) -> Graph:
    """The graph of one example."""
    plan = plan_batch(request.batch, list(zip(inputs.names, inputs.sizes, strict=True)))
    return graph_of_one_example(plan, request.batch, partial(_import_calls, model, request, inputs))


def _import_calls(
    model: keras.Layer, request: TraceRequest, inputs: ModelInputs, plan: BatchPlan
) -> tuple[Tape, Graph]:
    """The tape and the graph of the calls that Keras recorded, or that running the model's code records."""
    name = request.name
    tape = plan.tape(request.strict)
    inputs = inputs._replace(sizes=plan.sizes(inputs.sizes))
    importer = KerasImporter(tape, model, LAYER_CONVERTERS, OP_CONVERTERS)
    specs = zip(inputs.names, inputs.sizes, inputs.dtypes, plan.axes, strict=True)
    values = [importer.input(*spec) for spec in specs]
    function = _recorded_function(model)
    try:
        if function is not None:
            result = importer.import_function(function, values)
        else:
            args, kwargs = inputs.fill(values)
            result = importer.import_call(model, *args, **kwargs)
    except CgirError:
        raise
    except Exception as error:
        raise TraceError(f"{name}: {importer.location()} cannot be followed: {one_line(error, named=True)}") from error
    leaves = [(path, leaf) for path, leaf in keras.tree.flatten_with_path(result) if isinstance(leaf, Value)]
    if not leaves:
        raise TraceError(
            f"{name}: the call returned no tensor, found {type(result).__name__}; a graph needs at least one output"
        )
    for path, leaf in leaves:
        tape.output(leaf, leaf.size, ".".join(("output", *map(str, path))))
    return tape, tape.graph(name)


def _recorded_function(model: keras.Layer) -> keras.Function | None:
    """The recorded calls of a model without a `call` of its own, or None."""
    function = model._functional if isinstance(model, keras.Sequential) else model
    has_call = any("call" in vars(base) for base in type(model).__mro__ if not base.__module__.startswith("keras."))
    return function if isinstance(function, keras.Function) and not has_call else None


# --- inputs


def _model_inputs(model: keras.Layer, request: TraceRequest) -> ModelInputs:
    """The inputs that the model is called on: those of its recorded calls, else those of the request."""
    function = _recorded_function(model)
    if request.inputs is not None and request.input_shape is not None:
        raise TraceError("trace takes example inputs or input_shape=, found both; pass one of them")
    if function is not None:
        tensors = list(function.inputs)
        requested = _requested_sizes(function, request)
        sizes = [_input_size(tensor, size) for tensor, size in zip(tensors, requested, strict=True)]
        args = (keras.tree.map_structure(lambda tensor: tensor.name, function._inputs_struct),)
        return ModelInputs([tensor.name for tensor in tensors], sizes, [tensor.dtype for tensor in tensors], (args, {}))
    return _free_inputs(model, request)


def _requested_sizes(function: keras.Function, request: TraceRequest) -> Sequence[Size | None]:
    """The sizes that the caller gives for the inputs of a recorded model, in its order; None where there is none."""
    tensors = function.inputs
    if request.inputs is None and request.input_shape is None:
        return [None] * len(tensors)
    if isinstance(request.inputs, Mapping) and not isinstance(function._inputs_struct, Mapping):
        missing = [tensor.name for tensor in tensors if tensor.name not in request.inputs]
        if missing:
            raise TraceError(
                f"inputs lack {', '.join(missing)}; "
                f"the model's inputs are {', '.join(tensor.name for tensor in tensors)}"
            )
        return [tuple(request.inputs[tensor.name].shape) for tensor in tensors]
    sizes = (
        shapes_from(request.input_shape)
        if request.input_shape is not None
        else [tuple(leaf.shape) for leaf in keras.tree.flatten(request.inputs)]
    )
    if len(sizes) != len(tensors):
        named = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors)
        raise TraceError(f"the model has {len(tensors)} inputs ({named}), found {len(sizes)} shapes")
    return sizes


def _input_size(tensor: keras.KerasTensor, requested: Size | None) -> Size:
    """The concrete size of an input: as requested, else the model's own with a batch of one."""
    declared = tuple(tensor.shape)
    if requested is None:
        if any(n is None for n in declared[1:]):
            default = 224 if len(declared) > 3 else 16
            example = tuple(n or (1 if axis == 0 else default) for axis, n in enumerate(declared))
            raise TraceError(
                f"input {tensor.name!r} has open dimensions, {declared}; say how large they are, "
                f"for instance input_shape={example}"
            )
        return tuple(n or 1 for n in declared)
    if len(requested) != len(declared) or any(
        n not in (None, size) for n, size in zip(declared, requested, strict=True)
    ):
        raise TraceError(
            f"input {tensor.name!r} of the model has shape {declared}, which does not fit the given {requested}"
        )
    return requested


def _free_inputs(model: keras.Layer, request: TraceRequest) -> ModelInputs:
    """Inputs of a layer or subclassed model: those given, else those it was built with."""
    shapes: Sequence[Size] | None = shapes_from(request.input_shape) if request.input_shape is not None else None
    if request.inputs is None and shapes is None:
        shapes = _built_shapes(model)
    dtype = keras.config.floatx()
    inputs = request.inputs if shapes is None else tuple(keras.KerasTensor(shape, dtype) for shape in shapes)
    args, kwargs = call_arguments(model.call, inputs)
    leaves = keras.tree.flatten_with_path((args, kwargs))
    if not leaves or not all(hasattr(leaf, "shape") for _, leaf in leaves):
        raise TraceError(
            f"the inputs must be tensors or arrays, found {type(request.inputs).__name__}; or pass input_shape="
        )
    names = ["_".join(map(str, path[1:])) if len(leaves) > 1 else "input" for path, _ in leaves]
    dtypes = [keras.backend.standardize_dtype(getattr(leaf, "dtype", dtype)) for _, leaf in leaves]
    return ModelInputs(
        names,
        [tuple(map(int, leaf.shape)) for _, leaf in leaves],
        dtypes,
        keras.tree.map_structure(lambda leaf: "", (args, kwargs)),
    )


def _built_shapes(model: keras.Layer) -> list[Size]:
    """The shapes that a model was built with."""
    shapes = list((getattr(model, "_build_shapes_dict", None) or {}).values())
    if not shapes or not all(
        isinstance(s, tuple | list) and s and all(n is None or isinstance(n, int) for n in s) for s in shapes
    ):
        raise TraceError(
            f"{type(model).__name__} does not know its input shapes; pass example inputs or input_shape=, "
            "for instance input_shape=(1, 224, 224, 3)"
        )
    if any(n is None for shape in shapes for n in shape[1:]):
        raise TraceError(
            f"{type(model).__name__} was built with open dimensions, {shapes}; pass input_shape= without them"
        )
    return [tuple(n or 1 for n in shape) for shape in shapes]


def _built_model(model: keras.Layer, inputs: ModelInputs) -> keras.Layer:
    """The model itself if it is built, else a copy built from its configuration: the user's stays unbuilt."""
    if model.built:
        return model
    try:
        classes = {
            type(layer).__name__: type(layer)
            for layer in model._flatten_layers()
            if not type(layer).__module__.startswith("keras.")
        }
        with keras.saving.custom_object_scope(classes):
            copy = type(model).from_config(model.get_config())
        args, kwargs = inputs.symbolic_arguments()
        copy(*args, **kwargs)
    except Exception as error:
        text = one_line(error, 120)
        raise TraceError(
            f"{type(model).__name__} has no weights yet and cannot be built from its configuration ({text}); "
            "call it once on example inputs"
        ) from error
    return copy
