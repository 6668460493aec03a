"""Random changes of valid files: of their bytes, and of JSON values."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from numpy.random import Generator

# integers and texts at which readers fail
NUMBERS = (0, 1, -1, 2, 7, 63, 64, 127, 255, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63 - 1, -(2**63), 2**64)
TEXTS = ("", " ", "a\nb", "\r", "\x00", "\x1b[2J", "\u202e", "\ud800", "../../x", "é" * 300, "A" * 10**5, "-1", "NaN")
VALUES: tuple[Any, ...] = (
    *NUMBERS, 10**30, *TEXTS,
    None, True, False, 0.5, -0.0, 1e308, float("inf"), float("nan"), [], {}, [[]], [None], {"": 0}
)  # fmt: skip


def mutate_bytes(rng: Generator, data: bytes, most: int = 8) -> bytes:
    """A file with up to `most` changes: flipped bits, other bytes, parts cut out, repeated, swapped, cut off."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, most + 1))):
        if not out:
            break
        at, length = int(rng.integers(len(out))), int(rng.geometric(0.1))
        kind = rng.integers(7)
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            out[at] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            out[at:at] = rng.bytes(length)
        elif kind == 5:
            to = int(rng.integers(len(out)))
            out[at : at + length], out[to : to + length] = out[to : to + length], out[at : at + length]
        elif rng.random() < 0.3:
            del out[at:]
    return bytes(out)


def mutate_json(rng: Generator, value: Any, most: int = 4) -> Any:
    """A JSON value with up to `most` parts replaced, removed, repeated or nested deeply."""
    value = json.loads(json.dumps(value))
    for _ in range(int(rng.integers(1, most + 1))):
        value = _with_one_change(rng, value)
    return value


def _with_one_change(rng: Generator, value: Any) -> Any:
    """Go down at random; a deeper place is as likely as one near the root."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key: Any = keys[int(rng.integers(len(keys)))]
        kind = rng.random()
        if kind < 0.1:
            del value[key]
        elif kind < 0.15 and isinstance(value, list):
            value.insert(int(rng.integers(len(value))), value[key])
        elif kind < 0.15 and isinstance(value, dict):
            value[str(random_value(rng))[:50]] = value.pop(key)
        else:
            value[key] = _with_one_change(rng, value[key])
        return value
    if isinstance(value, int) and rng.random() < 0.5:
        return value + int(rng.integers(-2, 3))
    return random_value(rng)


def random_value(rng: Generator) -> Any:
    """A value at which readers fail; one in a hundred is nested deeply."""
    if rng.random() < 0.01:
        value: Any = []
        for _ in range(int(rng.choice([50, 900]))):
            value = [value] if rng.random() < 0.5 else {"a": value}
        return value
    return deepcopy(VALUES[int(rng.integers(len(VALUES)))])  # lists among them are changed later
