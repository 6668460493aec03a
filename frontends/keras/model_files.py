"""Reading of Keras files: `.keras`, `.h5` and `.hdf5`, as Keras 3 and its predecessors write them.

No code in a file is run: layers that hold Python code are refused. No weight is read or made: whatever sizes a
configuration claims, its layers have weights of these shapes without contents.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
from keras.src.legacy.saving import saving_options, saving_utils
from keras.src.saving.serialization_lib import ObjectSharingScope, SafeModeScope

from cgir import CgirError, TraceError
from cgir.errors import one_line
from cgir.limits import Limits
from cgir.ops import KERAS_NAMES
from frontends.common.archives import read_json

from .config_limits import checked_config
from .hdf5_attributes import read_text_attributes
from .legacy_config import Config, convert_config
from .sequential_config import Sequential
from .virtual_weights import virtual_weights

HDF5 = (".h5", ".hdf5")
FORMER_LAYERS = (
    "LocallyConnected1D", "LocallyConnected2D", "ThresholdedReLU", "RandomHeight", "RandomWidth", "DenseFeatures",
    "CuDNNLSTM", "CuDNNGRU",
)  # fmt: skip
CLASSES = partial(keras.saving.custom_object_scope, {"Sequential": Sequential})
VARIABLE_OF_ARRAY = "create a variable while in a stateless scope"  # in a message of Keras
TF_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod")


def load_model(path: Path, limits: Limits) -> keras.Layer:
    """The model in a file, whose weights have shapes and types but no contents.

    Args:
        path: of the file.
        limits: of what it may take.

    Raises:
        TraceError: it is damaged, holds code or classes that are not known here, or Keras 3 cannot read it.
        LimitError: it would take more than the limits allow.
    """
    try:
        model = _model(path, limits)
    except CgirError as error:
        kind = type(error) if isinstance(error, TraceError) else TraceError
        raise kind(f"{path}: {error}") from error
    except Exception as error:
        raise TraceError(f"{path}: Keras cannot load this file: {_reason(error)}") from error
    if not isinstance(model, keras.Layer):
        raise TraceError(f"{path}: holds the configuration of a {type(model).__name__}, expected one of a model")
    return model


def _model(path: Path, limits: Limits) -> Any:
    """What the configuration in a file describes."""
    version, config = _read_hdf5(path, limits) if path.suffix in HDF5 else _read_archive(path, limits)
    config = checked_config(config, limits)
    if version.startswith(("1.", "2.")) or version == "1":
        config = _mapped(config, list)
        for data in _objects(config):
            _check_class(data["class_name"])
        build = partial(keras.saving.deserialize_keras_object, convert_config(config), safe_mode=True)
    elif path.suffix in HDF5:
        build = partial(_from_legacy, _mapped(config, tuple))
    else:
        build = partial(keras.saving.deserialize_keras_object, config, safe_mode=True)
    try:
        with virtual_weights(limits), ObjectSharingScope(), CLASSES():
            return build()
    except Exception as error:
        # custom layers of the user's may make variables of arrays, which need contents
        if VARIABLE_OF_ARRAY not in str(error) or not keras.saving.get_custom_objects():
            raise
    with ObjectSharingScope(), CLASSES():
        return build()


def _from_legacy(config: Config) -> Any:
    """The model of a configuration as Keras 3 writes it to HDF5 files."""
    with saving_options.keras_option_scope(use_legacy_config=True), SafeModeScope(safe_mode=True):
        return saving_utils.model_from_config(
            config, custom_objects={**keras.saving.get_custom_objects(), "Sequential": Sequential}
        )


def _read_hdf5(path: Path, limits: Limits) -> tuple[str, Any]:
    """The version of Keras that wrote a file, and the configuration in it."""
    attributes = read_text_attributes(path, limits)
    text = attributes.get("model_config")
    if text is None:
        raise TraceError("it holds weights without a network; build the model in Python and trace that")
    return attributes.get("keras_version", "1"), json.loads(text)


def _read_archive(path: Path, limits: Limits) -> tuple[str, Any]:
    """The version of Keras that wrote a file, and the configuration in it."""
    if not zipfile.is_zipfile(path):
        raise TraceError("not a .keras file, which is a zip archive; write one with model.save")
    with zipfile.ZipFile(path) as archive:
        metadata = read_json(archive, "metadata.json", limits)
        if not isinstance(metadata, dict) or not isinstance(metadata.get("keras_version"), str):
            raise TraceError("metadata.json names no version of Keras; the file is damaged")
        return metadata["keras_version"], read_json(archive, "config.json", limits)


def _mapped(item: Any, sequence: type[list[Any]] | type[tuple[Any, ...]]) -> Any:
    """A configuration with lists or tuples in the place of the tuples and shapes that some versions mark."""
    if isinstance(item, dict):
        if item.get("class_name") in ("__tuple__", "TensorShape") and isinstance(item.get("items"), list):
            return sequence(_mapped(part, sequence) for part in item["items"])
        if item.get("class_name") == "__ellipsis__":
            return ...
        return {key: _mapped(part, sequence) for key, part in item.items()}
    return [_mapped(part, sequence) for part in item] if isinstance(item, list) else item


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
