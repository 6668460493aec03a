"""Files of Keras 1 and 2 and those of Keras 3 are the network of the object; code in them is not run."""

from __future__ import annotations

import json
import marshal
import os
import zipfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
from keras import layers, ops

import cgir
import frontends

Layers = list[dict[str, Any]]


def write(path: Path, config: Any, version: str = "2.11.0") -> Path:
    """A file as Keras 2 writes it, without the weights."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": version}))
            archive.writestr("config.json", json.dumps(config))
    else:
        with h5py.File(path, "w") as file:
            file.attrs["keras_version"] = version
            file.attrs["model_config"] = json.dumps(config)
    return path


def layer(kind: str, name: str, *sources: Any, **config: Any) -> dict[str, Any]:
    """A layer called once on the results of others, each given as a name or a reference."""
    call = [source if isinstance(source, list) else [source, 0, 0, {}] for source in sources]
    return {
        "class_name": kind,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": [call] if call else [],
    }


def picture(*size: int) -> dict[str, Any]:
    return layer("InputLayer", "x", batch_input_shape=[None, *size], dtype="float32", sparse=False, ragged=False)


def functional(*nodes: dict[str, Any], output: str = "y", result: int = 0) -> dict[str, Any]:
    config = {
        "name": "net",
        "layers": list(nodes),
        "input_layers": [["x", 0, 0]],
        "output_layers": [[output, 0, result]],
    }
    return {"class_name": "Functional", "config": config}


def network(size: tuple[int, ...], build: Callable[[Any], Any]) -> cgir.Graph:
    inputs = keras.Input(size)
    return frontends.trace(keras.Model(inputs, build(inputs)))


ZEROS = {"class_name": "Zeros", "config": {}}
WINDOW = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "dilation_rate": [1, 1], "groups": 1}
CELL = {"units": 4, "activation": "tanh", "recurrent_activation": "sigmoid", "time_major": False, "implementation": 2}
HEADS = {"num_heads": 2, "key_dim": 4, "query_shape": [None, 7, 6], "key_shape": [None, 7, 6], "attention_axes": [1]}
OLDER = {
    "DepthwiseConv2D": (
        (8, 8, 3),
        {**WINDOW, "depthwise_initializer": ZEROS},
        lambda x: layers.DepthwiseConv2D(3)(x),
    ),
    "SeparableConv2D": (
        (8, 8, 3),
        {
            **WINDOW,
            "filters": 4,
            "kernel_initializer": ZEROS,
            "kernel_regularizer": {"class_name": "Mine", "config": {}},
        },
        lambda x: layers.SeparableConv2D(4, 3)(x),
    ),
    "Conv2DTranspose": ((8, 8, 3), {**WINDOW, "filters": 4}, lambda x: layers.Conv2DTranspose(4, 3)(x)),
    "BatchNormalization": (
        (8, 8, 3),
        {"axis": [3], "renorm": False, "fused": True, "dtype": {"class_name": "Policy", "config": {"name": "float32"}}},
        lambda x: layers.BatchNormalization()(x),
    ),
    "LSTM": ((7, 6), CELL, lambda x: layers.LSTM(4)(x)),
    "GRU": ((7, 6), CELL, lambda x: layers.GRU(4, reset_after=False)(x)),
    "Bidirectional": (
        (7, 6),
        {"layer": {"class_name": "LSTM", "config": {"name": "lstm", **CELL}}, "merge_mode": "concat"},
        lambda x: layers.Bidirectional(layers.LSTM(4))(x),
    ),
    "LeakyReLU": ((7, 6), {"alpha": 0.25}, lambda x: layers.LeakyReLU(0.25)(x)),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
@pytest.mark.parametrize("kind", OLDER)
def test_settings_that_keras_3_has_dropped(kind: str, suffix: str, tmp_path: Path) -> None:
    size, config, build = OLDER[kind]
    graph = frontends.trace(
        write(tmp_path / f"net{suffix}", functional(picture(*size), layer(kind, "y", "x", **config)))
    )
    assert cgir.isomorphic(graph, network(size, build))
    assert graph.name == "net"


@pytest.mark.parametrize(
    ("kind", "config", "found"),
    [
        ("LSTM", CELL | {"time_major": True}, r"layer 'y' \(LSTM\) has time_major=True"),
        (
            "Conv1DTranspose",
            {"filters": 2, "kernel_size": [3], "groups": 3},
            r"layer 'y' \(Conv1DTranspose\) has groups=3",
        ),
    ],
)
def test_dropped_settings_with_another_value_are_refused(
    kind: str, config: dict[str, Any], found: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "net.h5", functional(picture(7, 6), layer(kind, "y", "x", **config)))
    with pytest.raises(cgir.TraceError, match=rf"net.h5: {found}, which Keras 3 does not have; load the file with"):
        frontends.trace(path)


def test_tensors_among_keyword_arguments(tmp_path: Path) -> None:
    attention = layer("MultiHeadAttention", "y", ["x", 0, 0, {"value": ["d", 0, 0], "use_causal_mask": True}], **HEADS)
    path = write(tmp_path / "net.h5", functional(picture(7, 6), layer("Dense", "d", "x", units=5), attention))
    expected = network((7, 6), lambda x: layers.MultiHeadAttention(2, 4)(x, layers.Dense(5)(x), use_causal_mask=True))
    assert cgir.isomorphic(frontends.trace(path), expected)


def test_initial_states_of_recurrent_layers(tmp_path: Path) -> None:
    first = layer("LSTM", "e", "x", **CELL, return_state=True)
    second = layer("LSTM", "y", "x", ["e", 0, 1, {}], ["e", 0, 2, {}], **CELL)

    def build(x: Any) -> Any:
        _, *states = layers.LSTM(4, return_state=True)(x)
        return layers.LSTM(4)(x, initial_state=states)

    path = write(tmp_path / "net.h5", functional(picture(7, 6), first, second))
    assert cgir.isomorphic(frontends.trace(path), network((7, 6), build))
    second["config"]["num_constants"] = 1
    with pytest.raises(cgir.TraceError, match=r"layer 'y' \(LSTM\) is called with constants"):
        frontends.trace(write(tmp_path / "net.h5", functional(picture(7, 6), first, second)))


@pytest.mark.parametrize("kind", ["Functional", "Sequential"])
def test_nested_models_that_run_twice(kind: str, tmp_path: Path) -> None:
    inner = functional(picture(6), layer("Dense", "y", "x", units=6))
    if kind == "Sequential":
        inner = {"class_name": kind, "config": {"name": "inner", "layers": inner["config"]["layers"]}}
    calls = [[["x", 0, 0, {}]], [["inner", 1, 0, {}]]]  # call 0 is the construction
    block = {"class_name": kind, "name": "inner", "config": inner["config"], "inbound_nodes": calls}
    config = functional(picture(6), block, output="inner")
    config["config"]["output_layers"] = [["inner", 2, 0]]
    dense = layers.Dense(6)
    found = frontends.trace(write(tmp_path / "net.h5", config))
    assert cgir.isomorphic(found, network((6,), lambda x: dense(dense(x))))
    assert found.flops == 2 * 2 * 6 * 6


def test_sequential_models_of_the_oldest_files(tmp_path: Path) -> None:
    size = [None, 8, 8, 3]
    nodes = [
        {"class_name": "Conv2D", "config": {"name": "c", "filters": 4, "kernel_size": 3, "batch_input_shape": size}},
        {"class_name": "Flatten", "config": {"name": "f"}},
        {"class_name": "Dense", "config": {"name": "d", "units": 2}},
    ]  # fmt: skip
    expected = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)])
    for config in (nodes, {"name": "s", "layers": nodes}):
        path = write(tmp_path / "net.h5", {"class_name": "Sequential", "config": config}, "2.0.6")
        assert cgir.isomorphic(frontends.trace(path), frontends.trace(expected))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_not_run(suffix: str, tmp_path: Path) -> None:
    trace_of_it = tmp_path / "was_run"
    code = compile(f"open({str(trace_of_it)!r}, 'w')", "file", "eval")
    function = [b64encode(marshal.dumps(code)).decode(), None, None]
    node = layer("Lambda", "y", "x", function=function, function_type="lambda", arguments={})
    with pytest.raises(cgir.TraceError, match=r"Lambda layer, that is Python code, which cgir does not load"):
        frontends.trace(write(tmp_path / f"net{suffix}", functional(picture(6), node)))
    assert not trace_of_it.exists()


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("TFOpLambda", {"function": "nn.relu"}, r"calls TensorFlow functions between layers \(TFOpLambda\).*tf_keras"),
        ("LocallyConnected2D", {"filters": 2}, r"Keras 3 has no LocallyConnected2D; load the file with tf_keras"),
        ("Mine", {"width": 2}, r"custom class is not known here; register it with keras\.saving.*\(Mine\)"),
        ("Dense", {"units": -4}, r"this file: Received an invalid value for `units`.*positive integer"),
        ("Dense", {"units": 4, "color": "red"}, r"this file: .*'color': 'red'"),
    ],
)
def test_messages_give_the_reason(kind: str, config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(cgir.TraceError, match=message) as caught:
        frontends.trace(write(tmp_path / "net.h5", functional(picture(8, 8, 3), layer(kind, "y", "x", **config))))
    assert "\n" not in str(caught.value)


def test_weights_without_a_network_and_operations_in_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.create_group("layer")
    with pytest.raises(cgir.TraceError, match="holds weights without a network"):
        frontends.trace(tmp_path / "weights.h5")
    node = {"name": "y", "class_name": "GetItem", "config": {"name": "y"}, "inbound_nodes": [[["x", 0, 0, {}]]]}
    path = write(tmp_path / "net.h5", functional(picture(6), node), "3.15.1")
    with pytest.raises(cgir.TraceError, match=r"calls an operation between layers \(GetItem\).*save the model as"):
        frontends.trace(path)


SLICES: dict[str, Callable[[Any], Any]] = {
    "range": lambda x: x[:, :2],
    "integer": lambda x: x[:, 0],
    "last": lambda x: x[..., -1],
    "new axis": lambda x: x[:, None, 1:3],
    "step": lambda x: x[:, ::2],
    "moved": lambda x: ops.moveaxis(x, (1, 2), (2, 1)),
    "padded": lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 2))),
    "split": lambda x: ops.split(x, [2, 3], axis=-1)[1],
    "taken": lambda x: ops.take(x, [0, 2], axis=1),
}


@pytest.mark.parametrize("name", SLICES)
def test_operations_are_the_same_in_a_file(name: str, tmp_path: Path) -> None:
    inputs = keras.Input((5, 6))
    model = keras.Model(inputs, layers.Flatten()(SLICES[name](inputs)))
    model.save(tmp_path / "net.keras")
    graph, other = frontends.trace(model, raw=True), frontends.trace(tmp_path / "net.keras", raw=True)
    assert cgir.isomorphic(graph, other)
    assert name == "taken" or graph.op_counts().get("Gather", 0) == 0
