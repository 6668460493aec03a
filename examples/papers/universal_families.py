"""What `examples.papers.universal` learns from and ranks: labelled families of networks, and targets within them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cgir import GraphBatch, GraphStore
from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.typing import BoolArray, FloatArray, IntArray
from encoders.predictors.estimators import DEFAULT_TASK
from encoders.predictors.known_families import GRAPH_DATA, KNOWN, TRANSNAS_TASKS, higher_is_better
from frontends import tables
from frontends.spaces import Space

TRANSNAS_METRICS = {DEFAULT_TASK if task == "class_object" else task: f"{task}_val_metric" for task in TRANSNAS_TASKS}
LANGUAGE = "language"


class Labels(NamedTuple):
    """Where a family's labels come from.

    Attributes:
        metrics: task -> column of the table.
        table: its name; "" for that of the family.
        only: values of columns that rows must have, as recipes differ.
        skeleton: options of the space. One cell a stage says as much as several, as they repeat it.
        best: whether a network has several rows, trained by several recipes, of which the best counts.
        most: networks that are drawn, at most.
    """

    metrics: Mapping[str, str]
    table: str = ""
    only: Mapping[str, str | float] = {}
    skeleton: Mapping[str, Any] = {}
    best: bool = False
    most: int | None = None


FAMILIES: dict[str, Labels] = {
    "nasbench201": Labels(
        {
            DEFAULT_TASK: "cifar10_test_200ep_mean",
            "cifar100": "cifar100_heldout5k_200ep_1seed",
            "imagenet16_120": "imagenet16_120_heldout3k_200ep_1seed",
        },
        skeleton={"cells": 1},
    ),
    "nasbench101": Labels({DEFAULT_TASK: "cifar10_val_acc_108ep_1run"}, skeleton={"cells": 1}, most=5_000),
    "ofa_mbv3": Labels({DEFAULT_TASK: "imagenet_val_top1"}),
    "nasbench_macro": Labels({DEFAULT_TASK: "cifar10_test_acc_mean"}),
    "transnas_micro": Labels(TRANSNAS_METRICS, skeleton={"cells": 1}),
    "transnas_macro": Labels(TRANSNAS_METRICS),
    "darts": Labels({DEFAULT_TASK: "cifar10_valid_acc_50ep"}),
    "nasbench_nlp": Labels({LANGUAGE: "best_val_loss"}, most=3_000),
    "timm_imagenet": Labels({DEFAULT_TASK: "imagenet_val_top1"}),
    "naap440": Labels({DEFAULT_TASK: "cifar10_test_acc_best"}),
    "metaqnn": Labels({DEFAULT_TASK: "val_acc_best"}, only=KNOWN["metaqnn"].only),
    "cifar_resnet": Labels(
        {DEFAULT_TASK: "val_acc_best"}, table="resnet_tinyimagenet", only=KNOWN["resnet_tinyimagenet"].only, best=True
    ),
    "nasbench_graph": Labels(
        {DEFAULT_TASK if data == "cora" else data: f"{data}_test" for data in GRAPH_DATA}, most=3_000
    ),
    "graphgym": Labels({DEFAULT_TASK: "val_accuracy"}, only=KNOWN["graphgym"].only),
    "gpt": Labels({LANGUAGE: "val_loss_openlm"}, table="openlm", best=True),
    "face_landmarks": Labels({DEFAULT_TASK: "val_error_30ep_tenth"}),
    "lstm_ptb": Labels({LANGUAGE: "val_ppl_best"}, best=True),
}
METRICS = {name: dict(labels.metrics) for name, labels in FAMILIES.items()}
TIMM = Path("runs/universal/timm.parquet")


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

    Of networks with equal graphs one is chosen at random, or the best where recipes differ.
    """
    source = FAMILIES[name]
    table = tables.load(source.table or name, graphs=TIMM if name == "timm_imagenet" else None)
    if source.only:
        table = table.only(**source.only)
    labels = {task: higher_is_better(table, metric) for task, metric in source.metrics.items()}
    known = np.flatnonzero(np.all([np.isfinite(values) for values in labels.values()], axis=0) & table.has_graph)
    drawn = np.random.default_rng(0).permutation(known)[: source.most]
    if source.best:
        first_labels = next(iter(labels.values()))
        drawn = drawn[np.argsort(-first_labels[drawn], kind="stable")]
    graphs = _graphs(table, drawn, source.skeleton)
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
        "nasbench201",
        _graphs(table, rows, {"cells": 1}),
        labels,
        {"NAS-Bench-201, the paper's 4,096 cells": np.arange(len(rows))},
    )


def trace_timm() -> None:
    """Keep the graphs of timm's models, which take minutes to trace, where workers find them."""
    if not TIMM.exists():
        table = tables.load("timm_imagenet")
        GraphStore.write(TIMM, table.graphs(), family="timm", specs=table.graph_names)


def _graphs(table: tables.Table, rows: IntArray, skeleton: Mapping[str, Any]) -> GraphBatch:
    if table.space is None:
        return table.graphs(rows)
    # every space is a dataclass
    space: Space[Any] = replace(table.space, **skeleton)  # type: ignore[type-var]
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
        "naap440": "NAAP-440",
        "metaqnn": "MetaQNN",
        "cifar_resnet": "ResNets, TinyImageNet at 32",
        "nasbench_graph": "NAS-Bench-Graph, Cora",
        "graphgym": "GraphGym, Amazon photo",
        "gpt": "GPT shapes, validation loss",
        "face_landmarks": "MobileNetV2, face landmarks",
        "lstm_ptb": "LSTMs, PTB",
    }
    if name != "ofa_mbv3":
        return {titles[name]: np.arange(len(rows))} if name in titles else {}
    size = table["resolution"][rows]
    sizes = {f"OFA-MobileNetV3 at {pixels}": np.flatnonzero(size == pixels) for pixels in (224, 160)}
    return {**sizes, "OFA-MobileNetV3, mixed sizes": np.arange(len(rows))}
