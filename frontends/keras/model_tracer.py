"""Keras 3 models on any backend: the calls that Keras recorded, walked with concrete shapes.

Functional and Sequential models and single layers are walked; the code of custom layers and of subclassed models is run
on shapes alone. What that cannot follow (TensorFlow functions inside) is left to the TensorFlow frontend. No weight is
read, and the model is as it was afterwards.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.tape import Size, Tape, Value
from frontends.common.trace_request import TraceRequest, import_optional, shapes_from

keras = import_optional("keras", "a Keras model", "tensorflow")

from . import layer_converters as keras_layers  # noqa: E402  (they import keras, whose absence has its own message above)
from . import op_converters as keras_ops  # noqa: E402
from . import sequence_layer_converters as keras_sequence  # noqa: E402
from . import weightless_layer_converters as keras_shapes  # noqa: E402
from .importer import UnfollowedError, Walk, untouched  # noqa: E402

LAYER_CONVERTERS = {**keras_layers.LAYER_CONVERTERS, **keras_shapes.LAYER_CONVERTERS, **keras_sequence.LAYER_CONVERTERS}


class Given(NamedTuple):
    """The inputs' names, sizes and types, and the arguments of the call (args, kwargs), nested, with one leaf for each."""

    names: list[str]
    sizes: list[Size]
    dtypes: list[str]
    nested: Any

    def filled(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with these leaves."""
        args, kwargs = keras.tree.pack_sequence_as(self.nested, list(leaves))
        return args, kwargs


def trace(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of a Keras model, layer or file.

    Raises:
        TraceError: the file cannot be loaded, shapes are missing or do not fit, or the model's code cannot be followed.
    """
    if isinstance(model, str | os.PathLike):
        request = request._replace(name=request.name or Path(model).stem)
        model = _loaded(Path(model))
    if not isinstance(model, keras.Layer):
        raise TraceError(
            f"cannot trace the Keras operation {type(model).__name__} by itself; call it in a keras.Model, or trace the model it is in"
        )
    request = request._replace(name=request.name or model.name)
    given = _inputs(model, request)
    model = _built(model, given)
    try:
        with untouched(layers := model._flatten_layers()):
            return _walked(model, request, given)
    except UnfollowedError as error:
        if keras.backend.backend() != "tensorflow":
            raise TraceError(f"{request.name}: the code cannot be run on shapes alone, {error}") from error
        with untouched(layers):
            return _as_function(model, request, given, error)


def _as_function(model: Any, request: TraceRequest, given: Given, reason: Exception) -> Graph:
    """The graph of the model's concrete function, called on inputs of these sizes."""
    from frontends.tensorflow import importer as tf_function

    args, kwargs = given.filled(
        [keras.KerasTensor(size, dtype) for size, dtype in zip(given.sizes, given.dtypes, strict=True)]
    )
    try:
        graph: Graph = tf_function.trace_keras(
            model, request._replace(inputs=(*args, *kwargs.values()), input_shape=None)
        )
    except TraceError as second:
        raise TraceError(
            f"{request.name}: neither as Keras operations ({reason}) nor as a TensorFlow function ({second})"
        ) from second
    return graph


def _walked(model: Any, request: TraceRequest, given: Given) -> Graph:
    name = request.name
    tape = Tape(batch=max(given.sizes[0][0], 1) if given.sizes[0] else 1, strict=request.strict)
    walk = Walk(tape, model, LAYER_CONVERTERS, keras_ops.OP_CONVERTERS)
    values = [walk.input(*each) for each in zip(given.names, given.sizes, given.dtypes, strict=True)]
    function = _function(model)
    try:
        if function is not None:
            result = walk.function(function, values)
        else:
            args, kwargs = given.filled(values)
            result = walk.call(model, *args, **kwargs)
    except CgirError:
        raise
    except Exception as error:
        raise TraceError(f"{name}: {walk.where()} cannot be followed: {one_line(error, named=True)}") from error
    leaves = [(path, leaf) for path, leaf in keras.tree.flatten_with_path(result) if isinstance(leaf, Value)]
    if not leaves:
        raise TraceError(
            f"{name}: the call returned no tensor, found {type(result).__name__}; a graph needs at least one output"
        )
    for path, leaf in leaves:
        tape.output(leaf, leaf.size, ".".join(("output", *map(str, path))))
    return Graph(tuple(tape.nodes), name)


def _function(model: Any) -> Any:
    """The recorded calls of a model without a `call` of its own, or None."""
    function = model._functional if isinstance(model, keras.Sequential) else model
    written = any("call" in vars(base) for base in type(model).__mro__ if not base.__module__.startswith("keras."))
    return function if isinstance(function, keras.Function) and not written else None


# --- files


def _loaded(path: Path) -> Any:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        text = one_line(error)
        if "Lambda" in text and "safe" in text:
            text = "it holds a Lambda layer, that is Python code, which cgir does not load; build the model in Python and trace that"
        elif "Could not locate" in text or "Unknown layer" in text:
            text = f"a custom class is not known here; register it with keras.saving.register_keras_serializable, or build the model in Python ({text[:120]})"
        raise TraceError(f"{path}: Keras cannot load this file: {text[:400]}") from error


# --- inputs


def _inputs(model: Any, request: TraceRequest) -> Given:
    """What the model is called on."""
    function = _function(model)
    if request.inputs is not None and request.input_shape is not None:
        raise TraceError("trace takes example inputs or input_shape=, found both; pass one of them")
    if function is not None:
        tensors = list(function.inputs)
        given = _given(function, request)
        sizes = [_size(tensor, size) for tensor, size in zip(tensors, given, strict=True)]
        nested = (keras.tree.map_structure(lambda tensor: tensor.name, function._inputs_struct),)
        return Given([tensor.name for tensor in tensors], sizes, [tensor.dtype for tensor in tensors], (nested, {}))
    return _free_inputs(model, request)


def _given(function: Any, request: TraceRequest) -> Sequence[Size | None]:
    """The sizes that the caller gives for the inputs of a recorded model, in its order; None where there is none."""
    tensors = function.inputs
    if request.inputs is None and request.input_shape is None:
        return [None] * len(tensors)
    if isinstance(request.inputs, Mapping) and not isinstance(function._inputs_struct, Mapping):
        missing = [tensor.name for tensor in tensors if tensor.name not in request.inputs]
        if missing:
            raise TraceError(
                f"inputs lack {', '.join(missing)}; the model's inputs are {', '.join(tensor.name for tensor in tensors)}"
            )
        return [tuple(request.inputs[tensor.name].shape) for tensor in tensors]
    sizes = (
        shapes_from(request.input_shape)
        if request.inputs is None
        else [tuple(leaf.shape) for leaf in keras.tree.flatten(request.inputs)]
    )
    if len(sizes) != len(tensors):
        named = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors)
        raise TraceError(f"the model has {len(tensors)} inputs ({named}), found {len(sizes)} shapes")
    return sizes


