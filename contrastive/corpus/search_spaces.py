"""What of the search spaces is in the corpus: which networks, in which skeletons, how many.

Predictors are trained on networks with one cell a stage, whose graphs are small and miss nothing of what is searched;
so most are of that form. The published skeletons and scaled ones are there so that width, depth, resolution and
repetition are nothing new either.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice, tee
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from cgir.graph_batch import GraphBatch
from cgir.store.graph_store import GraphStore
from frontends import spaces
from frontends.spaces import Space

CHUNK = 64  # networks that share a skeleton, and are compiled together

Drawn = tuple[Space[Any], Any]
Choices = dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Part:
    """`count` networks of a space, or all of them, with each chunk's skeleton drawn from `skeleton`; `title` tells the
    parts of a space apart.

    Half of a chunk are walks of `walk` mutations each. `shares`: the networks share parameters, which batches do not
    know, so graphs are written one by one.
    """

    space: str
    title: str
    count: int | None
    skeleton: Choices = field(default_factory=dict)
    walk: int = 32
    shares: bool = False

    @property
    def name(self) -> str:
        """Of the part's files."""
        return f"{self.space}-{self.title}"


def _images(*sizes: int) -> tuple[tuple[int, int, int], ...]:
    return tuple((3, size, size) for size in sizes)


def _scaled(base: tuple[int, ...], *factors: float) -> tuple[tuple[int, ...], ...]:
    """Channels times each factor, rounded to multiples of 8."""
    return tuple(tuple(max(8, round(channels * factor / 8) * 8) for channels in base) for factor in factors)


_ONE: Choices = {"cells": (1,)}
_SMALL: Choices = {"image": _images(32, 48, 64), "classes": (10, 100, 120)}
_PHONE = (0.5, 0.75, 1.25, 1.5)
_PROXYLESS = (16, 32, 40, 80, 96, 192, 320)
_PROXYLESS_GPU = (24, 32, 56, 112, 128, 256, 432)
_MNAS, _MNAS_B1 = (16, 24, 40, 80, 112, 160, 320), (16, 24, 40, 80, 96, 192, 320)
_OFA = (16, 16, 24, 40, 80, 112, 160, 960, 1280)
# NAS-Bench-1Shot1's networks are NAS-Bench-101's; the first of two equal graphs is kept, so the smaller space comes
# first. Counts are of drawn networks, of which some are equal. Long walks among NAS-Bench-101's cells end at small
# ones, of which there are few.
PARTS = (
    Part("nasbench1shot1", "one", 9_000, _ONE | {"subspace": (1, 2, 3)}, walk=4),
    Part("nasbench1shot1", "scaled", 1_500, {"subspace": (1, 2, 3), "cells": (1, 2, 3), "channels": (48, 64, 96, 160), **_SMALL}, walk=4),
    Part("nasbench101", "one", 62_000, _ONE, walk=4),
    Part("nasbench101", "published", 3_000, walk=4),
    Part("nasbench101", "scaled", 6_000, {"cells": (1, 1, 2, 3), "stacks": (2, 3, 4), "channels": (48, 64, 96, 160, 192), **_SMALL}, walk=4),
    Part("nasbench201", "one", None, _ONE),
    Part("nasbench201", "published", 4_000),
    Part("nasbench201", "scaled", 14_000, {"cells": (1, 1, 2, 3), "channels": (8, 12, 24, 32, 48, 64), **_SMALL}),
    Part("transnas_micro", "one", None, _ONE),
    Part("transnas_micro", "published", 3_000),
    Part("transnas_micro", "tasks", 5_000, _ONE | {"task": ("class_scene", "room_layout", "segmentsemantic", "normal")}),
    Part("transnas_micro", "jigsaw", 500, _ONE | {"task": ("jigsaw",)}, shares=True),
    Part("transnas_micro", "scaled", 4_000, _ONE | {"channels": (16, 32, 48, 96), "image": _images(128, 192, 256)}),
    Part("transnas_macro", "one", None, _ONE),
    Part("transnas_macro", "published", 3_000),
    Part("transnas_macro", "tasks", 3_000, {"task": ("class_scene", "room_layout", "segmentsemantic", "normal")}),
    Part("transnas_macro", "jigsaw", 250, _ONE | {"task": ("jigsaw",)}, shares=True),
    Part("transnas_macro", "scaled", 3_000, {"cells": (1, 2, 3), "channels": (16, 32, 48, 96), "image": _images(128, 192, 256)}),
    Part("nasbench_macro", "published", None),
    Part("nasbench_macro", "scaled", 7_000, {"channels": (16, 24, 48, 64), "stages": ((2, 2, 2), (2, 3, 3), (3, 4, 3), (2, 4, 4, 2)), **_SMALL}),
    Part("darts", "three", 20_000, {"layers": (3,)}),
    Part("darts", "nasbench301", 5_000, {"channels": (32,), "layers": (8,)}),
    Part("darts", "published", 3_000),
    Part("darts", "scaled", 8_000, {"layers": (3, 4, 5, 6, 9), "channels": (12, 16, 24, 48, 64), **_SMALL}),
    Part("nasnet", "three", 8_000, {"layers": (3,), "concatenates": ("loose", "loose", "all")}),
    Part("nasnet", "published", 1_000),
    Part("nasnet", "scaled", 3_500, {"layers": (3, 4, 5, 6), "channels": (12, 16, 24, 48), "concatenates": ("loose", "all"), **_SMALL}),
    Part("ofa_mbv3", "published", 26_000, {"width": (1.0, 1.2)}),
    Part("ofa_mbv3", "scaled", 5_000, {"widths": _scaled(_OFA, *_PHONE), "classes": (10, 100, 1000)}),
    Part("mnasnet", "published", 9_500, {"widths": (_MNAS, _MNAS_B1)}),
    Part("mnasnet", "scaled", 3_000, {"widths": _scaled(_MNAS, *_PHONE), "stem": (16, 24, 32), "classes": (10, 100, 1000)}),
    Part("proxylessnas", "published", 8_000),
    Part("proxylessnas", "scaled", 4_500, {"widths": (_PROXYLESS_GPU, *_scaled(_PROXYLESS, *_PHONE)), "image": _images(128, 160, 192, 224, 256)}),
    Part("nasbench_nlp", "published", 7_500, shares=True),
    Part("nasbench_nlp", "scaled", 3_000, {"layers": (1, 2, 3), "hidden": (200, 400, 650), "embedding": (100, 200, 400), "steps": (35, 70)}, shares=True),
)  # fmt: skip


