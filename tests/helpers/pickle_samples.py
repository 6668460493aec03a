"""Pickles as calls of anything, and how the library answers bad files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cgir
from frontends.tables.safe_load.torch_reader import unpickle_tensors


def read(raw: bytes) -> Any:
    """The value of a pickle."""
    return unpickle_tensors(io.BytesIO(raw), "a file")


def complaint_of(call: Callable[..., Any], *args: Any) -> str:
    """The error for bad input; empty where there is none."""
    try:
        call(*args)
    except cgir.FileFormatError as error:
        return str(error)
    return ""


class Hostile:
    """Pickled as a call of anything."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call
