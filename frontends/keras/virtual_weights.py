"""Layers whose weights have shapes and types but no memory, so that any configuration is built at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import keras
from keras.src.backend.common import global_state

from cgir.limits import Limits

WAITING = "uninitialized_variables"  # that Keras fills outside of all stateless scopes


class _ShapesOnly(keras.StatelessScope):  # type: ignore[misc]
    """A scope in which weights are made without contents; layers that ask for some get initial ones, if small."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(initialize_variables=False)
        self.limits, self.num_bytes = limits, 0

    def get_current_value(self, variable: keras.Variable) -> Any:
        value = super().get_current_value(variable)
        if value is None:
            self.num_bytes += prod(variable.shape) * 8
            self.limits.check(
                "bytes", self.num_bytes, f"weight {variable.name!r}, of which the layer reads the contents"
            )
        return value


@contextmanager
def virtual_weights(limits: Limits) -> Iterator[None]:
    """Weights that Keras layers make in the `with` block have no contents and take no memory.

    On TensorFlow they are variables without a value, which functions may read; elsewhere Keras's own placeholders.

    Args:
        limits: of them `bytes`, for the weights whose contents a layer reads while it is built.

    Raises:
        LimitError: these take more.
    """
    waiting = global_state.get_global_attribute(WAITING, [], set_to_default=True)
    number = len(waiting)
    try:
        with _ShapesOnly(limits):
            yield
        if keras.backend.backend() == "tensorflow":
            for variable in waiting[number:]:
                _without_value(variable)
    finally:
        del waiting[number:]  # or Keras fills them at the end of the next scope


def _without_value(variable: keras.Variable) -> None:
    """Give a weight that is not initialised a variable of TensorFlow that is not initialised either."""
    from tensorflow.python.ops.resource_variable_ops import UninitializedVariable

    variable._value = UninitializedVariable(
        trainable=variable.trainable, shape=tuple(variable.shape), dtype=variable._dtype, name=variable.name
    )
    variable._initializer = None
