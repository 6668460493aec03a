"""Whether a command can write what it is asked to, known before it does any work."""

from __future__ import annotations

import os
from pathlib import Path

from cgir.errors import CgirError


def check_file(path: Path | None, *suffixes: str) -> None:
    """Raise CgirError unless a file, if one is named, can be written there.

    Args:
        path: the file.
        suffixes: one of which it has to end in; none: any.
    """
    if path is None or _is_device(path):
        return
    check_place(path)
    if path.is_dir():
        raise CgirError(f"{path}: is a folder; expected a file to write")
    if suffixes and path.suffix.lower() not in suffixes:
        endings = " or ".join(suffixes)
        raise CgirError(f"{path}: expected a file that ends in {endings}; call it {path.with_suffix(suffixes[0])}")


def check_place(path: Path | None) -> None:
    """Raise CgirError unless the folder is there that a file or folder, if one is named, is written into."""
    if path is None or _is_device(path):
        return
    if path.parent.exists() and not path.parent.is_dir():
        raise CgirError(f"{path}: {path.parent} is a file; expected a folder")
    if not path.parent.is_dir():
        raise CgirError(f"{path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise CgirError(f"{path}: nothing may be written into the folder {path.parent}")


def check_folder(path: Path | None) -> None:
    """Raise CgirError unless a folder, if one is named, is there or can be made, with those above it."""
    if path is None:
        return
    above = path.absolute()
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        raise CgirError(f"{path}: {above} is a file; expected a folder")
    if not os.access(above, os.W_OK):
        raise CgirError(f"{path}: nothing may be written into the folder {above}")


def _is_device(path: Path) -> bool:
    """Whether it is there and neither file nor folder, as /dev/stdout; it is written to as it is."""
    return path.exists() and not path.is_file() and not path.is_dir()
