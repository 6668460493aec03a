"""Functions of TensorFlow for tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2

SPEC = tf.TensorSpec((None, 4), tf.float32)
WEIGHT = tf.Variable(tf.zeros((4, 4)), name="weight")
PRODUCT = 2 * 4 * 4  # FLOPs of one product with the weight


@contextmanager
def quiet() -> Iterator[None]:
    """Writing and loading SavedModels warns about TensorFlow's own deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def function(body: Any) -> Any:
    return tf.function(body, input_signature=[SPEC])


def counted(x: Any) -> Any:
    for _ in tf.range(7):
        x = tf.nn.tanh(x @ WEIGHT)
    return x


def graph_of(*nodes: tuple[str, str, tuple[str, ...]]) -> Any:
    """A GraphDef of a placeholder "a" of two numbers and operators of floating-point numbers."""
    graph = graph_pb2.GraphDef()
    first = graph.node.add(name="a", op="Placeholder")
    first.attr["dtype"].type = 1
    first.attr["shape"].shape.dim.add(size=2)
    for name, op, inputs in nodes:
        graph.node.add(name=name, op=op, input=inputs).attr["T"].type = 1
    return graph
