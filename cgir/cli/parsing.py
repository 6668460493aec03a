"""The parser of the command line: errors are one line, and lists in files are read within bounds."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence
from typing import NoReturn

from cgir.errors import MESSAGE_LIMIT, CgirError, printable

LIST_BYTES = 1 << 26  # of a list of networks
NESTED = 10  # lists in lists
WAIT_SECONDS = 60.0  # for what a pipe brings


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` for words and files of strangers."""

    def error(self, message: str) -> NoReturn:
        """Print one line that leads to the help; exit status 2."""
        self.exit(2, f"{self.prog}: error: {printable(message, MESSAGE_LIMIT)} (see {self.prog} --help)\n")

    def _read_args_from_files(self, arg_strings: Sequence[str]) -> list[str]:
        """Words, with each @FILE replaced by the lines of the file."""
        prefix = tuple(self.fromfile_prefix_chars or ())
        words = list(arg_strings)
        for _ in range(NESTED):
            if not any(word.startswith(prefix) for word in words):
                return words
            words = [part for word in words for part in (_lines(word[1:]) if word.startswith(prefix) else [word])]
        raise CgirError(f"@FILE: lists in lists, {NESTED} deep or endless; name the networks in one")


def check_words(words: Sequence[str]) -> None:
    """Raise CgirError where a word cannot be part of a file's name on any system."""
    for word in words:
        try:
            if "\0" in word:
                raise ValueError("a NUL character")
            os.fsencode(word)
        except ValueError as error:
            raise CgirError(f"{word[:100]!r}: no text that names anything ({error})") from error


def _lines(path: str) -> list[str]:
    """The lines of a text file or pipe.

    Raises:
        CgirError: it cannot be read, is too large, or no text.
    """
    try:
        text = _read(path).decode()
    except OSError as error:
        raise CgirError(f"@{path}: the list cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CgirError(f"@{path}: not a text in UTF-8 ({error.reason}); expected one network a line") from error
    if "\0" in text:
        raise CgirError(f"@{path}: not a text; expected one network a line")
    return text.removeprefix("\ufeff").splitlines()


def _read(path: str) -> bytes:
    if sys.platform == "win32":
        with open(path, "rb") as file:
            content = file.read(LIST_BYTES + 1)
    else:
        handle, content = os.open(path, os.O_RDONLY | os.O_NONBLOCK), b""
        try:
            while len(content) <= LIST_BYTES:
                if not select.select([handle], [], [], WAIT_SECONDS)[0]:
                    raise CgirError(f"@{path}: nothing came for {WAIT_SECONDS:.0f} s")
                part = os.read(handle, 1 << 20)
                if not part:
                    break
                content += part
        finally:
            os.close(handle)
    if len(content) > LIST_BYTES:
        raise CgirError(f"@{path}: more than {LIST_BYTES:,} bytes, which no list of networks has")
    return content
