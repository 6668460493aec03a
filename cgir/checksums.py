"""Checksums of the files that the library writes, in one place: what they cover, and how they are stored and checked.

A checksum is CRC-32 (ISO 3309), 8 hex digits. It finds every single flipped bit and every burst of up to 32 bits, and
all other damage but once in 2^32; it is no defence against who changes a file on purpose. It is several times as fast
as a cryptographic digest, so that large weights load as fast as before.

    JSON files and lines   the last entry "checksum" of the object; covers all bytes of the file or line, with zeros for
                           these digits
    safetensors            `checksum` beside our description in the header's metadata; covers the description, and name,
                           type, shape and bytes of every tensor (`encoders.models.checkpoints`)
    Parquet                `cgir.checksum` in the metadata; covers the footer (schema, metadata, places and counts of
                           pages), with zeros for these digits; pages carry CRC-32s of their own

Files of older versions have none: they are read, with a note in the log.
"""

from __future__ import annotations

import json
import logging
import re
import zlib
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from .errors import FileFormatError

KEY = "checksum"  # of JSON objects and of safetensors' metadata
PARQUET_KEY = "cgir.checksum"
UNSEALED = "00000000"  # what stands in place of the digits while they are computed
ADVICE = "restore it from a copy or write it again"
_DIGITS = re.compile("[0-9a-f]{8}")
_JSON_ENTRY = re.compile(rb'"checksum": ?"([0-9a-f]{8})"\s*\}\s*')
# Thrift's compact protocol: the value's field, 1 behind the key's and of type binary; its length
_PARQUET_ENTRY = re.compile(re.escape(PARQUET_KEY).encode() + rb"\x18\x08([0-9a-f]{8})")

log = logging.getLogger(__name__)


def checksum(parts: Iterable[bytes | memoryview]) -> str:
    """CRC-32 of byte strings, one behind the other, as 8 hex digits."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return f"{crc:08x}"


def damaged(path: str | PathLike[str], advice: str = ADVICE) -> FileFormatError:
    """The error for a file, or `FILE: line N`, that does not match its checksum."""
    return FileFormatError(f"{path}: damaged: its content does not match its checksum; {advice}")


def note_missing(path: str | PathLike[str], renew: str) -> None:
    """Log that a file has no checksum.

    Args:
        path: of the file.
        renew: what gives it one, as "load it and save it again".
    """
    log.warning("%s: has no checksum, as an older cgir wrote it, so damage would go unnoticed; %s", path, renew)


def sealed_json(content: Mapping[str, Any], compact: bool = False, **options: Any) -> bytes:
    """An object as JSON in UTF-8 with its checksum as the last entry, and the end of the line.

    Args:
        content: JSON values by name.
        compact: no space behind commas and colons.
        options: of `json.dumps`.
    """
    separators = (",", ":") if compact else None
    text = json.dumps({**content, KEY: UNSEALED}, separators=separators, allow_nan=False, **options)
    data = f"{text}\n".encode(errors="backslashreplace")  # half a surrogate becomes its JSON escape
    at = data.rindex(UNSEALED.encode())
    return data[:at] + checksum([data]).encode() + data[at + len(UNSEALED) :]


def check_json(path: str | PathLike[str], data: bytes, content: dict[str, Any], advice: str = ADVICE) -> bool:
    """Check the checksum of a JSON object, and take it out of the object; False: it has none.

    Args:
        path: of the file, or `FILE: line N`, for the message.
        data: the bytes of the file, or of the line with its end.
        content: the object that they are.
        advice: what to do, the end of the message.

    Raises:
        FileFormatError: the bytes do not match it.
    """
    if KEY not in content:
        last = next(reversed(content.values()), None)
        if isinstance(last, str) and _DIGITS.fullmatch(last):  # a checksum whose own name is damaged
            raise damaged(path, advice)
        return False
    at = data.rfind(b'"checksum"')
    found = _JSON_ENTRY.fullmatch(data, at) if at >= 0 else None
    if found is None or content.pop(KEY) != found[1].decode() or _without(data, found) != found[1]:
        raise damaged(path, advice)
    return True


def seal_parquet(path: str | PathLike[str]) -> None:
    """Put the checksum of its footer into a Parquet file whose metadata has `UNSEALED` under `PARQUET_KEY`."""
    with Path(path).open("r+b") as file:
        start, footer = _footer(file)
        found = _last(_PARQUET_ENTRY, footer)
        if found is None:
            raise ValueError(f"{path}: its metadata has no {PARQUET_KEY}")
        file.seek(start + found.start(1))
        file.write(_without(footer, found))


def check_parquet(path: str | PathLike[str], advice: str = ADVICE) -> bool:
    """Check the footer of a Parquet file; False: it has no checksum, or no footer of Parquet.

    Args:
        path: of the file.
        advice: what to do, the end of the message.

    Raises:
        FileFormatError: the footer does not match it.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        _, footer = _footer(file)
    found = _last(_PARQUET_ENTRY, footer)
    if found is None:
        return False
    if _without(footer, found) != found[1]:
        raise damaged(path, advice)
    return True


def _footer(file: Any) -> tuple[int, bytes]:
    """Where the footer of a Parquet file begins, and its bytes to the end of the file."""
    size = file.seek(0, 2)
    file.seek(max(size - 8, 0))
    start = max(size - int.from_bytes(file.read(4), "little") - 8, 0)
    file.seek(start)
    return start, file.read()


def _last(pattern: re.Pattern[bytes], data: bytes) -> re.Match[bytes] | None:
    return max(pattern.finditer(data), key=re.Match.start, default=None)


def _without(data: bytes, found: re.Match[bytes]) -> bytes:
    """The checksum of bytes with zeros for the digits found in them."""
    view = memoryview(data)
    return checksum([view[: found.start(1)], UNSEALED.encode(), view[found.end(1) :]]).encode()
