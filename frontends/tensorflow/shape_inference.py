"""What TensorFlow itself knows of an operator: the sizes of its results, and its value where all operands are small
constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import node_def_pb2, op_def_pb2
from tensorflow.python.eager import context, execute
from tensorflow.python.framework import ops, tensor_util

from cgir import TraceError
from cgir.errors import one_line
from cgir.ops import OPS, TF_NAMES
from cgir.typing import AnyArray
from frontends.common.tape import Size

from .graph_def import FLOATING, RESOURCE, STRING, VARIANT, Item, NodeDef, Outputs, attr, name_of_type

SMALL = 4096  # elements up to which constants are kept with their values
UNARY = frozenset(name for name, op in TF_NAMES.items() if OPS[op].category in ("activation", "identity", "unary") and op not in ("FFT", "Sort")) - {
    "Bitcast", "IdentityN", "ReadVariableOp", "RFFT", "IRFFT",
}  # fmt: skip
BINARY = frozenset(name for name, op in TF_NAMES.items() if OPS[op].category == "arithmetic") - {"AddN", "Select"}


class Shapes:
    """Sizes of results by TensorFlow's shape functions, one operator at a time in a graph of its own."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._graph = tf.Graph()
        self._count = 0
        self._placeholders: dict[tuple[int, Size], Any] = {}

    def sizes(self, node: NodeDef, definition: op_def_pb2.OpDef, items: Sequence[Item], outputs: Outputs) -> list[Size]:
        """The size of every result.

        Raises:
            TraceError: TensorFlow refuses the operands, or a size depends on values.
        """
        if node.op in UNARY and len(outputs) == 1:
            return [items[0].size]
        if node.op in BINARY and len(outputs) == 1:
            try:
                return [tuple(np.broadcast_shapes(*(item.size for item in items)))]
            except ValueError as error:
                raise TraceError(
                    f"node {node.name!r} ({node.op}): operands of sizes {[item.size for item in items]} do not fit each other"
                ) from error
        # TensorFlow keeps a variable's shape outside its graph
        if node.op == "ResourceGather" and items[0].variable is not None:
            return [items[1].size + items[0].variable.size[1 + attr(node, "batch_dims") :]]
        self._count += 1
        if self._count > 2000:
            self._renew()
        clean = _standalone(node, definition, f"n{self._count}")
        try:
            with self._graph.as_default():
                made = ops.Operation.from_node_def(
                    clean, self._graph, inputs=[self._operand(item) for item in items], op_def=definition
                )
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise TraceError(
                f"node {node.name!r} ({node.op}): TensorFlow refuses operands of sizes {[item.size for item in items]}: {one_line(error, 300)}"
            ) from error
        return [_known(node, output.shape) for output in made.outputs]

    def _operand(self, item: Item) -> Any:
        if item.data is not None and item.dtype not in FLOATING:
            return tf.constant(item.data, dtype=tf.as_dtype(item.dtype))
        key = (item.dtype, () if item.dtype in (RESOURCE, VARIANT) else item.size)
        if key not in self._placeholders:
            self._placeholders[key] = tf.compat.v1.placeholder(tf.as_dtype(key[0]), key[1])
        return self._placeholders[key]


def _standalone(node: NodeDef, definition: op_def_pb2.OpDef, name: str) -> node_def_pb2.NodeDef:
    """The node without its place in the graph: no inputs, device or colocation."""
    clean = node_def_pb2.NodeDef(name=name, op=node.op)
    for known in definition.attr:
        if known.name in node.attr:
            clean.attr[known.name].CopyFrom(node.attr[known.name])
        elif known.HasField("default_value"):
            clean.attr[known.name].CopyFrom(known.default_value)
    return clean


def _known(node: NodeDef, shape: tf.TensorShape) -> Size:
    if shape.rank is None or None in shape.as_list():
        raise TraceError(
            f"node {node.name!r} ({node.op}): the size of its result, {shape}, depends on values, and tracing knows sizes only; "
            "trace a part of the model that ends before it, or one whose sizes are fixed"
        )
    return tuple(shape.as_list())


def constant(node: NodeDef) -> Item:
    """The tensor of a Const; its contents if it is small."""
    proto = attr(node, "value")
    size = tuple(dim.size for dim in proto.tensor_shape.dim)
    small = prod(size) <= SMALL and proto.dtype not in (STRING, RESOURCE, VARIANT)
    try:
        return Item(size, proto.dtype, tensor_util.MakeNdarray(proto) if small else None)
    except (ValueError, TypeError) as error:
        raise TraceError(
            f"node {node.name!r} (Const): its contents do not fill {size}; the file is damaged ({one_line(error, 300)})"
        ) from error


def foldable(definition: op_def_pb2.OpDef, items: Sequence[Item], outputs: Outputs) -> bool:
    """Whether an operator is arithmetic on sizes and settings: integers, or single numbers."""
    if definition.is_stateful or not items or any(item.data is None for item in items):
        return False
    kinds = {kind for _, kind in outputs}
    if kinds & {RESOURCE, VARIANT, STRING}:
        return False
    return not kinds & FLOATING or all(item.data is not None and item.data.size <= 1 for item in items)


def evaluated(
    node: NodeDef, definition: op_def_pb2.OpDef, items: Sequence[Item], outputs: Outputs, sizes: Sequence[Size]
) -> list[Item] | None:
    """The results' values, computed by TensorFlow; None where they are too many, or it has no CPU kernel."""
    if any(prod(size) > SMALL for size in sizes):
        return None
    inputs = [tf.constant(item.data, dtype=tf.as_dtype(item.dtype)) for item in items]
    attrs: list[Any] = []
    for known in definition.attr:
        attrs += [known.name, attr(node, known.name)]
    try:
        with tf.init_scope(), tf.device("CPU:0"):
            results = execute.execute(node.op, len(outputs), _flat(inputs), tuple(attrs), context.context())
    except (tf.errors.OpError, TypeError, ValueError):
        return None
    return [Item(tuple(result.shape), kind, result.numpy()) for result, (_, kind) in zip(results, outputs, strict=True)]


def _flat(inputs: list[Any]) -> list[Any]:
    return [tf.convert_to_tensor(tensor) for tensor in inputs]


def numbers(item: Item, what: str, node: NodeDef) -> tuple[int, ...]:
    """The integers in an operand that must be constant: axes, sizes, permutations.

    Raises:
        TraceError: it is computed from values of the inputs.
    """
    if item.data is None:
        raise TraceError(
            f"node {node.name!r} ({node.op}): its {what} depends on values of the inputs, and tracing knows sizes only"
        )
    data: AnyArray = np.asarray(item.data)
    return tuple(int(number) for number in data.ravel())


__all__ = ["Shapes", "constant", "evaluated", "foldable", "name_of_type", "numbers"]
