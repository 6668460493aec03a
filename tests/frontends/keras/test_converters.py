"""Operations of Keras in custom layers: parameters as Keras counts them, costs by hand, the SavedModel's graph."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers, ops

import cgir
import frontends

IMAGE, VECTOR = (8, 8, 3), (6,)
PIXELS = 64


class Custom(layers.Layer):
    """A function of its input and of the layer's weights, which it keeps in a list, a tuple or a dictionary."""

    def __init__(self, function: Callable[..., Any], sizes: list[tuple[int, ...]], kind: str = "list") -> None:
        super().__init__()
        weights = [self.add_weight(shape=size, name=f"w{index}") for index, size in enumerate(sizes)]
        self.function = function
        self.kept = {"list": weights, "tuple": tuple(weights), "dict": {"inner": dict(enumerate(weights))}}[kind]

    def call(self, x: Any) -> Any:
        kept = list(self.kept["inner"].values()) if isinstance(self.kept, dict) else self.kept
        return self.function(x, *kept)


def standardised(kernel: Any) -> Any:
    axes = (0, 1, 2)
    return (kernel - ops.mean(kernel, axes, keepdims=True)) / (ops.std(kernel, axes, keepdims=True) + 1e-5)


def checked(model: keras.Model, folder: Path, flops: int) -> cgir.Graph:
    graph = frontends.trace(model)
    cgir.verify(graph)
    assert (graph.num_params, graph.flops, graph.complete) == (model.count_params(), flops, True)
    model.export(folder, verbose=False)
    saved = frontends.trace(folder)
    assert (saved.num_params, saved.flops, saved.complete) == (graph.num_params, flops, True)
    return graph


# input, function, sizes of weights, FLOPs
CASES: dict[str, tuple[tuple[int, ...], Callable[..., Any], list[tuple[int, ...]], int]] = {
    "standardised kernel": (IMAGE, lambda x, k: ops.conv(x, standardised(k)), [(3, 3, 3, 4)], 2 * 36 * 4 * 27),
    "gated kernel": (
        IMAGE,
        lambda x, k, g: ops.conv(x, k * ops.sigmoid(g), 2, "same"),
        [(3, 3, 3, 4), (4,)],
        2 * 16 * 4 * 27,
    ),
    "depthwise computed kernel": (
        IMAGE,
        lambda x, k: ops.depthwise_conv(x, standardised(k), padding="same"),
        [(3, 3, 3, 2)],
        2 * PIXELS * 6 * 9,
    ),
    "transposed": (IMAGE, lambda x, k: ops.conv_transpose(x, k, 2, "same"), [(3, 3, 4, 3)], 2 * PIXELS * 4 * 27),
    "transposed computed kernel": (
        IMAGE,
        lambda x, k: ops.conv_transpose(x, k * 2.0, 3, "valid"),
        [(3, 3, 4, 3)],
        2 * PIXELS * 4 * 27,
    ),
    "separable": (
        IMAGE,
        lambda x, d, p: ops.separable_conv(x, d, p, padding="same"),
        [(3, 3, 3, 2), (1, 1, 6, 4)],
        2 * PIXELS * (6 * 9 + 6 * 4),
    ),
    "triangular weight": (VECTOR, lambda x, w: ops.matmul(x, ops.tril(w)), [(6, 6)], 72),
    "normalised weight": (VECTOR, lambda x, w: ops.matmul(x, ops.normalize(w, axis=0)), [(6, 4)], 48),
}


@pytest.mark.parametrize("name", CASES)
def test_weights_of_custom_layers(name: str, tmp_path: Path) -> None:
    size, function, sizes, flops = CASES[name]
    x = keras.Input(size)
    model = keras.Model(x, Custom(function, sizes)(x))
    graph = checked(model, tmp_path, flops)
    assert cgir.isomorphic(graph, frontends.trace(tmp_path)), cgir.diff(graph, frontends.trace(tmp_path))


@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
def test_weights_in_containers_stay_as_they_are(kind: str) -> None:
    x = keras.Input(VECTOR)
    layer = Custom(lambda x, v, w: ops.matmul(x, ops.tril(v)) + ops.exp(w), [(6, 6), (6,)], kind)
    model = keras.Model(x, layer(x))
    before = dict(vars(layer))
    graph = frontends.trace(model)
    assert (graph.num_params, graph.flops) == (42, 72)
    assert all(vars(layer)[key] is item for key, item in before.items())
    assert [type(weight) for weight in layer.weights] == [keras.Variable] * 2


# input, layer, parameters, FLOPs: the product of the low-rank factors is computed in every call
ADAPTED: dict[str, tuple[tuple[int, ...], Callable[[], Any], int, int]] = {
    "Dense": (VECTOR, lambda: layers.Dense(4), 28 + 2 * (6 + 4), 48 + 2 * 6 * 2 * 4),
    "EinsumDense": (
        (5, 6),
        lambda: layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"),
        28 + 2 * (6 + 4),
        5 * 48 + 2 * 6 * 2 * 4,
    ),
    "Conv2D": (
        IMAGE,
        lambda: layers.Conv2D(4, 3),
        112 + 27 * 2 + 2 * 4,
        2 * 36 * 4 * 27 + 2 * 27 * 2 * 4,
    ),
}


@pytest.mark.parametrize("name", ADAPTED)
def test_low_rank_adaptation(name: str, tmp_path: Path) -> None:
    size, make, params, flops = ADAPTED[name]
    x, layer = keras.Input(size), make()
    layer(x)
    layer.enable_lora(2)
    model = keras.Model(x, layer(x))
    assert checked(model, tmp_path, flops).num_params == params


@pytest.mark.parametrize("function", [ops.squareplus, ops.cbrt, ops.nan_to_num, keras.activations.sparsemax])
def test_operations_without_products_have_a_known_cost(function: Callable[..., Any]) -> None:
    x = keras.Input(VECTOR)
    graph = frontends.trace(keras.Model(x, layers.Dense(4, activation=function)(x)))
    assert (graph.num_params, graph.flops, graph.complete) == (28, 48, True)
