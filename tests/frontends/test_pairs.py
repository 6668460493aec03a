"""One network, written in PyTorch and in Keras, is one graph in every form that it can be saved in."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import pairs
import pytest
import torch
from pairs import PAIRS

import cgir
import frontends

Form = Callable[[str, Path], Any]  # (pair, a folder) -> what frontends.trace reads without being told shapes


@cache
def reference(name: str, level: str) -> cgir.Graph:
    pair = PAIRS[name]
    return frontends.trace(pair.torch().eval(), pair.example(), level=level)


def same(found: cgir.Graph, name: str, level: str = "module") -> None:
    expected = reference(name, level)
    cgir.verify(found)
    assert cgir.isomorphic(expected, found), cgir.diff(expected, found)
    assert (found.num_params, found.flops) == (expected.num_params, expected.flops)


def as_onnx(name: str, folder: Path) -> bytes:
    """PyTorch's exporter folds BatchNorm, so this form is compared at level "inference"."""
    pair = PAIRS[name]
    module = pair.torch().eval()
    torch.manual_seed(0)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.0)  # the exporter makes one of tensors with equal values, such as biases of zeros
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(module, (pair.example(),), dynamo=True, verbose=False).save(buffer)
    return buffer.getvalue()


def as_concrete_function(name: str, folder: Path) -> Any:
    import tensorflow as tf

    model = PAIRS[name].keras()
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs]
    return tf.function(lambda x: model(x, training=False)).get_concrete_function(*specs)


def as_saved_model(name: str, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's own
        PAIRS[name].keras().export(folder / name, verbose=False)
    return folder / name


def as_keras_file(name: str, folder: Path) -> Path:
    path = folder / f"{name}.keras"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras hands its variables to NumPy in an old way
        PAIRS[name].keras().save(path)
    return path


@pytest.mark.parametrize("name", PAIRS)
def test_layer_walk_equals_torch_module(name: str) -> None:
    model = PAIRS[name].keras()
    found = frontends.trace(model)
    same(found, name)
    constant = sum(prod(weight.shape) for weight in model.non_trainable_weights)
    assert found.num_params + constant == model.count_params()


@pytest.mark.parametrize("name", ["vgg", "mobilenetv2", "gru"])
def test_keras_file_equals_torch_module(name: str, tmp_path: Path) -> None:
    same(frontends.trace(as_keras_file(name, tmp_path)), name)


@pytest.mark.parametrize("name", PAIRS)
def test_concrete_function_equals_torch_module(name: str, tmp_path: Path) -> None:
    same(frontends.trace(as_concrete_function(name, tmp_path)), name)


@pytest.mark.parametrize("name", ["vgg", "squeeze-excite"])
def test_onnx_file_equals_torch_module(name: str, tmp_path: Path) -> None:
    same(frontends.trace(as_onnx(name, tmp_path), level="inference"), name, "inference")


@pytest.mark.parametrize("name", ["mobilenetv2"])
def test_saved_model_equals_torch_module(name: str, tmp_path: Path) -> None:
    same(frontends.trace(as_saved_model(name, tmp_path)), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_onnx_file_of_every_pair(name: str, tmp_path: Path) -> None:
    same(frontends.trace(as_onnx(name, tmp_path), level="inference"), name, "inference")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_saved_model_of_every_pair(name: str, tmp_path: Path) -> None:
    same(frontends.trace(as_saved_model(name, tmp_path)), name)


def test_pairs_that_differ_are_told_apart() -> None:
    """The comparison above can fail: another width, another activation."""
    keras = pairs.keras
    inputs = keras.Input((32, 32, 3), batch_size=1)
    conv, relu = keras.layers.Conv2D(8, 3), torch.nn.ReLU
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), relu())
    expected = frontends.trace(module, torch.zeros(1, 3, 32, 32))
    assert cgir.isomorphic(expected, frontends.trace(keras.Model(inputs, keras.layers.ReLU()(conv(inputs)))))
    assert not cgir.isomorphic(expected, frontends.trace(keras.Model(inputs, keras.layers.ReLU(6)(conv(inputs)))))
    assert not cgir.isomorphic(
        expected, frontends.trace(keras.Model(inputs, keras.layers.ReLU()(keras.layers.Conv2D(9, 3)(inputs))))
    )
