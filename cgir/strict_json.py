"""JSON from files of strangers: an object, not nested deeply, of finite numbers; everything else is one error."""

from __future__ import annotations

import json
import math
import re
from os import PathLike
from typing import Any, cast

import numpy as np

from .errors import FileFormatError, one_line

MAX_DEPTH = 100
# also one without an end, which else would be looked for from each of its escaped quotes
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)


def parse_object(where: str | PathLike[str], data: bytes | str, what: str = "no JSON, so damaged") -> dict[str, Any]:
    """An object from JSON.

    Args:
        where, data, what: as in `parse`.

    Raises:
        FileFormatError: as in `parse`.
    """
    return cast(dict[str, Any], parse(where, data, dict, what))


def parse(where: str | PathLike[str], data: bytes | str, kind: type, what: str = "no JSON, so damaged") -> Any:
    """A value from JSON.

    Args:
        where: the file, or the place in it, the start of the message.
        data: text, or its UTF-8.
        kind: of the value, dict or list.
        what: is wrong with it, in the message.

    Raises:
        FileFormatError: it is no JSON, is of another kind, is nested deeper than `MAX_DEPTH`, or has a number that is
            not finite.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        if (depth := _depth(text)) > MAX_DEPTH:
            raise ValueError(f"nested {depth:,} deep, at most {MAX_DEPTH} is expected")
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
        if not isinstance(value, kind):
            raise ValueError(f"found {type(value).__name__}, expected {kind.__name__}")
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{where}: {what} ({one_line(error, 200)})") from error
    return value


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} where numbers are finite")
    return number


def _depth(text: str) -> int:
    """How deep lists and objects are nested, or, where that is at most `MAX_DEPTH`, a bound."""
    bound = text.count("[") + text.count("{")
    for inspected in (text, None):
        if bound <= MAX_DEPTH:
            break
        # brackets in texts are told apart only where they matter
        values = np.frombuffer((inspected or _STRING.sub("", text)).encode("ascii", "replace"), np.uint8) | 0x20
        signs = (values == ord("{")).astype(np.int8) - (values == ord("}")).astype(np.int8)  # [ is {, ] is } here
        bound = int(signs.cumsum(dtype=np.int32).max(initial=0))
    return bound
