"""Files of a folder, a zip or a tar archive, one after the other, so that a benchmark need not be unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import BufferedReader, RawIOBase
from pathlib import Path, PurePath
from struct import error as StructError
from typing import IO, NamedTuple

from tqdm import tqdm

from cgir.errors import FileFormatError, one_line

DAMAGED = (
    OSError, EOFError, ValueError, RuntimeError, OverflowError, MemoryError, LookupError, StructError, zlib.error,
    lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
LARGEST = 1 << 26  # bytes of one training's pickle; real ones have less than a hundredth
LARGEST_JSON = 1 << 22
RATIO = 200  # of unpacked to packed bytes; real ones stay below 20
SLACK = 1 << 20  # bytes that a file may unpack to beyond that
MOST_MEMBERS = 200_000  # files of an archive; benchmarks have up to 60,000
LONGEST_HEADER = 1 << 13  # bytes of a tar's header that has a long name or attributes
HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
ENCRYPTED = 1  # flag of a zip's member
UNPACK = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ": lzma.LZMAFile}  # by the first bytes of tars


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
        raise FileFormatError(f"{path}: cannot be read after {count} files ({one_line(error)})") from error
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
            infos = [info for info in archive.infolist() if accepts(info.filename)]
            for info in infos:
                _check(info.file_size, f"{path}: {info.filename}")
            check_zip(archive, str(path))
            for info in _bar(path, infos):
                yield Member(info.filename, f"{path}: {info.filename}", archive.read(info))
    else:
        with _open_tar(path) as tar:
            if tar is None:
                raise FileFormatError(
                    f"{path}: neither a folder, nor a zip or tar archive, nor one of this benchmark's files"
                )
            yield from _tar_members(tar, path, accepts)


def check_zip(archive: zipfile.ZipFile, origin: str) -> None:
    """Refuse a zip archive that is encrypted, has a name twice, is packed in a rare way, or unpacks out of proportion.

    Args:
        archive: an open one.
        origin: named in errors.

    Raises:
        FileFormatError: it is one of these.
    """
    members = archive.infolist()
    names = {info.filename for info in members}
    if len(names) < len(members) or len(members) > MOST_MEMBERS:
        raise FileFormatError(f"{origin}: {len(members):,} files, {len(names):,} names; expected one name each")
    for info in members:
        if info.flag_bits & ENCRYPTED:
            raise FileFormatError(f"{origin}: {info.filename!r} is encrypted; unpack it yourself")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise FileFormatError(
                f"{origin}: {info.filename!r} is packed by method {info.compress_type}; expected deflate or none"
            )
    claimed, packed = sum(info.file_size for info in members), sum(info.compress_size for info in members)
    if packed > archive.start_dir:  # where the list of files begins, behind all of them
        raise FileFormatError(f"{origin}: its files overlap; they claim {packed:,} bytes, more than the archive has")
    if claimed > RATIO * packed + SLACK:
        raise _out_of_proportion(origin)


class _Entry(tarfile.TarInfo):
    """A header of a tar archive; those of attributes must be short: tarfile takes for ever to read a million digits."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Entry:
        """The header in a block."""
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in HEADERS and entry.size > LONGEST_HEADER:
            raise ValueError(f"a header of {entry.size:,} bytes, expected at most {LONGEST_HEADER:,}")
        return entry


@contextmanager
def _open_tar(path: Path) -> Iterator[tarfile.TarFile | None]:
    """A tar archive, to be read from its beginning to its end; None: the file is none."""
    with path.open("rb") as stream:
        head = stream.read(6)
        stream.seek(0)
        unpack = next((unpack for start, unpack in UNPACK.items() if head.startswith(start)), None)
        with _limited(unpack(path), path.stat().st_size, str(path)) if unpack else nullcontext(stream) as content:
            try:
                tar = tarfile.TarFile.open(fileobj=content, mode="r|", tarinfo=_Entry)
            except tarfile.ReadError:
                yield None
            else:
                with tar:
                    yield tar


def _tar_members(tar: tarfile.TarFile, path: Path, accepts: Callable[[str], bool]) -> Iterator[Member]:
    end, names = -1, set[str]()
    for count, entry in enumerate(_bar(path, iter(tar.next, None))):
        if entry.offset <= end or entry.size < 0:  # else a damaged archive could be read for ever
            raise FileFormatError(f"{path}: damaged archive: a file in it has {entry.size} bytes")
        end = entry.offset
        if count >= MOST_MEMBERS or entry.name in names:
            raise FileFormatError(f"{path}: {entry.name!r} for the second time, or more than {MOST_MEMBERS:,} files")
        if entry.isreg() and not entry.issparse() and accepts(entry.name):
            names.add(entry.name)
            _check(entry.size, f"{path}: {entry.name}")
            stream = tar.extractfile(entry)
            content = stream.read() if stream else b""
            if len(content) != entry.size:
                raise FileFormatError(f"{path}: {entry.name}: cut off; {len(content)} of {entry.size} bytes")
            yield Member(entry.name, f"{path}: {entry.name}", content)
        tar.members = []  # type: ignore[attr-defined]  # it keeps them all


def _bar(path: Path, files: object) -> tqdm:
    return tqdm(files, desc=path.name, unit="file", delay=1)


def _check(size: int, origin: str) -> None:
    largest = LARGEST_JSON if origin.endswith(".json") else LARGEST
    if size > largest:
        raise FileFormatError(f"{origin}: {size} bytes, expected at most {largest} for one record of a benchmark")


def _out_of_proportion(origin: str) -> FileFormatError:
    return FileFormatError(f"{origin}: unpacks to more than {RATIO} times its size, which no benchmark's file does")


class _Limited(RawIOBase):
    """A stream that raises an error after `limit` bytes."""

    def __init__(self, packed: IO[bytes] | gzip.GzipFile, limit: int, origin: str) -> None:
        self.packed, self.remaining, self.origin = packed, limit, origin

    def readable(self) -> bool:
        """True: the stream can be read."""
        return True

    def close(self) -> None:
        """Close the packed file, too."""
        self.packed.close()
        super().close()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer, for `BufferedReader`."""
        content = self.packed.read(len(buffer))
        self.remaining -= len(content)
        if self.remaining < 0:
            raise _out_of_proportion(self.origin)
        buffer[: len(content)] = content
        return len(content)


def open_bz2(stream: IO[bytes], size: int, origin: str) -> BufferedReader:
    """The content of a bz2 file as a stream, which refuses more than `RATIO` times the size of the file.

    Args:
        stream: the packed file.
        size: of the packed file, in bytes.
        origin: named in errors.
    """
    return _limited(bz2.BZ2File(stream), size, origin)


def open_gzip(path: Path) -> BufferedReader:
    """The content of a gzip file as a stream, which refuses more than `RATIO` times the size of the file.

    Raises:
        OSError: there is no such file.
    """
    return _limited(gzip.open(path), path.stat().st_size, str(path))


def _limited(content: IO[bytes] | gzip.GzipFile, size: int, origin: str) -> BufferedReader:
    return BufferedReader(_Limited(content, RATIO * size + SLACK, origin))
