"""The sources of LEMUR's networks, read from its wheel; nothing of it is installed or imported."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from cgir import TraceError
from cgir.errors import FileFormatError, one_line
from cgir.limits import Limits
from frontends.common.archives import read_member

VERSION = "2.1.2"
FOLDER = "ab/nn/nn/"
LIMITS = Limits(bytes=1 << 20)  # of a source


@contextmanager
def open_wheel(path: str | PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """The archive.

    Raises:
        FileFormatError: it cannot be read, or holds no code of networks.
    """
    advice = f"get it with `pip download --no-deps nn-dataset=={VERSION}`"
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise FileFormatError(f"{path}: no wheel ({one_line(error, 100)}); {advice}") from error
    with archive:
        if not any(name.startswith(FOLDER) and name.endswith(".py") for name in archive.namelist()):
            raise FileFormatError(f"{path}: holds no networks below {FOLDER}, as later versions do; {advice}")
        yield archive


def read_source(wheel: zipfile.ZipFile, network: str) -> str:
    """The source of a network.

    Raises:
        TraceError: the wheel does not have it, or it is damaged, too large or no UTF-8.
    """
    data = read_member(wheel, f"{FOLDER}{network}.py", LIMITS)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise TraceError(f"{network}: no UTF-8 ({one_line(error, 100)})") from error
