"""Configurations of Keras before anything is built from them: their size, and settings that allocate memory."""

from __future__ import annotations

from typing import Any

from cgir.limits import Limits

# settings of layers that Keras makes lists or tensors of when it builds the layer, before it has seen any input
LENGTHS = ("num_oov_indices",)


def checked_config(config: Any, limits: Limits) -> Any:
    """The configuration, without what a trace does not need and what would allocate memory.

    Nothing is compiled (optimizers have states), statistics of inputs become weights (of which only shapes are made),
    and recurrent layers keep no state between calls, which starts at zero and changes no graph.

    Args:
        config: of a model, as JSON; it is changed.
        limits: of them `nodes`, for the layers and other objects, and `depth`, for objects inside each other.

    Raises:
        LimitError: it has more.
    """
    count = 0
    stack = [(config, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, dict):
            if "class_name" in item and "config" in item:
                count, depth = count + 1, depth + 1
                limits.check("nodes", count, "the configuration")
                limits.check("depth", depth, f"the configuration, {str(item['class_name'])[:50]!r}")
                _simplify(item, limits)
            stack += [(part, depth) for part in item.values()]
        elif isinstance(item, list | tuple):
            stack += [(part, depth) for part in item]
    return config


def _simplify(item: dict[str, Any], limits: Limits) -> None:
    """Change the configuration of one object."""
    item.pop("compile_config", None)
    if item["class_name"] == "Sequential" and item.get("module") in ("keras", "keras.models"):
        item["registered_name"] = "Sequential"  # which `model_files` replaces by a class that is built once
    settings = item["config"]
    if not isinstance(settings, dict):
        return
    if item["class_name"] == "Normalization" and settings.get("mean") is not None and settings.get("variance"):
        settings["mean"] = settings["variance"] = None
    if settings.get("stateful") is True:
        settings["stateful"] = False
    for key in LENGTHS:
        if isinstance(settings.get(key), int):
            limits.check("nodes", settings[key], f"the configuration, {item['class_name']}, {key}")
