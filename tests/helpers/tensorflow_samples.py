"""Functions of TensorFlow for tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

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
