"""SavedModels that Keras 2 (tf_keras) writes: its applications and layers, and TensorFlow files that wheels ship.

Keras 2's networks are compared with the counts of their own objects, its applications with those of Keras 3 too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cgir
import frontends

from .onnx_wheels import located
from .torch_costs import CANONICAL, Outcome, canonical_costs, no_opaque, same

COLUMNS = ("traces", "parameters equal count_params", *CANONICAL, "Keras 3's FLOPs", "object = SavedModel", "no Opaque")
REQUIRES = ("tf_keras", "basic-pitch", "guesslang")
EXCEPTIONS: dict[str, str] = {
    "layers/IntegerLookup: no Opaque": "looks its numbers up in a table, which the vocabulary lacks",
    "wheel/guesslang/data/model": "splits its text into characters: how many there are depends on the text",
}
SIZE = 96  # for networks that take any image

_APPLICATIONS = (
    "MobileNet MobileNetV2 MobileNetV3Small MobileNetV3Large DenseNet121 EfficientNetB0 EfficientNetV2B0 ResNet50 "
    "ResNet50V2 ResNet101 InceptionV3 Xception VGG16 ConvNeXtTiny RegNetX002 RegNetY002 ResNetRS50 NASNetMobile"
)
_FIXED = {"NASNetMobile": 224, "InceptionV3": 224, "Xception": 224}
_FILES = ("basic_pitch/saved_models/icassp_2022/nmp", "guesslang/data/model")
Keras = Any
Layer = Callable[[Keras], Any]
# name -> shape of the input, layers one after another
_SEQUENCES: dict[str, tuple[tuple[int, ...], Layer]] = {
    "BatchNormalization": ((8, 8, 4), lambda layers: [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.ReLU()]),
    "LayerNormalization": ((7, 16), lambda layers: [layers.Dense(12), layers.LayerNormalization(), layers.Dense(3)]),
    "UnitNormalization": ((16,), lambda layers: [layers.Dense(12), layers.UnitNormalization()]),
    "GroupNormalization": ((8, 8, 8), lambda layers: [layers.GroupNormalization(4), layers.Conv2D(3, 3)]),
    "DepthwiseConv2D": ((8, 8, 4), lambda layers: [layers.DepthwiseConv2D(3, depth_multiplier=2)]),
    "SeparableConv2D": ((8, 8, 4), lambda layers: [layers.SeparableConv2D(6, 3, padding="same")]),
    "Conv2DTranspose": ((8, 8, 4), lambda layers: [layers.Conv2DTranspose(6, 3, strides=2, padding="same")]),
    "Conv1D causal": ((12, 4), lambda layers: [layers.Conv1D(6, 3, padding="causal", dilation_rate=2)]),
    "Conv3D": ((4, 8, 8, 2), lambda layers: [layers.Conv3D(4, 3), layers.GlobalAveragePooling3D()]),
    "grouped Conv2D": ((8, 8, 4), lambda layers: [layers.Conv2D(8, 3, groups=2)]),
    "dilated Conv2D": ((16, 16, 4), lambda layers: [layers.Conv2D(8, 3, dilation_rate=2, padding="same")]),
    "LocallyConnected1D": ((12, 4), lambda layers: [layers.LocallyConnected1D(6, 3)]),
    "LSTM": ((9, 12), lambda layers: [layers.LSTM(8), layers.Dense(3)]),
    "LSTM sequences": ((9, 12), lambda layers: [layers.LSTM(8, return_sequences=True), layers.Dense(3)]),
    "LSTM backwards": ((9, 12), lambda layers: [layers.LSTM(8, go_backwards=True)]),
    "LSTM unrolled": ((9, 12), lambda layers: [layers.LSTM(8, unroll=True)]),
    "GRU": ((9, 12), lambda layers: [layers.GRU(8), layers.Dense(3)]),
    "GRU reset before": ((9, 12), lambda layers: [layers.GRU(8, reset_after=False)]),
    "SimpleRNN": ((9, 12), lambda layers: [layers.SimpleRNN(8)]),
    "Bidirectional": ((9, 12), lambda layers: [layers.Bidirectional(layers.LSTM(8)), layers.Dense(3)]),
    "Bidirectional GRU": ((9, 12), lambda layers: [layers.Bidirectional(layers.GRU(8, return_sequences=True))]),
    "StackedRNNCells": ((9, 12), lambda layers: [layers.RNN([layers.LSTMCell(8), layers.LSTMCell(6)])]),
    "ConvLSTM2D": ((3, 8, 8, 2), lambda layers: [layers.ConvLSTM2D(4, 3)]),
    "TimeDistributed": ((5, 8, 8, 2), lambda layers: [layers.TimeDistributed(layers.Conv2D(4, 3))]),
    "Embedding and LSTM": ((7,), lambda layers: [layers.Embedding(30, 6), layers.LSTM(8), layers.Dense(5)]),
    "masked LSTM": ((7,), lambda layers: [layers.Embedding(30, 6, mask_zero=True), layers.LSTM(8)]),
    "PReLU": ((8, 8, 4), lambda layers: [layers.Conv2D(4, 3), layers.PReLU(shared_axes=[1, 2])]),
    "Dropout": ((16,), lambda layers: [layers.Dense(8), layers.Dropout(0.5), layers.GaussianNoise(0.1)]),
    "UpSampling2D": ((8, 8, 4), lambda layers: [layers.UpSampling2D(2, interpolation="bilinear"), layers.Conv2D(2, 3)]),
    "EinsumDense": (
        (7, 16),
        lambda layers: [layers.EinsumDense("abc,cd->abd", output_shape=(None, 12), bias_axes="d")],
    ),
    "Rescaling": ((8, 8, 3), lambda layers: [layers.Rescaling(1 / 255), layers.Conv2D(4, 3)]),
    "Normalization": ((4,), lambda layers: [layers.Normalization(mean=0.5, variance=2.0), layers.Dense(3)]),
    "IntegerLookup": ((1,), lambda layers: [layers.IntegerLookup(vocabulary=[3, 5, 7]), layers.Embedding(5, 4)]),
}
_INTEGERS = {"Embedding and LSTM", "masked LSTM", "IntegerLookup"}


def cases() -> list[str]:
    """Applications, sequences of layers, a transformer block, and files."""
    return [
        *(f"application/{name}" for name in _APPLICATIONS.split()),
        *(f"layers/{name}" for name in _SEQUENCES),
        "layers/MultiHeadAttention",
        "layers/LSTM states",
        *(f"wheel/{name}" for name in _FILES),
    ]


def check(case: str) -> Outcome:
    """Write one network as a SavedModel and compare."""
    kind, _, name = case.partition("/")
    if kind == "wheel":
        raw = frontends.trace(str(_folder(name)), raw=True)
        graph = cgir.canonicalize(raw)
        cgir.verify(graph)
        return {"traces": True, **canonical_costs(graph, raw), "no Opaque": no_opaque([raw])}
    model = build(case)
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder, save_format="tf")
        raw = frontends.trace(folder, raw=True)
    graph = cgir.canonicalize(raw)
    cgir.verify(graph)
    trained = sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)
    same_object = cgir.diff(graph, frontends.trace(model))
    newer = _keras_flops(name) if kind == "application" else None
    return {
        "traces": True,
        "parameters equal count_params": same(raw.num_params, trained),
        **canonical_costs(graph, raw),
        "Keras 3's FLOPs": None if newer is None else same(graph.flops, newer),
        "object = SavedModel": same_object or True,
        "no Opaque": no_opaque([raw]),
    }


def _folder(name: str) -> Path:
    """The folder of a SavedModel, without importing its package."""
    return located(f"{name}/saved_model.pb").parent


def _size(name: str) -> int:
    return _FIXED.get(name, SIZE)


def _keras_flops(name: str) -> int | None:
    """Of Keras 3's network of that name, None where it has none."""
    import keras

    keras.utils.clear_session(free_memory=True)
    make = getattr(keras.applications, name, None)
    shape = (_size(name), _size(name), 3)
    return make and frontends.trace(make(weights=None, input_shape=shape), input_shape=(1, *shape)).flops


