"""Constant folding of TensorFlow operators: contents of small constants, computed by TensorFlow itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.eager import context, execute
from tensorflow.python.framework import tensor_util

from cgir import TraceError
from cgir.errors import one_line
from frontends.common.tape import Size

from .graph_def import FLOATING, RESOURCE, STRING, VARIANT, NodeDef, ResultSpecs, TFTensor, get_attribute
from .operator_checks import FOLDABLE

MAX_ELEMENTS = 4096  # of constants whose contents are kept


def constant_tensor(node: NodeDef) -> TFTensor:
    """The tensor of a Const; its contents if it is small."""
    proto = get_attribute(node, "value")
    size = tuple(dim.size for dim in proto.tensor_shape.dim)
    is_small = prod(size) <= MAX_ELEMENTS and proto.dtype not in (STRING, RESOURCE, VARIANT)
    try:
        return TFTensor(size, proto.dtype, tensor_util.MakeNdarray(proto) if is_small else None)
    except (ValueError, TypeError) as error:
        raise TraceError(
            f"node {node.name!r} (Const): its contents do not fill {size}; the file is damaged ({one_line(error, 300)})"
        ) from error


def constant_ints(tensor: TFTensor, role: str, node: NodeDef) -> tuple[int, ...]:
    """The integers in an operand that must be constant: axes, sizes, permutations.

    Args:
        tensor: the operand.
        role: what the integers are, for the message.
        node: that reads them.

    Raises:
        TraceError: they are computed from values of the inputs.
    """
    if tensor.data is None:
        raise TraceError(
            f"node {node.name!r} ({node.op}): its {role} depends on values of the inputs, and tracing knows sizes only"
        )
    return tuple(int(number) for number in np.asarray(tensor.data).ravel())


def is_foldable(definition: op_def_pb2.OpDef, inputs: Sequence[TFTensor], specs: ResultSpecs) -> bool:
    """Whether an operator is arithmetic on sizes and settings: integers, or single numbers.

    Args:
        definition: of the operator.
        inputs: its operands.
        specs: names and types of its results.
    """
    if definition.name not in FOLDABLE or not inputs or any(tensor.data is None for tensor in inputs):
        return False
    dtypes = {dtype for _, dtype in specs}
    if dtypes & {RESOURCE, VARIANT, STRING}:
        return False
    return not dtypes & FLOATING or all(tensor.data is not None and tensor.data.size <= 1 for tensor in inputs)


def evaluate(
    node: NodeDef,
    definition: op_def_pb2.OpDef,
    inputs: Sequence[TFTensor],
    specs: ResultSpecs,
    sizes: Sequence[Size],
) -> list[TFTensor] | None:
    """The results of an operator on constants, computed by TensorFlow.

    Args:
        node: the node.
        definition: of its operator.
        inputs: its operands, all of known contents.
        specs: names and types of its results.
        sizes: of its results.

    Returns:
        The results, None where they have too many elements, or the operator has no kernel for CPUs.
    """
    if any(prod(size) > MAX_ELEMENTS for size in sizes):
        return None
    tensors = [tf.constant(tensor.data, dtype=tf.as_dtype(tensor.dtype)) for tensor in inputs]
    attrs: list[object] = []
    for attribute in definition.attr:
        attrs += [attribute.name, get_attribute(node, attribute.name)]
    try:
        with tf.init_scope(), tf.device("CPU:0"):
            eager = [tf.convert_to_tensor(tensor) for tensor in tensors]
            results = execute.execute(node.op, len(specs), eager, tuple(attrs), context.context())
    except (tf.errors.OpError, TypeError, ValueError):
        return None
    return [
        TFTensor(tuple(result.shape), dtype, result.numpy()) for result, (_, dtype) in zip(results, specs, strict=True)
    ]