def write(part: Part, path: Path, scale: float, seed: int) -> None:
    """Write one part as a store of its own; equal arguments give equal stores."""
    rng = np.random.default_rng([seed, zlib.crc32(part.name.encode())])
    drawn, again = tee(
        _all(part, scale, rng) if part.count is None else islice(_draws(part, rng), ceil(part.count * scale))
    )
    graphs = (space.graph(spec) for space, spec in drawn) if part.shares else _compiled(drawn)
    GraphStore.write(path, graphs, family=part.space, specs=(space.format(spec) for space, spec in again))


def _all(part: Part, scale: float, rng: np.random.Generator) -> Iterator[Drawn]:
    """Every network of a space in its order, or the share `scale` of them."""
    space = _space(part, rng)
    specs = list(space.enumerate())
    chosen = np.sort(rng.permutation(len(specs))[: ceil(len(specs) * scale)])
    return ((space, specs[index]) for index in chosen)


def _draws(part: Part, rng: np.random.Generator) -> Iterator[Drawn]:
    """Without end, in chunks that share a skeleton: half of each drawn uniformly, half on random walks, where each is a
    mutation of the one before.
    """
    spec = None
    while True:
        space = _space(part, rng)
        for _ in range(CHUNK // 2):
            yield space, space.sample(rng)
        for step in range(CHUNK // 2):
            spec = space.mutate(spec if step % part.walk else space.sample(rng), rng)
            yield space, spec


def _space(part: Part, rng: np.random.Generator) -> Space[Any]:
    return spaces.get(
        part.space, **{name: choices[int(rng.integers(len(choices)))] for name, choices in part.skeleton.items()}
    )


def _compiled(drawn: Iterator[Drawn]) -> Iterator[GraphBatch]:
    """One batch a skeleton and chunk."""
    for space, group in groupby(drawn, key=lambda pair: pair[0]):
        specs = (spec for _, spec in group)
        while chunk := list(islice(specs, 16 * CHUNK)):
            yield space.graphs(chunk)
