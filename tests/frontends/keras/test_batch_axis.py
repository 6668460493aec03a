"""Costs of Keras models are those of one example, whatever the size of the batch and wherever it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from keras import layers, ops

import cgir
import frontends


class ByHand(keras.Model):
    """A recurrence over states of zeros, which have no batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.state = layers.Dense(8), layers.Dense(8)

    def call(self, x: Any) -> Any:
        h = ops.zeros((ops.shape(x)[0], 8))
        for t in range(x.shape[1]):
            h = ops.tanh(self.first(x[:, t]) + self.state(h))
        return h


class TimeFirst(keras.Model):
    """A batch on the second axis, and TensorFlow's own functions."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(8)

    def call(self, x: Any) -> Any:
        return tf.nn.relu(self.dense(tf.transpose(x, (1, 0, 2))))


def recurrent() -> Any:
    inputs = keras.Input((5, 4))
    return keras.Model(inputs, layers.Dense(2)(layers.LSTM(3)(inputs)))


CASES: dict[str, tuple[Callable[[], Any], tuple[int, ...], int, int]] = {
    "by hand": (ByHand, (5, 4), 0, 5 * 2 * (4 * 8 + 8 * 8)),
    "recurrent": (recurrent, (5, 4), 0, 5 * 2 * 4 * 3 * (4 + 3) + 2 * 3 * 2),
    "time first": (TimeFirst, (5, 4), 1, 5 * 2 * 4 * 8),
}


@pytest.mark.parametrize("name", CASES)
def test_costs_do_not_depend_on_the_size_of_the_batch(name: str) -> None:
    make, size, axis, flops = CASES[name]
    model = make()
    shapes = [(*size[:axis], batch, *size[axis:]) for batch in (1, 2, 3)]
    model(np.zeros(shapes[0], "float32"))
    graphs = [frontends.trace(model, input_shape=shape, batch=axis) for shape in shapes]
    assert [graph.flops for graph in graphs] == [flops] * 3
    assert all(graph.complete and cgir.isomorphic(graph, graphs[0]) for graph in graphs)


def test_no_batch_and_inputs_without_one() -> None:
    model = recurrent()
    assert frontends.trace(model, input_shape=(3, 5, 4), batch=None).flops == 3 * CASES["recurrent"][3]
    rows, table = keras.Input((4,), name="rows"), keras.Input((4,), batch_size=3, name="my-table")
    model = keras.Model([rows, table], ops.matmul(layers.Dense(6)(rows), ops.transpose(layers.Dense(6)(table))))
    sizes = ((2, 4), (3, 4))
    graph = frontends.trace(model, input_shape=sizes)
    assert [gap.quantity for gap in graph.gaps] == ["batch"]
    assert "input 'my-table' has 3 on axis 0" in graph.gaps[0].reason
    said = frontends.trace(model, input_shape=sizes, batch={"my-table": None})
    assert said.complete
    assert said.flops == 2 * (4 * 6 + 3 * 4 * 6 + 6 * 3)
    with pytest.raises(cgir.TraceError, match="batch names input 'x', which there is not; inputs are rows, my-table"):
        frontends.trace(model, input_shape=sizes, batch={"x": 0})
