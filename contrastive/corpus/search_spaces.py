"""Corpus parts from the search spaces: which networks, in which skeletons, and how many.

Most networks have one cell in each stage, as predictors are trained on that form: its graphs are small and hold all
that is searched. Published and scaled skeletons add other widths, depths, resolutions and repetitions.
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

CHUNK = 64  # consecutive networks that share a skeleton

Sample = tuple[Space[Any], Any]  # a space with its skeleton, and a spec
Choices = dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class SpacePart:
    """Networks of one search space. Half of a chunk is sampled uniformly, half on random walks of mutations.

    Args:
        space: name of the search space.
        title: distinguishes the parts of a space.
        count: number of networks; None for all of the space.
        skeleton: options of the space -> values, of which one is sampled for each chunk.
        walk: mutations in a random walk.
        shares: whether networks share parameters, which batches do not represent; graphs are then written one by one.
    """

    space: str
    title: str
    count: int | None
    skeleton: Choices = field(default_factory=dict)
    walk: int = 32
    shares: bool = False

    @property
    def name(self) -> str:
        """The name of the part's folder."""
        return f"{self.space}-{self.title}"


def _images(*sizes: int) -> tuple[tuple[int, int, int], ...]:
    return tuple((3, size, size) for size in sizes)


def _scaled(base: tuple[int, ...], *factors: float) -> tuple[tuple[int, ...], ...]:
    """Channels times each factor, rounded to multiples of 8."""
    return tuple(tuple(max(8, round(channels * factor / 8) * 8) for channels in base) for factor in factors)


