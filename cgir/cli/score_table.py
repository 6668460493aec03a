"""Scores of networks as a table for a reader, or as CSV for other programs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError, printable
from cgir.typing import FloatArray, IntArray


def format_table(
    names: Sequence[str],
    scores: FloatArray,
    std: FloatArray | None = None,
    top: int = 20,
    label: tuple[str, FloatArray] | None = None,
) -> str:
    """The best `top` of G networks, best first.

    Args:
        names: of the networks.
        scores: (G,), higher is better; equal scores keep their order.
        std: (G,) standard deviations of the scores, if there are any.
        top: how many lines at most.
        label: a metric's name and (G,) its values, NaN where unknown.
    """
    width = max(9, len(label[0])) if label else 0
    head = ("" if std is None else "+- 1 std  ") + (f"{label[0]:>{width}}  " if label else "")
    lines = [f"{'rank':>5}  {'score':>9}  {head}network"]
    for rank, index in enumerate(_best_first(scores)[:top], 1):
        middle = "" if std is None else f"{std[index]:8.4f}  "
        if label:
            value = label[1][index]
            middle += ("" if std is None else "  ") + f"{'' if np.isnan(value) else format(value, '.6g'):>{width}}  "
        lines.append(f"{rank:5d}  {scores[index]:9.4f}  {middle}{printable(names[index])}")
    return "\n".join(lines)


def check_output(path: Path | None) -> None:
    """Raise CgirError unless the file to write, if there is one, is called .csv and its folder exists."""
    if path and path.suffix.lower() != ".csv":
        raise CgirError(f"{path}: scores are written as CSV; call the file {path.with_suffix('.csv')}")
    if path and not path.parent.is_dir():
        raise CgirError(f"{path}: there is no folder {path.parent}")


def write_csv(path: Path, names: Sequence[str], scores: FloatArray, std: FloatArray | None = None) -> None:
    """Write all G networks, best first, as CSV: rank, model, score and, if given, standard deviation.

    Args:
        path: the file.
        names: of the networks.
        scores: (G,), higher is better.
        std: (G,) standard deviations, a fourth column called `deviation`.
    """
    header = ["rank", "model", "score"] + ([] if std is None else ["deviation"])
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for rank, index in enumerate(_best_first(scores), 1):
            row = [rank, names[index], float(scores[index])]
            writer.writerow(row if std is None else [*row, float(std[index])])


def _best_first(scores: FloatArray) -> IntArray:
    return np.argsort(-scores, kind="stable")
