"""Random changes of the fields of protocol buffers, of any message."""

from __future__ import annotations

from typing import Any

from numpy.random import Generator

from .mutation import NUMBERS, TEXTS


def mutate_message(rng: Generator, message: Any, most: int = 4) -> None:
    """Change up to `most` fields in place: other values, elements removed, repeated or swapped, fields cleared."""
    for _ in range(int(rng.integers(1, most + 1))):
        _change(rng, message)


def _change(rng: Generator, message: Any) -> None:
    """Go down at random, and change a field of the message that is found there."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = fields[int(rng.integers(len(fields)))]
    if rng.random() < 0.03:
        message.ClearField(field.name)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        _change_map(rng, value)
    elif hasattr(value, "append") or hasattr(value, "add"):
        _change_list(rng, field, value)
    elif field.message_type is not None:
        _change(rng, value)
    else:
        _set(message, field.name, _scalar(rng, value))


def _change_map(rng: Generator, items: Any) -> None:
    keys = sorted(items)
    key = keys[int(rng.integers(len(keys)))]
    if rng.random() < 0.15:
        del items[key]
    elif hasattr(items[key], "ListFields"):
        if rng.random() < 0.15:
            items[key].CopyFrom(items[keys[int(rng.integers(len(keys)))]])
        else:
            _change(rng, items[key])
    else:
        try:
            items[key] = _scalar(rng, items[key])
        except (ValueError, TypeError, UnicodeError):
            del items[key]


def _change_list(rng: Generator, field: Any, items: Any) -> None:
    at = int(rng.integers(len(items)))
    kind = rng.random()
    if kind < 0.1:
        del items[at]
    elif kind < 0.2 and field.message_type is not None:
        items.add().CopyFrom(items[at])
    elif kind < 0.25 and field.message_type is not None:
        items[at].CopyFrom(items[int(rng.integers(len(items)))])
    elif field.message_type is not None:
        _change(rng, items[at])
    else:
        try:
            items[at] = _scalar(rng, items[at])
        except (ValueError, TypeError, UnicodeError):
            del items[at]


def _set(message: Any, name: str, value: object) -> None:
    try:
        setattr(message, name, value)
    except (ValueError, TypeError, UnicodeError):  # not of the field's range
        message.ClearField(name)


def _scalar(rng: Generator, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(rng.integers(-2, 3)) if rng.random() < 0.4 else NUMBERS[int(rng.integers(len(NUMBERS)))]
    if isinstance(value, float):
        return float(rng.choice([0.0, -1.0, 1e38, float("inf"), float("nan")]))
    text = TEXTS[int(rng.integers(len(TEXTS)))].encode(errors="surrogatepass")
    if rng.random() < 0.3 and value:
        at = int(rng.integers(len(value)))
        text = value[:at] + value[at + 1 :]
    return (text.decode(errors="replace") if isinstance(text, bytes) else text) if isinstance(value, str) else text
