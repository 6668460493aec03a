"""Models through a TensorFlow function: arguments in every form, and models of tf_keras."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

import cgir
import frontends


class TwoArguments(keras.Model):
    """TensorFlow's own functions on two positional arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = keras.layers.Dense(4), keras.layers.Dense(4)

    def call(self, a: Any, b: Any, training: bool = False) -> Any:
        return tf.nn.relu(self.left(a) + self.right(b))


class Structured(keras.Model):
    """TensorFlow's own functions on a dictionary or a list."""

    def __init__(self, keys: tuple[Any, Any]) -> None:
        super().__init__()
        self.keys, self.dense = keys, keras.layers.Dense(4)

    def call(self, x: Any) -> Any:
        return tf.nn.relu(self.dense(x[self.keys[0]])) + x[self.keys[1]]


def test_several_arguments_by_position_and_by_name() -> None:
    model, a, b = TwoArguments(), np.zeros((1, 5), "float32"), np.zeros((1, 6), "float32")
    model(a, b)
    graph = frontends.trace(model, (a, b))
    assert graph.op_counts() == {"Input": 2, "Linear": 2, "Add": 1, "ReLU": 1, "Output": 1}
    assert graph.num_params == 5 * 4 + 4 + 6 * 4 + 4
    assert cgir.isomorphic(graph, frontends.trace(model, input_shape=((1, 5), (1, 6))))
    named = frontends.trace(model, {"b": b, "a": a})
    assert cgir.isomorphic(graph, named)
    assert [(node.name, node.shape) for node in named.nodes if node.op == "Input"] == [("a", (5,)), ("b", (6,))]


@pytest.mark.parametrize(("keys", "make"), [(("p", "q"), lambda p, q: {"q": q, "p": p}), ((0, 1), lambda p, q: [p, q])])
def test_structures_in_one_argument(keys: tuple[Any, Any], make: Any) -> None:
    model, inputs = Structured(keys), make(np.zeros((1, 5), "float32"), np.zeros((1, 4), "float32"))
    model(inputs)
    graph = frontends.trace(model, inputs)
    assert graph.op_counts() == {"Input": 2, "Linear": 1, "ReLU": 1, "Add": 1, "Output": 1}
    dense = next(node for node in graph.nodes if node.op == "Linear")
    assert graph.nodes[dense.inputs[0]].shape == (5,)


class Layer:
    """What the import reads of a layer of tf_keras, which is known by its package and the name of its base class."""

    name, built, compute_dtype, inputs = "older", True, "float32", None

    def __init__(self) -> None:
        self.kernel, self._losses = tf.Variable(np.ones((6, 4), "float32"), name="kernel"), [1.0]

    def _flatten_layers(self) -> list[Layer]:
        return [self]

    def call(self, x: Any, shift: Any) -> Any:
        self._losses.append(2.0)
        return tf.nn.relu(tf.matmul(x, self.kernel) + shift)

    def __call__(self, *args: Any, training: bool, **kwargs: Any) -> Any:
        assert training is False
        return self.call(*args, **kwargs)


class Subclass(Layer):
    """A user's class."""


Layer.__module__ = "tf_keras.src.engine.base_layer"


def test_models_of_tf_keras() -> None:
    model = Subclass()
    graph = frontends.trace(model, input_shape=((1, 6), (1, 4)))
    assert graph.op_counts() == {"Input": 2, "Linear": 1, "Add": 1, "ReLU": 1, "Output": 1}
    assert (graph.num_params, graph.flops, graph.name) == (24, 48, "older")
    assert model._losses == [1.0]
    named = {"shift": np.zeros((1, 4), "float32"), "x": np.zeros((1, 6), "float32")}
    assert cgir.isomorphic(graph, frontends.trace(model, named))
    with pytest.raises(cgir.TraceError, match="does not know its inputs' shapes; pass input_shape= or inputs="):
        frontends.trace(model)
    with pytest.raises(cgir.TraceError, match=r"older: its call fails on inputs \[\(1, 5\), \(1, 4\)\]"):
        frontends.trace(model, input_shape=((1, 5), (1, 4)))
    model.built = False
    with pytest.raises(cgir.TraceError, match=r"older \(Subclass\) has no weights yet; call it once"):
        frontends.trace(model, named)


def test_constants_of_a_model_without_weights_are_no_weights() -> None:
    """As in a frozen graph, where they are."""

    class Blur(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return tf.nn.conv2d(x, np.full((3, 3, 1, 1), 1 / 9, "float32"), 1, "SAME")

    inputs = keras.Input((8, 8, 1))
    graph = frontends.trace(keras.Model(inputs, Blur()(inputs)))
    assert (graph.num_params, graph.flops) == (0, 2 * 64 * 9)


class KeywordArguments(keras.Model):
    """TensorFlow's own functions on a list, with a call that takes any keyword."""

    def call(self, x: Any, **_: Any) -> Any:
        return tf.nn.relu(x[0]) + x[1]


def test_keywords_are_no_second_argument() -> None:
    arrays = np.zeros((1, 4), "float32"), np.zeros((1, 4), "float32")
    model = KeywordArguments()
    model(list(arrays))
    assert frontends.trace(model, arrays).op_counts() == {"Input": 2, "ReLU": 1, "Add": 1, "Output": 1}