_ONE_CELL: Choices = {"cells": (1,)}
_SMALL: Choices = {"image": _images(32, 48, 64), "classes": (10, 100, 120)}
_PHONE = (0.5, 0.75, 1.25, 1.5)
_PROXYLESS = (16, 32, 40, 80, 96, 192, 320)
_PROXYLESS_GPU = (24, 32, 56, 112, 128, 256, 432)
_MNAS, _MNAS_B1 = (16, 24, 40, 80, 112, 160, 320), (16, 24, 40, 80, 96, 192, 320)
_MBV2 = (16, 24, 32, 64, 96, 160, 320)
_OFA = (16, 16, 24, 40, 80, 112, 160, 960, 1280)
_GRAPH_DATA = ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers")
# Networks of NAS-Bench-1Shot1 are also in NAS-Bench-101; the first of two equal graphs is kept, so the smaller space
# comes first. Counts are of sampled networks, of which some are equal. Long walks among NAS-Bench-101's cells end at
# small ones, of which there are few.
PARTS = (
    SpacePart("nasbench1shot1", "one", 9_000, _ONE_CELL | {"subspace": (1, 2, 3)}, walk=4),
    SpacePart(
        "nasbench1shot1",
        "scaled",
        1_500,
        {"subspace": (1, 2, 3), "cells": (1, 2, 3), "channels": (48, 64, 96, 160), **_SMALL},
        walk=4,
    ),
    SpacePart("nasbench101", "one", 62_000, _ONE_CELL, walk=4),
    SpacePart("nasbench101", "published", 3_000, walk=4),
    SpacePart(
        "nasbench101",
        "scaled",
        6_000,
        {"cells": (1, 1, 2, 3), "stacks": (2, 3, 4), "channels": (48, 64, 96, 160, 192), **_SMALL},
        walk=4,
    ),
    SpacePart("nasbench201", "one", None, _ONE_CELL),
    SpacePart("nasbench201", "published", 4_000),
    SpacePart("nasbench201", "scaled", 14_000, {"cells": (1, 1, 2, 3), "channels": (8, 12, 24, 32, 48, 64), **_SMALL}),
    SpacePart("transnas_micro", "one", None, _ONE_CELL),
    SpacePart("transnas_micro", "published", 3_000),
    SpacePart(
        "transnas_micro",
        "tasks",
        5_000,
        _ONE_CELL | {"task": ("class_scene", "room_layout", "segmentsemantic", "normal")},
    ),
    SpacePart("transnas_micro", "jigsaw", 500, _ONE_CELL | {"task": ("jigsaw",)}, shares=True),
    SpacePart(
        "transnas_micro", "scaled", 4_000, _ONE_CELL | {"channels": (16, 32, 48, 96), "image": _images(128, 192, 256)}
    ),
    SpacePart("transnas_macro", "one", None, _ONE_CELL),
    SpacePart("transnas_macro", "published", 3_000),
    SpacePart("transnas_macro", "tasks", 3_000, {"task": ("class_scene", "room_layout", "segmentsemantic", "normal")}),
    SpacePart("transnas_macro", "jigsaw", 250, _ONE_CELL | {"task": ("jigsaw",)}, shares=True),
    SpacePart(
        "transnas_macro",
        "scaled",
        3_000,
        {"cells": (1, 2, 3), "channels": (16, 32, 48, 96), "image": _images(128, 192, 256)},
    ),
    SpacePart("nasbench_macro", "published", None),
    SpacePart(
        "nasbench_macro",
        "scaled",
        7_000,
        {"channels": (16, 24, 48, 64), "stages": ((2, 2, 2), (2, 3, 3), (3, 4, 3), (2, 4, 4, 2)), **_SMALL},
    ),
    SpacePart("darts", "three", 20_000, {"layers": (3,)}),
    SpacePart("darts", "nasbench301", 5_000, {"channels": (32,), "layers": (8,)}),
    SpacePart("darts", "published", 3_000),
    SpacePart("darts", "scaled", 8_000, {"layers": (3, 4, 5, 6, 9), "channels": (12, 16, 24, 48, 64), **_SMALL}),
    SpacePart("nasnet", "three", 8_000, {"layers": (3,), "concatenates": ("loose", "loose", "all")}),
    SpacePart("nasnet", "published", 1_000),
    SpacePart(
        "nasnet",
        "scaled",
        3_500,
        {"layers": (3, 4, 5, 6), "channels": (12, 16, 24, 48), "concatenates": ("loose", "all"), **_SMALL},
    ),
    SpacePart("ofa_mbv3", "published", 26_000, {"width": (1.0, 1.2)}),
    SpacePart("ofa_mbv3", "scaled", 5_000, {"widths": _scaled(_OFA, *_PHONE), "classes": (10, 100, 1000)}),
    SpacePart("mnasnet", "published", 9_500, {"widths": (_MNAS, _MNAS_B1)}),
    SpacePart(
        "mnasnet",
        "scaled",
        3_000,
        {"widths": _scaled(_MNAS, *_PHONE), "stem": (16, 24, 32), "classes": (10, 100, 1000)},
    ),
    SpacePart("proxylessnas", "published", 8_000),
    SpacePart(
        "proxylessnas",
        "scaled",
        4_500,
        {"widths": (_PROXYLESS_GPU, *_scaled(_PROXYLESS, *_PHONE)), "image": _images(128, 160, 192, 224, 256)},
    ),
    SpacePart("nasbench_nlp", "published", 7_500, shares=True),
    SpacePart(
        "nasbench_nlp",
        "scaled",
        3_000,
        {"layers": (1, 2, 3), "hidden": (200, 400, 650), "embedding": (100, 200, 400), "steps": (35, 70)},
        shares=True,
    ),
    SpacePart("gpt", "published", 200),
    SpacePart(
        "gpt",
        "scaled",
        400,
        {
            "widths": ((64, 128, 192, 256, 384), (256, 384, 512, 768, 896), (512, 1024, 1280, 1792), (768, 1536, 3072)),
            "depths": ((1, 2, 3, 4, 6, 8), (2, 6, 10, 14, 18), (4, 12, 20, 28)),
            "heads": ((1, 2, 4, 8), (4, 6, 8, 16)),
            "context": (256, 512, 1024, 2048),
            "vocabulary": (8_000, 32_000, 50_432),
        },
    ),
    SpacePart("naap440", "published", None),
    SpacePart(
        "naap440",
        "scaled",
        2_560,
        {
            "first": ((8, 16, 24), (16, 32, 48)),
            "second": ((16, 32, 48), (32, 64, 96)),
            "third": ((16, 32, 48, 64), (32, 64, 96, 128)),
            "fourth": ((32, 64, 96), (64, 128, 256)),
            **_SMALL,
        },
    ),
    SpacePart("metaqnn", "published", 3_000),
    SpacePart(
        "metaqnn",
        "scaled",
        1_000,
        {
            "widths": ((16, 32, 64, 128), (32, 48, 96, 192)),
            "features": ((256, 128, 64), (1024, 512, 256)),
            "layers": (8, 18, 24),
            **_SMALL,
        },
    ),
    SpacePart("cifar_resnet", "published", 300),
    SpacePart("mobilenetv2", "published", 1_500),
    SpacePart(
        "mobilenetv2",
        "scaled",
        500,
        {"widths": _scaled(_MBV2, *_PHONE), "image": _images(96, 160, 192, 224), "classes": (10, 100, 1000)},
    ),
    SpacePart("lstm", "published", 140),
    SpacePart("lstm", "scaled", 60, {"vocabulary": (2_000, 10_000, 33_000), "embedding": (100, 200, 300, 650)}, walk=8),
    SpacePart("nasbench_graph", "published", 6_000, {"data": _GRAPH_DATA}),
    SpacePart(
        "ofa_mbv3",
        "options",
        2_000,
        {
            "expansions": ((1, 1.5, 2), (1, 2, 3), (2, 3, 4), (2, 3, 4, 6)),
            "depths": ((1, 2, 3), (2, 3, 4), (1, 2, 3, 4)),
            "kernels": ((3, 5), (3, 5, 7)),
            "widths": (_OFA, *_scaled(_OFA, *_PHONE)),
        },
    ),
    SpacePart(
        "graphgym",
        "published",
        2_000,
        {"features": (3, 53, 745, 1433, 6805), "classes": (1, 6, 10, 15), "level": ("node", "node", "graph", "link")},
        shares=True,
    ),
)


