"""The log of a search: lines of JSON that are only ever appended, so that a kill loses at most the line being written.

    {"format": "cgir-search", "version": 1, "space": name, "skeleton": {...}, "config": {...}}     how it was called
    {"ask": [spec, ...], "costs": {name: [...]}, "predicted": {name: [...]}}                       one line an ask
    {"tell": row, "answer": {name: value or null}, "error": text, "seconds": number}               one line an answer
    {"add": spec, "costs": {name: [...]}, "answer": {name: value}}                                 an old result

Rows are numbered from 0 in the order of asks and adds; null is a network that failed. Each line ends with its checksum
(`cgir.checksums`); where the first one has none, as older versions wrote it, others may have none.
"""

from __future__ import annotations

import logging
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

from cgir.atomic_files import atomic_path, locked
from cgir.checksums import check_json, damaged, note_missing, sealed_json
from cgir.errors import CgirError, FileFormatError, one_line
from cgir.strict_json import parse_object

log = logging.getLogger(__name__)
FORMAT, VERSION = "cgir-search", 1
ADVICE = "remove it to search anew, or use another path (path=, --log)"
Event = dict[str, Any]
_KEYS = {"ask", "costs", "predicted", "tell", "answer", "error", "seconds", "add"}
_WHOLE_LINE = re.compile(rb'"checksum": "[0-9a-f]{8}"\}.')  # and what was the end of the line


class Content(NamedTuple):
    """What a log holds: its header, the events after it, and how many bytes these lines have."""

    header: dict[str, Any]
    events: list[Event]
    size: int


def read_events(path: Path) -> Content:
    """The lines of a log; a last one that was not finished is left out.

    Raises:
        FileFormatError: there is no such file, it is no log of a search, a line is damaged, or the version is newer.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: cannot be read ({one_line(error, 200)})") from error
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]
    if _WHOLE_LINE.search(content, len(whole)):
        raise damaged(f"{path}: line {len(lines) + 1}", ADVICE)
    header, sealed = _parsed(path, 1, lines[0]) if lines else ({}, False)
    if header.get("format") != FORMAT or not isinstance(header.get("config"), dict):
        raise FileFormatError(f"{path}: not the log of a search; use another path (path=, --log)")
    if header.get("version") != VERSION:
        raise FileFormatError(
            f"{path}: the log of a search in version {header.get('version')!r}, expected {VERSION}; upgrade cgir, "
            "or use another path"
        )
    events = [_event(path, number, line, sealed) for number, line in enumerate(lines[1:], 2)]
    if not sealed:
        note_missing(path, "a new search writes logs that have them")
    return Content(header, events, len(whole))


class LogFile(ExitStack):
    """A log that one process appends to; every line is on the disk when `append` returns.

    Args:
        path: of the log; it is made, with its header, if it does not exist.
        header: how the search was called.

    Attributes:
        content: what the file held when it was opened.

    Raises:
        CgirError: another process has it open, or `path` cannot be a file.
        FileFormatError: see `read_events`.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        super().__init__()
        path = _real(path)
        self.path, self._owner = path, os.getpid()
        self.enter_context(locked(path.with_name(f".{path.name}.lock"), path))
        try:
            if not path.exists():
                with atomic_path(path, fsync=True) as temporary:
                    temporary.write_bytes(_line({"format": FORMAT, "version": VERSION, **header}))
            self.content = read_events(path)
            self._file = self.enter_context(path.open("r+b", buffering=0))
            if path.stat().st_size > self.content.size:
                log.warning("%s: its last line was not finished, and is left out", path)
                self._file.truncate(self.content.size)
            self._file.seek(0, os.SEEK_END)
        except BaseException:
            self.close()
            raise

    def append(self, event: Event) -> None:
        """Write a line, as a whole or not at all.

        Raises:
            CgirError: the log is closed, or belongs to the process that this one is a copy of.
            OSError: the disk is full, or gone.
        """
        if self._owner != os.getpid():
            raise CgirError(f"{self.path}: this process is a copy (fork) of the one that writes the log")
        if self._file.closed:
            raise CgirError(f"{self.path}: the search is closed; make it again, which goes on from the log")
        line = _line(event)
        end = self._file.tell()
        try:
            while line:  # a disk that is almost full takes a part
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(end)
            self._file.seek(end)
            raise

    def __enter__(self) -> Self:
        return self


def _real(path: Path) -> Path:
    """The file itself, however it is named, also after the working folder has changed. CgirError if it is none."""
    try:
        path = path.resolve()
        is_file = bool(path.name) and (path.is_file() or not path.exists())
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CgirError(f"{path}: no log can be written there ({one_line(error, 200)}); use another path") from error
    if not is_file:
        raise CgirError(f"{path}: a log is a file, and this is none; use another path")
    return path


def _line(event: Event) -> bytes:
    return sealed_json(event, ensure_ascii=False)


def _parsed(path: Path, number: int, line: bytes) -> tuple[Event, bool]:
    """The object in a line, and whether it has a checksum."""
    try:
        event = parse_object(path, line)
    except FileFormatError as error:
        if number == 1:
            raise FileFormatError(f"{path}: not the log of a search; use another path (path=, --log)") from error
        raise FileFormatError(f"{path}: line {number} is damaged; {ADVICE}") from error
    return event, check_json(f"{path}: line {number}", line + b"\n", event, ADVICE)


def _event(path: Path, number: int, line: bytes, sealed: bool) -> Event:
    """The event in a line after the first; `sealed`: it must have a checksum."""
    event, has_checksum = _parsed(path, number, line)
    if (sealed and not has_checksum) or not _KEYS.issuperset(event):
        raise FileFormatError(f"{path}: line {number} is damaged; {ADVICE}")
    return event
