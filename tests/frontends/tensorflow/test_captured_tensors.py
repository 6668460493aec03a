"""Tensors made outside of a function are constants of their own size, in functions and in what is saved of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cgir
import frontends

import tensorflow as tf  # isort: skip
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # isort: skip
from tensorflow_samples import quiet  # isort: skip

ROWS = tf.constant([[0.4, 0.5, 0.6]])
WIDE = tf.constant(np.ones((1, 16), np.float32))
BIG = tf.constant(np.ones((100, 60), np.float32))
SIZES = tf.constant([1, 3, 5])
WEIGHT = tf.Variable(tf.ones((3, 8)))

# body, size of the input, stored shape of the output, parameters, FLOPs
CASES: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...], int, int]] = {
    "broadcast": (lambda x: x * WIDE, (1, 5, 1), (16, 5), 0, 0),
    "slice": (lambda x: tf.matmul(x - ROWS[0], WEIGHT), (1, 5, 3), (8, 5), 24, 2 * 5 * 3 * 8),
    "matmul": (lambda x: tf.matmul(x, BIG), (1, 5, 100), (60, 5), 0, 2 * 5 * 100 * 60),
    "transpose": (lambda x: tf.matmul(x, tf.transpose(ROWS)), (1, 5, 3), (1, 5), 0, 2 * 5 * 3),
    "size": (lambda x: tf.reshape(x, SIZES), (1, 15), (5, 3), 0, 0),
    "nested": (tf.function(lambda x: tf.concat([x, tf.function(lambda: ROWS)()], 0)), (1, 3), (3, 2), 0, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_functions_and_their_files(name: str, tmp_path: Path) -> None:
    body, size, shape, params, flops = CASES[name]
    module = tf.Module()
    module.run = tf.function(body, input_signature=[tf.TensorSpec(size)])
    module.constants, module.weight = [ROWS, WIDE, BIG, SIZES], WEIGHT
    graph = frontends.trace(module.run)
    cgir.verify(graph)
    assert np.prod(graph.nodes[-1].shape) == np.prod(shape)
    assert (graph.num_params, graph.flops) == (params, flops)
    with quiet():
        tf.saved_model.save(module, str(tmp_path), signatures=module.run)
        loaded = tf.saved_model.load(str(tmp_path))
    assert cgir.isomorphic(graph, frontends.trace(tmp_path))
    assert cgir.isomorphic(graph, frontends.trace(loaded))


def test_frozen_functions_have_the_weights_of_their_graphs(tmp_path: Path) -> None:
    kernel, bias = tf.Variable(tf.ones((3, 3, 3, 8))), tf.Variable(tf.ones(8))
    made = tf.function(
        lambda x: tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias),
        input_signature=[tf.TensorSpec((1, 8, 8, 3))],
    )
    graph = frontends.trace(made)
    assert graph.num_params == 3 * 3 * 3 * 8 + 8
    frozen = convert_variables_to_constants_v2(made.get_concrete_function())
    module = tf.Module()
    module.run = tf.function(lambda x: frozen(x), input_signature=made.input_signature)
    with quiet():
        tf.saved_model.save(module, str(tmp_path), signatures=module.run)
    for model in (frozen, frozen.graph.as_graph_def(), module.run, tmp_path):
        assert cgir.isomorphic(graph, frontends.trace(model))


def test_constants_of_a_function_without_layers_are_no_weights() -> None:
    made = tf.function(lambda x: x * tf.constant([1.0, 2.0, 3.0]), input_signature=[tf.TensorSpec((1, 3))])
    assert frontends.trace(made).num_params == 0


def test_variables_of_tensorflow_1_that_are_not_trained(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    for resource in (False, True):
        folder = tmp_path / str(resource)
        with tf.Graph().as_default(), v1.Session() as session, quiet():
            x = v1.placeholder(tf.float32, (None, 4), name="x")
            weight = v1.get_variable("weight", (4, 6), use_resource=resource)
            mean = v1.get_variable("mean", (6,), trainable=False, use_resource=resource)
            y = tf.matmul(x, weight) - mean
            session.run(v1.global_variables_initializer())
            v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
        graph = frontends.trace(folder)
        assert (graph.num_params, graph.flops) == (24, 2 * 4 * 6)


def written(state: Any, x: Any) -> None:
    state.assign(tf.repeat(x, 5, 0))


def added_to(state: Any, x: Any) -> None:
    state.assign_add(tf.repeat(x, 5, 0))


def written_in_part(state: Any, x: Any) -> None:
    state[0:1].assign(x)


def scattered(state: Any, x: Any) -> None:
    state.scatter_nd_update([[0]], x)


@pytest.mark.parametrize("write", [written, added_to, written_in_part, scattered])
def test_states_that_a_call_writes_to_are_no_weights(write: Callable[[Any, Any], None]) -> None:
    """As in attention with a cache of its keys."""
    weight, cache = tf.Variable(tf.ones((4, 3))), tf.Variable(tf.zeros((5, 3)))

    def call(x: Any) -> Any:
        y = x @ weight
        write(cache, y)
        return y @ tf.transpose(cache)

    graph = frontends.trace(tf.function(call), input_shape=(1, 4))
    assert (graph.num_params, graph.flops) == (4 * 3, 2 * 4 * 3 + 2 * 3 * 5)
