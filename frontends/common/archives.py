"""Members of zip archives (`.keras`, `.pt2`): what they claim is compared with the limits before anything is read."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

from cgir import TraceError
from cgir.errors import one_line
from cgir.limits import Limits

PARSED = 10  # bytes of memory for a byte of JSON: lists and dictionaries are larger than their text


def read_member(archive: zipfile.ZipFile, name: str, limits: Limits) -> bytes:
    """The contents of a member; no more than it claims is unpacked.

    Args:
        archive: open for reading.
        name: of the member.
        limits: of them `bytes`, for what a member unpacks to beyond the size of the archive.

    Raises:
        TraceError: there is no such member, it is encrypted, cut off or damaged.
        LimitError: it claims more than the limit allows.
    """
    return _read(archive, name, limits, 1)


def read_json(archive: zipfile.ZipFile, name: str, limits: Limits) -> Any:
    """The JSON value in a member.

    Args:
        archive: open for reading.
        name: of the member.
        limits: of them `bytes`, for what the text and its parts take beyond the size of the archive.

    Raises:
        TraceError: there is no such member, it is encrypted, cut off or damaged, or no JSON.
        LimitError: it claims more than the limit allows.
    """
    try:
        return json.loads(_read(archive, name, limits, PARSED))
    except RecursionError as error:
        raise TraceError(f"{name} in the archive is nested too deeply") from error
    except ValueError as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(f"{name} in the archive is no JSON text ({one_line(error, 100)})") from error


def _read(archive: zipfile.ZipFile, name: str, limits: Limits, cost: int) -> bytes:
    """A member of which every unpacked byte costs `cost` bytes of memory."""
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise TraceError(f"the archive has no {name}; it is cut off, or of another kind") from error
    there = min(info.compress_size, _archive_size(archive))
    limits.check("bytes", cost * (info.file_size - there), f"{name} in the archive")
    try:
        with archive.open(info) as stream:
            return stream.read(info.file_size)
    # of zlib, lzma, unknown compressions and passwords
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OSError) as error:
        raise TraceError(f"{name} in the archive cannot be read ({one_line(error, 100, named=True)})") from error
    except Exception as error:
        if type(error).__module__ not in ("zlib", "_lzma"):  # their errors have no common parent but Exception
            raise
        raise TraceError(f"{name} in the archive cannot be unpacked ({one_line(error, 100)})") from error


def _archive_size(archive: zipfile.ZipFile) -> int:
    return os.path.getsize(Path(str(archive.filename)))
