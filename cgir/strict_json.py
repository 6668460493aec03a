"""JSON from files of strangers: an object, not nested deeply, of finite numbers; everything else is one error."""

from __future__ import annotations

import json
import math
import re
from os import PathLike
from typing import Any

import numpy as np

from .errors import FileFormatError, LimitError, one_line
from .limits import DEFAULT, Limits

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def parse_object(
    where: str | PathLike[str],
    data: bytes | str,
    what: str = "no JSON, so damaged or cut off",
    limits: Limits = DEFAULT,
) -> dict[str, Any]:
    """An object from JSON.

    Args:
        where: the file, or the place in it, the start of the message.
        data: text, or its UTF-8.
        what: is wrong with what is no JSON, in the message.
        limits: `depth` of lists and objects.

    Raises:
        FileFormatError: it is no JSON, no object, or has a number that is not finite.
        LimitError: it is nested too deeply.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        _check_depth(where, text, limits)
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except LimitError:
        raise
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{where}: {what} ({one_line(error, 200)})") from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{where}: {what} (found {type(value).__name__}, expected an object)")
    return value


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} where numbers are finite")
    return number


def _check_depth(where: str | PathLike[str], text: str, limits: Limits) -> None:
    """Raise LimitError if too many brackets are open at a place; those in texts are only told apart if it matters."""
    if text.count("[") + text.count("{") > limits.depth and _depth(text) > limits.depth:
        limits.check("depth", _depth(_STRING.sub("", text)), f"{where}: JSON")


def _depth(text: str) -> int:
    values = np.frombuffer(text.encode("ascii", "replace"), np.uint8) | 0x20  # [ as {, ] as }
    signs = (values == ord("{")).astype(np.int8) - (values == ord("}")).astype(np.int8)
    return int(signs.cumsum(dtype=np.int32).max(initial=0))
