"""Loops and branches of TensorFlow 1 (Enter, Merge, Switch, NextIteration, Exit) count like those of TensorFlow 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cgir
import frontends

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # isort: skip
from tensorflow_samples import quiet  # isort: skip

L, v1 = keras.layers, tf.compat.v1
PRODUCT = 2 * 16 * 16  # FLOPs of one product with a matrix of 16 x 16


@contextmanager
def old_control_flow() -> Iterator[None]:
    v1.disable_control_flow_v2()
    try:
        yield
    finally:
        v1.enable_control_flow_v2()


def graph_def(body: Callable[[Any], Any], size: tuple[int, ...] = (1, 16)) -> Any:
    """A graph of TensorFlow 1 with one input."""
    with old_control_flow(), tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, size, name="x")
        tf.identity(body(x), name="y")
    return graph.as_graph_def()


def matrix() -> Any:
    return tf.constant(np.ones((16, 16), np.float32))


def rounds(x: Any, limit: Any, step: Callable[[Any], Any] = lambda h: h, weight: Any = None) -> Any:
    weight = matrix() if weight is None else weight
    return v1.while_loop(lambda i, h: i < limit, lambda i, h: (i + 1, tf.tanh(step(h) @ weight)), [0, x])[1]


def nested(x: Any) -> Any:
    return v1.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, rounds(h, 4)), [0, x])[1]


def branch(h: Any) -> Any:
    return v1.cond(tf.reduce_sum(h) > 0, lambda: tf.nn.relu(h), lambda: h @ matrix())


def from_zeros(x: Any) -> Any:
    """A state that starts as zeros and whose products count."""
    weight = matrix()
    return v1.while_loop(lambda i, h: i < 6, lambda i, h: (i + 1, tf.tanh(x + h @ weight)), [0, tf.zeros((1, 16))])[1]


# body, products, matrices
LOOPS: dict[str, tuple[Callable[[Any], Any], int, int]] = {
    "constant": (lambda x: rounds(x, 5), 5, 1),
    "from a shape": (lambda x: rounds(x, tf.shape(x)[1] // 2), 8, 1),
    "two in a row": (lambda x: rounds(rounds(x, 5), 3), 8, 2),
    "nested": (nested, 12, 1),
    "weight in the body": (lambda x: rounds(x, 5, lambda h: h @ matrix()), 10, 2),
    "branch in the body": (lambda x: rounds(x, 5, branch), 10, 2),
    "maximum": (lambda x: v1.while_loop(lambda h: True, lambda h: h @ matrix(), [x], maximum_iterations=7), 7, 1),
    "state of zeros": (from_zeros, 6, 1),
    "never": (lambda x: rounds(x @ matrix(), 0), 1, 1),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name: str) -> None:
    body, products, matrices = LOOPS[name]
    graph = frontends.trace(graph_def(body))
    cgir.verify(graph)
    assert (graph.num_params, graph.flops) == (256 * matrices, PRODUCT * products)
    assert graph.complete
    assert [node.name for node in graph.nodes if node.op == "Output"] == ["output"]


def test_a_loop_may_be_the_output() -> None:
    with old_control_flow(), tf.Graph().as_default() as graph:
        rounds(v1.placeholder(tf.float32, (1, 16), name="x"), 5)
    found = frontends.trace(graph.as_graph_def())
    assert (found.num_params, found.flops) == (256, 5 * PRODUCT)


def test_a_loop_whose_rounds_depend_on_values_is_a_gap() -> None:
    graph = frontends.trace(graph_def(lambda x: rounds(x, tf.cast(x[0, 0], tf.int32))))
    assert (graph.num_params, graph.flops) == (256, PRODUCT)
    assert not graph.complete


def test_saved_models(tmp_path: Path) -> None:
    with old_control_flow(), tf.Graph().as_default(), v1.Session() as session, quiet():
        x = v1.placeholder(tf.float32, (None, 16), name="x")
        y = rounds(x, 5, weight=v1.get_variable("weight", (16, 16)))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "model"), {"x": x}, {"y": y})
    graph = frontends.trace(tmp_path / "model")
    assert (graph.num_params, graph.flops) == (256, 5 * PRODUCT)
    with quiet():
        loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert cgir.isomorphic(frontends.trace(loaded), graph)


def test_a_frozen_recurrent_network_is_the_layer(tmp_path: Path) -> None:
    inputs = keras.Input((7,))
    model = keras.Model(inputs, L.Dense(5)(L.LSTM(8)(L.Embedding(30, 6)(inputs))))
    made = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((1, 7)))
    frozen = convert_variables_to_constants_v2(made)
    tf.io.write_graph(frozen.graph, str(tmp_path), "lstm.pb", as_text=False)
    graph = frontends.trace(model)
    # 7 steps of the cell, and the last layer
    assert (graph.num_params, graph.flops) == (model.count_params(), 7 * 2 * 4 * 8 * (6 + 8) + 2 * 8 * 5)
    for found in (made, frozen, frozen.graph.as_graph_def(), tmp_path / "lstm.pb"):
        assert cgir.isomorphic(frontends.trace(found), graph)


def test_stacked_frozen_layers() -> None:
    inputs = keras.Input((9, 4))
    x = L.Bidirectional(L.GRU(6, return_sequences=True))(inputs)
    model = keras.Model(inputs, [L.LSTM(5)(x), L.SimpleRNN(3, return_sequences=True)(x)])
    made = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((1, 9, 4)))
    graph = frontends.trace(convert_variables_to_constants_v2(made).graph.as_graph_def())
    assert cgir.isomorphic(graph, frontends.trace(model))
    assert graph.num_params == model.count_params()


def test_branches_count_both_sides() -> None:
    def body(x: Any) -> Any:
        return v1.cond(tf.reduce_sum(x) > 0, lambda: x @ matrix(), lambda: tf.nn.relu(x) @ matrix())

    graph = frontends.trace(graph_def(body))
    assert (graph.num_params, graph.flops) == (512, 2 * PRODUCT)
    assert graph.op_counts()["If"] == graph.op_counts()["Output"] == 1


@pytest.mark.parametrize("op", ["LoopCond", "NextIteration"])
def test_damaged_loops(op: str) -> None:
    graph = graph_def(lambda x: rounds(x, 5))
    kept = [node for node in graph.node if node.op != op]
    del graph.node[:]
    graph.node.extend(kept)
    with pytest.raises(cgir.TraceError, match="damaged"):
        frontends.trace(graph)
