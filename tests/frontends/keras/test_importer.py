"""Keras models of every kind: recorded, run on symbolic tensors, left to TensorFlow, refused; models stay as is."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers, ops

import cgir
import frontends

ROOT = Path(__file__).resolve().parents[3]


def ops_of(graph: cgir.Graph) -> list[str]:
    return [node.op for node in graph.nodes if node.op not in ("Input", "Output")]


def trainable(model: Any) -> int:
    return sum(prod(weight.shape) for weight in model.trainable_weights)


def small() -> Any:
    inputs = keras.Input((8, 8, 3), name="picture")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(inputs))
    return keras.Model(
        inputs,
        layers.Dense(2, activation="softmax", name="head")(ops.mean(ops.relu(x) + 1.0, axis=(1, 2))),
        name="small",
    )


# --- models that Keras recorded


def test_functional_model_with_operations_between_layers() -> None:
    graph = frontends.trace(small())
    assert ops_of(graph) == ["Conv", "BatchNorm", "ReLU", "Add", "GlobalAvgPool", "Linear", "Softmax"]
    assert [node.module for node in graph.nodes][1:3] == ["conv", "norm"]
    assert graph.name == "small"
    assert graph.nodes[1].params[0] == cgir.Param("conv.kernel", (4, 3, 3, 3))
    assert graph.nodes[0].shape == (3, 8, 8)


def test_parameters_are_keras_own_count_without_statistics_whether_frozen_or_not() -> None:
    model = small()
    expected = trainable(model)
    assert frontends.trace(model).num_params == expected == model.count_params() - 8
    model.trainable = False
    assert frontends.trace(model).num_params == expected


def test_nested_models_are_inlined_and_shared_layers_count_once() -> None:
    inputs = keras.Input((8, 8, 4))
    block = keras.Sequential([layers.Conv2D(4, 3, padding="same", name="conv"), layers.ReLU(name="relu")], name="block")
    shared = layers.Conv2D(4, 3, padding="same", use_bias=False, name="shared")
    inner_input = keras.Input((8, 8, 4))
    inner = keras.Model(inner_input, block(shared(inner_input)), name="inner")
    model = keras.Model(inputs, [inner(inner(inputs)), shared(inputs)])
    graph = frontends.trace(model)
    assert ops_of(graph).count("Conv") == 5
    assert {node.module for node in graph.nodes if node.op == "Conv"} == {"inner.shared", "inner.block.conv", "shared"}
    assert graph.num_params == trainable(model) == 144 + 148
    assert graph.flops == 5 * 2 * 64 * 4 * 4 * 9
    assert sum(node.op == "Output" for node in graph.nodes) == 2


def test_inputs_and_outputs_in_dictionaries() -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((6,), name="right")
    inner = keras.Model(
        {"left": left, "right": right},
        {"sum": layers.Dense(3)(left) + layers.Dense(3)(right), "both": layers.Concatenate()([left, right])},
    )
    graph = frontends.trace(inner)
    assert [node.name for node in graph.nodes if node.op == "Input"] == ["left", "right"]
    assert [node.name for node in graph.nodes if node.op == "Output"] == ["output.both", "output.sum"]
    outer = keras.Model([right, left], inner({"right": right, "left": left})["sum"])
    assert ops_of(frontends.trace(outer)) == ["Linear", "Linear", "Add"]
    by_name = frontends.trace(outer, {"left": np.zeros((2, 4)), "right": np.zeros((2, 6))})
    assert cgir.isomorphic(by_name, frontends.trace(outer))


def test_open_dimensions_come_from_the_caller() -> None:
    inputs = keras.Input((None, None, 3), name="picture")
    model = keras.Model(inputs, layers.GlobalMaxPooling2D()(layers.Conv2D(3, 3)(inputs)))
    assert frontends.trace(model, input_shape=(5, 9, 7, 3)).nodes[1].shape == (3, 7, 5)
    assert frontends.trace(model, np.zeros((2, 9, 7, 3), "float32")).nodes[0].shape == (3, 9, 7)
    with pytest.raises(cgir.TraceError, match=r"input 'picture' has open dimensions.*input_shape=\(1, 224, 224, 3\)"):
        frontends.trace(model)


def test_channels_first_is_the_same_graph() -> None:
    def build(order: str) -> cgir.Graph:
        inputs = keras.Input((3, 8, 8) if order == "channels_first" else (8, 8, 3))
        x = layers.ZeroPadding2D(1, data_format=order)(inputs)
        x = layers.Conv2D(4, 3, 2, padding="same", data_format=order)(x)
        x = layers.BatchNormalization(axis=1 if order == "channels_first" else -1)(x)
        x = layers.MaxPooling2D(2, data_format=order)(
            layers.PReLU(shared_axes=[2, 3] if order == "channels_first" else [1, 2])(x)
        )
        return frontends.trace(keras.Model(inputs, layers.GlobalAveragePooling2D(data_format=order)(x)))

    assert cgir.isomorphic(build("channels_first"), build("channels_last"))


def test_operations() -> None:
    inputs = keras.Input((4, 6))
    x = ops.transpose(inputs, (0, 2, 1))
    x = ops.matmul(x, ops.swapaxes(x, 1, 2)) / 2.0
    x = ops.einsum("bij,bjk->bik", x, x) - ops.expand_dims(ops.max(x, axis=-1), -1)
    x = ops.where(x > 0.0, x, 3.0 - x)
    first, second = ops.split(x, 2, axis=-1)
    x = ops.concatenate([ops.clip(first, -2.0, 2.0), ops.pad(second, ((0, 0), (0, 0), (0, 1)))], axis=-1)
    x = ops.softmax(ops.tile(ops.stack([x[:, 0], x[..., 1, :]], axis=1), (1, 2, 1)))
    graph = frontends.trace(keras.Model(inputs, ops.roll(x, 1)))
    cgir.verify(graph)
    names = [
        "MatMul",
        "Mul",
        "MatMul",
        "GlobalMaxPool",
        "Sub",
        "Compare",
        "Sub",
        "Where",
        "Clip",
        "Pad",
        "Concat",
        "Concat",
        "Softmax",
    ]
    assert sorted(ops_of(graph)) == sorted(names)
    assert graph.flops == 2 * 6 * 6 * 4 + 2 * 6 * 6 * 6
    assert [node.attr("scalar") for node in graph.nodes if node.op == "Mul"] == [0.5]
    assert prod(graph.nodes[-1].shape) == 4 * 7


def test_operations_outside_the_vocabulary_stay_under_their_name() -> None:
    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, ops.linalg.det(inputs))
    assert frontends.trace(model).op_counts()["Opaque:keras.Det"] == 1
    with pytest.raises(cgir.UnsupportedOpError, match=r"keras\.Det"):
        frontends.trace(model, strict=True)


def test_text_has_a_size_only_if_it_is_fixed() -> None:
    def network(**options: int) -> Any:
        text = layers.TextVectorization(vocabulary=["a", "b"], **options)
        rest = [layers.Embedding(4, 3), layers.GlobalAveragePooling1D(), layers.Dense(2)]
        return keras.Sequential([keras.Input((1,), dtype="string"), text, *rest])

    graph = frontends.trace(network(output_sequence_length=7))
    assert graph.num_params == 4 * 3 + 3 * 2 + 2
    assert not graph.complete
    with pytest.raises(cgir.TraceError, match=r"TextVectorization returns, \(1, None\), depends on values.*output_seq"):
        frontends.trace(network())
    rest = keras.Sequential(network().layers[1:])
    assert frontends.trace(rest, np.zeros((1, 7), "int32")).num_params == graph.num_params


# --- code that Keras did not record


class Gated(layers.Layer):
    """Weights of its own, layers inside, a shape decided in Python, and a weight that is moved before its use."""

    def build(self, input_shape: Any) -> None:
        self.dense = layers.Dense(input_shape[-1], activation="sigmoid", name="dense")
        self.dense.build(input_shape)
        self.scale = self.add_weight(shape=(1, input_shape[-1]), initializer="ones", name="scale")

    def call(self, x: Any, training: bool = False) -> Any:
        gate = self.dense(x) * ops.broadcast_to(self.scale, (ops.shape(x)[0], x.shape[-1])) if x.shape[-1] > 2 else x
        return {"out": x * gate, "none": None}["out"]


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.norm, self.head = Gated(), layers.LayerNormalization(), layers.Dense(2)

    def call(self, x: Any) -> Any:
        return {"logits": self.head(ops.relu(self.norm(self.gate(x)))), "features": x}


class Tied(keras.Model):
    """The embedding's table once more as the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.dense = layers.Embedding(50, 8), layers.Dense(8)

    def call(self, x: Any) -> Any:
        return ops.matmul(self.dense(self.table(x)), ops.transpose(self.table.embeddings))


