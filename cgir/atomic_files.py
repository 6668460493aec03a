"""Atomic file writes, a file is replaced as a whole or not at all; and locks of files that one process may write.

A file is written as `.NAME.HHHHHHHHHHSS.part` beside its target, where H is a digest of the running system and S a slot
that the writer holds locked. A kill leaves this file without a lock, and the next writer of the same target on this
machine takes the slot over; so nothing is left, and nobody has to list a folder of a million files. What other machines
left, whose locks may not be seen here, is removed once it is a day old.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from os import PathLike
from pathlib import Path
from uuid import getnode

from filelock import FileLock, Timeout

from .errors import CgirError

try:
    import fcntl
except ImportError:  # Windows, which removes no file that is open
    fcntl = None  # type: ignore[assignment]

LEFTOVER = re.compile(r"\.(.+)\.([0-9a-f]{12})\.part", re.DOTALL)
SLOTS = 256  # writers of one file at a time
OLD_SECONDS = 86_400.0  # after which what nobody can be asked about is a leftover
LISTED = 10_000  # names of a folder that are looked through for leftovers, once a process
MANDATORY = ("cifs", "smb3")  # a locked file would refuse its own writer, who opens it again
NAME_BYTES = 230  # of a name that still fits into 255 with what is put around it
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG) if os.name == "posix" else (errno.ENOSPC, errno.EIO)


@contextmanager
def atomic_path(path: str | PathLike[str], fsync: bool = False) -> Iterator[Path]:
    """The path of an empty file beside `path` to write to; it takes the place of `path` at the end.

    On any error it is removed. Where there is an old file, a power cut leaves that or the new one, whole. A terminal,
    pipe or other device cannot be replaced, and is written to as it is.

    Args:
        path: of the file.
        fsync: have the new file on the disk at the end, also where it replaces none; it takes milliseconds.

    Raises:
        OSError: it cannot be written; named is `path`, which the user knows.
    """
    target = Path(path)
    if _is_device(target):
        yield target
        return
    try:
        handle, temporary = _claim(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(target)) from error
    try:
        yield temporary
        if fsync or target.exists():  # else a new file's name may be on the disk before its content
            os.fsync(handle)
        if fcntl is None:  # Windows renames no open file
            handle = _close(handle)
        os.replace(temporary, target)
        handle = _close(handle)  # and with it the lock; the name is no longer ours
        if fsync:
            sync_folder(target.parent)
    except OSError as error:
        if error.filename != os.fspath(temporary) and not (error.filename is None and error.errno in DISK_ERRORS):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(target)) from error
    finally:
        if handle >= 0:
            _remove(handle, temporary)


@contextmanager
def locked(path: Path, target: Path) -> Iterator[None]:
    """Hold the lock at `path`, which the system releases when the process ends, however it ends.

    Raises:
        CgirError: another process holds it; the message names `target`, what the lock is for.
        OSError: nothing can be written there.
    """
    lock, owner = FileLock(path, blocking=False), os.getpid()
    try:
        lock.acquire()
    except Timeout:
        raise CgirError(f"{target}: another process is writing to it; try again when it is done") from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(target)) from error
    try:
        yield
    finally:
        if owner == os.getpid():  # and not a copy (fork) of the process that holds it
            # Removed while it is held: whoever has opened this file and gets its lock finds it unlinked, and tries
            # again.
            with suppress(PermissionError):  # Windows removes no open file; `release` does it there
                path.unlink(missing_ok=True)
            lock.release()


def _close(handle: int) -> int:
    if handle >= 0:
        os.close(handle)
    return -1


def _remove(handle: int, temporary: Path) -> None:
    """Remove a temporary file of ours; while it is locked, where open files can be removed."""
    if fcntl is None:
        os.close(handle)
    temporary.unlink(missing_ok=True)
    if fcntl is not None:
        os.close(handle)


def _claim(target: Path) -> tuple[int, Path]:
    """An open, locked, empty file beside `target`, after what dead writers of the same target have left is removed."""
    name = _short(target.name)
    for leftover in _leftovers(str(target.parent.absolute())).pop(name, ()):
        _remove_if_dead(leftover)
    for slot in range(SLOTS):
        temporary = target.with_name(f".{name}.{_system()}{slot:02x}.part")
        handle = _create(temporary)
        if handle is None and _remove_if_dead(temporary):
            handle = _create(temporary)
        if handle is not None:
            for following in range(slot + 1, slot + 4):  # of writers at the same time, of which some were killed
                _remove_if_dead(target.with_name(f".{name}.{_system()}{following:02x}.part"))
            return handle, temporary
    raise OSError(errno.EBUSY, f"{SLOTS} others write to it", os.fspath(target))


def _create(temporary: Path) -> int | None:
    """Open and lock a new file, with the permissions that any new file gets; None if it exists."""
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except FileExistsError:
        return None
    # between these lines it had no lock, and may have been taken for a leftover
    if _lock(handle) is False or not _is_at(handle, temporary):
        os.close(handle)
        return None
    return handle


def _remove_if_dead(temporary: Path) -> bool:
    """Remove what a writer has left that was killed; False where the writer lives, or may live."""
    match = LEFTOVER.fullmatch(temporary.name)
    is_own = match is not None and match[2].startswith(_system())
    try:
        if fcntl is None or not is_own:
            if not _is_old(temporary.stat()):
                return False
            temporary.unlink()
            return True
        handle = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except OSError:  # another user's, or still open
        return False
    try:
        found = _lock(handle)
        if found is None:  # the file system has no locks
            found = _is_old(os.fstat(handle))
        if found and _is_at(handle, temporary):
            temporary.unlink(missing_ok=True)
        return found
    except OSError:
        return False
    finally:
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock an open file; False if it is locked already, None if that cannot be known."""
    if fcntl is None or _file_system(os.fstat(handle).st_dev) in MANDATORY:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@lru_cache(maxsize=256)
