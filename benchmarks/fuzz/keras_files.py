"""Hostile Keras files: `.keras` and `.h5` changed in their configurations, their archives and their bytes."""

from __future__ import annotations

import inspect
import json
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from numpy.random import Generator

import frontends
import frontends.keras.importer  # processes that read inputs are forked after Keras is loaded

from .mutation import mutate_bytes, mutate_json, random_value
from .resealing import zipped
from .target import Target

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

INPUTS = ((4,), (6, 5), (8, 8, 3), (4, 8, 8, 3), (2**31,), (10**12,), (None, 5), ())
# arguments of layers by the kind of their default: sensible ones, and those at which something may give way
COUNTS = (1, 2, 3, 4, 2, 1, 2, 3, -1, 0, 10**5, 10**9, 10**12, 2**63)
TEXTS = ("same", "valid", "relu", "channels_first", "channels_last", "zeros", "int", "one_hot", "multi_hot", "string")
CELLS = tuple(
    {"class_name": name, "module": "keras.layers", "config": {"units": units}}
    for name in ("Dense", "LSTMCell", "GRU") for units in (2, 10**9)
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    0.5, 1e300, None, [1, 1], [2, 2], [3, -1], [[1, 1], [1, 1]], [10**6, 10**6], [], ["a", "b"], [1.0, 2.0], True
)  # fmt: skip
LAYER_ARGUMENTS = ("layer", "layers", "cell", "cells", "forward_layer", "backward_layer")


class Seeds(NamedTuple):
    """Members of `.keras` files, HDF5 files, and the signatures of all layers."""

    archives: list[dict[str, bytes]]
    hdf5: list[bytes]
    layers: dict[str, list[tuple[str, bool, str]]]  # name, whether it is needed, kind of its default


def prepare(folder: Path) -> Seeds:
    """Small networks in both formats."""
    import keras

    archives, hdf5 = [], []
    for model in _networks():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras calls HDF5 a legacy
            model.save(folder / "model.keras")
            model.save(folder / "model.h5")
        with zipfile.ZipFile(folder / "model.keras") as archive:
            archives.append({name: archive.read(name) for name in archive.namelist()})
        hdf5.append((folder / "model.h5").read_bytes())
    classes = {name: item for name, item in vars(keras.layers).items() if inspect.isclass(item) and name != "Layer"}
    return Seeds(archives, hdf5, {name: _arguments(item) for name, item in sorted(classes.items())})


def _arguments(kind: type) -> list[tuple[str, bool, str]]:
    """Name, whether it is needed, and the type of the default of every argument."""
    found: dict[str, tuple[str, bool, str]] = {}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            for p in inspect.signature(vars(base)["__init__"]).parameters.values():
                if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in ("self", "name"):
                    found.setdefault(p.name, (p.name, p.default is p.empty, type(p.default).__name__))
    return list(found.values())


def _networks() -> list[Any]:
    """Ten kinds of networks that share few layers."""
    import keras
    from keras import layers, ops

    def branches(x: Any) -> Any:
        a, b = layers.Dense(4)(x), layers.Dense(4, activation="gelu")(x)
        return layers.Concatenate()([layers.Add()([a, b]), layers.Multiply()([a, b]), ops.relu(a) * 2.0])

    def attention(x: Any) -> Any:
        return layers.LayerNormalization()(layers.MultiHeadAttention(2, 4)(x, x) + x)

    def network(size: tuple[int, ...], body: Any) -> Any:
        inputs = keras.Input(size)
        return keras.Model(inputs, body(inputs))

    def chain(size: tuple[int, ...], *parts: Any) -> Any:
        return keras.Sequential([keras.Input(size), *parts])

    pool = layers.GlobalAveragePooling2D()
    return [
        chain((8, 8, 3), layers.Conv2D(4, 3, strides=2), layers.BatchNormalization(), layers.ReLU(), pool),
        chain((6, 5), layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(2)),
        chain((3, 6, 6, 2), layers.TimeDistributed(layers.Conv2D(2, 3)), layers.ConvLSTM2D(2, 2)),
        chain((5,), chain((5,), layers.Dense(4), layers.Dropout(0.5)), layers.Dense(2, kernel_regularizer="l2")),
        chain((5, 3), layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)]), layers.RepeatVector(3), layers.Flatten()),
        chain((4,), layers.Normalization(mean=[0.0] * 4, variance=[1.0] * 4), layers.Discretization([0.0, 1.0])),
        keras.Sequential([keras.Input((3,), dtype="string"), layers.StringLookup(vocabulary=["a", "b"])]),
        chain((8, 8, 3), layers.SeparableConv2D(4, 3), layers.UpSampling2D(2), layers.ZeroPadding2D(1)),
        network((4,), branches),
        network((6, 8), attention),
    ]


