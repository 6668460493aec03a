"""Exceptions for bad input; a message names what and where, what was found and expected, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MESSAGE_LIMIT = 500  # characters of a message


class CgirError(ValueError):
    """Root of the library's errors; the message is one line meant for the user.

    Whatever a file or model put into it, the message is made safe here: one line, at most `MESSAGE_LIMIT` characters
    (the start and the end, which says what to do), and nothing that a terminal would obey.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(message, MESSAGE_LIMIT))


class InvalidGraphError(CgirError):
    """A graph breaks an invariant listed in `cgir.verify`."""


class FileFormatError(CgirError):
    """A file is damaged, truncated, foreign or of a newer version."""


class SpecError(CgirError):
    """An architecture string or specification does not belong to its search space."""


class TraceError(CgirError):
    """A model cannot be followed: the message names the operator and the user's own line."""


class UnsupportedOpError(TraceError):
    """With `strict=True`: an operator that is not in the vocabulary."""


class LabelError(CgirError):
    """Labels that nothing can be learned from: missing, not finite, constant or too few."""


class LimitError(TraceError, FileFormatError):
    """A file or model would take more than `cgir.limits.Limits` allow; the message names the limit."""


def printable(text: object, limit: int | None = None) -> str:
    """Text for a message or a terminal: one line, and no character that a terminal obeys or a file cannot hold.

    Args:
        text: anything with a `str`.
        limit: keep at most this many characters, the start and the end.
    """
    line = str(text)
    if limit is not None and len(line) > 4 * limit:  # what is cut out is not looked at
        line = line[: 2 * limit] + line[-2 * limit :]
    if not line.isprintable():
        line = " ".join(part.strip() for part in line.splitlines())
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if limit is not None and len(line) > limit:
        start = limit * 3 // 5
        line = f"{line[:start]} ... {line[start + 5 - limit :]}"
    return line


def one_line(error: BaseException, limit: int | None = None, named: bool = False) -> str:
    """An error's message on one line, to be quoted inside another message; the error's type where it has no message.

    Args:
        error: any exception; of TensorFlow's, the message without the list of operators around it.
        limit: keep at most this many characters of the message, whole words, with " ..." behind them.
        named: put the error's type in front: `KeyError: 'weight'`.
    """
    name, message = type(error).__name__, getattr(error, "message", None)
    try:
        text = " ".join((message if isinstance(message, str) else str(error)).split())
    except Exception:  # its own __str__ raises
        text = ""
    text = text.encode(errors="backslashreplace").decode()  # half surrogates, as in names of files, cannot be written
    if limit is not None and len(text) > limit:
        text = text[:limit].rsplit(" ", 1)[0] + " ..."
    return (f"{name}: {text}" if text else name) if named else text or name


def changed_settings(saved: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """The entries of `current` that differ from `saved`, as "key SAVED there, CURRENT now; ..."; "" if none does."""
    return "; ".join(
        f"{key} {saved.get(key)!r} there, {value!r} now" for key, value in current.items() if saved.get(key) != value
    )
