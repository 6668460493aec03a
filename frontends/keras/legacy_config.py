"""Configurations that Keras 2 (tf.keras, tf_keras) saved, in the form that Keras 3 reads.

Keras 3 refuses settings that it has dropped, even at their former defaults, and takes references to tensors among
keyword arguments for plain lists.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import keras

from cgir import TraceError

Config: TypeAlias = dict[str, Any]

# settings that Keras 3 has dropped -> the value with which a layer is as Keras 3 builds it
FORMER_SETTINGS = {"groups": 1, "time_major": False, "renorm": False, "ragged": False, "causal": False}
# those that change nothing that a layer computes at inference
NEUTRAL_SETTINGS = frozenset(
    {"implementation", "input_length", "rng_type", "query_shape", "key_shape", "value_shape", "softmax_robust_masking",
     "trainable", "noise_shape", "fused", "virtual_batch_size", "adjustment", "batch_input_shape"}
)  # fmt: skip
TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


def convert_config(data: Config) -> Config:
    """A layer or model as Keras 2 wrote it, with everything in it, as Keras 3 reads it.

    Raises:
        TraceError: a layer has a setting that Keras 3 does not have.
    """
    class_name, config = data["class_name"], data["config"]
    layers = config if isinstance(config, list) else config.get("layers")
    if layers is not None:
        return _converted_model(data, {"name": data.get("name")} if isinstance(config, list) else config, layers)
    converted = {key: _converted_item(value) for key, value in config.items()}
    layer_class = getattr(keras.layers, class_name, None)
    if layer_class is None:
        return {"registered_name": class_name, **data, "config": converted}
    return {"module": "keras.layers", "class_name": class_name, "config": _settings(layer_class, converted)}


def _converted_item(item: Any) -> Any:
    """A setting, with the layers in it converted."""
    if isinstance(item, list):
        return [_converted_item(part) for part in item]
    is_object = isinstance(item, dict) and isinstance(item.get("config"), dict) and "class_name" in item
    return convert_config(item) if is_object and hasattr(keras.layers, item["class_name"]) else item


def _settings(layer_class: type[keras.Layer], config: Config) -> Config:
    """The settings of one of Keras's own layers, without those that Keras 3 has dropped."""
    accepted = _accepted_settings(layer_class)
    name = layer_class.__name__
    result: Config = {}
    for key, value in config.items():
        if key.endswith(TRAINING_ONLY) or (key not in accepted and key in NEUTRAL_SETTINGS):
            continue
        if key not in accepted and key in FORMER_SETTINGS:
            if value != FORMER_SETTINGS[key]:
                raise TraceError(
                    f"layer {config.get('name')!r} ({name}) has {key}={value!r}, which Keras 3 does not have; "
                    "load the file with tf_keras and trace the model"
                )
            continue
        result[key] = value
    if isinstance(dtype := result.get("dtype"), dict):  # a policy
        result["dtype"] = dtype.get("config", {}).get("name", "float32")
    if name == "InputLayer" and "batch_input_shape" in config:
        result["batch_shape"] = config["batch_input_shape"]
    if name == "BatchNormalization" and isinstance(axis := result.get("axis"), list) and len(axis) == 1:
        result["axis"] = axis[0]
    if name == "LeakyReLU" and "alpha" in result:
        result["negative_slope"] = result.pop("alpha")
    if name in ("GRU", "GRUCell"):
        result.setdefault("reset_after", False)  # files without this setting are older than it
    return result


def _accepted_settings(layer_class: type[keras.Layer]) -> set[str]:
    """The arguments that a layer takes by name."""
    names: set[str] = set()
    for base in layer_class.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names


# --- models


def _converted_model(data: Config, config: Config, layers: list[Config]) -> Config:
    """A Sequential or Functional model; one of a user's own class keeps its name."""
    class_name = data["class_name"]
    if class_name == "Sequential":
        inner = {**config, "layers": [convert_config(layer) for layer in _with_input(layers)]}
    else:
        inner = _converted_calls(config, layers)
    known = {"Sequential": "Sequential", "Functional": "Model", "Model": "Model"}.get(class_name)
    if isinstance(inner.get("dtype"), dict):
        del inner["dtype"]
    if known is None:
        return {"registered_name": class_name, **data, "config": inner}
    return {"module": "keras", "class_name": known, "config": inner}


