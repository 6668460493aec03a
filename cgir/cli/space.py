"""What `cgir space` does, as text for the command line to print."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice, tee
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from frontends.spaces import SPACES, get
from frontends.spaces.space import Space

CHUNK = 4096  # networks compiled at a time


def listing() -> str:
    """A line for each search space: what its module says of itself."""
    return "\n".join(f"{name:16}{_about(get(name)).partition(chr(10))[0]}" for name in SPACES)


def about(name: str, seed: int) -> str:
    """What the space is, the form of its strings, and one of them, drawn at random."""
    space = get(name)
    return f"{_about(space)}\n\none of its networks:\n{space.format(space.sample(np.random.default_rng(seed)))}"


def write(name: str, count: int | None, seed: int, output: Path) -> str:
    """Write a data set of a space's networks, without labels; what was written, in a line.

    Args:
        name: the space.
        count: that many networks drawn at random; None for all of them.
        seed: of the drawing.
        output: a .parquet file, or a folder.
    """
    start, space, rng = perf_counter(), get(name), np.random.default_rng(seed)
    specs, again = tee(space.enumerate() if count is None else (space.sample(rng) for _ in range(count)))
    GraphStore.write(output, _compiled(space, specs), family=name, specs=map(space.format, again))
    return f"{output}: {len(GraphStore.open(output)):,} networks of {name} in {perf_counter() - start:.0f} s"


def _about(space: Space[Any]) -> str:
    return (sys.modules[type(space).__module__].__doc__ or "").strip()


def _compiled(space: Space[Any], specs: Iterator[Any]) -> Iterator[GraphBatch]:
    while chunk := list(islice(specs, CHUNK)):
        yield space.graphs(chunk)
