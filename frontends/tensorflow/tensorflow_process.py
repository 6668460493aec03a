"""Shape functions of TensorFlow's operators that are not tried enough to run in this process, which some of them end.

Most registered operators never occur in a network: they read files, move tensors between machines, or are written by
compilers. Their shape functions abort where they do not expect something.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import node_def_pb2, types_pb2
from tensorflow.python.framework import tensor_util

from cgir.limits import Limits
from frontends.common.worker_process import WorkerProcess

from .graph_def import INT32, RESOURCE, VARIANT, TFTensor

_PROCESS = WorkerProcess(
    "TensorFlow", Path(__file__).with_name("tensorflow_worker.py"), json.dumps([path for path in sys.path if path])
)


def result_shapes(
    node: node_def_pb2.NodeDef, inputs: Sequence[TFTensor], limits: Limits
) -> list[tf.TensorShape] | None:
    """Shapes of a node's results; None if its operator is of a library that the user has loaded.

    Args:
        node: without its inputs.
        inputs: its operands.
        limits: of what it may take.

    Raises:
        TraceError: TensorFlow refuses the operands, or they end the process.
        LimitError: it takes too long.
        ValueError: TensorFlow's message.
    """
    sizes = [() if tensor.dtype in (RESOURCE, VARIANT) else tensor.size for tensor in inputs]
    contents = [
        tensor_util.make_tensor_proto(tensor.data, tf.as_dtype(tensor.dtype)).SerializeToString()
        if is_read(tensor)
        else b""
        for tensor in inputs
    ]
    head = {"dtypes": [tensor.dtype for tensor in inputs], "sizes": sizes}
    message, *found = _PROCESS.call("shapes", head, [node.SerializeToString(), *contents], limits)
    if message:
        raise ValueError(message.decode(errors="replace"))
    return [tf.TensorShape(shape) for shape in json.loads(found[0])] if found else None


def is_read(tensor: TFTensor) -> bool:
    """Whether shape functions are given the contents of a tensor: those of sizes or axes.

    They abort the process on the contents of other types, such as integers of 8 bits.
    """
    return tensor.data is not None and tensor.dtype in (INT32, types_pb2.DT_INT64)
