"""The state of Keras layers while their code runs on symbolic tensors: weights as symbols, everything restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import KerasTensor, Variable

OWN_LISTS = ("_trainable_variables", "_non_trainable_variables")  # that Keras keeps of every layer's weights


def library_class_of(layer: keras.Layer) -> type | None:
    """Keras's own class whose `call` a layer has; None if a user wrote it."""
    for base in type(layer).__mro__:
        if base.__module__.startswith("keras."):
            return base
        if "call" in vars(base):
            return None
    return None


def _variables(item: object) -> Iterator[Variable]:
    """The weights in an attribute of a layer: itself, or those in a list, tuple or dictionary."""
    if isinstance(item, Variable):
        yield item
    elif isinstance(item, list | tuple | dict):
        for entry in item.values() if isinstance(item, dict) else item:
            yield from _variables(entry)


def _replaced(item: object, symbols: Mapping[int, KerasTensor]) -> object:
    """A copy of an attribute with symbols in place of weights."""
    if isinstance(item, dict):
        return {key: _replaced(entry, symbols) for key, entry in item.items()}
    if isinstance(item, list | tuple):
        entries = [_replaced(entry, symbols) for entry in item]
        return entries if isinstance(item, list) else tuple(entries)
    return symbols.get(id(item), item)


@contextmanager
def symbolic_weights(layer: keras.Layer, symbol: Callable[[Variable], KerasTensor]) -> Iterator[None]:
    """Replace a layer's weights, and those of Keras's own layers in it, by symbolic tensors in the `with` block.

    What is computed from weights alone is then recorded too.
    """
    saved: list[tuple[dict[str, Any], str, object]] = []
    stack = [layer] if isinstance(layer, keras.Layer) else []
    visited: set[int] = set()
    while stack:
        inner = stack.pop()
        visited.add(id(inner))
        for key, item in vars(inner).items():
            if key not in OWN_LISTS and any(True for _ in _variables(item)):
                saved.append((vars(inner), key, item))
        # without layers that infer their shapes by running their code
        stack += [
            child
            for child in inner._layers
            if id(child) not in visited
            and library_class_of(child)
            and not hasattr(child.compute_output_shape, "_is_default")
        ]
    try:
        weights = {id(weight): weight for _, _, item in saved for weight in _variables(item)}
        symbols = {key: symbol(weight) for key, weight in weights.items()}
        for attributes, key, item in saved:
            attributes[key] = _replaced(item, symbols)
        yield
    finally:
        for attributes, key, item in saved:
            attributes[key] = item


RECORDS = ("_inbound_nodes", "_outbound_nodes", "_losses")


@contextmanager
def preserve_layers(layers: Sequence[keras.Layer]) -> Iterator[None]:
    """Restore the attributes of layers afterwards, and remove the calls recorded in the `with` block."""
    before = [(vars(layer), dict(vars(layer))) for layer in layers]
    lengths = [
        (records, len(records))
        for _, attributes in before
        for key in RECORDS
        if (records := attributes.get(key)) is not None
    ]
    try:
        yield
    finally:
        for live, attributes in before:
            if len(live) != len(attributes) or any(
                live.get(key, live) is not value for key, value in attributes.items()
            ):
                live.clear()
                live.update(attributes)
        for records, length in lengths:
            del records[length:]
