"""Manifest of a `GraphStore` folder: which files belong to it, and how that changes atomically.

    _store.json                        {"format": "cgir-store", "version": 2, "parts": [PART, ...], "checksum": digits},
                                       where PART is {"file": name, "rows": int, "footer": digest}; see `checksums`
    part-00000-1f0c9ab2.parquet, ...   see `parquet_shard`; each opens on its own; 16 digits where a job wrote it
    .lock                              exists while a process writes

Only what `_store.json` lists is part of the store. New parts are written under temporary names, are renamed when all
of them are complete, and belong to the store from the moment a new `_store.json` replaces the old one; no listed file
is ever changed. So whoever opens the folder sees all of a write or nothing, and a write that was killed leaves nothing
but orphans, which the next one removes. A part that a job writes (`part_jobs`) is named by the job, and kept by the
next write of the same jobs.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cgir.atomic_files import atomic_path, locked, sync, sync_folder
from cgir.checksums import check_json, note_missing, sealed_json
from cgir.errors import CgirError, FileFormatError, one_line
from cgir.strict_json import parse_object

from .parquet_shard import VERSION, footer_digest

MANIFEST = "_store.json"
LOCK = ".lock"
FORMAT = "cgir-store"
_OWN_FILE = re.compile(
    r"\.?part-\d{5,}-([0-9a-f]{8}|[0-9a-f]{16})\.parquet(\.[0-9a-f]{12}\.part)?|\._store\.json\.[0-9a-f]{12}\.part"
)


class Part(NamedTuple):
    """A file of the store: its name, how many graphs it holds, and the digest of its footer."""

    file: str
    rows: int
    footer: str


class StagedParts(ExitStack):
    """New parts under temporary names, which are removed when the `with` block ends, unless `finish` was called.

    The folder is locked, so what a kill leaves needs no locks of its own: files of which there may be thousands.

    Args:
        folder: of the store.
        first: number of the first new part.
    """

    def __init__(self, folder: Path, first: int) -> None:
        super().__init__()
        self._folder, self._first, self._names, self._paths = folder, first, list[str](), list[Path]()

    def next_path(self) -> Path:
        """A temporary path to write the next part to."""
        name = f"part-{self._first + len(self._names):05d}-{secrets.token_hex(4)}.parquet"
        path = self._folder / f".{name}.{secrets.token_hex(6)}.part"
        self.callback(path.unlink, missing_ok=True)
        self._names.append(name)
        self._paths.append(path)
        return path

    def finish(self, rows: Sequence[int]) -> list[Part]:
        """Give the parts that were written their names; their entries, from the number of graphs in each."""
        parts = [
            Part(name, count, footer_digest(path))
            for name, count, path in zip(self._names, rows, self._paths, strict=True)
        ]
        for part, path in zip(parts, self._paths, strict=True):
            sync(path)
            os.replace(path, self._folder / part.file)
        sync_folder(self._folder)
        return parts


def read_parts(folder: Path, form: str = FORMAT) -> list[Part]:
    """The files that make up a store.

    Args:
        folder: of the store.
        form: name of the files' format.

    Raises:
        FileFormatError: the folder is no store, or its manifest is damaged.
    """
    parts, has_checksum = _parts(folder, form)
    if not has_checksum:
        note_missing(folder / MANIFEST, "write the data set again")
    return parts


def _parts(folder: Path, form: str) -> tuple[list[Part], bool]:
    """The files that make up a store, and whether its manifest has a checksum; see `read_parts`."""
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FileFormatError(
            f"{folder}: holds no {MANIFEST}, so it is no data set of cgir, or one whose first write did not finish"
        ) from error
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: the list of parts cannot be read: {one_line(error)}") from error
    content = parse_object(path, data, "the list of parts cannot be read")
    has_checksum = check_json(path, data, content)
    version, parts = content.get("version"), content.get("parts")
    if content.get("format") == form and type(version) is int and version != VERSION:
        raise FileFormatError(
            f"{path}: version {version}, expected {VERSION}; upgrade cgir or write the data set again"
        )
    whole = content.keys() == {"format", "version", "parts"} and content["format"] == form and type(version) is int
    if not whole or not isinstance(parts, list) or not parts or not all(map(_is_part, parts)):
        raise FileFormatError(f"{path}: not a list of parts of a data set ({form})")
    if len({part["file"] for part in parts}) < len(parts):
        raise FileFormatError(f"{path}: lists a part twice; write the data set again")
    return [Part(**part) for part in parts], has_checksum


def _is_part(part: Any) -> bool:
    """Whether a JSON value describes a part."""
    return (
        isinstance(part, dict)
        and {key: type(value) for key, value in part.items()} == {"file": str, "rows": int, "footer": str}
        and _OWN_FILE.fullmatch(part["file"]) is not None
        and part["rows"] >= 0
    )


@contextmanager
def open_for_writing(folder: Path) -> Iterator[list[Part]]:
    """Lock a folder, which is made if it does not exist, and remove the orphans of a write that was killed.

    Yields:
        The parts that the store has.

    Raises:
        CgirError: another process writes to it, or it holds something other than a store.
    """
    with lock_folder(folder) as parts:
        remove_orphans(folder, [part.file for part in parts])
        yield parts


@contextmanager
def lock_folder(folder: Path, form: str = FORMAT) -> Iterator[list[Part]]:
    """Lock a folder, which is made if it does not exist; orphans stay.

    Args:
        folder: of the store.
        form: name of the files' format.

    Yields:
        The parts that the store has.

    Raises:
        CgirError: as in `open_for_writing`.
    """
    is_new = not folder.exists()
    if not is_new and (not folder.is_dir() or not _is_store(folder)):
        raise CgirError(f"{folder}: exists already and is no data set of cgir; remove it or choose another path")
    folder.mkdir(exist_ok=True)
    try:
        with locked(folder / LOCK, folder):
            yield _parts(folder, form)[0] if (folder / MANIFEST).exists() else []
    finally:
        if is_new and not (folder / MANIFEST).exists():
            with suppress(OSError):  # another process has begun to use it
                folder.rmdir()


@contextmanager
def open_file_for_writing(path: Path) -> Iterator[Path]:
    """Lock a file that is written as a whole.

    Yields:
        A temporary path, which replaces `path` when the `with` block ends without an error.

    Raises:
        CgirError: another process writes to it.
    """
    with locked(path.with_name(f".{path.name}.lock"), path), atomic_path(path, fsync=True) as temporary:
        yield temporary


def commit(folder: Path, parts: Sequence[Part], form: str = FORMAT) -> None:
    """Make `parts` the store, atomically; files that no longer belong to it are removed.

    Args:
        folder: of the store.
        parts: complete files in the folder.
        form: name of their format.
    """
    content = {"format": form, "version": VERSION, "parts": [part._asdict() for part in parts]}
    with atomic_path(folder / MANIFEST, fsync=True) as path:
        path.write_bytes(sealed_json(content, indent=1))
    remove_orphans(folder, [part.file for part in parts])


def remove_orphans(folder: Path, kept: Collection[str]) -> None:
    """Remove files that this module has named but that are not among those to be kept."""
    listed = set(kept)
    for path in folder.iterdir():
        if path.name not in listed and _OWN_FILE.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _is_store(folder: Path) -> bool:
    """Whether a folder is a store, what a killed first write left behind, or empty."""
    return (folder / MANIFEST).exists() or all(
        path.name == LOCK or _OWN_FILE.fullmatch(path.name) for path in folder.iterdir()
    )
