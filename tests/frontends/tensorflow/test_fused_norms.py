"""Fused normalisation, as Keras 2 and TensorFlow 1 write it: the same graphs as the layers of Keras 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cgir
import frontends

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # isort: skip
from tensorflow_samples import quiet  # isort: skip


class FusedNet(tf.Module):  # type: ignore[misc]
    """A convolution of 3 to 8 channels and a fused batch normalisation."""

    def __init__(self, training: bool = False, version: str = "FusedBatchNormV3") -> None:
        super().__init__()
        self.training, self.version = training, version
        self.kernel = tf.Variable(tf.ones((3, 3, 3, 8)), name="kernel")
        self.gamma, self.beta = tf.Variable(tf.ones(8), name="gamma"), tf.Variable(tf.zeros(8), name="beta")
        self.mean = tf.Variable(tf.zeros(8), trainable=False)
        self.variance = tf.Variable(tf.ones(8), trainable=False)

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3))])  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> Any:
        x = tf.nn.conv2d(x, self.kernel, 1, "SAME")
        statistics = (tf.zeros(0), tf.zeros(0)) if self.training else (self.mean, self.variance)
        norm = getattr(tf.raw_ops, self.version)
        made = norm(
            x=x, scale=self.gamma, offset=self.beta, mean=statistics[0], variance=statistics[1],
            is_training=self.training,
        )  # fmt: skip
        return tf.nn.relu(made.y)


def layers() -> cgir.Graph:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    return frontends.trace(keras.Model(inputs, keras.layers.ReLU()(keras.layers.BatchNormalization()(x))))


@pytest.mark.parametrize("version", ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])
@pytest.mark.parametrize("training", [False, True])
def test_functions_files_and_frozen_graphs(version: str, training: bool, tmp_path: Path) -> None:
    net = FusedNet(training, version)
    graph = frontends.trace(net.__call__)
    cgir.verify(graph)
    assert cgir.isomorphic(graph, layers())
    assert (graph.num_params, graph.flops) == (3 * 3 * 3 * 8 + 8 + 8, 2 * 8 * 8 * 8 * 27)
    with quiet():
        tf.saved_model.save(net, str(tmp_path), signatures=net.__call__)
    assert cgir.isomorphic(frontends.trace(tmp_path), graph)
    frozen = convert_variables_to_constants_v2(net.__call__.get_concrete_function())
    assert cgir.isomorphic(frontends.trace(frozen), graph)
    assert cgir.isomorphic(frontends.trace(frozen.graph.as_graph_def()), graph)


def keras2_layer_norm(x: Any, first: int, *weights: Any) -> Any:
    """Layer normalisation over the axes from `first` on, as Keras 2 writes it."""
    shape = tf.shape(x)
    positions = tf.reduce_prod(shape[:first])
    flat = tf.reshape(x, [1, positions, tf.reduce_prod(shape[first:]), 1])
    y = tf.compat.v1.nn.fused_batch_norm(flat, tf.ones([positions]), tf.zeros([positions]), data_format="NCHW")[0]
    y = tf.reshape(y, shape)
    for weight, operation in zip(weights, (tf.multiply, tf.add), strict=False):
        y = operation(y, weight)
    return y


@pytest.mark.parametrize(
    ("size", "axes", "settings"),
    [
        ((10, 6), (2,), {}),
        ((10, 6), (1, 2), {}),
        ((8, 8, 4), (3,), {}),
        ((8, 8, 4), (1, 2, 3), {}),
        ((6,), (1,), {}),
        ((10, 6), (2,), {"center": False}),
        ((10, 6), (2,), {"center": False, "scale": False}),
    ],
)
def test_layer_normalisation_of_keras_2(size: tuple[int, ...], axes: tuple[int, ...], settings: dict[str, Any]) -> None:
    shape = size[axes[0] - 1 :]
    weights = [tf.Variable(tf.ones(shape)) for _ in range(2 - len(settings))]
    made = tf.function(lambda x: keras2_layer_norm(x, axes[0], *weights), input_signature=[tf.TensorSpec((2, *size))])
    graph = frontends.trace(made)
    cgir.verify(graph)
    inputs = keras.Input(size)
    layer = keras.layers.LayerNormalization(axis=list(axes), **settings)
    assert cgir.isomorphic(graph, frontends.trace(keras.Model(inputs, layer(inputs))))


def test_results_of_unknown_size_are_an_error_only_where_they_are_read() -> None:
    inputs = [tf.TensorSpec((5,), tf.int32)]
    positions = tf.function(lambda x: tf.unique(x).idx, input_signature=inputs)
    assert frontends.trace(positions).nodes[-1].shape == ()
    with pytest.raises(cgir.TraceError, match=r"\(Unique\).*depends on values"):
        frontends.trace(tf.function(lambda x: tf.unique(x).y + 1, input_signature=inputs))
    inner = tf.function(tf.unique, input_signature=inputs)
    assert frontends.trace(tf.function(lambda x: inner(x).idx, input_signature=inputs)).nodes[-1].shape == ()
