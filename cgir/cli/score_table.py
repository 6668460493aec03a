"""Scores of networks as a table for a reader, or as CSV for other programs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cgir.atomic_files import atomic_path
from cgir.errors import printable
from cgir.typing import FloatArray, IntArray

MOST_DECIMALS = 6
DESCRIBED = 5  # networks outside of what is known that are explained below the table


class Scored(NamedTuple):
    """Scores of G networks.

    Attributes:
        names: of the networks.
        scores: (G,) in the unit of `title`; without one they only rank.
        stds: (G,) standard deviations, if there are any.
        title: what is scored, such as "latency_ms".
        lower_is_better: where the best come last.
        outside: rows of networks unlike those that scores were learned from, and why.
    """

    names: Sequence[str]
    scores: FloatArray
    stds: FloatArray | None = None
    title: str = "score"
    lower_is_better: bool = False
    outside: Mapping[int, str] = {}

    @property
    def best_first(self) -> IntArray:
        """Rows, best first; equal scores keep their order."""
        return np.argsort(self.scores if self.lower_is_better else -self.scores, kind="stable")

    @property
    def decimals(self) -> int:
        """How many are meant: two digits of a small deviation, or three of the spread of scores without one."""
        known = self.scores if self.stds is None else self.stds
        known = known[np.isfinite(known)]
        usual = (
            0.0 if not len(known) else float(np.quantile(known, 0.25) if self.stds is not None else known.std() / 10)
        )
        return min(max(1 - floor(log10(usual)), 0), MOST_DECIMALS) if usual > 0 else 4


def format_table(scored: Scored, top: int = 20, measured: FloatArray | None = None) -> str:
    """The best `top` networks, best first; those outside of what is known have a mark, and are explained below.

    Args:
        scored: the networks.
        top: how many lines at most.
        measured: (G,) labels, NaN where unknown, beside the scores.
    """
    width, digits = max(9, len(scored.title)), scored.decimals
    head = ("" if scored.stds is None else "+- 1 std  ") + ("" if measured is None else f"{'measured':>9}  ")
    lines = [f"{'rank':>5}  {scored.title:>{width}}  {head}network"]
    for rank, row in enumerate(scored.best_first[:top], 1):
        middle = "" if scored.stds is None else f"{scored.stds[row]:8.{digits}f}  "
        if measured is not None:
            middle += f"{'' if np.isnan(measured[row]) else format(measured[row], '.6g'):>9}  "
        mark = "? " if row in scored.outside else ""
        lines.append(f"{rank:5d}  {scored.scores[row]:{width}.{digits}f}  {middle}{mark}{printable(scored.names[row])}")
    return "\n".join([*lines, *_outside_lines(scored)])


def _outside_lines(scored: Scored) -> list[str]:
    if not scored.outside:
        return []
    shown = list(scored.outside.items())[:DESCRIBED]
    lines = ["", "? unlike all that the scores were learned from, so that they are guesses:"]
    lines += [f"  {printable(scored.names[row])}: {printable(reason)}" for row, reason in shown]
    more = len(scored.outside) - len(shown)
    return [*lines, *([f"  and {more} more"] if more else [])]


def write_csv(path: Path, scored: Scored) -> None:
    """Write all networks, best first, as CSV: rank, model, score, deviation if there is one, and why it is a guess."""
    has_stds = scored.stds is not None
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["rank", "model", "score", *(["deviation"] if has_stds else []), "outside"])
        for rank, row in enumerate(scored.best_first.tolist(), 1):
            deviation = [] if scored.stds is None else [float(scored.stds[row])]
            reason = scored.outside.get(row, "")
            writer.writerow([rank, scored.names[row], float(scored.scores[row]), *deviation, reason])
