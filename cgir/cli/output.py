"""What the command line prints: whatever names are in it, nothing that a terminal would obey."""

from __future__ import annotations

import io
import logging
import os
import sys
from contextlib import suppress

from cgir.errors import printable


def say(text: object = "", end: str = "\n", flush: bool = False) -> None:
    """Print a text to standard output; its lines stay, other control characters are spelled out.

    Args:
        text: anything with a `str`.
        end: behind it.
        flush: at once.
    """
    print("\n".join(map(printable, str(text).split("\n"))), end=end, flush=flush)


def say_error(text: str) -> None:
    """Print one line to standard error."""
    with suppress(OSError, ValueError):  # gone, or closed: nobody can be told
        print(f"cgir: {printable(text)}", file=sys.stderr, flush=True)


def prepare_streams() -> None:
    """Have standard output and standard error take any text, whatever the terminal's encoding, and where closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for the rest of the process
        elif isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO)
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(_Formatter())


def discard_output() -> None:
    """Nothing more is written to standard output, which nobody reads or which is full, also not at the end."""
    with suppress(OSError, ValueError, AttributeError):  # none, or one of a test
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """The message on one line."""
        return printable(record.getMessage())
