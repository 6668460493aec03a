"""Sequential models from configurations, built once: Keras builds them again with every layer that it adds."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.legacy.saving import saving_utils


class Sequential(keras.Sequential):  # type: ignore[misc]
    """Stands for Keras's class while a configuration is read; what comes out is of Keras's class."""

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> keras.Sequential:
        """The model with its layers, as `keras.Sequential.from_config` makes it."""
        layers = []
        for item in config["layers"]:
            if "module" in item:
                layers.append(keras.saving.deserialize_keras_object(item, custom_objects=custom_objects))
            else:
                layers.append(saving_utils.model_from_config(item, custom_objects=custom_objects))
        model = keras.Sequential(layers, name=config["name"])
        shape = config.get("build_input_shape")
        if not model._functional and isinstance(shape, tuple | list) and shape:
            model.build(shape)
        return model
