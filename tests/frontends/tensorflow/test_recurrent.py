"""Recurrent layers in TensorFlow graphs: loops over their cells, and states that come from elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

import cgir
import frontends
from frontends.common.trace_request import TraceRequest

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from frontends.keras import function_importer  # isort: skip

L = keras.layers
LSTM = 4 * 8 * (12 + 8 + 1)  # parameters of a layer of 12 features and 8 units
PRODUCTS = 2 * 4 * 8 * (12 + 8)  # FLOPs of a step


def encoder_decoder(encoder: type = L.LSTM, decoder: type = L.LSTM, swap: bool = False) -> Any:
    first, second = keras.Input((9, 12)), keras.Input((5, 12))
    _, *states = encoder(8, return_state=True)(first)
    states = states[::-1] if swap else states if len(states) == 2 or decoder is not L.LSTM else states * 2
    return keras.Model([first, second], decoder(8, return_sequences=True)(second, initial_state=states))


@pytest.mark.parametrize(
    "settings",
    [{}, {"swap": True}, {"encoder": L.GRU}, {"encoder": L.GRU, "decoder": L.GRU}, {"encoder": L.SimpleRNN}],
)
def test_states_of_another_layer(settings: dict[str, Any]) -> None:
    model = encoder_decoder(**settings)
    raw = function_importer.trace(model, TraceRequest())
    graph = cgir.canonicalize(raw)
    cgir.verify(graph)
    assert cgir.isomorphic(graph, frontends.trace(model))
    assert graph.num_params == raw.num_params == model.count_params()
    if not settings:
        assert (graph.num_params, graph.flops) == (2 * LSTM, (9 + 5) * PRODUCTS)


@pytest.mark.parametrize("trained", ["hidden", "cell", "both"])
def test_initial_states_that_are_trained_are_counted(trained: str) -> None:
    layer = L.LSTM(8)
    layer.build((None, 5, 12))
    start = tf.Variable(tf.zeros((1, 8)), name="start")
    states = [start if trained in (name, "both") else tf.zeros((1, 8)) for name in ("hidden", "cell")]
    graph = frontends.trace(
        tf.function(lambda x: layer(x, initial_state=states), input_signature=[tf.TensorSpec((1, 5, 12))])
    )
    cgir.verify(graph)
    assert (graph.num_params, graph.flops) == (LSTM + 8, 5 * PRODUCTS)


@pytest.mark.parametrize("saved", [False, True])
def test_states_that_are_kept_between_calls_are_no_weights(saved: bool, tmp_path: Any) -> None:
    """What a stateful layer of Keras 2 does: its state is a variable that each call overwrites."""
    layer = L.LSTM(8, return_state=True)
    layer.build((None, 5, 12))
    module = tf.Module()
    module.layer, module.state = layer, [tf.Variable(tf.random.normal((1, 8))) for _ in range(2)]

    @tf.function(input_signature=[tf.TensorSpec((1, 5, 12))])
    def call(x: Any) -> Any:
        result, *states = layer(x, initial_state=[variable.read_value() for variable in module.state])
        for variable, state in zip(module.state, states, strict=True):
            variable.assign(state)
        return result

    module.call = call
    if saved:
        tf.saved_model.save(module, tmp_path, signatures=call)
    graph = frontends.trace(tmp_path if saved else call)
    cgir.verify(graph)
    assert (graph.num_params, graph.flops, graph.complete) == (LSTM, 5 * PRODUCTS, True)
