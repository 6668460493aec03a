"""Control flow in TensorFlow graphs: loops, branches, tensor lists, functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cgir
import frontends

import tensorflow as tf  # isort: skip
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # isort: skip
from tensorflow_samples import PRODUCT, SPEC, WEIGHT, counted, function  # isort: skip


def nested(x: Any) -> Any:
    for _ in tf.range(3):
        for _ in tf.range(5):
            x = x @ WEIGHT
        x = tf.nn.relu(x)
    return x


def endless(x: Any) -> Any:
    while tf.reduce_sum(x) > 0:
        x = x @ WEIGHT - 1.0
    return x


def branching(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) @ WEIGHT, lambda: tf.nn.tanh(x))


def rows(x: Any) -> Any:
    return tf.map_fn(lambda row: tf.nn.relu(tf.linalg.matvec(WEIGHT, row)), x)


@pytest.mark.parametrize(("body", "rounds"), [(counted, 7), (nested, 15), (endless, 1)])
def test_bodies_are_counted_as_often_as_they_run(body: Any, rounds: int) -> None:
    graph = frontends.trace(function(body))
    cgir.verify(graph)
    assert graph.flops == rounds * PRODUCT
    assert graph.num_params == 16
    assert {"Loop", "Linear"} <= set(graph.op_counts())
    assert all(".body" in node.module for node in graph.nodes if node.op == "Linear")


def loop(start: Any, condition: Any, step: Any) -> Any:
    """A function with a loop that changes a number by `step` while `condition` holds, and makes one product a round."""
    return lambda x: tf.while_loop(lambda i, h: condition(i, x), lambda i, h: (step(i), h @ WEIGHT), [start, x])[1]


COUNTS: dict[str, tuple[Any, int]] = {
    "down": (loop(7, lambda i, x: i > 0, lambda i: i - 1), 7),
    "doubled": (loop(1, lambda i, x: i < 100, lambda i: i * 2), 7),
    "halved": (loop(100, lambda i, x: tf.not_equal(i, 0), lambda i: i // 2), 7),
    "at most": (loop(1, lambda i, x: i <= 7, lambda i: i + 1), 7),
    "turned round": (loop(0, lambda i, x: tf.greater(7, i), lambda i: i + 1), 7),
    "real": (loop(0.0, lambda i, x: i < 1.0, lambda i: i + 0.15), 7),
    "either": (loop(0, lambda i, x: (i < 3) | (i < 7), lambda i: i + 1), 7),
    "a shape": (loop(0, lambda i, x: i < 2 * tf.shape(x)[1] - 1, lambda i: i + 1), 7),
    "a million": (loop(0, lambda i, x: i < 10**6, lambda i: i + 1), 10**6),
    "scan": (lambda x: tf.scan(lambda h, z: tf.nn.relu(h @ WEIGHT), tf.zeros((7, 1)), initializer=x)[-1], 7),
    "fold": (lambda x: tf.foldl(lambda h, z: h @ WEIGHT, tf.zeros((7, 1)), initializer=x), 7),
    "from zeros": (lambda x: tf.foldl(lambda h, z: x + h @ WEIGHT, tf.zeros((7, 1)), initializer=tf.zeros_like(x)), 7),
}


@pytest.mark.parametrize("name", COUNTS)
def test_rounds_that_follow_from_sizes_and_constants(name: str) -> None:
    body, rounds = COUNTS[name]
    graph = frontends.trace(function(body))
    cgir.verify(graph)
    assert (graph.num_params, graph.flops) == (16, rounds * PRODUCT)
    assert graph.complete


@pytest.mark.parametrize(
    "body",
    [
        endless,
        loop(0, lambda i, x: i < tf.cast(x[0, 0], tf.int32), lambda i: i + 1),
        loop(0, lambda i, x: i < 5, lambda i: i),
        loop(1, lambda i, x: (i < 5) & (tf.reduce_sum(x) > 0), lambda i: i + 1),
    ],
)
def test_rounds_that_depend_on_values_are_a_gap(body: Any) -> None:
    graph = frontends.trace(function(body))
    assert (graph.num_params, graph.flops) == (16, PRODUCT)
    assert not graph.complete
    assert any("number of times that depends on values" in gap.reason for gap in graph.gaps)


def test_lists_of_tensors() -> None:
    for batch, rounds in ((0, 1), (None, 3)):  # a loop over the examples, or over three rows
        graph = frontends.trace(function(rows), input_shape=(3, 4), batch=batch)
        assert graph.flops == rounds * PRODUCT
        assert graph.op_counts()["ReLU"] == 1


def test_branches() -> None:
    graph = frontends.trace(function(branching))
    cgir.verify(graph)
    assert {"If", "ReLU", "Tanh", "Linear", "Compare"} <= set(graph.op_counts())
    modules = {node.op: node.module for node in graph.nodes}
    assert ".then" in modules["ReLU"]
    assert ".else" in modules["Tanh"]


def test_branches_on_known_values_are_followed() -> None:
    graph = frontends.trace(
        function(lambda x: tf.cond(tf.shape(x)[1] > 3, lambda: tf.nn.relu(x), lambda: tf.nn.tanh(x)))
    )
    assert graph.op_counts() == {"Input": 1, "ReLU": 1, "Output": 1}


@pytest.mark.parametrize(("body", "rounds"), [(counted, 7), (nested, 15), (branching, 1)])
def test_control_flow_of_tensorflow_1(body: Any, rounds: int) -> None:
    made = convert_variables_to_constants_v2(function(body).get_concrete_function(), lower_control_flow=True)
    graph = frontends.trace(made.graph.as_graph_def())
    cgir.verify(graph)
    assert (graph.num_params, graph.flops) == (16, rounds * PRODUCT)
    assert "Linear" in graph.op_counts()


def test_functions_called_twice_share_their_variables() -> None:
    inner = tf.function(lambda x: tf.nn.relu(x @ WEIGHT), input_signature=[SPEC])
    graph = frontends.trace(function(lambda x: inner(inner(x))))
    assert graph.num_params == 16
    assert graph.op_counts()["Linear"] == 2


def test_models_are_not_changed() -> None:
    made = function(branching).get_concrete_function()
    before = made.graph.as_graph_def().SerializeToString(deterministic=True)
    frontends.trace(made)
    assert made.graph.as_graph_def().SerializeToString(deterministic=True) == before


def test_a_batch_is_no_part_of_the_graph() -> None:
    made = tf.function(lambda x: tf.nn.relu(tf.matmul(x, WEIGHT)), input_signature=[SPEC]).get_concrete_function()
    graphs = [frontends.trace(made, input_shape=(batch, 4)) for batch in (1, 8)]
    assert cgir.isomorphic(*graphs)
    assert graphs[0].flops == PRODUCT


def switched(x: Any, flag: Any) -> Any:
    return tf.cond(flag, lambda: tf.nn.relu(x @ WEIGHT), lambda: tf.nn.tanh(x))


def test_example_inputs_decide_branches_and_rounds() -> None:
    x = tf.zeros((1, 4))
    made = tf.function(switched, [SPEC, tf.TensorSpec((), tf.bool)])
    assert {"If", "ReLU", "Tanh"} <= set(frontends.trace(made).op_counts())
    graphs = [frontends.trace(made, (x, tf.constant(flag))) for flag in (True, False)]
    assert [(graph.num_params, graph.flops) for graph in graphs] == [(16, PRODUCT), (0, 0)]
    named = frontends.trace(made.get_concrete_function(), {"x": x, "flag": np.asarray(True)})
    assert cgir.isomorphic(named, graphs[0])
    compared = tf.function(lambda x, mode: switched(x, mode * 2 > 3), [SPEC, tf.TensorSpec((), tf.int32)])
    assert [frontends.trace(compared, (x, np.int32(mode))).num_params for mode in (1, 2)] == [0, 16]
    repeated = tf.function(lambda x, n: loop(0, lambda i, _: i < n, lambda i: i + 1)(x), compared.input_signature)
    assert frontends.trace(repeated, (x, np.int32(6))).flops == 6 * PRODUCT
    assert not frontends.trace(repeated).complete


def test_defaults_of_inputs_decide_sizes_only() -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, (1, 4), name="x")
        training = v1.placeholder_with_default(False, (), name="training")
        width = v1.placeholder_with_default(2, (), name="width")
        y = tf.cond(
            tf.logical_not(training), lambda: x @ tf.ones((4, 4)), lambda: tf.nn.relu(x) @ tf.eye(4, dtype=tf.float32)
        )
        tf.reshape(y, tf.stack([1, width, 2]), name="y")
    found = frontends.trace(graph.as_graph_def())
    assert found.flops == 2 * PRODUCT
    assert found.op_counts()["If"] == 1
    assert np.prod(found.nodes[-1].shape) == 4
