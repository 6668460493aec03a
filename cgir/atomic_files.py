"""Atomic file writes, a file is replaced as a whole or not at all; and locks of files that one process may write."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import CgirError


@contextmanager
def atomic_path(path: str | PathLike[str], fsync: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` at the end, and is removed on any error.

    With `fsync` the content also survives a power cut right after.
    """
    target = Path(path)
    # Only a name, no file yet: so the writer's own `open` gives it the permissions that any new file gets.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        yield temporary
        if fsync:
            _sync(temporary)
        os.replace(temporary, target)
        if fsync and os.name == "posix":
            _sync(target.parent)
    except OSError as error:
        if error.filename != os.fspath(temporary):
            raise
        raise type(error)(error.errno, error.strerror, os.fspath(target)) from error  # the name that the user knows
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, target: Path) -> Iterator[None]:
    """Hold the lock at `path`, which the system releases when the process ends, however it ends.

    Raises:
        CgirError: another process holds it; the message names `target`, what the lock is for.
    """
    lock, owner = FileLock(path, blocking=False), os.getpid()
    try:
        lock.acquire()
    except Timeout:
        raise CgirError(f"{target}: another process is writing to it; try again when it is done") from None
    try:
        yield
    finally:
        if owner == os.getpid():  # and not a copy (fork) of the process that holds it
            # Removed while it is held: whoever has opened this file and gets its lock finds it unlinked, and tries
            # again.
            with suppress(PermissionError):  # Windows removes no open file; `release` does it there
                path.unlink(missing_ok=True)
            lock.release()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
