"""Where the batch of a TensorFlow model is: costs are those of one example, whatever the size of the batch."""

from __future__ import annotations

from typing import Any

import pytest

import cgir
import frontends

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # isort: skip

L = keras.layers
WEIGHT = tf.Variable(tf.ones((6, 4)))
NETWORKS: dict[str, tuple[tuple[int, ...], list[Any], int]] = {
    "LSTM": ((7, 6), [L.LSTM(4)], 7 * 2 * 4 * 4 * (6 + 4)),
    "bidirectional": ((7, 6), [L.Bidirectional(L.GRU(4, return_sequences=True))], 2 * 7 * 2 * 3 * 4 * (6 + 4)),
    "convolution": ((8, 8, 6), [L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(2)], 2 * (36 * 4 * 54 + 8)),
    "attention": ((7, 6), [L.Dense(8), L.LayerNormalization(), L.Dense(4)], 2 * 7 * (48 + 32)),
}


def model_of(size: tuple[int, ...], layers: list[Any]) -> Any:
    return keras.Sequential([keras.Input(size), *layers])


@pytest.mark.parametrize("name", NETWORKS)
def test_costs_do_not_depend_on_the_size_of_the_batch(name: str) -> None:
    size, layers, flops = NETWORKS[name]
    model = model_of(size, layers)
    made = tf.function(lambda x: model(x, training=False))
    graphs = [frontends.trace(made, input_shape=(batch, *size)) for batch in (1, 2, 5)]
    frozen = convert_variables_to_constants_v2(made.get_concrete_function(tf.TensorSpec((3, *size))))
    graphs += [frontends.trace(frozen), frontends.trace(frozen.graph.as_graph_def())]
    assert {(graph.flops, graph.num_params, graph.complete) for graph in graphs} == {
        (flops, model.count_params(), True)
    }
    assert all(cgir.isomorphic(graph, graphs[0]) for graph in graphs)


def test_the_batch_may_be_another_axis_or_none() -> None:
    made = tf.function(lambda x: tf.nn.relu(x @ WEIGHT))
    flops = [frontends.trace(made, input_shape=(9, 5, 6), batch=batch).flops for batch in (0, 1, None)]
    assert flops == [2 * 24 * 5, 2 * 24 * 9, 2 * 24 * 9 * 5]


def test_inputs_may_have_different_batches() -> None:
    spec = [tf.TensorSpec((5, 6), name="nodes"), tf.TensorSpec((3, 6), name="queries")]
    made = tf.function(lambda nodes, queries: (queries @ WEIGHT) @ tf.transpose(nodes @ WEIGHT), spec)
    graph = frontends.trace(made, batch={"nodes": None, "queries": 0})
    assert graph.num_params == 24
    with pytest.raises(cgir.TraceError, match="inputs are nodes, queries"):
        frontends.trace(made, batch={"edges": 0})


def test_an_open_axis_may_be_the_batch_that_is_said() -> None:
    made = tf.function(lambda x: tf.nn.relu(x @ WEIGHT), [tf.TensorSpec((9, None, 6))])
    assert frontends.trace(made, batch=1).flops == 2 * 24 * 9
    with pytest.raises(cgir.TraceError, match="only the batch may be open"):
        frontends.trace(made)


def test_a_product_that_the_batch_is_no_axis_of_is_a_gap() -> None:
    made = tf.function(lambda x: tf.transpose(x) @ tf.ones((3, 8)) @ tf.ones((8, 2)), [tf.TensorSpec((3, 6))])
    graph = frontends.trace(made)
    assert not graph.complete
    assert "batch=None" in graph.gaps[0].reason
    assert frontends.trace(made, batch=None).complete
