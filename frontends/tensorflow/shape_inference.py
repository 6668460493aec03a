"""Shape inference of one TensorFlow operator at a time, by TensorFlow's own shape functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import node_def_pb2, op_def_pb2
from tensorflow.python.framework import ops

from cgir import CgirError, TraceError
from cgir.errors import one_line
from cgir.limits import DEFAULT, Limits
from cgir.ops import OPS, TF_NAMES
from frontends.common.tape import Size

from .graph_def import RESOURCE, VARIANT, NodeDef, ResultSpecs, TFTensor, get_attribute
from .operator_checks import check_operator
from .tensorflow_process import is_read, result_shapes
from .tried_operators import TRIED

MAX_GRAPH_NODES = 2000  # of the graph that shape functions run in, before a new one is begun
_UNARY_CATEGORIES = ("activation", "identity", "unary")
UNARY = frozenset(
    name for name, op in TF_NAMES.items() if OPS[op].category in _UNARY_CATEGORIES and op not in ("FFT", "Sort")
) - {"Bitcast", "IdentityN", "ReadVariableOp", "RFFT", "IRFFT"}
BINARY = frozenset(name for name, op in TF_NAMES.items() if OPS[op].category == "arithmetic") - {"AddN", "Select"}

LOOKUPS = frozenset(("LookupTableFind", "LookupTableFindV2"))  # operands are the table, the keys, the default value


class ShapeInference:
    """Sizes of results by TensorFlow's shape functions, one operator at a time in a graph of its own."""

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits, self._num_nodes = limits, 0
        self._new_graph()

    def _new_graph(self) -> None:
        self._graph = tf.Graph()
        self._placeholders: dict[tuple[int, Size], tf.Tensor] = {}

    def result_sizes(
        self, node: NodeDef, definition: op_def_pb2.OpDef, inputs: Sequence[TFTensor], specs: ResultSpecs
    ) -> tuple[list[Size], list[str]]:
        """Sizes of the results, and for each that has none, why: that is an error only if the result is read.

        A result of unknown size gets that of the first one of known size.

        Args:
            node: the node.
            definition: of its operator.
            inputs: its operands.
            specs: names and types of its results.

        Raises:
            TraceError: TensorFlow refuses the operands, or the size of every result depends on values.
        """
        sizes = [tensor.size for tensor in inputs]
        if node.op in UNARY and len(specs) == 1:
            return sizes[:1], [""]
        if node.op in BINARY and len(specs) == 1:
            try:
                return [tuple(np.broadcast_shapes(*sizes))], [""]
            except ValueError as error:
                raise TraceError(
                    f"node {node.name!r} ({node.op}): operands of sizes {sizes} do not fit each other"
                ) from error
        if node.op in LOOKUPS:  # TensorFlow keeps the size of a table's values outside its graph
            return [sizes[1] + sizes[2]], [""]
        # TensorFlow keeps a variable's shape outside its graph
        if node.op == "ResourceGather" and inputs[0].variable is not None:
            return [sizes[1] + inputs[0].variable.size[1 + get_attribute(node, "batch_dims") :]], [""]
        check_operator(node, definition)
        if node.op == "SplitV" and len(sizes[1:2]) == 1 and len(sizes[1]) != 1:  # which aborts the process
            raise TraceError(f"node {node.name!r} (SplitV): its sizes have {len(sizes[1])} axes, expected one")
        try:
            shapes = self._shapes(node, definition, inputs)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            if isinstance(error, CgirError):
                raise type(error)(f"node {node.name!r} ({node.op}): {error}") from error
            raise TraceError(
                f"node {node.name!r} ({node.op}): TensorFlow refuses operands of sizes {sizes}: {one_line(error, 300)}"
            ) from error
        return _static_sizes(node, shapes)

    def _shapes(
        self, node: NodeDef, definition: op_def_pb2.OpDef, inputs: Sequence[TFTensor]
    ) -> Sequence[tf.TensorShape]:
        """The shapes of the results by the operator's shape function, which some files could make end its process."""
        self._num_nodes += 1
        node_def = _standalone(node, definition, f"n{self._num_nodes}")
        if node.op not in TRIED and (shapes := result_shapes(node_def, inputs, self._limits)) is not None:
            return shapes
        if self._num_nodes % MAX_GRAPH_NODES == 0:
            self._new_graph()
        with self._graph.as_default():
            operands = [self._placeholder(tensor) for tensor in inputs]
            operation = ops.Operation.from_node_def(node_def, self._graph, inputs=operands, op_def=definition)
        return [output.shape for output in operation.outputs]

    def _placeholder(self, tensor: TFTensor) -> tf.Tensor:
        """A constant for a known tensor of sizes or axes, else a placeholder of its size and type."""
        if is_read(tensor):
            return tf.constant(tensor.data, dtype=tf.as_dtype(tensor.dtype))
        key = (tensor.dtype, () if tensor.dtype in (RESOURCE, VARIANT) else tensor.size)
        if key not in self._placeholders:
            self._placeholders[key] = tf.compat.v1.placeholder(tf.as_dtype(key[0]), key[1])
        return self._placeholders[key]


def _standalone(node: NodeDef, definition: op_def_pb2.OpDef, name: str) -> node_def_pb2.NodeDef:
    """The node without its position in the graph: no inputs, device or colocation."""
    node_def = node_def_pb2.NodeDef(name=name, op=node.op)
    for attribute in definition.attr:
        if attribute.name in node.attr:
            node_def.attr[attribute.name].CopyFrom(node.attr[attribute.name])
        elif attribute.HasField("default_value"):
            node_def.attr[attribute.name].CopyFrom(attribute.default_value)
    return node_def


def _static_sizes(node: NodeDef, shapes: Sequence[tf.TensorShape]) -> tuple[list[Size], list[str]]:
    """The sizes that shape functions give, at least one of which must be known, and messages for the others."""
    known = [None if shape.rank is None or None in shape.as_list() else tuple(shape.as_list()) for shape in shapes]
    messages = [
        f"node {node.name!r} ({node.op}): the size of its result, {shape}, depends on values, and tracing knows "
        "sizes only; trace the layers before or behind it alone, as a keras.Model or a tf.function of their own (those "
        "of a SavedModel: of what tf.saved_model.load returns), with input_shape= of what they read"
        if size is None
        else ""
        for size, shape in zip(known, shapes, strict=True)
    ]
    first = next((size for size in known if size is not None), None)
    if first is None and messages:
        raise TraceError(messages[0])
    return [first or () if size is None else size for size in known], messages
