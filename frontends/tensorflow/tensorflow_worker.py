"""What the process of TensorFlow's C++ code does: `tensorflow_process` starts it, `worker` loads this file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

OWN_BYTES = 4 << 30  # address space that the process takes without a model


def _shapes(head: dict[str, Any], parts: Sequence[bytes]) -> list[bytes]:
    """Shapes of a node's results as JSON, None where unknown; nothing for operators that are not TensorFlow's own.

    Args:
        head: numbers of the types of the operands, and their sizes.
        parts: the node, and the contents of each operand as a TensorProto, empty where unknown.
    """
    import tensorflow as tf
    from tensorflow.core.framework import node_def_pb2, tensor_pb2
    from tensorflow.python.framework import op_def_registry, ops, tensor_util

    node = node_def_pb2.NodeDef.FromString(parts[0])
    definition = op_def_registry.get(node.op)
    if definition is None:
        return []
    with tf.Graph().as_default() as graph:
        operands = [
            tf.constant(tensor_util.MakeNdarray(tensor_pb2.TensorProto.FromString(contents)), tf.as_dtype(dtype))
            if contents
            else tf.compat.v1.placeholder(tf.as_dtype(dtype), size)
            for contents, dtype, size in zip(parts[1:], head["dtypes"], head["sizes"], strict=True)
        ]
        try:
            operation = ops.Operation.from_node_def(node, graph, inputs=operands, op_def=definition)
        except (TypeError, AssertionError, tf.errors.OpError):
            raise
        except Exception as error:
            if not isinstance(error.__context__, tf.errors.OpError):
                os.abort()  # an exception of C++, such as out_of_range, leaves its locks locked
            raise
    shapes = [None if output.shape.rank is None else output.shape.as_list() for output in operation.outputs]
    return [json.dumps(shapes).encode()]


def load(paths: str) -> dict[str, Callable[[dict[str, Any], Sequence[bytes]], list[bytes]]]:
    """The command.

    Args:
        paths: where modules are found, as JSON.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # shapes need no device
    sys.path[:] = json.loads(paths)
    import tensorflow

    assert tensorflow.__version__
    return {"shapes": _shapes}
