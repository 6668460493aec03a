"""Packed files that are damaged, or out of proportion when unpacked."""

from __future__ import annotations

import bz2
import copy
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cgir
from frontends.tables.safe_load.archive_members import open_bz2, read_members
from frontends.tables.safe_load.torch_reader import read_torch, unpickle_tensors


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


def is_json(name: str) -> bool:
    return name.endswith(".json")


def zipped(path: Path, method: int, *names: str) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, json.dumps(list(range(500))))
    return path


def patched(path: Path, local: int, central: int, value: bytes) -> Path:
    """A zip archive with these bytes at the offsets in the headers of its only file."""
    data = bytearray(path.read_bytes())
    for place in (local, data.rindex(b"PK\x01\x02") + central):
        data[place : place + len(value)] = value
    path.write_bytes(data)
    return path


def overlapping(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", bytes(1000))
        other = copy.copy(archive.getinfo("a.json"))
        other.filename = "b.json"
        archive.filelist.append(other)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda path: zipped(path, zipfile.ZIP_LZMA, "a.json"), "'a.json' is packed by method 14; expected deflate"),
        (lambda path: zipped(path, zipfile.ZIP_BZIP2, "a.json"), "'a.json' is packed by method 12"),
        (lambda path: zipped(path, zipfile.ZIP_DEFLATED, "a.json", "a.json"), "2 files, 1 names"),
        (lambda path: patched(zipped(path, zipfile.ZIP_STORED, "a.json"), 6, 8, b"\1"), "'a.json' is encrypted"),
        (lambda path: patched(zipped(path, zipfile.ZIP_DEFLATED, "a.json"), 22, 24, b"\1\0\0\0"), "CRC-32"),
        (lambda path: patched(zipped(path, zipfile.ZIP_DEFLATED, "a.json"), 22, 24, b"\0\0\0\4"), "67108864 bytes"),
        (overlapping, "its files overlap; they claim 2,000 bytes"),
    ],
    ids=["lzma", "bzip2", "twice", "encrypted", "claims too little", "claims too much", "overlap"],
)
def test_strange_zip_archives_are_refused(tmp_path: Path, write: Callable[[Path], Path], complaint: str) -> None:
    with pytest.raises(cgir.FileFormatError, match=complaint):
        list(read_members(write(tmp_path / "x.zip"), is_json))


def test_zip_archives_that_torch_reads_are_checked_too(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.pth", zipfile.ZIP_BZIP2, "a/data.pkl")
    with zipfile.ZipFile(path, "a") as archive:  # so that its content is not larger than the file
        archive.writestr("a/data/0", bytes(2000))
    path.write_bytes(path.read_bytes() + bytes(2000))
    with pytest.raises(cgir.FileFormatError):
        read_torch(path)


def tar_header(name: str, size: int, kind: bytes, changes: dict[int, bytes] | None = None) -> bytes:
    """A block of the format of POSIX, with bytes at other offsets changed and the sum made right."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    for place, value in (changes or {}).items():
        block[place : place + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def block_of(content: bytes) -> bytes:
    return content.ljust(-(-len(content) // 512) * 512, b"\0")


def attributes(content: bytes) -> bytes:
    return tar_header("x", len(content), tarfile.XHDTYPE) + block_of(content)


PLAIN = tar_header("a.json", 2, tarfile.REGTYPE) + block_of(b"{}")
TARS = {
    "sparse, cut off": (tar_header("a.json", 0, b"S", {386: b"0" * 96, 482: b"\1"}), "cannot be read after 0 files"),
    "sparse": (attributes(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n") + PLAIN, "cannot be read after 0 files"),
    "negative": (attributes(b"14 size=-1024\n") + PLAIN, "a file in it has -1024 bytes"),
    "digits of a number": (attributes(b"1" * 500_000) + PLAIN, "a header of 500,000 bytes"),
    "a long name": (tar_header("x", 1 << 32, tarfile.GNUTYPE_LONGNAME), "a header of"),
    "attributes of attributes": (tar_header("x", 0, tarfile.XHDTYPE) * 5000, "recursion"),
    "symbolic link": (tar_header("a.json", 0, tarfile.SYMTYPE, {157: b"/etc/passwd"}) + bytes(1024), "no file in it"),
    "link": (tar_header("a.json", 0, tarfile.LNKTYPE, {157: b"/etc/passwd"}) + bytes(1024), "no file in it"),
    "twice": (PLAIN * 2, "for the second time"),
    "too large": (tar_header("a.json", 1 << 30, tarfile.REGTYPE), "1073741824 bytes, expected at most"),
    "cut off": (tar_header("a.json", 1000, tarfile.REGTYPE) + bytes(512), "cut off|unexpected end"),
}


@pytest.mark.parametrize("name", TARS)
def test_strange_tar_archives_are_refused(tmp_path: Path, name: str) -> None:
    content, complaint = TARS[name]
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(cgir.FileFormatError, match=complaint) as caught:
        list(read_members(tmp_path / "x.tar", is_json))
    assert str(tmp_path / "x.tar") in str(caught.value)


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_packed_tar_archives_out_of_proportion_are_refused(tmp_path: Path, mode: str) -> None:
    info = tarfile.TarInfo("a.dat")
    info.size = 1 << 23
    with tarfile.open(tmp_path / "x.tar", f"w:{mode}") as tar:  # type: ignore[call-overload]
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(cgir.FileFormatError, match="unpacks to more than 200 times its size"):
        list(read_members(tmp_path / "x.tar", is_json))


def test_changed_bytes_of_archives_have_one_kind_of_error(tmp_path: Path) -> None:
    """The sum of each tar header is made right again, so that its fields are read."""
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        block = bytearray(attributes(b"14 size=-1024\n") + PLAIN + bytes(1024))
        for start in (0, 1024):
            place = start + int(rng.choice([*range(100, 148), 156, *range(257, 270), *range(329, 512)]))
            block[place] = int(rng.integers(256))
            block[start + 148 : start + 156] = b" " * 8
            block[start + 148 : start + 156] = b"%06o\0 " % sum(block[start : start + 512])
        (tmp_path / "x.tar").write_bytes(block)
        try:
            list(read_members(tmp_path / "x.tar", is_json))
        except cgir.FileFormatError:
            refused += 1
    assert refused > 100
