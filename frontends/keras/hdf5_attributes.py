"""Text attributes of an HDF5 file's root group, read without the HDF5 library.

The library runs for ever, or takes the process down, on files that are damaged in the wrong place, and it follows links
to other files. All that a model's configuration needs is in the root group's own object header and in one global heap:
HDF5 File Format Specification 3.0, sections II.A (superblock), III.E (global heap), IV.A (object header).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cgir import TraceError
from cgir.limits import Limits

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ATTRIBUTE, CONTINUATION, ATTRIBUTE_INFO = 0x0C, 0x10, 0x15  # types of header messages
FIXED_TEXT, VARIABLE = 3, 9  # classes of data types
MAX_MESSAGES = 10_000


def read_text_attributes(path: Path, limits: Limits) -> dict[str, str]:
    """The attributes of the root group that are one text each, by name.

    Raises:
        TraceError: the file is no HDF5 file, damaged, or keeps its attributes in another way than Keras does.
        LimitError: a text is longer than `limits.bytes`.
    """
    with path.open("rb") as stream:
        return _File(stream, path.stat().st_size, limits).text_attributes()


class _DataType(NamedTuple):
    """Class and size of a text's type."""

    kind: int
    size: int


class _File:
    """An open file: numbers and parts at addresses, which are checked against its size.

    Args:
        stream: of the file.
        size: of the file in bytes.
        limits: of what is read.
    """

    def __init__(self, stream: BinaryIO, size: int, limits: Limits) -> None:
        self.stream, self.size, self.limits = stream, size, limits
        start = 0
        while self.bytes_at(start, 8) != SIGNATURE:  # behind a block of the user's, whose size is a power of two
            start = 2 * start or 512
        version = self.bytes_at(start + 8, 1)[0]
        if version not in (0, 1, 2, 3):
            raise TraceError(f"its superblock has version {version}, expected 0 to 3; the file is damaged")
        fields = start + (13 if version < 2 else 9)
        self.offset_size, self.length_size = self.bytes_at(fields, 2)
        if self.offset_size not in (4, 8) or self.length_size not in (4, 8):
            raise TraceError("its addresses have an unknown size; the file is damaged")
        addresses = {0: 24, 1: 28}.get(version, 12) + start
        self.base = 0  # added to every address; the superblock's own are of the file
        root = addresses + (5 if version < 2 else 3) * self.offset_size  # behind the name of the root's table entry
        self.base, self.root = self.number(addresses, self.offset_size), self.number(root, self.offset_size)

    def bytes_at(self, position: int, count: int) -> bytes:
        """Bytes at a position of the file.

        Raises:
            TraceError: it has fewer.
        """
        if not 0 <= position <= position + count <= self.size:
            raise TraceError("not an HDF5 file, or cut off or damaged; save the model again")
        self.stream.seek(position)
        return self.stream.read(count)

    def number(self, position: int, size: int) -> int:
        """An unsigned number of `size` bytes."""
        return int.from_bytes(self.bytes_at(position, size), "little")

    def text_attributes(self) -> dict[str, str]:
        """The texts among the root's attributes, by name."""
        found: dict[str, str] = {}
        for kind, body in self._messages(self.base + self.root):
            if kind == ATTRIBUTE:
                name, text = self._attribute(body)
                if text is not None:
                    found[name] = text.decode(errors="replace")
            elif kind == ATTRIBUTE_INFO and self._is_dense(body):
                raise TraceError(
                    "its attributes are stored densely, as Keras does not write them; save the model again"
                )
        return found

    def _is_dense(self, body: bytes) -> bool:
        """Whether attributes are kept in a heap of their own: its address is not the undefined one, all ones."""
        at = 4 if body[1] & 1 else 2
        return body[at : at + self.offset_size] != b"\xff" * self.offset_size

    # --- object headers

    def _messages(self, position: int) -> Iterator[tuple[int, bytes]]:
        """Type and body of every message of an object header, those of continued parts too."""
        is_new = self.bytes_at(position, 4) == b"OHDR"
        flags = self.bytes_at(position + 5, 1)[0] if is_new else 0
        if is_new:
            sizes = position + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            parts = [(sizes + width, self.number(sizes, width))]
        else:
            parts = [(position + 16, self.number(position + 8, 4))]
        count = 0
        while parts:
            at, length = parts.pop(0)
            end = at + length
            head = 8 if not is_new else 6 if flags & 4 else 4
            while at + head <= end:
                count += 1
                if count > MAX_MESSAGES:
                    raise TraceError("its root has too many attributes, or they follow each other in a circle")
                kind, size = (self.number(at, 1), self.number(at + 1, 2)) if is_new else self._old_head(at)
                body = self.bytes_at(at + head, size)
                at += head + size
                if kind == CONTINUATION:
                    parts.append(self._continued(body, is_new))
                else:
                    yield kind, body

    def _old_head(self, at: int) -> tuple[int, int]:
        return self.number(at, 2), self.number(at + 2, 2)

    def _continued(self, body: bytes, is_new: bool) -> tuple[int, int]:
        """Position and length of the messages in another part of a header."""
        at = self.base + int.from_bytes(body[: self.offset_size], "little")
        length = int.from_bytes(body[self.offset_size : self.offset_size + self.length_size], "little")
        return (at + 4, length - 8) if is_new else (at, length)  # without signature and checksum

    # --- attributes

    def _attribute(self, body: bytes) -> tuple[str, bytes | None]:
        """Name of an attribute, and its contents if it is one text."""
        version = body[0]
        if version not in (1, 2, 3) or (version > 1 and body[1]):
            return "", None
        sizes = [int.from_bytes(body[at : at + 2], "little") for at in (2, 4, 6)]
        starts = [9 if version == 3 else 8]
        for size in sizes:
            starts.append(starts[-1] + (size if version > 1 else -(-size // 8) * 8))
        name, kind, space = (body[start : start + size] for start, size in zip(starts, sizes, strict=False))
        text = self._text(kind, space, body[starts[3] :])
        return name.rstrip(b"\x00").decode(errors="replace"), text

    def _text(self, kind: bytes, space: bytes, data: bytes) -> bytes | None:
        """The text that an attribute of this type and space holds; None for arrays and numbers."""
        if len(kind) < 8 or len(space) < 4:
            return None
        dims = space[(8 if space[0] == 1 else 4) :][: space[1] * self.length_size]
        starts = range(0, len(dims), self.length_size)
        if any(int.from_bytes(dims[at : at + self.length_size], "little") != 1 for at in starts):
            return None
        data_type = _DataType(kind[0] & 15, int.from_bytes(kind[4:8], "little"))
        if data_type.kind == FIXED_TEXT:
            return data[: data_type.size].rstrip(b"\x00")
        if data_type.kind == VARIABLE and kind[1] & 15 == 1:
            return self._heap_object(data)
        return None

    def _heap_object(self, reference: bytes) -> bytes:
        """An object of a global heap: length, address of the collection, number of the object."""
        length = int.from_bytes(reference[:4], "little")
        end = 4 + self.offset_size
        position = self.base + int.from_bytes(reference[4:end], "little")
        wanted = int.from_bytes(reference[end : end + 4], "little")
        self.limits.check("bytes", length - self.size, "an attribute")
        if self.bytes_at(position, 4) != b"GCOL":
            raise TraceError("an attribute's heap is not there; the file is damaged")
        stop = position + self.number(position + 8, self.length_size)
        at = position + 8 + self.length_size
        head = 8 + self.length_size
        for _ in range(MAX_MESSAGES):
            if at + head > stop or (number := self.number(at, 2)) == 0:
                break
            size = self.number(at + 8, self.length_size)
            if number == wanted:
                return self.bytes_at(at + head, min(length, size))
            at += head + -(-size // 8) * 8
        raise TraceError("an attribute's text is not in its heap; the file is damaged")