def write_file(rng: Generator, seeds: Seeds, folder: Path) -> Path:
    """A file of a network with changes in its configuration, its archive or its bytes."""
    index = int(rng.integers(len(seeds.archives)))
    kind = rng.random()
    if kind < 0.45:
        return _write_archive(rng, folder, _changed(rng, seeds.archives[index]))
    if kind < 0.6:
        return _write(folder / "model.keras", mutate_bytes(rng, zipped(seeds.archives[index], zipfile.ZIP_STORED)))
    if kind < 0.75:
        return _write(folder / "model.h5", mutate_bytes(rng, seeds.hdf5[index]))
    return _write(folder / "model.h5", _changed_hdf5(rng, seeds.archives[index], folder))


def write_layer(rng: Generator, seeds: Seeds, folder: Path) -> Path:
    """A network of one layer of a random class with random arguments."""
    names = list(seeds.layers)
    name = names[int(rng.integers(len(names)))]
    config: dict[str, Any] = {"name": "layer"}
    for argument, needed, kind in seeds.layers[name]:
        if needed or rng.random() < 0.15:
            config[argument] = _setting(rng, argument, kind)
    shape = INPUTS[int(rng.integers(len(INPUTS)))]
    dtype = ("float32", "float32", "int64", "string")[int(rng.integers(4))]
    inputs = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, *shape], "dtype": dtype},
    }
    layer = {"module": "keras.layers", "class_name": name, "config": config}
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [inputs, layer]}}
    members = {"metadata.json": b'{"keras_version": "3.15.1"}', "config.json": json.dumps(model).encode()}
    return _write(folder / "model.keras", zipped(members, zipfile.ZIP_STORED))


def _setting(rng: Generator, argument: str, kind: str) -> Any:
    """A value for an argument of a layer, mostly of the type of its default."""
    pick = rng.random()
    if pick < 0.05:
        return random_value(rng)
    if argument in LAYER_ARGUMENTS and pick < 0.95:
        cell = CELLS[int(rng.integers(len(CELLS)))]
        return [cell, cell] if argument in ("layers", "cells") else cell
    if kind == "bool" and pick < 0.9:
        return bool(rng.integers(2))
    if kind == "str" and pick < 0.9:
        return TEXTS[int(rng.integers(len(TEXTS)))]
    items: tuple[Any, ...] = COUNTS if pick < 0.8 else OTHERS
    return items[int(rng.integers(len(items)))]


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _changed(rng: Generator, members: dict[str, bytes]) -> dict[str, bytes]:
    """The members with a changed configuration, sometimes another version."""
    config = json.dumps(mutate_json(rng, json.loads(members["config.json"]))).encode(errors="replace")
    version = str(rng.choice(["3.15.1", "3.15.1", "3.15.1", "2.15.0", "1.0", "x"]))
    metadata = json.dumps({"keras_version": version}).encode()
    return members | {
        "config.json": config,
        "metadata.json": metadata if rng.random() < 0.3 else members["metadata.json"],
    }


def _changed_hdf5(rng: Generator, members: dict[str, bytes], folder: Path) -> bytes:
    """An HDF5 file with a changed configuration."""
    import h5py

    with h5py.File(folder / "new.h5", "w") as file:
        file.attrs["keras_version"] = str(rng.choice(["3.15.1", "3.15.1", "2.15.0", "1.0"]))
        file.attrs["model_config"] = _changed(rng, members)["config.json"]
    data = (folder / "new.h5").read_bytes()
    (folder / "new.h5").unlink()
    return data


def _write_archive(rng: Generator, folder: Path, members: dict[str, bytes]) -> Path:
    """An archive, sometimes compressed, with members that are missing, twice there, or claim another size."""
    members = {name: data for name, data in members.items() if rng.random() > 0.03}
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    data = bytearray(zipped(members, methods[int(rng.integers(4)) if rng.random() < 0.2 else 0]))
    if rng.random() < 0.1:  # sizes in the directory at the end, which are believed first
        at = data.find(b"PK\x01\x02")
        if at >= 0:
            field = at + int(rng.choice([20, 24]))
            data[field : field + 4] = int(rng.choice([0, 1, 10**9, 2**32 - 1])).to_bytes(4, "little")
    return _write(folder / "model.keras", bytes(data))


TARGETS = (
    Target(".keras, .h5: configurations, archives, bytes", prepare, write_file, frontends.trace),
    Target(".keras: one layer of each class, random arguments", prepare, write_layer, frontends.trace),
)
