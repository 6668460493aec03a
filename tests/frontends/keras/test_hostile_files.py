"""Keras files that claim more than they hold: shapes without memory, limits, and HDF5 read without its library."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np
from keras import layers

import cgir
import frontends
from cgir.limits import DEFAULT, Limits
from frontends.keras.hdf5_attributes import read_text_attributes

Config = dict[str, Any]


def layer(kind: str, **config: Any) -> Config:
    return {"module": "keras.layers", "class_name": kind, "config": config}


def chain(shape: tuple[int, ...], *items: Config, batch: int | None = None) -> Config:
    inputs = layer("InputLayer", batch_shape=[batch, *shape])
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [inputs, *items]}}


def write(path: Path, config: Config, method: int = zipfile.ZIP_STORED, padding: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", padding + json.dumps(config).encode())
    return path


HUGE = {
    "Dense": (chain((4,), layer("Dense", units=10**12)), 5 * 10**12),
    "Embedding": (chain((4,), layer("Embedding", input_dim=10**9, output_dim=64)), 64 * 10**9),
    "Conv2D": (chain((9, 9, 10**5), layer("Conv2D", filters=10**5, kernel_size=3)), 9 * 10**10 + 10**5),
    "stateful LSTM": (chain((5, 4), layer("LSTM", units=10**9, stateful=True), batch=2), 4 * 10**9 * (10**9 + 5)),
    "SpectralNormalization": (
        chain((4,), layer("SpectralNormalization", layer=layer("Dense", units=10**10))), 5 * 10**10,
    ),
    "BatchNormalization": (chain((4, 10**12), layer("BatchNormalization")), 2 * 10**12),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_weights_are_shapes(name: str, tmp_path: Path) -> None:
    config, count = HUGE[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = frontends.trace(write(tmp_path / "net.keras", config))
    assert sum(int(np.prod(param.shape, dtype=object)) for node in graph.nodes for param in node.params) == count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


REFUSED = {
    "statistics of inputs": (chain((10**12,), layer("Normalization")), "weight 'mean'.*bytes"),
    "one number broadcast": (chain((10**12,), layer("Normalization", mean=1.0, variance=1.0)), "weight 'mean'.*bytes"),
    "tokens": (chain((3,), layer("StringLookup", vocabulary=["a"], num_oov_indices=10**9)), "num_oov_indices.*nodes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_be_made_is_limited(name: str, tmp_path: Path) -> None:
    config, message = REFUSED[name]
    with pytest.raises(cgir.errors.LimitError, match=message):
        frontends.trace(write(tmp_path / "net.keras", config))


def test_depth_and_number_of_layers(tmp_path: Path) -> None:
    nested = layer("ReLU")
    for number in range(120):
        nested = {**chain((4,), nested), "config": {**chain((4,), nested)["config"], "name": f"s{number}"}}
    with pytest.raises(cgir.errors.LimitError, match="depth"):
        frontends.trace(write(tmp_path / "deep.keras", chain((4,), nested)))
    wide = write(tmp_path / "wide.keras", chain((4,), *[layer("ReLU", name=f"r{n}") for n in range(30)]))
    with pytest.raises(cgir.errors.LimitError, match="nodes"):
        frontends.trace(wide, limits=Limits(nodes=20))
    assert frontends.trace(wide).op_counts()["ReLU"] == 30


def test_weights_can_be_read_by_functions_of_tensorflow(tmp_path: Path) -> None:
    network = keras.Sequential(
        [keras.Input((5, 3)), layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)]), layers.Dense(2)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras hands its variables to NumPy in an old way
        network.save(tmp_path / "net.keras")
    assert cgir.isomorphic(frontends.trace(tmp_path / "net.keras"), frontends.trace(network))


def test_no_weights_are_left_behind(tmp_path: Path) -> None:
    frontends.trace(write(tmp_path / "net.keras", chain((4,), layer("Dense", units=10**12))))
    with keras.StatelessScope():  # fills at its end what other scopes have left
        weight = keras.Variable(initializer="zeros", shape=(2,))
    assert np.array_equal(weight.numpy(), [0, 0])


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_unpack_to_more(method: int, tmp_path: Path) -> None:
    path = write(tmp_path / "net.keras", chain((4,), layer("ReLU")), method, b" " * (4 << 20))
    with pytest.raises(cgir.errors.LimitError, match=r"config\.json in the archive: takes 4.* bytes"):
        frontends.trace(path, limits=Limits(bytes=1 << 20))
    assert frontends.trace(path).op_counts()["ReLU"] == 1


# of the stored and the unpacked size; a larger stored one than there is changes nothing
@pytest.mark.parametrize(("field", "size"), [(20, 0), (20, 1), (24, 0), (24, 1), (24, 10**9), (24, 2**32 - 1)])
def test_archives_whose_sizes_are_wrong(field: int, size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "net.keras", chain((4,), layer("ReLU")))
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02") + field
    data[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(cgir.TraceError, match=r"net\.keras"):
        frontends.trace(path)


# --- HDF5


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}, {"userblock_size": 1024}], ids=str)
@pytest.mark.parametrize("length", [1, 1000, 70_000])
def test_attributes_equal_those_of_the_library(options: dict[str, Any], length: int, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w", **options) as file:
        file.attrs["keras_version"], file.attrs["fixed"], file.attrs["numbers"] = (
            b"3.1",
            np.bytes_(b"abc"),
            np.arange(5),
        )
        file.attrs["model_config"], file.attrs["text"] = ("c" * length).encode(), "größer"
        file.create_group("weights").attrs["other"] = "not the root's"
    with h5py.File(tmp_path / "x.h5") as file:
        expected = {key: item for key, item in file.attrs.items() if isinstance(item, str | bytes)}
    found = read_text_attributes(tmp_path / "x.h5", DEFAULT)
    assert found == {key: item.decode() if isinstance(item, bytes) else item for key, item in expected.items()}


def test_changed_hdf5_files_end(tmp_path: Path) -> None:
    """Every cut and flip is read or refused; the HDF5 library runs for ever on some of them."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["model_config"] = "3.15.1", json.dumps(chain((4,), layer("ReLU")))
    data, path = (tmp_path / "x.h5").read_bytes(), tmp_path / "y.h5"
    for at in range(0, len(data), 7):
        for changed in (data[:at], data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]):
            path.write_bytes(changed)
            try:
                read_text_attributes(path, DEFAULT)
            except (cgir.TraceError, IndexError):
                continue


def test_a_file_that_claims_a_terabyte_in_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "net.keras", chain((4,), layer("Dense", units=10**11), layer("Dense", units=10**6)))
    program = (
        "import resource, sys, frontends, importlib\n"
        "importlib.import_module('frontends.keras.importer')\n"
        "size = 1024 * next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmSize'))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30),) * 2)\n"
        "print(len(frontends.trace(sys.argv[1])))"
    )
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "OMP_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, env=environment)
    assert found.stdout.strip() == "4", found.stderr[-500:]