def build(case: str) -> Any:
    """A model with random weights, whose inputs have one example."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tf_keras

    tf_keras.backend.clear_session()
    kind, _, name = case.partition("/")
    if kind == "application":
        shape = (_size(name), _size(name), 3)
        return _with_one_example(tf_keras, getattr(tf_keras.applications, name)(weights=None, input_shape=shape), shape)
    layers = tf_keras.layers
    if name == "MultiHeadAttention":
        tokens = tf_keras.Input((7, 16), batch_size=1)
        attended = layers.LayerNormalization()(tokens + layers.MultiHeadAttention(2, 8)(tokens, tokens))
        return tf_keras.Model(tokens, layers.Dense(16, activation="gelu")(attended))
    if name == "LSTM states":
        first, second = tf_keras.Input((9, 12), batch_size=1), tf_keras.Input((5, 12), batch_size=1)
        _, hidden, cell = layers.LSTM(8, return_state=True)(first)
        decoded = layers.LSTM(8, return_sequences=True)(second, initial_state=[hidden, cell])
        return tf_keras.Model([first, second], decoded)
    sizes, make = _SEQUENCES[name]
    inputs = x = tf_keras.Input(sizes, batch_size=1, dtype="int64" if name in _INTEGERS else "float32")
    for layer in make(layers):
        x = layer(x)
    return tf_keras.Model(inputs, x)


def _with_one_example(tf_keras: Any, model: Any, shape: tuple[int, ...]) -> Any:
    inputs = tf_keras.Input(shape, batch_size=1)
    return tf_keras.Model(inputs, model(inputs))
