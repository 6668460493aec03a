"""Reading of Keras files: `.keras`, `.h5` and `.hdf5`, as Keras 3 and its predecessors write them.

No code in a file is run: layers that hold Python code are refused.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from cgir import TraceError
from cgir.errors import one_line
from cgir.ops import KERAS_NAMES

from .legacy_config import Config, convert_config

HDF5 = (".h5", ".hdf5")
FORMER_LAYERS = (
    "LocallyConnected1D", "LocallyConnected2D", "ThresholdedReLU", "RandomHeight", "RandomWidth", "DenseFeatures",
    "CuDNNLSTM", "CuDNNGRU",
)  # fmt: skip
TF_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod")


def load_model(path: Path) -> keras.Layer:
    """The model in a file; of older files only the configuration is read.

    Raises:
        TraceError: it is damaged, holds code or classes that are not known here, or Keras 3 cannot read it.
    """
    try:
        config = _older_config(path)
        if config is None:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        for data in _objects(config):
            _check_class(data["class_name"])
        return keras.saving.deserialize_keras_object(convert_config(config), safe_mode=True)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error
    except Exception as error:
        raise TraceError(f"{path}: Keras cannot load this file: {_reason(error)}") from error


def _older_config(path: Path) -> Config | None:
    """The configuration in a file that Keras 1 or 2 wrote, None in any other."""
    if path.suffix in HDF5:
        with h5py.File(path, mode="r") as file:
            version, text = file.attrs.get("keras_version", "1"), file.attrs.get("model_config")
        if text is None:
            raise TraceError("it holds weights without a network; build the model in Python and trace that")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            version, text = json.loads(archive.read("metadata.json"))["keras_version"], archive.read("config.json")
    elif path.is_file():
        raise TraceError("not a .keras file, which is a zip archive; write one with model.save")
    else:
        return None
    version = version.decode() if isinstance(version, bytes) else str(version)
    config = json.loads(text, object_hook=_plain)
    return config if version.startswith(("1.", "2.")) or version == "1" else None


def _plain(item: Config) -> Any:
    """A list for the tuples and shapes that some versions mark."""
    return item["items"] if item.get("class_name") in ("__tuple__", "TensorShape") and "items" in item else item


def _objects(item: Any) -> Iterator[Config]:
    """All layers, models and other objects in a configuration."""
    if isinstance(item, dict):
        if "class_name" in item and "config" in item:
            yield item
        item = list(item.values())
    if isinstance(item, list):
        for part in item:
            yield from _objects(part)


def _check_class(name: str) -> None:
    """Refuse what Keras 3 would not load, or would have to run."""
    if name in ("Lambda", "__lambda__"):
        raise TraceError(_LAMBDA)
    if name in TF_OPERATIONS:
        raise TraceError(
            f"it calls TensorFlow functions between layers ({name}), which Keras 3 does not read; "
            "load the file with tf_keras and trace the model"
        )


_LAMBDA = (
    "Keras cannot load this file: it holds a Lambda layer, that is Python code, which cgir does not load; "
    "build the model in Python and trace that"
)


def _reason(error: Exception) -> str:
    """Keras' own reason, which stands behind the configurations of all layers around it."""
    text = one_line(error).rpartition("Exception encountered: ")[2]
    if "Lambda" in text and "safe" in text:
        return _LAMBDA.partition(": ")[2]
    unknown = _unknown_class(text)
    if unknown is None:
        return text[:400]
    if unknown in FORMER_LAYERS:
        return f"Keras 3 has no {unknown}; load the file with tf_keras and trace the model"
    if unknown in KERAS_NAMES and not hasattr(keras.layers, unknown):
        return (
            f"it calls an operation between layers ({unknown}), which Keras does not read from this format; "
            "save the model as .keras, or build it in Python and trace that"
        )
    return (
        "a custom class is not known here; register it with keras.saving.register_keras_serializable, "
        f"or build the model in Python and trace that ({unknown})"
    )


def _unknown_class(text: str) -> str | None:
    """The class that a message of Keras says it does not know."""
    for start in ("Could not locate class '", "Unknown layer: '", "Could not locate function '", "'keras.layers."):
        if start in text:
            return text.partition(start)[2].partition("'")[0]
    return None
