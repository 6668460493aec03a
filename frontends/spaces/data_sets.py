"""Networks of a search space as data sets of any size: jobs of `GraphStore.write_parts`, each with its own networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from cgir.errors import CgirError, SpecError
from cgir.graph_batch import GraphBatch
from cgir.store import Content, Job

from . import get
from .space import Space

JOB_SIZE = 50_000  # networks: half a minute to ten minutes of one core (spectra of large cells), and 10 MB
CHUNK = 4096  # networks whose graphs are built at a time
MOST_LISTED = 10**7  # each job skips what is before it, which would take longer than writing where there are more


def sample_jobs(space: Space[Any], count: int, seed: int = 0, size: int = JOB_SIZE) -> list[Job]:
    """Jobs that draw `count` networks; a smaller count gives the first of them.

    Args:
        space: one of `frontends.spaces.SPACES`.
        count: networks, which may be equal; 10^8 are a matter of hours on 64 processors.
        seed: of the drawing; job k draws from `default_rng([seed, k])`.
        size: networks a job.
    """
    skeleton = _skeleton(space)
    return [
        Job(draw, (space.name, skeleton, seed, number, min(size, count - number * size)))
        for number in range(-(-count // size))
    ]


def enumeration_jobs(space: Space[Any], size: int = JOB_SIZE) -> list[Job]:
    """Jobs that list every network of a space, in the order of `enumerate()`.

    Args:
        space: one of `frontends.spaces.SPACES`.
        size: networks a job.

    Raises:
        SpecError: there are too many.
    """
    count = space.count()
    if count is None or count > MOST_LISTED:
        found = "the space is not finite" if count is None else f"the space has {_number(count)} networks"
        raise SpecError(
            f"{space.name}: {found}, too many to list (more than {_number(MOST_LISTED)}); "
            "draw some: --sample N, or sample_jobs(space, N)"
        )
    skeleton = _skeleton(space)
    return [Job(enumerated, (space.name, skeleton, start, size)) for start in range(0, count, size)]


def draw(name: str, skeleton: dict[str, Any], seed: int, number: int, count: int) -> Content:
    """A part of a sample.

    Args:
        name: of the space.
        skeleton: its fields.
        seed: of the sample.
        number: of the part.
        count: networks in it.
    """
    space, rng = get(name, **skeleton), np.random.default_rng([seed, number])
    return contents(space, [space.sample(rng) for _ in range(count)])


def enumerated(name: str, skeleton: dict[str, Any], start: int, count: int) -> Content:
    """A part of all networks.

    Args:
        name: of the space.
        skeleton: its fields.
        start: networks before it in `enumerate()`.
        count: networks in it, or fewer where they end.
    """
    space = get(name, **skeleton)
    return contents(space, list(islice(space.enumerate(), start, start + count)))


def contents(space: Space[Any], specs: Sequence[Any]) -> Content:
    """Networks as `GraphStore` writes them; their graphs are built as they are read."""
    return Content(_graphs(space, specs), space.name, map(space.format, specs))


def _graphs(space: Space[Any], specs: Sequence[Any]) -> Iterator[GraphBatch]:
    for start in range(0, len(specs), CHUNK):
        yield space.graphs(specs[start : start + CHUNK])


def _skeleton(space: Space[Any]) -> dict[str, Any]:
    """The fields of a space, which a worker makes anew from its name.

    Raises:
        CgirError: `get` does not make it.
    """
    skeleton = asdict(space)  # type: ignore[call-overload]
    if get(space.name, **skeleton) != space:
        raise CgirError(f"{space.name}: not a space of frontends.spaces.SPACES; write a function of your own as a job")
    return dict(skeleton)


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"{count:.1e}"
