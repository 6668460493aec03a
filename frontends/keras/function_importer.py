"""Keras models through a TensorFlow function: code that is no Keras operation, and models of tf_keras (Keras 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cgir import Graph, TraceError
from cgir.errors import one_line
from frontends.common.trace_request import TraceRequest, import_optional, shapes_from
from frontends.tensorflow import importer

from .call_arguments import call_arguments

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = import_optional("tensorflow", "a Keras model", "tensorflow")


def trace(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of a model or layer of tf_keras, at inference.

    Raises:
        TraceError: it is not built, shapes are missing or do not fit, or its call fails.
    """
    name = request.name or model.name
    if not model.built:
        raise TraceError(f"{name} ({type(model).__name__}) has no weights yet; call it once on example inputs")
    args, kwargs = _arguments(model, request)
    structure, specs = (args, kwargs), tf.nest.flatten((args, kwargs))

    def call(*leaves: tf.Tensor) -> object:
        args, kwargs = tf.nest.pack_sequence_as(structure, leaves)
        return model(*args, training=False, **kwargs)

    with _preserved_losses(model):
        return import_function(call, specs, request._replace(name=name))


def import_function(call: Callable[..., object], specs: Sequence[tf.TensorSpec], request: TraceRequest) -> Graph:
    """The raw graph of a Python function of TensorFlow.

    Args:
        call: the function, of one tensor for each specification.
        specs: of its inputs.
        request: has the graph's name.

    Raises:
        TraceError: the function fails on inputs of these sizes, or cannot be followed.
    """
    try:
        concrete = tf.function(call, autograph=False).get_concrete_function(*specs)
    except Exception as error:
        raise TraceError(
            f"{request.name}: its call fails on inputs {[tuple(spec.shape) for spec in specs]}: "
            f"{one_line(error, 400, named=True)}"
        ) from error
    return importer.trace_keras(concrete, request._replace(inputs=None, input_shape=None))


def _arguments(model: Any, request: TraceRequest) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Specifications of the inputs, as the arguments of the model's call."""
    if request.inputs is not None and request.input_shape is not None:
        raise TraceError("trace takes example inputs or input_shape=, found both; pass one of them")
    if request.inputs is not None:
        args, kwargs = call_arguments(model.call, request.inputs)
        return tf.nest.map_structure(_spec, args), tf.nest.map_structure(_spec, kwargs)
    declared = _declared_specs(model)
    if request.input_shape is not None:
        shapes = shapes_from(request.input_shape)
        dtypes = (
            [spec.dtype for spec in declared] if len(declared) == len(shapes) else [model.compute_dtype] * len(shapes)
        )
        declared = [tf.TensorSpec(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    if not declared:
        raise TraceError(f"{type(model).__name__} does not know its inputs' shapes; pass input_shape= or inputs=")
    return call_arguments(model.call, declared[0] if len(declared) == 1 else tuple(declared))


def _declared_specs(model: Any) -> list[tf.TensorSpec]:
    """The inputs that the model declares, none if it does not."""
    try:
        tensors = tf.nest.flatten(getattr(model, "inputs", None) or [])
    except (AttributeError, ValueError):
        return []
    return [tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in tensors]


def _spec(item: Any) -> tf.TensorSpec:
    if isinstance(item, tf.TensorSpec):
        return item
    if not hasattr(item, "shape") or not hasattr(item, "dtype"):
        raise TraceError(f"the inputs must be tensors or arrays, found {type(item).__name__}; or pass input_shape=")
    name = getattr(item.dtype, "name", str(item.dtype).removeprefix("torch."))
    return tf.TensorSpec(tuple(item.shape), tf.as_dtype(name))


@contextmanager
def _preserved_losses(model: Any) -> Iterator[None]:
    """Remove the losses that calls in the `with` block add to layers."""
    before = [(layer, list(layer._losses)) for layer in model._flatten_layers()]
    try:
        yield
    finally:
        for layer, losses in before:
            layer._losses[:] = losses
