"""What `examples.papers.behaviour` ranks: 400 networks of each labelled family, and graphs that have no label at all."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cgir import GraphBatch, GraphStore
from cgir.atomic_files import atomic_path
from cgir.typing import FloatArray
from examples.papers.universal_families import family
from frontends import spaces

NETWORKS, MEASURED = 400, 80
FAMILIES = {
    "nasbench201": "NAS-Bench-201",
    "nasbench101": "NAS-Bench-101",
    "transnas_micro": "TransNAS micro",
    "transnas_macro": "TransNAS macro",
    "nasbench_macro": "NAS-Bench-Macro",
    "darts": "DARTS",
    "ofa_mbv3": "OFA, mixed sizes",
    "timm_imagenet": "timm",
    "nasbench_nlp": "NAS-Bench-NLP",
}


class Tiny(NamedTuple):
    """The skeleton of a space's tiny networks, and height and width of their images."""

    size: int
    skeleton: dict[str, Any]
    networks: int = MEASURED


TINY = {
    "nasbench201": Tiny(16, {"channels": 8, "cells": 1}),
    "nasbench101": Tiny(16, {"channels": 8, "cells": 1}),
    "transnas_micro": Tiny(32, {"channels": 8, "cells": 1}),
    "transnas_macro": Tiny(32, {"channels": 8, "cells": 1}),
    "nasbench_macro": Tiny(16, {"channels": 8, "head": 64}),
    "darts": Tiny(16, {"channels": 8, "layers": 3}, 40),
    "ofa_mbv3": Tiny(32, {"widths": (8, 8, 8, 16, 24, 32, 40, 240, 320)}, 20),
}


class Sample(NamedTuple):
    """Networks of a family: graphs, specifications as text, labels (higher is better; none without a table)."""

    graphs: GraphBatch
    texts: tuple[str, ...]
    labels: FloatArray | None


@cache
def sample(name: str, folder: Path) -> Sample:
    """Networks of a family in a random order, those with behaviours first; they are kept in the folder.

    Args:
        name: of the family.
        folder: of all runs.
    """
    place, notes = folder / f"{name}.parquet", folder / f"{name}.json"
    if not notes.exists():
        found = _labelled(name) if name in FAMILIES else _unlabelled(name)
        if not place.exists():
            GraphStore.write(place, found.graphs, family=name)
        with atomic_path(notes) as temporary:
            labels = None if found.labels is None else found.labels.tolist()
            temporary.write_text(json.dumps({"texts": found.texts, "labels": labels}))
    kept = json.loads(notes.read_text())
    labels = None if kept["labels"] is None else np.asarray(kept["labels"], np.float64)
    return Sample(GraphStore.open(place).batch(), tuple(kept["texts"]), labels)


def _labelled(name: str) -> Sample:
    """The first networks of the permutation."""
    found = family(name)
    rows = np.random.default_rng(0).permutation(len(found.texts))[:NETWORKS]
    labels = next(iter(found.labels.values()))[rows]
    return Sample(found.graphs.select(rows), tuple(found.texts[row] for row in rows), labels)


def _unlabelled(name: str) -> Sample:
    """The networks of a space whose behaviours are known, one cell a stage."""
    tiny, rng = TINY[name], np.random.default_rng(0)
    space = spaces.get(name, **{key: value for key, value in tiny.skeleton.items() if key in ("cells", "layers")})
    texts = tuple(dict.fromkeys(space.format(space.sample(rng)) for _ in range(tiny.networks)))
    return Sample(space.graphs([space.parse(text) for text in texts]), texts, None)


def names() -> list[str]:
    """All families, those with labels first."""
    return [*FAMILIES, *(name for name in TINY if name not in FAMILIES)]
