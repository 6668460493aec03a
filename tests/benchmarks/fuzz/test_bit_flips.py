"""Flipped bits are found in every kind of file; and the campaign itself tells what is not found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz import bit_flips
from benchmarks.fuzz.bit_flips import KINDS, Kind

FLIPS = 25


SLOW = ("predictor: gnn", "predictor: rank", "predictor: carl")  # to be fitted


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, id=kind.title, marks=[pytest.mark.slow] * (kind.title in SLOW))
        for kind in KINDS
        if kind.title != "label table"
    ],
)
def test_no_flipped_bit_changes_what_is_read(kind: Kind) -> None:
    found = bit_flips.outcomes(kind, FLIPS, 0)
    assert found["refused"] + found["same"] == found.total() == FLIPS


def test_what_is_not_found_is_told() -> None:
    def write(folder: Path) -> Path:
        (folder / "f").write_bytes(bytes(100))
        return folder / "f"

    def read(path: Path) -> bytes:
        data = path.read_bytes()
        if data[50]:
            raise RuntimeError
        return data[:50]

    found = bit_flips.outcomes(Kind("unchecked", write, read), 300, 0)
    assert set(found) == {"same", "changed", "crash"}
    assert found.total() == 300
