"""Reader of TFRecord files without TensorFlow: length (uint64), its checksum, data, its checksum, little-endian.

Checksums are CRC-32C (Castagnoli), rotated by 15 bits plus a constant, as in TensorFlow's documentation of the format.
They are computed for thousands of records at once, byte by byte of all of them together, because a loop over bytes in
Python takes minutes a gigabyte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cgir.errors import FileFormatError
from cgir.typing import IntArray

POLYNOMIAL, MASK_DELTA = 0x82F63B78, 0xA282EAD8
BATCH = 8192
LONGEST = 1 << 16  # bytes; records of label tables have some hundreds

Checksum = TypeVar("Checksum", int, IntArray)


class Record(NamedTuple):
    """One record of the file; `start` in bytes."""

    start: int
    data: bytes
    checksum: int


def read_records(path: Path, progress: Callable[[int], object] = lambda size: None) -> Iterator[bytes]:
    """The contents of all records, checked.

    Args:
        path: a TFRecord file, not compressed.
        progress: called with the number of bytes read since the last call.

    Raises:
        FileFormatError: the file is cut off, or a checksum is wrong; the message names the record, counted from 0.
    """
    with path.open("rb") as stream:
        size, first = os.path.getsize(path), 0
        while batch := _batch(stream, path, size, first):
            _check(path, first, batch)
            yield from (record.data for record in batch)
            first += len(batch)
            progress(sum(16 + len(record.data) for record in batch))


def _batch(stream: IO[bytes], path: Path, size: int, first: int) -> list[Record]:
    batch: list[Record] = []
    offset = stream.tell()
    while len(batch) < BATCH:
        head = stream.read(12)
        if not head:
            break
        where = f"{path}: record {first + len(batch)} at byte {offset}"
        length = int.from_bytes(head[:8], "little")
        if len(head) == 12 and _masked(_crc_of_length(head[:8])) != int.from_bytes(head[8:], "little"):
            raise FileFormatError(
                f"{where}: the checksum of its length is wrong; the file is damaged, or no TFRecord file"
            )
        if len(head) < 12 or offset + 16 + length > size:
            raise FileFormatError(f"{where}: cut off; the file ends at byte {size}")
        if length > LONGEST:
            raise FileFormatError(
                f"{where}: {length} bytes long, expected at most {LONGEST}; this is not a label table"
            )
        body = stream.read(length + 4)
        batch.append(Record(offset, body[:length], int.from_bytes(body[length:], "little")))
        offset += 16 + length
    return batch


def _check(path: Path, first: int, batch: Sequence[Record]) -> None:
    checksums = _masked(_crc([record.data for record in batch]).astype(np.int64))
    wrong = np.flatnonzero(checksums != np.asarray([record.checksum for record in batch]))
    if len(wrong):
        at = int(wrong[0])
        raise FileFormatError(
            f"{path}: record {first + at} at byte {batch[at].start}: the checksum of its data is wrong; "
            "the file is damaged"
        )


def _masked(crc: Checksum) -> Checksum:
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF


def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1)
    return table


_TABLE = _table()
_TABLE_AS_LIST: list[int] = _TABLE.tolist()


def _crc_of_length(text: bytes) -> int:
    """CRC-32C of a few bytes, one after the other: each length must be checked before the next can be found."""
    crc = 0xFFFFFFFF
    for byte in text:
        crc = _TABLE_AS_LIST[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc(texts: Sequence[bytes]) -> NDArray[np.uint32]:
    """CRC-32C of every text.

    They are sorted by length and padded at the front, so that those that have a byte in a column are the last rows.
    """
    lengths = np.asarray([len(text) for text in texts])
    order = np.argsort(lengths, kind="stable")
    result = np.empty(len(texts), np.uint32)
    step = max(1, (1 << 24) // max(1, int(lengths.max())))
    for start in range(0, len(texts), step):
        rows = order[start : start + step]
        result[rows] = _crc_sorted([texts[row] for row in rows], lengths[rows])
    return result


def _crc_sorted(texts: Sequence[bytes], lengths: IntArray) -> NDArray[np.uint32]:
    longest = int(lengths[-1])
    joined = np.frombuffer(b"".join(text.rjust(longest, b"\0") for text in texts), np.uint8).reshape(
        len(texts), longest
    )
    columns = np.ascontiguousarray(joined.T)
    crc = np.full(len(texts), 0xFFFFFFFF, np.uint32)
    begins = np.searchsorted(lengths, longest - np.arange(longest))  # the first text that has a byte in this column
    for column, begin in zip(columns, begins, strict=True):
        part = crc[begin:]
        crc[begin:] = _TABLE[(part ^ column[begin:]) & 0xFF] ^ (part >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)
