"""Files of a folder, a zip or a tar archive, one after the other, so that a benchmark need not be unpacked."""

from __future__ import annotations

import bz2
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path, PurePath
from struct import error as StructError
from typing import IO, NamedTuple

from tqdm import tqdm

from cgir.errors import FileFormatError

DAMAGED = (
    OSError, EOFError, ValueError, RuntimeError, StructError, zlib.error, zipfile.BadZipFile, tarfile.TarError
)  # fmt: skip
LARGEST = 1 << 26  # bytes of one training's JSON or pickle; real ones have less than a hundredth
RATIO = 200  # of unpacked to packed bytes; real ones stay below 20


class Member(NamedTuple):
    """One file, by its path below the folder or in the archive. `origin` names it in errors."""

    name: str
    origin: str
    content: bytes


def read_members(path: Path, accepts: Callable[[str], bool]) -> Iterator[Member]:
    """The files whose path `accepts` is true for, with a progress bar.

    Those of a folder are sorted by path, those of an archive in its order.

    Args:
        path: a folder, a zip or tar archive, or one such file itself.
        accepts: path below the folder, or in the archive -> whether it is read.

    Raises:
        FileFormatError: no such path, a damaged archive or member, or no file in it that is accepted.
    """
    count = 0

    def chosen(name: str) -> bool:
        return accepts(name) and not PurePath(name).name.startswith("._")  # what macOS adds to archives

    try:
        for count, member in enumerate(_members(path, chosen), 1):  # noqa: B007 (needed after the loop)
            yield member
    except FileFormatError:
        raise
    except DAMAGED as error:
        raise FileFormatError(f"{path}: cannot be read after {count} files ({error})") from error
    if not count:
        raise FileFormatError(f"{path}: no file in it is one of this benchmark's results")


def _members(path: Path, accepts: Callable[[str], bool]) -> Iterator[Member]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and accepts(str(file.relative_to(path))))
        for file in _bar(path, files):
            _check(file.stat().st_size, str(file))
            yield Member(str(file.relative_to(path)), str(file), file.read_bytes())
    elif accepts(path.name):
        _check(path.stat().st_size, str(path))
        yield Member(path.name, str(path), path.read_bytes())
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in _bar(path, [info for info in archive.infolist() if accepts(info.filename)]):
                _check(info.file_size, f"{path}: {info.filename}")
                yield Member(info.filename, f"{path}: {info.filename}", archive.read(info))
    elif tarfile.is_tarfile(path):
        with tarfile.open(path, "r:*") as tar:
            for entry in _bar(path, (entry for entry in tar if entry.isfile() and accepts(entry.name))):
                _check(entry.size, f"{path}: {entry.name}")
                stream = tar.extractfile(entry)
                yield Member(entry.name, f"{path}: {entry.name}", stream.read() if stream else b"")
    else:
        raise FileFormatError(f"{path}: neither a folder, nor a zip or tar archive, nor one of this benchmark's files")


def _bar(path: Path, files: object) -> tqdm:
    return tqdm(files, desc=path.name, unit="file", delay=1)


def _check(size: int, origin: str) -> None:
    if size > LARGEST:
        raise FileFormatError(f"{origin}: {size} bytes, expected at most {LARGEST} for one record of a benchmark")


class _Limited(RawIOBase):
    """A stream that raises an error after `limit` bytes."""

    def __init__(self, packed: IO[bytes], limit: int, origin: str) -> None:
        self.packed, self.remaining, self.origin = packed, limit, origin

    def readable(self) -> bool:
        """True: the stream can be read."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer, for `BufferedReader`."""
        content = self.packed.read(len(buffer))
        self.remaining -= len(content)
        if self.remaining < 0:
            raise FileFormatError(
                f"{self.origin}: unpacks to more than {RATIO} times its size, which no benchmark's file does"
            )
        buffer[: len(content)] = content
        return len(content)


def open_bz2(stream: IO[bytes], size: int, origin: str) -> BufferedReader:
    """The content of a bz2 file as a stream, which refuses more than `RATIO` times the size of the file.

    Args:
        stream: the packed file.
        size: of the packed file, in bytes.
        origin: named in errors.
    """
    return BufferedReader(_Limited(bz2.BZ2File(stream), RATIO * size + (1 << 20), origin))
