"""Packed files that are damaged, or out of proportion when unpacked."""

from __future__ import annotations

import bz2
import io
import pickle
import zipfile
from pathlib import Path

import pytest

import cgir
from frontends.tables.safe_load.archive_members import open_bz2, read_members
from frontends.tables.safe_load.torch_reader import unpickle_tensors


def test_packed_files_out_of_proportion_are_refused(tmp_path: Path) -> None:
    bomb = bz2.compress(pickle.dumps(bytes(1 << 25), 4))
    with (
        pytest.raises(cgir.FileFormatError, match="unpacks to more than 200 times its size"),
        open_bz2(io.BytesIO(bomb), len(bomb), "bomb") as stream,
    ):
        unpickle_tensors(stream, "bomb")
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", bytes((1 << 26) + 1))
    with pytest.raises(cgir.FileFormatError, match=r"x\.zip: a\.json: 67108865 bytes, expected at most"):
        list(read_members(tmp_path / "x.zip", lambda name: name.endswith(".json")))


def test_damaged_bz2_is_one_line() -> None:
    whole = bz2.compress(pickle.dumps(list(range(5000)), 4))
    for raw in (whole[: len(whole) // 2], b"BZh9" + bytes(40), b""):
        with (
            pytest.raises(cgir.FileFormatError, match=r"^x: damaged pickle"),
            open_bz2(io.BytesIO(raw), len(raw), "x") as stream,
        ):
            unpickle_tensors(stream, "x")
