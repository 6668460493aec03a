"""A user's measurements: a CSV table with a column `model` and a column for each metric, joined to networks by their
names.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from math import isinf, isnan, nan
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cgir.errors import FileFormatError, LabelError
from cgir.typing import FloatArray

MODEL = "model"
UNKNOWN = ("", "-", "na", "n/a", "nan", "none", "null")  # how a cell says that there is no value


log = logging.getLogger(__name__)


class Row(NamedTuple):
    """A line of the table: its number in the file, the model as it is written there, and the value, NaN if there is
    none.
    """

    line: int
    model: str
    value: float


class Measurements(NamedTuple):
    """The column `metric` of a table."""

    path: Path
    metric: str
    rows: list[Row]

    def of(self, names: Sequence[str]) -> FloatArray:
        """(G,): the value of each network, NaN where there is none; the mean where there are several.

        A network is found by its name, or by a part of it (its path without the folder, its file's name or stem, its
        function) that only one network has.

        Raises:
            LabelError: a line names none of the networks, or several.
        """
        exact = _index([name] for name in names)
        parts = {} if all(row.model in exact for row in self.rows) else _index(map(_spellings, names))
        values: dict[int, list[float]] = {}
        for row in self.rows:
            found = exact.get(row.model) or parts.get(row.model) or parts.get(os.path.normpath(row.model)) or ()
            if len(found) != 1:
                raise LabelError(f"{self.path}, line {row.line}: {_unclear(row.model, names, found)}")
            if not isnan(row.value):
                values.setdefault(found[0], []).append(row.value)
        for index, several in values.items():
            if len(several) > 1:
                log.info("%s: %d values of %s, their mean is used", self.path, len(several), names[index])
        return np.asarray([np.mean(values[index]) if index in values else nan for index in range(len(names))])


def read(path: Path, metric: str | None = None) -> Measurements:
    """The table at `path`; `metric` names its column of values, which need not be said if there is only one.

    Raises:
        LabelError: no column `model`, no such metric or several to choose from, or a value that is no finite number.
        FileFormatError: not a table of text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin their files with a mark
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            header = [name.strip() for name in next(reader, [])]
            column = header.index(_metric(path, header, metric))
            rows = [
                _row(path, reader.line_num, [cell.strip() for cell in cells], header, column)
                for cells in reader
                if any(map(str.strip, cells))
            ]
    except LabelError:
        raise
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: not a CSV table ({error})") from error
    return Measurements(path, header[column], rows)


def _metric(path: Path, header: list[str], metric: str | None) -> str:
    if MODEL not in header:
        raise LabelError(
            f"{path}: the first line names the columns {', '.join(header) or 'none'}; expected {MODEL!r} and a metric, separated by commas"
        )
    metrics = [name for name in header if name not in (MODEL, "")]
    if len({MODEL, *metrics}) < len(metrics) + header.count(MODEL):
        raise LabelError(f"{path}: the first line names a column twice: {', '.join(header)}")
    if metric is None and len(metrics) == 1:
        return metrics[0]
    if metric is None and metrics:
        raise LabelError(
            f"{path}: {len(metrics)} columns of values, {', '.join(metrics)}; say which with --metric, such as --metric {metrics[0]}"
        )
    if metric is None or metric not in metrics:
        raise LabelError(
            f"{path}: no column {'of values' if metric is None else repr(metric)}; it has {', '.join(metrics) or f'only {MODEL!r}'}"
        )
    return metric


def _row(path: Path, line: int, cells: list[str], header: list[str], column: int) -> Row:
    if len(cells) > len(header):
        raise LabelError(
            f"{path}, line {line}: {len(cells)} values, expected {len(header)}; a name with a comma needs quotes"
        )
    cells += [""] * (len(header) - len(cells))
    model, text = cells[header.index(MODEL)], cells[column]
    if not model:
        raise LabelError(f"{path}, line {line}: names no model")
    try:
        value = nan if text.lower() in UNKNOWN else float(text)
    except ValueError:
        value = float("inf")
    if isinf(value):
        raise LabelError(
            f"{path}, line {line}: {header[column]} of {model} is {text!r}; expected a number, or nothing where there is none"
        )
    return Row(line, model, value)


def _index(spelled: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    """Where each spelling occurs, given those of each network."""
    found: dict[str, list[int]] = {}
    for index, spellings in enumerate(spelled):
        for spelling in spellings:
            found.setdefault(spelling, []).append(index)
    return found


def _spellings(name: str) -> set[str]:
    """Shorter ways to write `folder/net.py:build` or `folder/net.onnx`."""
    where, _, function = name.rpartition(":")
    path = Path(where or name)
    return {os.path.normpath(name), Path(name).name, path.name, path.stem, function} - {""}


def _unclear(model: str, names: Sequence[str], found: Sequence[int]) -> str:
    if found:
        some = " and ".join(names[index] for index in found[:2])
        return f"{model!r} may be {len(found)} of the networks, such as {some}; write it as on the command line, and give no network twice"
    close = get_close_matches(model, names[:1000], 1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return f"{model!r} is none of the networks that were given{guess or '; name it on the command line too, or take the line out'}"
