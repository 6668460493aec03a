"""TensorFlow functions, SavedModels and frozen graphs: the same graphs as PyTorch modules and Keras layers give."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pairs import PAIRS

import cgir
import frontends
from cgir import Graph
from frontends.common.trace_request import TraceRequest

import keras  # isort: skip
import tensorflow as tf  # isort: skip
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # isort: skip

from tensorflow_samples import quiet  # isort: skip

from frontends.keras import function_importer  # isort: skip

L = keras.layers
IMAGE, SEQUENCE, VOLUME, VECTOR = (12, 12, 4), (10, 6), (8, 8, 8, 4), (6,)


def concrete(model: Any, **kwargs: Any) -> Graph:
    """The canonical graph of a Keras model's concrete function."""
    raw = function_importer.trace(model, TraceRequest(**kwargs))
    cgir.verify(raw)
    graph = cgir.canonicalize(raw)
    cgir.verify(graph)
    return graph


def same(a: Graph, b: Graph) -> None:
    """Fail with what differs."""
    assert cgir.isomorphic(a, b), cgir.diff(a, b)
    assert (a.num_params, a.flops) == (b.num_params, b.flops)


def trained(model: Any) -> int:
    """Keras' own count."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def function_of(model: Any) -> Any:
    return tf.function(lambda x: model(x, training=False), autograph=False)


def frozen(model: Any, lower: bool = False) -> Any:
    specs = [tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    made = function_of(model).get_concrete_function(*specs)
    return convert_variables_to_constants_v2(made, lower_control_flow=lower).graph.as_graph_def()


# --- networks written twice


@pytest.mark.parametrize("name", PAIRS)
def test_the_concrete_function_is_the_torch_twin(name: str) -> None:
    pair = PAIRS[name]
    same(frontends.trace(pair.torch(), pair.example()), concrete(pair.keras()))


@pytest.mark.parametrize(
    "name",
    [
        "squeeze-excite",
        "lstm",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet18", "vit-separate", "unet")),
    ],
)
def test_files_and_functions_are_the_torch_twin(name: str, tmp_path: Path) -> None:
    pair = PAIRS[name]
    twin, model = frontends.trace(pair.torch(), pair.example()), pair.keras()
    with quiet():
        model.export(tmp_path / "exported", verbose=False)
    with quiet():
        tf.saved_model.save(model, str(tmp_path / "saved"))
    same(twin, frontends.trace(tmp_path / "exported"))
    same(twin, frontends.trace(str(tmp_path / "saved" / "saved_model.pb")))
    with quiet():
        loaded = tf.saved_model.load(str(tmp_path / "saved"))
    same(twin, frontends.trace(loaded))
    shape = tuple(model.inputs[0].shape)
    same(twin, frontends.trace(function_of(model), tf.zeros(shape, model.inputs[0].dtype)))
    graph = frozen(model)
    same(twin, frontends.trace(graph))
    (tmp_path / "frozen.pb").write_bytes(graph.SerializeToString())
    same(twin, frontends.trace(tmp_path / "frozen.pb"))


def test_a_saved_model_is_read_without_its_variables(tmp_path: Path) -> None:
    model = PAIRS["squeeze-excite"].keras()
    with quiet():
        model.export(tmp_path / "model", verbose=False)
    for file in (tmp_path / "model" / "variables").iterdir():
        file.unlink()
    assert frontends.trace(tmp_path / "model").num_params == trained(model)


# --- layers, against the import of Keras' own layers

LAYERS: dict[str, tuple[tuple[int, ...], Callable[[], Any]]] = {
    "conv1d": (SEQUENCE, lambda: L.Conv1D(8, 3, strides=2, padding="same")),
    "conv1d dilated": (SEQUENCE, lambda: L.Conv1D(8, 3, dilation_rate=2, padding="causal")),
    "conv2d dilated": (IMAGE, lambda: L.Conv2D(8, 3, dilation_rate=2)),
    "conv2d groups": (IMAGE, lambda: L.Conv2D(8, 3, groups=2, padding="same", activation="relu")),
    "conv3d": (VOLUME, lambda: L.Conv3D(8, 3, padding="same", strides=2)),
    "depthwise1d": (SEQUENCE, lambda: L.DepthwiseConv1D(3, depth_multiplier=2)),
    "depthwise2d": (IMAGE, lambda: L.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same")),
    "depthwise dilated": (IMAGE, lambda: L.DepthwiseConv2D(3, dilation_rate=2, padding="same")),
    "separable1d": (SEQUENCE, lambda: L.SeparableConv1D(8, 3)),
    "separable2d": (IMAGE, lambda: L.SeparableConv2D(8, 3, padding="same")),
    "transposed1d": (SEQUENCE, lambda: L.Conv1DTranspose(8, 3, strides=2)),
    "transposed2d": (IMAGE, lambda: L.Conv2DTranspose(8, 3, strides=2, padding="same")),
    "transposed3d": (VOLUME, lambda: L.Conv3DTranspose(8, 3, strides=2)),
    "max1d": (SEQUENCE, lambda: L.MaxPooling1D(2)),
    "max2d": (IMAGE, lambda: L.MaxPooling2D(3, 2, padding="same")),
    "average1d": (SEQUENCE, lambda: L.AveragePooling1D(2, padding="same")),
    "average2d": (IMAGE, lambda: L.AveragePooling2D(3, 2, padding="same")),
    "average3d": (VOLUME, lambda: L.AveragePooling3D(2)),
    "global average": (VOLUME, lambda: L.GlobalAveragePooling3D(keepdims=True)),
    "global max": (SEQUENCE, lambda: L.GlobalMaxPooling1D()),
    "batch norm": (IMAGE, lambda: L.BatchNormalization()),
    "batch norm, no scale": (IMAGE, lambda: L.BatchNormalization(scale=False)),
    "batch norm, no shift": (IMAGE, lambda: L.BatchNormalization(center=False)),
    "batch norm, neither": (SEQUENCE, lambda: L.BatchNormalization(center=False, scale=False)),
    "layer norm": (SEQUENCE, lambda: L.LayerNormalization()),
    "layer norm of images": (IMAGE, lambda: L.LayerNormalization(axis=[1, 2, 3])),
    "layer norm, neither": (SEQUENCE, lambda: L.LayerNormalization(center=False, scale=False)),
    "group norm": (IMAGE, lambda: L.GroupNormalization(2)),
    "group norm of tokens": (SEQUENCE, lambda: L.GroupNormalization(3)),
    "instance norm": (IMAGE, lambda: L.GroupNormalization(-1)),
    "rms norm": (SEQUENCE, lambda: L.RMSNormalization()),
    "unit norm": (SEQUENCE, lambda: L.UnitNormalization()),
    "dense": (SEQUENCE, lambda: L.Dense(5, activation="tanh")),
    "einsum dense": (SEQUENCE, lambda: L.EinsumDense("abc,cde->abde", output_shape=(None, 2, 8), bias_axes="de")),
    "prelu": (IMAGE, lambda: L.PReLU(shared_axes=[1, 2])),
    "padding": (IMAGE, lambda: L.ZeroPadding2D(((1, 2), (0, 1)))),
    "upsampling": (IMAGE, lambda: L.UpSampling2D(2)),
    "upsampling1d": (SEQUENCE, lambda: L.UpSampling1D(2)),
    "bilinear": (IMAGE, lambda: L.UpSampling2D(2, interpolation="bilinear")),
    "repeat": (VECTOR, lambda: L.RepeatVector(3)),
    "rescaling": (IMAGE, lambda: L.Rescaling(1 / 255.0, offset=-1.0)),
    "normalization": (IMAGE, lambda: L.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 1.0, 2.0, 2.0])),
    "gru": (SEQUENCE, lambda: L.GRU(7, return_sequences=True)),
    "simple rnn": (SEQUENCE, lambda: L.SimpleRNN(7, activation="relu")),
    "lstm backwards": (SEQUENCE, lambda: L.LSTM(7, go_backwards=True)),
    "bidirectional": (SEQUENCE, lambda: L.Bidirectional(L.LSTM(7, return_sequences=True))),
    "bidirectional, last": (SEQUENCE, lambda: L.Bidirectional(L.GRU(7))),
}
ACTIVATIONS = (
    "gelu silu hard_sigmoid hard_silu softplus mish leaky_relu elu selu celu relu6 log_sigmoid hard_tanh softsign glu "
    "log_softmax tanh_shrink softmax "
    "exponential"
)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    shape, make = LAYERS[name]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, make()(inputs))
    graph = concrete(model)
    same(frontends.trace(model), graph)
    assert graph.num_params == trained(model)


@pytest.mark.parametrize("name", ACTIVATIONS.split())
def test_activations(name: str) -> None:
    inputs = keras.Input(SEQUENCE)
    model = keras.Model(inputs, L.Activation(name)(inputs))
    same(frontends.trace(model), concrete(model))


def test_shared_layers_have_one_parameter() -> None:
    layer = L.Dense(6)
    inputs = keras.Input(VECTOR)
    graph = concrete(keras.Model(inputs, layer(layer(inputs))))
    assert graph.num_params == 42
    assert graph.op_counts()["Linear"] == 2


def test_models_with_several_inputs(tmp_path: Path) -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    model = keras.Model({"left": left, "right": right}, {"x": L.Dense(3)(left), "y": L.Add()([left, right])})
    zeros = np.zeros((2, 4), np.float32)
    graph = concrete(model, inputs={"left": zeros, "right": zeros})
    same(frontends.trace(model), graph)
    with quiet():
        model.export(tmp_path / "model", verbose=False)
    same(graph, frontends.trace(tmp_path / "model", {"right": zeros, "left": zeros}))
    with pytest.raises(cgir.TraceError, match="left"):
        frontends.trace(tmp_path / "model", {"middle": zeros, "left": zeros})


def test_subclassed_models_need_a_shape() -> None:
    class Twice(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = L.Dense(5)

        def call(self, x: Any, training: bool = False) -> Any:
            return self.dense(x) + x

    model = Twice()
    model(np.zeros((1, 5), np.float32))
    assert concrete(model, input_shape=(1, 5)).op_counts() == {"Input": 1, "Linear": 1, "Add": 1, "Output": 1}
    with pytest.raises(cgir.TraceError, match="input_shape="):
        function_importer.trace(model, TraceRequest())


def test_variables_that_are_not_trained_are_no_parameters() -> None:
    model = keras.Sequential([keras.Input(VECTOR), L.Dense(5), L.BatchNormalization()])
    assert concrete(model).num_params == trained(model) == 35 + 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ResNet50", "MobileNetV2", "EfficientNetB0", "ConvNeXtTiny", "DenseNet121"])
def test_applications(name: str) -> None:
    model = getattr(keras.applications, name)(weights=None)
    graph = concrete(model)
    same(frontends.trace(model), graph)
    assert graph.num_params == trained(model)
    assert "Opaque" not in {node.op for node in graph.nodes}


def test_sizes_are_those_of_tensorflow() -> None:
    """Stored shapes against what TensorFlow computes, for every operator of a network with odd sizes."""
    inputs = keras.Input((17, 23, 3))
    x = L.Conv2D(6, 5, strides=3, padding="same")(inputs)
    x = L.MaxPooling2D(2, padding="same")(L.ReLU()(x))
    model = keras.Model(inputs, L.Flatten()(L.Conv2DTranspose(4, 3, 2)(x)))
    raw = function_importer.trace(model, TraceRequest())
    sizes = [prod(node.shape) for node in raw.nodes if node.op in ("Conv", "MaxPool", "ConvTranspose", "Output")]
    assert sizes == [6 * 6 * 8, 6 * 3 * 4, 4 * 7 * 9, int(np.prod(model.output_shape[1:]))]


SIZES: dict[str, Callable[[Any], Any]] = {
    "stitched": lambda shape: tf.dynamic_stitch([[0, 2], [1]], [[shape[0], shape[1]], [shape[2]]]),
    "sorted": tf.sort,
    "searched": lambda shape: [shape[0], -1, tf.searchsorted([1, 2, 4, 8], shape[2:])[0]],
    "products of segments": lambda shape: tf.math.unsorted_segment_prod(shape, [0, 1, 1], 2),
    "sums of segments": lambda shape: [shape[0], -1, tf.math.unsorted_segment_sum(shape, [0, 0, 1], 2)[1]],
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_computed_from_sizes(name: str) -> None:
    """By operators whose results no shape function knows."""
    function = tf.function(lambda x: tf.reshape(x, SIZES[name](tf.shape(x)))[..., None] + tf.zeros(7))
    graph = frontends.trace(function.get_concrete_function(tf.TensorSpec((1, 6, 4))))
    sizes = function(tf.zeros((1, 6, 4))).shape[1:]
    assert sorted(graph.nodes[-1].shape) == sorted(sizes)  # channels come first in graphs