def write_part(part: SpacePart, path: Path, scale: float, seed: int) -> None:
    """Write one part as a store of its own; equal arguments give equal stores.

    Args:
        part: which networks.
        path: of the store.
        scale: fraction of the networks.
        seed: of the sampling.
    """
    rng = np.random.default_rng([seed, zlib.crc32(part.name.encode())])
    samples, for_specs = tee(
        _all(part, scale, rng) if part.count is None else islice(_sampled(part, rng), ceil(part.count * scale))
    )
    graphs = (space.graph(spec) for space, spec in samples) if part.shares else _batches(samples)
    GraphStore.write(path, graphs, family=part.space, specs=(space.format(spec) for space, spec in for_specs))


def _all(part: SpacePart, scale: float, rng: np.random.Generator) -> Iterator[Sample]:
    """Every network of a space in its order, or the fraction `scale` of them."""
    space = _space(part, rng)
    specs = list(space.enumerate())
    chosen = np.sort(rng.permutation(len(specs))[: ceil(len(specs) * scale)])
    return ((space, specs[index]) for index in chosen)


def _sampled(part: SpacePart, rng: np.random.Generator) -> Iterator[Sample]:
    """Endless samples in chunks that share a skeleton: half of a chunk uniform, half successive mutations."""
    spec = None
    while True:
        space = _space(part, rng)
        for _ in range(CHUNK // 2):
            yield space, space.sample(rng)
        for step in range(CHUNK // 2):
            spec = space.mutate(spec if step % part.walk else space.sample(rng), rng)
            yield space, spec


def _space(part: SpacePart, rng: np.random.Generator) -> Space[Any]:
    return spaces.get(
        part.space, **{name: choices[int(rng.integers(len(choices)))] for name, choices in part.skeleton.items()}
    )


def _batches(samples: Iterator[Sample]) -> Iterator[GraphBatch]:
    """Graphs of successive samples of equal skeleton, in batches."""
    for space, group in groupby(samples, key=lambda pair: pair[0]):
        specs = (spec for _, spec in group)
        while chunk := list(islice(specs, 16 * CHUNK)):
            yield space.graphs(chunk)