def _with_input(layers: list[Config]) -> list[Config]:
    """The layers of a Sequential model, with the input that older files note at the first of them."""
    shape = layers[0]["config"].get("batch_input_shape") if layers and isinstance(layers[0]["config"], dict) else None
    if shape is None or layers[0]["class_name"] == "InputLayer":
        return layers
    return [{"class_name": "InputLayer", "config": {"batch_input_shape": shape}}, *layers]


def _converted_calls(config: Config, layers: list[Config]) -> Config:
    """A Functional model: its calls with tensors in all places where they stand."""
    shifts = _shifts(config, layers)
    # of the results, Keras 3 counts the construction of nested models, unless they are Sequential
    ends = {
        layer["name"]: shifts[layer["name"]] - (layer["class_name"] != "Sequential")
        for layer in layers
        if layer["name"] in shifts
    }
    converted = []
    for layer in layers:
        calls = [_converted_call(layer, call, shifts) for call in layer["inbound_nodes"]]
        converted.append({**convert_config(layer), "name": layer["name"], "inbound_nodes": calls})
    outputs = keras.tree.traverse(
        lambda item: _shifted(item, ends) if _is_reference(item) else None, config["output_layers"]
    )
    return {**config, "layers": converted, "output_layers": outputs}


def _shifts(config: Config, layers: list[Config]) -> dict[str, int]:
    """By how much the numbers of a nested model's calls are too high: Keras 2 counts its construction as a call."""
    last: dict[str, int] = {}
    for name, number, *_ in _references([config["output_layers"], [layer["inbound_nodes"] for layer in layers]]):
        last[name] = max(last.get(name, 0), number)
    return {
        layer["name"]: max(0, last.get(layer["name"], 0) + 1 - len(layer["inbound_nodes"]))
        for layer in layers
        if layer["inbound_nodes"] and (isinstance(layer["config"], list) or "layers" in layer["config"])
    }


def _references(item: Any) -> Iterator[list[Any]]:
    """All references to tensors, those among the keyword arguments of others included."""
    if _is_reference(item):
        yield item
        item = item[3:]
    for part in item.values() if isinstance(item, Mapping) else item if isinstance(item, list) else ():
        yield from _references(part)


def _is_reference(item: object) -> bool:
    """Whether this is [layer, number of its call, number of its result], and perhaps keyword arguments."""
    return (
        isinstance(item, list)
        and len(item) in (3, 4)
        and isinstance(item[0], str)
        and all(type(number) is int for number in item[1:3])
    )


def _shifted(reference: list[Any], shifts: Mapping[str, int]) -> list[Any]:
    name, number, result = reference[:3]
    return [name, number - shifts.get(name, 0), result]


def _converted_call(layer: Config, call: Any, shifts: Mapping[str, int]) -> Config:
    """The arguments of one call of a layer."""
    first = next((reference for reference in _references(call) if len(reference) == 4), None)
    keywords = _tensors(first[3] if first else {}, shifts)
    arguments = _tensors(call, shifts)
    if isinstance(arguments, list) and len(arguments) == 1:
        arguments = arguments[0]
    elif layer["class_name"] in RECURRENT and isinstance(arguments, list):
        arguments, *states = arguments  # Keras 2 notes the initial states among the inputs
        if layer["config"].get("num_constants"):
            raise TraceError(
                f"layer {layer['name']!r} ({layer['class_name']}) is called with constants, which Keras 3 does not "
                "read from a file; load the file with tf_keras and trace the model"
            )
        keywords["initial_state"] = states
    return {"args": [arguments], "kwargs": keywords}


def _tensors(item: Any, shifts: Mapping[str, int]) -> Any:
    """The item with Keras tensors in the place of references; their shapes are those of the calls."""
    if _is_reference(item):
        history = {"shape": [], "dtype": "float32", "keras_history": _shifted(item, shifts)}
        return {"class_name": "__keras_tensor__", "config": history}
    if isinstance(item, Mapping):
        return {key: _tensors(part, shifts) for key, part in item.items()}
    return [_tensors(part, shifts) for part in item] if isinstance(item, list) else item
