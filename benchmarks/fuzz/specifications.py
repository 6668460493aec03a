"""Texts of architectures and skeletons of search spaces made wrong at random."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from cgir.graph_batch import GraphBatch
from frontends import spaces

from .mutation import TEXTS, VALUES, mutate_bytes, random_value
from .target import Target

VALID = 3  # specs of each space
NODES = 2000  # of networks that are built
PIECES = (
    "|", "+", "(", ")", "[", "{", "~0", ":", ";", "=", ",", " ", "-", "_", "²", "٣", "1_000", "+1", "NaN", "1e9",
    "none",
    "range(2, 6)", "\u2028", "\x00", "0" * 50, "9" * 5000, '"', "\\ud800", "None", "'",
)  # fmt: skip
REPETITIONS = (50, 1000, 10_000, 200_000)
FIELDS = (
    1,
    2,
    3,
    4,
    8,
    16,
    31,
    32,
    1000,
    10**6,
    10**12,
    10**30,
    1 << 62,
    (1,),
    (3, 32, 32),
    (3, 8, 8),
    (1,) * 100,
    1.5,
    (1, 1.5, 2),
)

LOADED = [entry.load() for entry in spaces.SPACES.values()]  # before a process forks, which would import them again


class Specification(NamedTuple):
    """A text, and the space with the skeleton that it is read for."""

    space: Any
    skeleton: dict[str, Any]
    text: Any


def prepare(folder: Path) -> dict[str, list[str]]:
    """Valid texts of every space."""
    rng = np.random.default_rng(0)
    found = {name: spaces.get(name) for name in spaces.SPACES}
    return {name: [space.format(space.sample(rng)) for _ in range(VALID)] for name, space in found.items()}


def write(rng: Generator, seeds: dict[str, list[str]], folder: Path) -> Specification:
    """A valid text with changes, a text of another space, a repeated piece, or no text; often a wrong skeleton."""
    names = list(seeds)
    name = names[int(rng.integers(len(names)))]
    texts = seeds[name] if rng.random() < 0.9 else seeds[names[int(rng.integers(len(names)))]]
    text: Any = texts[int(rng.integers(len(texts)))]
    kind = rng.random()
    if kind < 0.6:
        text = _changed(rng, text)
    elif kind < 0.7:
        text = PIECES[int(rng.integers(len(PIECES)))] * int(rng.choice(REPETITIONS))
    elif kind < 0.8:
        text = random_value(rng)
    elif kind < 0.85:
        text = text.encode(errors="surrogatepass")
    return Specification(name if rng.random() < 0.98 else random_value(rng), _skeleton(rng, name), text)


def _changed(rng: Generator, text: str) -> str:
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(text) + 1))
        kind = int(rng.integers(5))
        if kind == 0:
            text = text[:at] + PIECES[int(rng.integers(len(PIECES)))] + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + int(rng.geometric(0.3)) :]
        elif kind == 2:
            text = text[:at] + str(int(rng.integers(10))) + text[at + 1 :]
        elif kind == 3:
            text = mutate_bytes(rng, text.encode(errors="surrogatepass"), 2).decode(
                errors=str(rng.choice(["replace", "surrogateescape"]))
            )
        else:
            text = text[:at] + TEXTS[int(rng.integers(len(TEXTS)))] + text[at:]
    return text


def _skeleton(rng: Generator, name: str) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {}
    names = (
        "channels",
        "cells",
        "stacks",
        "layers",
        "stages",
        "image",
        "classes",
        "head",
        "widths",
        "depths",
        "kernels",
        "expansions",
        "heads",
        "context",
        "steps",
        "subspace",
    )
    own = {field.name for field in fields(spaces.get(name))}  # type: ignore[arg-type]  # each space is a dataclass
    known = [field for field in names if field in own]
    chosen = rng.permutation(known)[: int(rng.integers(1, 3))].tolist() if rng.random() < 0.95 else ["colour"]
    values = FIELDS if rng.random() < 0.8 else VALUES
    return {field: values[int(rng.integers(len(values)))] for field in chosen}


def read(specification: Specification) -> GraphBatch | None:
    """Parse the text, write it again, and build the network of a small skeleton."""
    name, skeleton, text = specification
    space = spaces.get(name, **skeleton)
    spec = space.parse(text)
    if space.parse(space.format(spec)) != spec:
        raise AssertionError(f"{name}: a text is read as another spec than the one that it is written for")
    repeats = [getattr(space, field, 1) for field in ("cells", "stacks", "layers", "stages")]
    if np.prod([sum(value) if isinstance(value, tuple) else value for value in repeats], dtype=float) > NODES:
        return None
    return space.graphs([spec])


TARGET = Target("texts of architectures", prepare, write, read)
