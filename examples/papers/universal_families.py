"""What `examples.papers.universal` learns from and ranks: labelled families of networks, and targets within them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cgir import GraphBatch, GraphStore
from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.typing import BoolArray, FloatArray, IntArray
from encoders.predictors.estimators import DEFAULT_TASK
from frontends import tables
from frontends.spaces import Space

TRANSNAS = ("class_object", "class_scene", "room_layout", "jigsaw", "segmentsemantic", "normal", "autoencoder")
TRANSNAS_METRICS = {DEFAULT_TASK if task == "class_object" else task: f"{task}_val_metric" for task in TRANSNAS}
METRICS: dict[str, dict[str, str]] = {
    "nasbench201": {
        DEFAULT_TASK: "cifar10_test_200ep_mean",
        "cifar100": "cifar100_heldout5k_200ep_1seed",
        "imagenet16_120": "imagenet16_120_heldout3k_200ep_1seed",
    },
    "nasbench101": {DEFAULT_TASK: "cifar10_val_acc_108ep_1run"},
    "ofa_mbv3": {DEFAULT_TASK: "imagenet_val_top1"},
    "nasbench_macro": {DEFAULT_TASK: "cifar10_test_acc_mean"},
    "transnas_micro": TRANSNAS_METRICS,
    "transnas_macro": TRANSNAS_METRICS,
    "darts": {DEFAULT_TASK: "cifar10_valid_acc_50ep"},
    "nasbench_nlp": {"language": "best_val_loss"},
    "timm_imagenet": {DEFAULT_TASK: "imagenet_val_top1"},
}
# One cell a stage says as much as several, as they repeat it; of 20 layers of DARTS five have both reductions.
SKELETONS: dict[str, dict[str, int]] = {
    "nasbench201": {"cells": 1},
    "nasbench101": {"cells": 1},
    "transnas_micro": {"cells": 1},
    "darts": {"layers": 5},
}
TIMM = Path("runs/universal/timm.parquet")
LOSSES = ("best_val_loss",)  # lower is better
MOST = {"nasbench101": 5_000, "nasbench_nlp": 3_000}  # networks drawn from larger tables


@dataclass(frozen=True)
class Family:
    """G networks with different graphs, their labels, and the targets.

    `labels`: (G,) of each task, higher is better; `targets`: which networks are ranked, by the name of the target;
    `texts`: the networks as their table writes them.
    """

    name: str
    graphs: GraphBatch
    labels: Mapping[str, FloatArray]
    targets: Mapping[str, IntArray]
    texts: tuple[str, ...] = ()


@cache
def family(name: str) -> Family:
    """A label table without duplicate graphs and without networks whose output does not depend on their input.

    Of networks with equal graphs one is chosen at random.
    """
    table = tables.load(name)
    labels = {task: table[metric] * (-1 if metric in LOSSES else 1) for task, metric in METRICS[name].items()}
    known = np.flatnonzero(np.all([np.isfinite(values) for values in labels.values()], axis=0))
    drawn = np.random.default_rng(0).permutation(known)[: MOST.get(name)]
    graphs = _graphs(table, drawn)
    alive = drawn if table.space is None else drawn[_connected(table.space, [table.specs[row] for row in drawn])]
    kept = np.isin(drawn, alive) & _first(graph_hashes(graphs))
    rows = drawn[kept]
    return Family(
        name,
        graphs.select(np.flatnonzero(kept)),
        {task: values[rows] for task, values in labels.items()},
        _targets(table, name, rows),
        tuple(table.spec_strings[row] for row in rows),
    )


@cache
def papers_family() -> Family:
    """The 4,096 cells of NAS-Bench-201 without "none", isomorphic ones included, as Han et al. rank them."""
    table = tables.load("nasbench201")
    rows = np.flatnonzero(["none" not in text for text in table.spec_strings])
    labels = {DEFAULT_TASK: table[METRICS["nasbench201"][DEFAULT_TASK]][rows]}
    return Family(
        "nasbench201", _graphs(table, rows), labels, {"NAS-Bench-201, the paper's 4,096 cells": np.arange(len(rows))}
    )


def trace_timm() -> None:
    """Keep the graphs of timm's models, which take minutes to trace, where workers find them."""
    if not TIMM.exists():
        GraphStore.write(TIMM, tables.load("timm_imagenet").graphs(), family="timm")


def _graphs(table: tables.Table, rows: IntArray) -> GraphBatch:
    if table.space is None:
        return GraphStore.open(TIMM).batch(rows)
    # every space is a dataclass
    space: Space[Any] = replace(table.space, **SKELETONS.get(table.name, {}))  # type: ignore[type-var]
    return space.graphs([table.specs[row] for row in rows])


def _connected(space: Space[Any], specs: list[Any]) -> BoolArray:
    """Which cells have a path from input to output; stacks of blocks always have."""
    if not hasattr(space, "cells") and space.name not in ("darts", "transnas_micro", "nasbench_nlp"):
        return np.ones(len(specs), bool)
    cells = space.cell_graphs(specs, skip_nodes=False)
    return np.bincount(cells.graph_of_node[cells.dst], minlength=len(cells)) > 0


def _first(hashes: list[str]) -> BoolArray:
    """Which graphs are the first of their hash."""
    first = np.zeros(len(hashes), bool)
    first[np.unique(np.asarray(hashes), return_index=True)[1]] = True
    return first


def _targets(table: tables.Table, name: str, rows: IntArray) -> dict[str, IntArray]:
    titles = {
        "nasbench201": "NAS-Bench-201, CIFAR-10",
        "nasbench101": "NAS-Bench-101",
        "nasbench_macro": "NAS-Bench-Macro",
        "darts": "DARTS",
        "transnas_micro": "TransNAS-Bench-101 micro, class_object",
        "transnas_macro": "TransNAS-Bench-101 macro, class_object",
        "timm_imagenet": "timm, ImageNet top-1",
    }
    if name != "ofa_mbv3":
        return {titles[name]: np.arange(len(rows))} if name in titles else {}
    size = table["resolution"][rows]
    sizes = {f"OFA-MobileNetV3 at {pixels}": np.flatnonzero(size == pixels) for pixels in (224, 160)}
    return {**sizes, "OFA-MobileNetV3, mixed sizes": np.arange(len(rows))}