def _size(tensor: Any, given: Size | None) -> Size:
    """The concrete size of an input: what is given, else the model's own with a batch of one."""
    known = tuple(tensor.shape)
    if given is None:
        if any(n is None for n in known[1:]):
            example = tuple(n or (1 if axis == 0 else 224 if len(known) > 3 else 16) for axis, n in enumerate(known))
            raise TraceError(
                f"input {tensor.name!r} has open dimensions, {known}; say how large they are, for instance input_shape={example}"
            )
        return tuple(n or 1 for n in known)
    if len(given) != len(known) or any(n not in (None, size) for n, size in zip(known, given, strict=True)):
        raise TraceError(f"input {tensor.name!r} of the model has shape {known}, which does not fit the given {given}")
    return given


def _free_inputs(model: Any, request: TraceRequest) -> Given:
    """Inputs of a layer or subclassed model: those given, else those it was built with."""
    shapes: Any = shapes_from(request.input_shape) if request.input_shape is not None else None
    if request.inputs is None and shapes is None:
        shapes = _built_shapes(model)
    dtype = keras.config.floatx()
    inputs = request.inputs if shapes is None else tuple(keras.KerasTensor(shape, dtype) for shape in shapes)
    args, kwargs = _arguments(model, inputs)
    leaves = keras.tree.flatten_with_path((args, kwargs))
    if not leaves or not all(hasattr(leaf, "shape") for _, leaf in leaves):
        raise TraceError(
            f"the inputs must be tensors or arrays, found {type(request.inputs).__name__}; or pass input_shape="
        )
    names = ["_".join(map(str, path[1:])) if len(leaves) > 1 else "input" for path, _ in leaves]
    dtypes = [keras.backend.standardize_dtype(getattr(leaf, "dtype", dtype)) for _, leaf in leaves]
    return Given(
        names,
        [tuple(map(int, leaf.shape)) for _, leaf in leaves],
        dtypes,
        keras.tree.map_structure(lambda leaf: "", (args, kwargs)),
    )


def _built_shapes(model: Any) -> list[Size]:
    shapes = list((getattr(model, "_build_shapes_dict", None) or {}).values())
    if not shapes or not all(
        isinstance(s, tuple | list) and s and all(n is None or isinstance(n, int) for n in s) for s in shapes
    ):
        raise TraceError(
            f"{type(model).__name__} does not know its input shapes; pass example inputs or input_shape=, for instance input_shape=(1, 224, 224, 3)"
        )
    if any(n is None for shape in shapes for n in shape[1:]):
        raise TraceError(
            f"{type(model).__name__} was built with open dimensions, {shapes}; pass input_shape= without them"
        )
    return [tuple(n or 1 for n in shape) for shape in shapes]


def _arguments(model: Any, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of `call`: a dictionary of its parameters' names is by keyword, a tuple by position, a list if the call
    takes one argument.
    """
    signature = inspect.signature(model.call)
    if type(inputs) is dict and set(inputs) <= set(signature.parameters):
        return (), inputs
    args = inputs if type(inputs) is tuple else (inputs,)
    taken = [
        p for p in signature.parameters.values() if p.name not in ("training", "mask") and p.kind is not p.KEYWORD_ONLY
    ]
    if len(args) > 1 and len(taken) < len(args) and not any(p.kind is p.VAR_POSITIONAL for p in taken):
        args = (list(args),)
    return args, {}


def _built(model: Any, given: Given) -> Any:
    """The model itself if it has its weights' shapes, else a built copy made from its configuration: the user's stays
    unbuilt.
    """
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
        args, kwargs = given.filled(
            [keras.KerasTensor(size, dtype) for size, dtype in zip(given.sizes, given.dtypes, strict=True)]
        )
        copy(*args, **kwargs)
    except Exception as error:
        text = one_line(error, 120)
        raise TraceError(
            f"{type(model).__name__} has no weights yet and cannot be built from its configuration ({text}); call it once on example inputs"
        ) from error
    return copy
