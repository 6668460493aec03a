"""What `examples.papers.search` looks for: search spaces with measured labels, and what the papers found there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray
from encoders.predictors.known_families import TRANSNAS_TASKS
from examples.papers.universal_families import FAMILIES
from frontends import tables
from frontends.spaces import Space
from search import ListedSpace


@dataclass(frozen=True)
class Problem:
    """A table as a search problem; isomorphic networks are one, whose label is the mean of theirs.

    Attributes:
        title: in the tables of results.
        family: name of the label table, and of what must not teach a predictor.
        space: that is searched, with one cell a stage where the labels' networks repeat it.
        specs: one for each of G different networks.
        graphs: of these.
        all_specs: of the table's R rows.
        values: (G,) higher is better.
        rows: (R,) the labels of the table's rows, isomorphic ones each by itself.
        row_graphs: (R,) which of the G networks each row is.
        budget: queries.
        aim: queries by which the best is hoped for.
        sign: -1 where the table's label is better when lower.
        papers: what papers report, as text.
    """

    title: str
    family: str
    space: Space[Any]
    specs: list[Any] = field(repr=False)
    graphs: GraphBatch = field(repr=False)
    all_specs: tuple[Any, ...] = field(repr=False)
    values: FloatArray = field(repr=False)
    rows: FloatArray = field(repr=False)
    row_graphs: IntArray = field(repr=False)
    by_text: dict[str, int] = field(repr=False)
    by_hash: dict[str, int] = field(repr=False)
    budget: int
    aim: int
    sign: int = 1
    papers: str = "-"

    @property
    def listed(self) -> bool:
        """Whether only some networks of the space may be asked."""
        return isinstance(self.space, ListedSpace)

    @property
    def optimum(self) -> float:
        """The best label of a network."""
        return float(self.values.max())

    def row(self, spec: Any) -> int:
        """Which of the G networks a spec is."""
        found = self.by_text.get(self.space.format(spec))
        return self.by_hash[graph_hashes(self.space.graphs([spec]))[0]] if found is None else found

    def oracle(self, spec: Any) -> float:
        """The label of a network."""
        return float(self.values[self.row(spec)])

    def rank(self, value: float) -> int:
        """1 and how many networks are better."""
        return 1 + int((self.values > value + 1e-9).sum())

    def row_rank(self, value: float) -> int:
        """1 and how many rows of the table are better, as papers count; isomorphic rows differ by their noise."""
        return 1 + int((self.rows > value + 1e-9).sum())


@dataclass(frozen=True)
class Source:
    """How a problem is read from a table; see `Problem`. `only`: values of columns that rows must have."""

    family: str
    metric: str
    budget: int
    aim: int
    sign: int = 1
    papers: str = "-"
    listed: bool = False
    only: tuple[tuple[str, str | float], ...] = ()


MICRO = "average rank of 7 tasks 12.29 (CARL), 20.03 (WeakNAS), 22.15 (Arch-Graph)"
MACRO = "average rank of 7 tasks 5.29 (CARL), 10.49 (WeakNAS), 12.68 (Arch-Graph)"
SOURCES: dict[str, Source] = {
    "NAS-Bench-201, CIFAR-10": Source(
        "nasbench201", "cifar10_test_200ep_mean", 80, 40, papers="94.37 with 80 (CARL), 94.34 with 80 (DCLP)"
    ),
    "NAS-Bench-201, CIFAR-100": Source(
        "nasbench201",
        "cifar100_heldout5k_200ep_1seed",
        80,
        50,
        papers="73.51 with 80, the optimum of other labels (CARL)",
    ),
    "NAS-Bench-201, ImageNet16-120": Source(
        "nasbench201",
        "imagenet16_120_heldout3k_200ep_1seed",
        80,
        50,
        papers="46.91 with 80, where 47.31 is the optimum of other labels (CARL)",
    ),
    "NAS-Bench-101, 20,001 cells": Source(
        "nasbench101",
        "cifar10_val_acc_108ep_1run",
        150,
        150,
        papers="94.17 test with 150 among 423,624 cells (CARL), 94.15 (NPENAS)",
        listed=True,
    ),
    **{
        f"TransNAS-Bench-101 {kind}, {task}": Source(
            f"transnas_{kind}", f"{task}_val_metric", 50, 50, papers=MICRO if kind == "micro" else MACRO
        )
        for kind in ("micro", "macro")
        for task in TRANSNAS_TASKS
    },
    "NAS-Bench-NLP": Source(
        "nasbench_nlp",
        "best_val_loss",
        100,
        100,
        sign=-1,
        papers="log PPL 4.572 with 100 (CARL), 4.579 (NASBOT), 4.587 (NPENAS), 4.595 (BANANAS)",
        listed=True,
        only=(("status", "OK"),),
    ),
    "NAS-Bench-Macro": Source("nasbench_macro", "cifar10_test_acc_mean", 100, 100),
    "DARTS, 300 cells": Source("darts", "cifar10_valid_acc_50ep", 50, 50, listed=True),
    "OFA-MobileNetV3 at 224": Source(
        "ofa_mbv3",
        "imagenet_val_top1",
        100,
        50,
        papers="79.2 with 50 labels and a supernet that is not this table's (Han et al.)",
        listed=True,
        only=(("resolution", 224.0),),
    ),
}
# columns that searches were tuned on; what is reported was not looked at for it
DEVELOPMENT: dict[str, Source] = {
    "NAS-Bench-201, CIFAR-10, 12 epochs": Source("nasbench201", "cifar10_test_12ep", 80, 40),
    "NAS-Bench-201, CIFAR-100, 12 epochs": Source("nasbench201", "cifar100_xtest_12ep", 80, 50),
    "NAS-Bench-201, ImageNet16-120, 12 epochs": Source("nasbench201", "imagenet16_120_xtest_12ep", 80, 50),
}


@cache
def problem(title: str) -> Problem:
    """One of `SOURCES` or `DEVELOPMENT`; needs CGIR_DATA."""
    source = {**SOURCES, **DEVELOPMENT}[title]
    table = tables.load(source.family)
    table = table.only(**dict(source.only)) if source.only else table
    table = table.select(np.isfinite(table[source.metric]))
    assert table.space is not None
    # every space is a dataclass
    space: Space[Any] = replace(table.space, **FAMILIES[source.family].skeleton)  # type: ignore[type-var]
    graphs = space.graphs(table.specs)
    hashes, first, of_row = np.unique(graph_hashes(graphs), return_index=True, return_inverse=True)
    labels = source.sign * table[source.metric]
    specs, different = [table.specs[row] for row in first], graphs.select(first)
    return Problem(
        title,
        source.family,
        ListedSpace(space, specs, different) if source.listed else space,
        specs,
        different,
        table.specs,
        np.bincount(of_row, labels) / np.bincount(of_row),
        labels,
        of_row,
        {space.format(spec): int(graph) for spec, graph in zip(table.specs, of_row, strict=True)},
        {digest: graph for graph, digest in enumerate(hashes.tolist())},
        source.budget,
        source.aim,
        source.sign,
        source.papers,
    )
