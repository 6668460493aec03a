"""Files of drawings: what their names promise is what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

from cgir.errors import CgirError


def check_suffix(path: str | PathLike[str], suffixes: Sequence[str]) -> None:
    """Refuse a file whose name promises another format.

    Raises:
        CgirError: the name does not end in one of the suffixes.
    """
    suffix = Path(fspath(path)).suffix
    if suffix.lower() not in suffixes:
        ends = f"ends in {suffix!r}" if suffix else "has no suffix"
        raise CgirError(f"{path}: the name of a drawing {ends}; expected {' or '.join(suffixes)}")
