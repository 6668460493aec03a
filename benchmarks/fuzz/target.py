"""What a campaign needs to know of one kind of input: how to make a hostile one, and what the library does with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numpy.random import Generator


class Target(NamedTuple):
    """One kind of input.

    Attributes:
        title: its row in the table.
        prepare: `(folder) -> seeds`: makes, once for a campaign, what hostile inputs are made from, such as the bytes
            of valid files; a slow function, without random numbers of its own.
        write: `(rng, seeds, folder) -> input`: one hostile input; files go into the folder, which is empty, and
            everything depends on the generator alone.
        read: `(input) -> None`: what a user would do with it. It raises `CgirError` or `OSError` where the input is
            refused; every other exception is a finding.
    """

    title: str
    prepare: Callable[[Path], Any]
    write: Callable[[Generator, Any, Path], Any]
    read: Callable[[Any], object]
