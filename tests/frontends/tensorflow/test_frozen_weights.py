"""Which constants of a frozen graph are weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import frontends

import tensorflow as tf  # isort: skip

v1 = tf.compat.v1


def matrix(*size: int) -> Any:
    return tf.constant(np.random.default_rng(0).normal(size=size).astype(np.float32))


def fused_norm(x: Any, scale: Any, shift: Any) -> Any:
    images = tf.reshape(x, (1, 1, 5, 6))
    mean, variance = matrix(6), tf.constant(np.arange(1, 7, dtype=np.float32))
    return v1.nn.fused_batch_norm(images, scale, shift, mean, variance, is_training=False)[0]


def normalised(x: Any) -> Any:
    mean, variance = matrix(1, 6), tf.constant(np.arange(6, dtype=np.float32).reshape(1, 6))
    return (x - mean) / tf.maximum(tf.sqrt(variance), 1e-7)


# body on a tensor of 5 x 6, parameters
CASES: dict[str, tuple[Callable[[Any], Any], int]] = {
    "kernel and bias": (lambda x: tf.nn.bias_add(x @ matrix(6, 4), matrix(4)), 28),
    "kernel and bias of one": (lambda x: tf.nn.bias_add(x @ matrix(6, 1), tf.constant([0.0])), 7),
    "scale": (lambda x: x * matrix(6), 6),
    "number": (lambda x: x * 0.5 + tf.constant([2.0]), 0),
    "mean and deviation of the inputs": (lambda x: normalised(x) @ matrix(6, 2), 12),
    "zeros and ones": (lambda x: (x + tf.zeros_like(x)) * tf.ones((5, 6)), 0),
    "fused norm": (lambda x: fused_norm(x @ matrix(6, 6), matrix(6), matrix(6)), 48),
    "fused norm without a scale": (lambda x: fused_norm(x @ matrix(6, 6), tf.constant(1.0, shape=(6,)), matrix(6)), 42),
    "fused norm without a shift": (lambda x: fused_norm(x @ matrix(6, 6), matrix(6), tf.constant(0.0, shape=(6,))), 42),
    "statistics of batch norm": (
        lambda x: tf.nn.batch_normalization(x, matrix(6), matrix(6), matrix(6), matrix(6), 1e-3),
        12,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_weights(name: str) -> None:
    body, params = CASES[name]
    with tf.Graph().as_default() as graph:
        tf.nn.relu(body(v1.placeholder(tf.float32, (5, 6), name="x")), name="y")
    assert frontends.trace(graph.as_graph_def()).num_params == params


def test_what_is_read_for_its_size_only_is_no_part_of_the_graph() -> None:
    weight, other = tf.Variable(tf.ones((6, 4))), tf.Variable(tf.ones((6, 4)))
    made = tf.function(
        lambda x: x @ weight + tf.raw_ops.ZerosLike(x=x @ other) + tf.cast(tf.shape(x @ other)[1], tf.float32),
        input_signature=[tf.TensorSpec((None, 6))],
    )
    graph = frontends.trace(made)
    assert (graph.num_params, graph.flops, graph.complete) == (24, 2 * 24, True)
