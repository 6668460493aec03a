"""PyTorch's files, read without running them: both layouts, hostile and damaged ones."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pickle_samples import Hostile, complaint_of, read

import cgir
from frontends.tables.safe_load.torch_reader import read_torch


def torch_value() -> dict[str, Any]:
    base = torch.arange(12.0).reshape(3, 4)
    layer = torch.nn.Linear(3, 4)
    return {
        "whole": base, "turned": base.t(), "row": base[1], "weights": layer.state_dict(), "parameter": layer.weight,
        "none": torch.zeros(0, 3),
        "numbers": torch.tensor([1, 2]), "truth": torch.tensor(True), "half": torch.ones(2, dtype=torch.float16),
        "small": torch.arange(3, dtype=torch.uint8),
        "complex": torch.ones(1, dtype=torch.complex64), "size": base.size(), "float": 1.5, "numpy": np.float64(2),
        "list": [1, "a", None],
    }  # fmt: skip


def assert_equal(expected: Any, found: Any) -> None:
    if isinstance(expected, dict):
        assert list(expected) == list(found)
        for key in expected:
            assert_equal(expected[key], found[key])
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.detach().numpy().dtype
        np.testing.assert_array_equal(found, expected.detach().numpy())
    else:
        assert found == expected


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "stream"])
def test_both_layouts_of_torch_save(archive: bool, tmp_path: Path) -> None:
    value, file = torch_value(), tmp_path / "x.pth"
    torch.save(value, file, _use_new_zipfile_serialization=archive)
    assert_equal(value, read_torch(file))
    torch.save([1.5, {"a": (2,)}], file, _use_new_zipfile_serialization=archive, pickle_protocol=4)
    assert read_torch(file) == [1.5, {"a": (2,)}]


def test_tensors_inside_ordinary_pickles() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(read(pickle.dumps(tensor)), tensor.numpy())


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize(
    "value",
    [torch.nn.Linear(2, 2), torch.ones(2, dtype=torch.bfloat16), Hostile(os.system, "true"), torch.device("cpu")],
)
def test_torch_files_with_more_in_them_are_refused(archive: bool, value: Any, tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"a": value}, file, _use_new_zipfile_serialization=archive)
    with pytest.raises(cgir.FileFormatError, match=r"x\.pth: the pickle asks for [\w.]+, which is refused"):
        read_torch(file)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "stream"])
def test_damaged_torch_files(archive: bool, tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save(torch_value(), file, _use_new_zipfile_serialization=archive)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        raw = bytearray(whole[: rng.integers(len(whole))] if rng.random() < 0.5 else whole)
        for place in rng.integers(len(raw), size=3) if raw and len(raw) == len(whole) else ():
            raw[place] = rng.integers(256)
        file.write_bytes(raw)
        complaint = complaint_of(read_torch, file)
        refused += bool(complaint)
        assert not complaint or (str(file) in complaint and "\n" not in complaint)
    assert refused > 75
    for raw in (b"", b"PK\x03\x04", b"not torch", pickle.dumps(1) + pickle.dumps(2)):
        file.write_bytes(raw)
        with pytest.raises(cgir.FileFormatError, match=r"x\.pth: "):
            read_torch(file)
    with pytest.raises(cgir.FileFormatError, match="No such file"):
        read_torch(tmp_path / "absent.pth")


def test_claims_of_torch_files_are_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save(torch.arange(300.0), file, _use_new_zipfile_serialization=False)
    raw = file.read_bytes()
    for new in (b"J\xff\xff\xff\x7f", b"\x8a\x08" + struct.pack("<q", 2**60)):
        file.write_bytes(raw.replace(b"M,\x01", new))  # the number of elements, and the shape
        with pytest.raises(cgir.FileFormatError, match="more than the whole file"):
            read_torch(file)
    torch.save(torch.arange(3.0), file)
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content if not name.endswith("data/0") else bytes(1 << 24))
    with pytest.raises(cgir.FileFormatError, match=r"more than the whole file; torch\.save does not compress"):
        read_torch(file)