class Foreign(keras.Model):
    """TensorFlow's own functions inside."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.nn.relu(self.dense(x))


def test_custom_layers_are_entered() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Gated(name="gated")(inputs))
    graph = frontends.trace(model)
    assert ops_of(graph) == ["Linear", "Sigmoid", "Mul", "Mul"]
    assert graph.num_params == trainable(model) == 24
    assert {node.module for node in graph.nodes[1:-1]} == {"gated", "gated.dense"}


def test_subclassed_models_are_entered_and_left_as_they_were() -> None:
    model = Subclassed()
    model(np.zeros((3, 4), "float32"))
    layers_of = model._flatten_layers()
    before = [(dict(vars(layer)), len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers_of]
    values = [weight.numpy() for weight in model.weights]
    graph = frontends.trace(model, input_shape=(1, 4))
    assert ops_of(graph) == ["Linear", "Sigmoid", "Mul", "Mul", "LayerNorm", "ReLU", "Linear"]
    assert graph.num_params == trainable(model)
    assert [node.name for node in graph.nodes if node.op == "Output"] == ["output.features", "output.logits"]
    for layer, (attributes, inbound, outbound) in zip(layers_of, before, strict=True):
        assert (len(layer._inbound_nodes), len(layer._outbound_nodes)) == (inbound, outbound)
        assert vars(layer).keys() == attributes.keys()
        assert all(vars(layer)[key] is value for key, value in attributes.items())
    assert all(np.array_equal(weight.numpy(), value) for weight, value in zip(model.weights, values, strict=True))


def test_functional_models_are_left_as_they_were() -> None:
    model = small()
    before = [
        (dict(vars(layer)), len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model._flatten_layers()
    ]
    frontends.trace(model)
    after = [
        (dict(vars(layer)), len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model._flatten_layers()
    ]
    assert [row[1:] for row in before] == [row[1:] for row in after]
    assert all(
        old[0].keys() == new[0].keys() and all(old[0][key] is new[0][key] for key in old[0])
        for old, new in zip(before, after, strict=True)
    )


def test_a_weight_used_twice_is_one_parameter() -> None:
    model = Tied()
    model(np.zeros((1, 5), "int32"))
    graph = frontends.trace(model, np.zeros((1, 5), "int32"))
    assert ops_of(graph) == ["Embedding", "Linear", "Linear"]
    assert graph.num_params == trainable(model) == 400 + 72
    assert graph.nodes[3].params[0].id == graph.nodes[1].params[0].id


def test_what_is_no_keras_operation_is_left_to_the_tensorflow_frontend() -> None:
    model = Foreign()
    model(np.zeros((1, 5), "float32"))
    graph = frontends.trace(model, input_shape=(1, 5))
    assert ops_of(graph) == ["Linear", "ReLU"]
    assert graph.num_params == trainable(model)


def test_lambda_layers_built_in_python_are_followed() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2 + ops.relu(x)), layers.Dense(2)])
    assert ops_of(frontends.trace(model)) == ["Mul", "ReLU", "Add", "Linear"]


def test_single_layers_and_unbuilt_ones_stay_unbuilt() -> None:
    layer, model = layers.Dense(3), keras.Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)])
    assert frontends.trace(layer, input_shape=(1, 5)).num_params == 18
    assert frontends.trace(model, input_shape=(1, 5, 5, 1)).num_params == 20 + 57
    assert not layer.built
    assert not model.built
    assert not model.weights
    layer.build((None, 7))
    assert frontends.trace(layer).num_params == 24
    assert ops_of(frontends.trace(layers.Add(), input_shape=((1, 4), (1, 4)))) == ["Add"]


def test_a_loop_of_own_cells_is_followed_by_tensorflow() -> None:
    class Cell(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.state_size = 3

        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight(shape=(input_shape[-1], 3), name="kernel")

        def call(self, x: Any, states: Any) -> Any:
            out = ops.tanh(ops.matmul(x, self.kernel) + states[0])
            return out, [out]

    inputs = keras.Input((6, 4), batch_size=1)
    model = keras.Model(inputs, layers.RNN(Cell())(inputs))
    graph = frontends.trace(model)
    assert "Tanh" in ops_of(graph)
    assert graph.num_params == trainable(model) == 12


# --- files


def saved(model: Any, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras hands its variables to NumPy in an old way, and calls HDF5 a legacy
        model.save(path)
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files(suffix: str, tmp_path: Path) -> None:
    model = (
        small()
        if suffix == ".keras"
        else keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.ReLU(6.0)])
    )
    graph = frontends.trace(saved(model, tmp_path / f"network{suffix}"))
    assert cgir.isomorphic(graph, frontends.trace(model))
    assert graph.name == "network"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_that_are_refused(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = saved(keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2)]), tmp_path / f"code{suffix}")
    with pytest.raises(cgir.TraceError, match="Lambda layer, that is Python code, which cgir does not load"):
        frontends.trace(code)
    custom = saved(keras.Sequential([keras.Input((4,)), Gated()]), tmp_path / f"custom{suffix}")
    monkeypatch.delattr(sys.modules[__name__], "Gated")
    with pytest.raises(
        cgir.TraceError,
        match=r"a custom class is not known here; register it with keras\.saving\.register_keras_serializable",
    ) as caught:
        frontends.trace(custom)
    assert "\n" not in str(caught.value)
    broken = tmp_path / f"broken{suffix}"
    broken.write_bytes(code.read_bytes()[:200])
    reason = "not an HDF5 file, or cut off" if suffix == ".h5" else "not a .keras file, which is a zip archive"
    with pytest.raises(cgir.TraceError, match=reason):
        frontends.trace(broken)


# --- refusals, each one line that says what to do


def test_refusals() -> None:
    with pytest.raises(cgir.TraceError, match=r"'picture'.*\(None, 8, 8, 3\).*does not fit the given \(1, 3, 8, 8\)"):
        frontends.trace(small(), input_shape=(1, 3, 8, 8))
    with pytest.raises(cgir.TraceError, match=r"1 inputs .picture .*found 2 shapes"):
        frontends.trace(small(), input_shape=((1, 8, 8, 3), (1, 2)))
    with pytest.raises(cgir.TraceError, match="found both"):
        frontends.trace(small(), np.zeros((1, 8, 8, 3)), input_shape=(1, 8, 8, 3))
    with pytest.raises(cgir.TraceError, match="does not know its input shapes; pass example inputs or input_shape="):
        frontends.trace(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(cgir.TraceError, match=r"has no weights yet.*call it once on example inputs"):
        frontends.trace(Subclassed(), input_shape=(1, 4))
    with pytest.raises(cgir.TraceError, match="operation Add by itself"):
        frontends.trace(ops.add(keras.Input((4,)), 1.0)._keras_history.operation)


def test_a_failing_call_names_the_layer() -> None:
    class Broken(layers.Layer):
        def call(self, x: Any) -> Any:
            if getattr(self, "ready", False):
                raise KeyError("no such weight")
            return x

    inputs = keras.Input((4,))
    layer = Broken(name="broken")
    model = keras.Model(inputs, layer(inputs))
    layer.ready = True
    with pytest.raises(cgir.TraceError, match=r"layer 'broken': KeyError.*no such weight") as caught:
        frontends.trace(model)
    assert "\n" not in str(caught.value)


# --- other backends, and no TensorFlow


@pytest.mark.parametrize("backend", ["torch"])
def test_the_import_needs_no_tensorflow(backend: str) -> None:
    program = (
        "import sys\nsys.path.insert(0, 'tests/helpers')\nimport cgir, frontends\nfrom pairs import PAIRS\n"
        "for name in ('mobilenetv2', 'vit-packed'):\n"
        "    pair = PAIRS[name]\n    assert cgir.isomorphic(frontends.trace(pair.torch().eval(), pair.example()), "
        "frontends.trace(pair.keras())), name\n"
        "print('tensorflow' in sys.modules)"
    )
    environment = os.environ | {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert found.stdout.strip() == "False"


def test_keras_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.keras").write_bytes(b"x")
    program = (
        "import sys\nsys.modules['keras'] = None\nimport frontends, cgir\n"
        f"try:\n    frontends.trace({str(tmp_path / 'x.keras')!r})\nexcept cgir.TraceError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install 'cgir[tensorflow]'" in found.stdout
