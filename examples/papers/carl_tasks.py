"""What `examples.papers.carl` ranks: search spaces with measured labels, in both forms that predictors read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cgir import GraphBatch
from cgir.analysis.weisfeiler_lehman import graph_hashes
from cgir.typing import FloatArray, IntArray
from frontends import tables


class Task(NamedTuple):
    """A ranking task on a label table.

    It names the metric that is ranked and, where it differs, the one that is learned, and numbers of labels; `sign` is
    -1 where the metric is a loss.
    """

    table: str
    metric: str
    counts: tuple[int, ...]
    learned: str | None = None
    sign: int = 1


ONE_CELL = ("nasbench201", "nasbench101", "transnas_micro")  # stages repeat their cells; one says as much
NB201_COUNTS = (78, 156, 469)
TRANSNAS = ("class_scene", "class_object", "room_layout", "jigsaw", "segmentsemantic", "normal", "autoencoder")
MAIN = {
    "NAS-Bench-201, CIFAR-10": Task(
        "nasbench201", "cifar10_test_200ep_mean", NB201_COUNTS, "cifar10valid_oritest_200ep_1seed"
    ),
    "NAS-Bench-101": Task("nasbench101", "cifar10_val_acc_108ep_1run", (100, 172, 424)),
}
OTHERS = {
    "NAS-Bench-201, CIFAR-100": Task("nasbench201", "cifar100_heldout5k_200ep_1seed", NB201_COUNTS),
    "NAS-Bench-201, ImageNet16-120": Task("nasbench201", "imagenet16_120_heldout3k_200ep_1seed", NB201_COUNTS),
    "DARTS": Task("darts", "cifar10_valid_acc_50ep", (50, 100)),
    "NAS-Bench-NLP": Task("nasbench_nlp", "best_val_loss", (100,), sign=-1),
    **{
        f"TransNAS {size}, {task}": Task(f"transnas_{size}", f"{task}_val_metric", (50,))
        for size in ("micro", "macro")
        for task in TRANSNAS
    },
}
TASKS = MAIN | OTHERS


@dataclass(frozen=True)
class Problem:
    """Networks in two forms, whole with one cell per stage and as cells, with labels (G,), higher is better.

    `sorts` (G,): cells with equal numbers are isomorphic once dead nodes are removed and skip connections contracted.
    All cells without a path from input to output are one sort.
    """

    networks: GraphBatch
    cells: GraphBatch
    train: FloatArray
    test: FloatArray
    sorts: IntArray


@lru_cache(maxsize=1)
def problem(name: str) -> Problem:
    """The graphs and labels of one of TASKS; networks that have no label are left out."""
    task = TASKS[name]
    table = tables.load(task.table)
    train, test = (task.sign * table[metric] for metric in (task.learned or task.metric, task.metric))
    known = np.flatnonzero(np.isfinite(train) & np.isfinite(test))
    space = table.space
    assert space is not None
    specs = [table.specs[row] for row in known]
    # every space is a dataclass
    one_cell = replace(space, cells=1) if task.table in ONE_CELL else space  # type: ignore[type-var]
    cells = space.cell_graphs(specs, skip_nodes=False)
    sorts = np.unique(graph_hashes(cells), return_inverse=True)[1]
    return Problem(one_cell.graphs(specs), cells, train[known], test[known], sorts)
