"""Records of foreign files as columns of a table, and errors about malformed records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np

from cgir.errors import FileFormatError, SpecError, one_line
from cgir.typing import FloatArray

MOST_COLUMNS = 2000  # benchmarks have up to 300
LONGEST_CURVE = 10_000  # epochs of a training
PREVIEW = 200  # characters of a foreign value in a message


@contextmanager
def record_errors(origin: str, what: str) -> Iterator[None]:
    """Turn errors of the code inside, which reads a record, into one line that names the record.

    Args:
        origin: the file and the record in it.
        what: what such records are called, in the plural.

    Raises:
        FileFormatError: a key is missing, or a value is of another kind than expected.
    """
    try:
        yield
    except FileFormatError:
        raise
    except SpecError as error:
        raise FileFormatError(f"{origin}: {error}") from error
    except KeyError as error:
        raise FileFormatError(f"{origin}: no {one_line(error, PREVIEW)} in it, which {what} have") from error
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError, MemoryError) as error:
        raise FileFormatError(f"{origin}: not {what} ({preview(error)})") from error


def preview(value: object) -> str:
    """A foreign value for a message: one line, not too long; of a dictionary its keys."""
    if isinstance(value, Exception):
        return one_line(value, PREVIEW, named=not str(value))
    if isinstance(value, dict):
        return ", ".join(map(_name, islice(value, 8)))[:PREVIEW]
    return _name(value)


def _name(value: object) -> str:
    """Text and numbers as they are, others by their type: to write lists in lists may take for ever."""
    if isinstance(value, str):
        return " ".join(value[:PREVIEW].split())
    return str(value) if isinstance(value, int) and abs(value) < 1 << 63 else type(value).__name__


def to_text(value: object) -> str:
    """A text.

    Raises:
        TypeError: it is none.
        UnicodeEncodeError: it has half a surrogate, which no table can hold.
    """
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text is expected")
    value.encode()
    return value


def to_int(value: object) -> int:
    """An integer, also as a float.

    Raises:
        TypeError: it is no number.
        ValueError: it has a fraction, or more than 64 bits.
    """
    number = value if isinstance(value, int) else to_float(value)
    if not -(1 << 63) <= number < 1 << 63 or number != int(number):
        raise ValueError("an integer of 64 bits is expected")
    return int(number)


def to_float(value: object) -> float:
    """A number of any kind, also in an array of one; nan for None.

    Raises:
        TypeError: it is no number.
    """
    if value is None:
        return np.nan
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if not isinstance(value, int | float | np.number | np.bool_) or isinstance(value, np.complexfloating):
        raise TypeError(f"{type(value).__name__} where a number is expected")
    return float(value)


def to_floats(values: object) -> FloatArray:
    """A list or array of numbers, flat.

    Raises:
        TypeError: it is no list or array, or not of numbers.
    """
    if isinstance(values, np.ndarray):
        values = values.ravel()
    elif not isinstance(values, list | tuple):
        raise TypeError(f"{type(values).__name__} where a list of numbers is expected")
    if len(values) > LONGEST_CURVE:
        raise ValueError(f"a list of {len(values):,} numbers, expected at most {LONGEST_CURVE:,}")
    return np.asarray([to_float(value) for value in values], np.float64)


def to_columns(rows: Sequence[Mapping[str, float]]) -> dict[str, FloatArray]:
    """Rows of named numbers -> columns, in order of first appearance; nan where a row lacks one.

    Raises:
        FileFormatError: there are more columns than any benchmark has.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    if len(names) > MOST_COLUMNS:
        raise FileFormatError(f"{len(names):,} different metrics; benchmarks have less than {MOST_COLUMNS:,}")
    return {name: np.asarray([row.get(name, np.nan) for row in rows], np.float64) for name in names}


def compact_json(recipe: object) -> str:
    """A recipe of NAS-Bench-NLP as a spec string: JSON without blanks, keys in the order given.

    Raises:
        TypeError: it is no JSON object.
    """
    if not isinstance(recipe, dict):
        raise TypeError(f"a recipe is a JSON object, found {type(recipe).__name__}")
    return json.dumps(recipe, separators=(",", ":"))
