"""Checks of arguments: one line where one is of another type than its default, or out of range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from cgir.errors import CgirError

KINDS = {bool: "True or False", int: "a whole number", float: "a finite number", str: "a name"}
LARGEST = torch.finfo(torch.float32).max  # that weights can be multiplied by


def check_types(what: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """CgirError where a value is not of its default's type, as "no" for False; other defaults allow anything.

    Args:
        what: whose arguments they are, in the message.
        values: by name.
        defaults: by name; values without one are not checked.
    """
    for name, value in values.items():
        kind = type(defaults.get(name))
        if kind in KINDS and not _fits(value, kind):
            raise CgirError(f"{what}: {name}={value!r}; expected {KINDS[kind]}, such as {defaults[name]!r}")


def check_positive(what: str, values: Mapping[str, float]) -> None:
    """CgirError where a number is zero or less.

    Args:
        what: whose arguments they are, in the message.
        values: by name.
    """
    for name, value in values.items():
        if not value > 0:
            raise CgirError(f"{what}: {name}={value!r}; expected a positive number")


def _fits(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    return type(value) is kind
