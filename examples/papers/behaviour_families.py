"""What `examples.papers.behaviour` ranks: 300 networks of each labelled family, and unlabelled graphs."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cgir import GraphBatch, GraphStore
from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.atomic_files import atomic_path
from cgir.typing import FloatArray
from examples.papers.universal_families import family
from frontends import spaces, tables

NETWORKS, MEASURED = 300, 70
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
    "naap440": "NAAP-440",
    "metaqnn": "MetaQNN",
    "resnet_tinyimagenet": "ResNets, Tiny ImageNet",
}
MORE = {"naap440": "cifar10_test_acc_best", "metaqnn": "val_acc_best", "resnet_tinyimagenet": "val_acc_best"}
DIGITS = ("nasbench201", "nasbench101", "nasbench_macro")  # families of which the package has accuracies on digits


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
    "naap440": Tiny(16, {}),
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
        found = _digits(name) if name not in FAMILIES else _more(name) if name in MORE else _labelled(name)
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


def _more(name: str) -> Sample:
    """Networks with different graphs of a table that has one label of each."""
    table = tables.load(name)
    y = table[MORE[name]]
    rows = np.random.default_rng(0).permutation(np.flatnonzero(np.isfinite(y)))
    graphs = table.graphs(rows)
    kept = np.sort(np.unique(graph_hashes(graphs), return_index=True)[1])[:NETWORKS]
    return Sample(graphs.select(kept), tuple(table.spec_strings[row] for row in rows[kept]), y[rows[kept]])


def _digits(name: str) -> Sample:
    """The networks that the package has accuracies on digits of; these are behaviours, and no labels."""
    table = tables.load("digits", None)
    space = name.removeprefix("digits-")
    texts = [text for family, text in zip(table.families, table.spec_strings, strict=True) if family == space]
    skeleton = {key: value for key, value in TINY[space].skeleton.items() if key == "cells"}
    found = spaces.get(space, **skeleton)
    return Sample(found.graphs([found.parse(text) for text in texts]), tuple(texts), None)


def names() -> list[str]:
    """All families, those with labels first."""
    return [*FAMILIES, *(f"digits-{name}" for name in DIGITS)]