def _file_system(device: int) -> str:
    """The type of a mounted file system; empty where the system does not tell."""
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), open("/proc/self/mountinfo", errors="replace", encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1]
    return ""


@lru_cache(maxsize=1)
def _system() -> str:
    """10 hex digits of the running system, until it starts again: locks of its processes are seen by one another."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except (OSError, ValueError):
        text = f"{platform.node()} {getnode()}"
    return hashlib.blake2b(text.encode(), digest_size=5).hexdigest()


@lru_cache(maxsize=256)
def _leftovers(folder: str) -> dict[str, list[Path]]:
    """Names in a folder -> temporary files of these that were there when the folder was first written to."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, LISTED):
            if match := LEFTOVER.fullmatch(entry.name):
                found.setdefault(match[1], []).append(Path(entry.path))
    return found


def _short(name: str) -> str:
    """The name, or a digest of it where nothing more would fit into what file systems allow."""
    code = os.fsencode(name)
    return name if len(code) <= NAME_BYTES else hashlib.blake2b(code, digest_size=16).hexdigest()


def _is_device(target: Path) -> bool:
    """Whether it is a terminal, pipe or the like, which is written to and not replaced.

    Raises:
        IsADirectoryError: it is a folder.
    """
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(target))
    folder = os.path.realpath(target.parent)  # /dev/stdout is a file where the output goes to one
    return not stat.S_ISREG(mode) or folder == "/dev" or folder.startswith("/proc/")


def _is_old(status: os.stat_result) -> bool:
    return time.time() - status.st_mtime > OLD_SECONDS


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file still has this path."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Have a file's content on the disk when this returns."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Have the names of a folder's files on the disk when this returns, where the system offers that."""
    if os.name == "posix":
        with suppress(OSError):  # not every file system can; names are then in the order in which they were given
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
