"""Labels from a CSV file: a column `model` and a column for each metric, joined to networks by their names."""

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

from cgir.errors import FileFormatError, LabelError, one_line
from cgir.typing import FloatArray

MODEL = "model"
LONGEST_NAME = 200  # characters of a name that is compared with others
UNKNOWN = ("", "-", "na", "n/a", "nan", "none", "null")  # cells without a value

log = logging.getLogger(__name__)


class LabelRow(NamedTuple):
    """A line of the file: its number, the model as it is written there, and the value, NaN if there is none."""

    line: int
    model: str
    value: float


class LabelColumn(NamedTuple):
    """The column `metric` of a CSV file."""

    path: Path
    metric: str
    rows: list[LabelRow]

    def join(self, names: Sequence[str]) -> FloatArray:
        """(G,): the value of each network, NaN where there is none; the mean where there are several.

        A network is found by its name, or by a part of it (its path without the folder, its file's name or stem, its
        function) that only one network has.

        Raises:
            LabelError: a line names none of the networks, or several.
        """
        exact = _index([name] for name in names)
        partial = {} if all(row.model in exact for row in self.rows) else _index(map(_spellings, names))
        values: dict[int, list[float]] = {}
        for row in self.rows:
            normal = os.path.normpath(row.model)
            matches = exact.get(row.model) or partial.get(row.model) or partial.get(normal) or ()
            if len(matches) != 1:
                raise LabelError(f"{self.path}, line {row.line}: {_no_match(row.model, names, matches)}")
            if not isnan(row.value):
                values.setdefault(matches[0], []).append(row.value)
        for index, several in values.items():
            if len(several) > 1:
                log.info("%s: %d values of %s, their mean is used", self.path, len(several), names[index])
        return np.asarray([np.mean(values[index]) if index in values else nan for index in range(len(names))])


def read_labels(path: Path, metric: str | None = None) -> LabelColumn:
    """Read a CSV file; `metric` names the column of values, and may be left out if there is only one.

    Raises:
        LabelError: no column `model`, no such metric or several to choose from, or a value that is no finite number.
        FileFormatError: not a table of text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            header = [name.strip() for name in next(reader, [])]
            column = header.index(_choose_metric(path, header, metric))
            rows = [
                _parse_row(path, reader.line_num, [cell.strip() for cell in cells], header, column)
                for cells in reader
                if any(map(str.strip, cells))
            ]
    except LabelError:
        raise
    except (csv.Error, UnicodeDecodeError, MemoryError) as error:
        raise FileFormatError(f"{path}: not a CSV table ({one_line(error)})") from error
    return LabelColumn(path, header[column], rows)


def _choose_metric(path: Path, header: list[str], metric: str | None) -> str:
    if MODEL not in header:
        raise LabelError(
            f"{path}: the first line names the columns {', '.join(header) or 'none'}; "
            f"expected {MODEL!r} and a metric, separated by commas"
        )
    metrics = [name for name in header if name not in (MODEL, "")]
    if len({MODEL, *metrics}) < len(metrics) + header.count(MODEL):
        raise LabelError(f"{path}: the first line names a column twice: {', '.join(header)}")
    if metric is None and len(metrics) == 1:
        return metrics[0]
    if metric is None and metrics:
        raise LabelError(
            f"{path}: {len(metrics)} columns of values, {', '.join(metrics)}; "
            f"say which with --metric, such as --metric {metrics[0]}"
        )
    if metric is None or metric not in metrics:
        missing = "of values" if metric is None else repr(metric)
        raise LabelError(f"{path}: no column {missing}; it has {', '.join(metrics) or f'only {MODEL!r}'}")
    return metric


def _parse_row(path: Path, line: int, cells: list[str], header: list[str], column: int) -> LabelRow:
    if len(cells) > len(header):
        raise LabelError(
            f"{path}, line {line}: {len(cells)} values, expected {len(header)}; a name with a comma needs quotes"
        )
    cells += [""] * (len(header) - len(cells))
    model, text = cells[header.index(MODEL)], cells[column]
    if not model:
        raise LabelError(f"{path}, line {line}: names no model")
    try:
        value = nan if text.lower() in UNKNOWN else float(_plain_number(text))
    except ValueError:
        value = float("inf")
    if isinf(value):
        raise LabelError(
            f"{path}, line {line}: {header[column]} of {model} is {text!r}; "
            "expected a number, or nothing where there is none"
        )
    return LabelRow(line, model, value)


def _plain_number(text: str) -> str:
    """A number as tables write it; Python's `float` takes 1_000 and other scripts' digits, too."""
    if "_" in text or not text.isascii():
        raise ValueError
    return text


def _index(spellings: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    """The networks of each spelling, from the spellings of each network."""
    networks: dict[str, list[int]] = {}
    for index, own in enumerate(spellings):
        for spelling in own:
            networks.setdefault(spelling, []).append(index)
    return networks


def _spellings(name: str) -> set[str]:
    """Shorter ways to write `folder/net.py:build` or `folder/net.onnx`."""
    file, _, function = name.rpartition(":")
    path = Path(file or name)
    return {os.path.normpath(name), Path(name).name, path.name, path.stem, function} - {""}


def _no_match(model: str, names: Sequence[str], matches: Sequence[int]) -> str:
    if matches:
        examples = " and ".join(names[index] for index in matches[:2])
        return (
            f"{model!r} may be {len(matches)} of the networks, such as {examples}; "
            "write it as on the command line, and give no network twice"
        )
    close = get_close_matches(model[:LONGEST_NAME], names[:1000], 1)
    advice = f"did you mean {close[0]!r}?" if close else "name it on the command line too, or take the line out"
    return f"{model!r} is none of the networks that were given; {advice}"
