"""The folder of a `GraphStore`: which of its files belong to it, and how that changes in one step.

    _store.json                        {"format": "cgir-store", "version": 2, "parts": [{"file": name, "rows": int, "footer": digest}, ...]}
    part-00000-1f0c9ab2.parquet, ...   see `cgir.shard`; each opens on its own
    .lock                              there while somebody writes

Only what `_store.json` lists is part of the store. New parts are written under hidden names, get their own when all of
them are complete, and belong to the store from the moment a new `_store.json` takes the place of the old one; no listed
file is ever changed. So whoever opens the folder sees all of a write or nothing, and a write that was killed leaves
nothing but files that the next one removes.
"""

from __future__ import annotations

import glob
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from cgir.atomic_files import atomic_path
from cgir.errors import CgirError, FileFormatError, one_line

from .parquet_shard import VERSION, footer_digest

MANIFEST = "_store.json"
LOCK = ".lock"
FORMAT = "cgir-store"
_OURS = re.compile(r"\.?part-\d{5,}-[0-9a-f]{8}\.parquet(\.[0-9a-f]{12}\.part)?|\._store\.json\.[0-9a-f]{12}\.part")


class Part(NamedTuple):
    """A listed file: its name, how many graphs it holds, and the digest of its footer."""

    file: str
    rows: int
    footer: str


class Pending(ExitStack):
    """Parts on their way into a folder: `place()` is where the next one is to be written; they get their names when the
    `with` block ends.
    """

    def __init__(self, folder: Path, first: int) -> None:
        super().__init__()
        self._folder, self._first, self._names, self._paths = folder, first, list[str](), list[Path]()

    def place(self) -> Path:
        """A path to write the next part to."""
        name = f"part-{self._first + len(self._names):05d}-{secrets.token_hex(4)}.parquet"
        path: Path = self.enter_context(atomic_path(self._folder / name, fsync=True))
        self._names.append(name)
        self._paths.append(path)
        return path

    def parts(self, rows: Sequence[int]) -> list[Part]:
        """What was written, before it gets its names."""
        return [
            Part(name, count, footer_digest(path))
            for name, count, path in zip(self._names, rows, self._paths, strict=True)
        ]


def read_parts(folder: Path) -> list[Part]:
    """The files that make up a store.

    Raises:
        FileFormatError: the folder is no store, or its list is damaged.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
        version = content["version"] if content["format"] == FORMAT else None
        if type(version) is int and version != VERSION:
            raise FileFormatError(
                f"{path}: version {version}, expected {VERSION}; upgrade cgir or write the data set again"
            )
        parts = [Part(str(part["file"]), int(part["rows"]), str(part["footer"])) for part in content["parts"]]
    except FileNotFoundError as error:
        raise FileFormatError(
            f"{folder}: holds no {MANIFEST}, so it is no data set of cgir, or one whose first write did not finish"
        ) from error
    except FileFormatError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileFormatError(f"{path}: the list of parts cannot be read: {one_line(error)}") from error
    if version is None or not parts or not all(_OURS.fullmatch(part.file) for part in parts):
        raise FileFormatError(f"{path}: not a list of parts of a data set")
    return parts


@contextmanager
def writing(folder: Path) -> Iterator[list[Part]]:
    """Hold a folder for writing, made if it is not there: gives the parts it has, without leftovers of a write that was
    killed.

    Raises:
        CgirError: another process writes to it, or it holds something else than a store.
    """
    fresh = not folder.exists()
    if not fresh and (not folder.is_dir() or not _is_store(folder)):
        raise CgirError(f"{folder}: exists already and is no data set of cgir; remove it or choose another path")
    folder.mkdir(exist_ok=True)
    try:
        with _exclusive(folder / LOCK, folder):
            parts = read_parts(folder) if (folder / MANIFEST).exists() else []
            sweep(folder, parts)
            yield parts
    finally:
        if fresh and not (folder / MANIFEST).exists():
            with suppress(OSError):  # somebody else has begun to use it
                folder.rmdir()


@contextmanager
def writing_file(path: Path) -> Iterator[Path]:
    """Where to write what is to become the file at `path` when it is complete; leftovers of a write that was killed are
    removed.

    Raises:
        CgirError: another process writes to it.
    """
    with _exclusive(path.with_name(f".{path.name}.lock"), path):
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            leftover.unlink(missing_ok=True)
        with atomic_path(path, fsync=True) as temporary:
            yield temporary


def switch(folder: Path, parts: Sequence[Part]) -> None:
    """From now on the store is `parts`; files that belong to it no longer are removed."""
    content = {"format": FORMAT, "version": VERSION, "parts": [part._asdict() for part in parts]}
    with atomic_path(folder / MANIFEST, fsync=True) as path:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sweep(folder, parts)


def sweep(folder: Path, parts: Sequence[Part]) -> None:
    """Remove files of ours that are not in the list."""
    listed = {part.file for part in parts}
    for path in folder.iterdir():
        if path.name not in listed and _OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _is_store(folder: Path) -> bool:
    """Whether a folder is a store, what a killed first write left behind, or empty."""
    return (folder / MANIFEST).exists() or all(
        path.name == LOCK or _OURS.fullmatch(path.name) for path in folder.iterdir()
    )


@contextmanager
def _exclusive(lock: Path, target: Path) -> Iterator[None]:
    """Hold a lock that the system gives back when the process ends, however it ends."""
    while True:
        with lock.open("a") as file:
            if not _locked(file):
                raise CgirError(f"{target}: another process is writing to it; try again when it is done")
            if not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                continue  # its last owner removed it after it was opened here
            try:
                yield
            finally:
                with suppress(PermissionError):  # Windows removes no open file; the lock is given back all the same
                    lock.unlink(missing_ok=True)
            return


def _locked(file: IO[str]) -> bool:
    """Take a lock that the system gives back when the process ends, however it ends; False if somebody else has it."""
    try:
        try:
            from fcntl import LOCK_EX, LOCK_NB, flock
        except ImportError:  # Windows
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            flock(file, LOCK_EX | LOCK_NB)
    except OSError:
        return False
    return True
