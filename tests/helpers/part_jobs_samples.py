"""Jobs that write small parts, here and in worker processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from cgir_samples import ring_graph

from cgir.store import Content, Job


def rings(first: int, count: int, seconds: float = 0.0) -> Content:
    """Rings of more and more operators, with all columns."""
    time.sleep(seconds)
    sizes = range(first, first + count)
    return Content((ring_graph(n) for n in sizes), "rings", (f"{n}" for n in sizes), {"x": [n / 7 for n in sizes]})


def broken(message: str) -> Content:
    """Raises."""
    raise KeyError(message)


def quits() -> None:
    """Ends its process."""
    sys.exit("no license")


def unprintable() -> None:
    """Raises what cannot say what it is."""

    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise Silent


def endless_story() -> None:
    """Raises a page."""
    raise ValueError("a line\n" * 1000)


def no_content() -> int:
    """Returns something else."""
    return 3


def deadly(marker: str) -> Content:
    """Kills its process, but only the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rings(3, 2)


def ring_jobs(count: int = 5, seconds: float = 0.0) -> list[Job]:
    """Jobs of three rings each."""
    return [Job(rings, (3 + 3 * number, 3, seconds)) for number in range(count)]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
