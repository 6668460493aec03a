"""Scores of networks as text for a reader, or as CSV for other programs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError
from cgir.typing import FloatArray, IntArray


def table(
    names: Sequence[str],
    scores: FloatArray,
    spread: FloatArray | None = None,
    top: int = 20,
    known: tuple[str, FloatArray] | None = None,
) -> str:
    """The best `top` of G networks, best first.

    Args:
        names: of the networks.
        scores: (G,), higher is better; equal scores keep their order.
        spread: (G,) standard deviations of the scores, if there are some.
        top: how many lines at most.
        known: a label's name and (G,) its values, NaN where unknown.
    """
    width = max(9, len(known[0])) if known else 0
    head = ("" if spread is None else "+- 1 std  ") + (f"{known[0]:>{width}}  " if known else "")
    lines = [f"{'rank':>5}  {'score':>9}  {head}network"]
    for rank, index in enumerate(_order(scores)[:top], 1):
        middle = "" if spread is None else f"{spread[index]:8.4f}  "
        if known:
            label = known[1][index]
            middle += ("" if spread is None else "  ") + f"{'' if np.isnan(label) else format(label, '.6g'):>{width}}  "
        lines.append(f"{rank:5d}  {scores[index]:9.4f}  {middle}{names[index]}")
    return "\n".join(lines)


def check_output(path: Path | None) -> None:
    """CgirError unless the file to write, if there is one, is called .csv and its folder is there."""
    if path and path.suffix.lower() != ".csv":
        raise CgirError(f"{path}: scores are written as CSV; call the file {path.with_suffix('.csv')}")
    if path and not path.parent.is_dir():
        raise CgirError(f"{path}: there is no folder {path.parent}")


def write(path: Path, names: Sequence[str], scores: FloatArray, spread: FloatArray | None = None) -> None:
    """All networks, best first, as a CSV file: rank, model, score and, if there are some, deviation."""
    columns = ["rank", "model", "score"] + ([] if spread is None else ["deviation"])
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for rank, index in enumerate(_order(scores), 1):
            writer.writerow(
                [rank, names[index], float(scores[index])] + ([] if spread is None else [float(spread[index])])
            )


def _order(scores: FloatArray) -> IntArray:
    return np.argsort(-scores, kind="stable")
