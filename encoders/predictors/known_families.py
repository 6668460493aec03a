"""Labels of families that are known: where a pool's graphs are near those of a label table, its labels are hints.

No label is in the weights that come with the package; these come from tables that the user has (CGIR_DATA), and from
the embedded set "digits". `Predictor.fit([], [], pool=pool, hints=known_labels(pool))` smooths them by a Gaussian
process over the graphs, like any hint, and labels decide which are believed.

Two graphs are as far apart as their Weisfeiler-Lehman subtrees differ (`wl_distance`), relative to their sizes: from 0,
of isomorphic graphs, to 1, of graphs without a common subtree. A graph is near a table if a table's network is no
farther from it than nine in ten of the table's own networks are from the next one; so every table has its own measure.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from cgir.analysis.wl_kernel import wl_distance, wl_features
from cgir.errors import LabelError
from cgir.graph_batch import GraphBatch
from cgir.typing import FloatArray, IntArray
from encoders.engine.batching import Graphs, as_batch
from frontends import spaces, tables
from frontends.spaces import Space
from frontends.tables import Table

from .metric import Metric

COMPARED = 200  # graphs of a pool, and networks of a table, that are compared
MAX_NETWORKS = 1000  # of a table, that become a hint: more are not smoothed (`hints.MAX_GRAPHS`)
NEAR_QUANTILE = 0.9  # of the distances of a table's networks to the next one, up to which a graph is near
NEAR_SHARE = 0.5  # of a pool, from which on it lies inside a family; of tables' own networks .86 to .96 are near

logger = logging.getLogger(__name__)


class Known(NamedTuple):
    """What of a table may become hints.

    Attributes:
        metrics: columns.
        only: values of other columns that rows must have, as recipes differ.
        weight: how far the labels are believed, see `hints.Hint`.
    """

    metrics: tuple[str, ...]
    only: Mapping[str, str | float] = {}
    weight: float = 0.9


TRANSNAS_TASKS = ("class_object", "class_scene", "room_layout", "jigsaw", "segmentsemantic", "normal", "autoencoder")
TRANSNAS = Known(tuple(f"{task}_val_metric" for task in TRANSNAS_TASKS))
GRAPH_DATA = ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers")
KNOWN: dict[str, Known] = {
    "nasbench201": Known(
        (
            "cifar10_test_200ep_mean",
            "cifar100_heldout5k_200ep_1seed",
            "imagenet16_120_heldout3k_200ep_1seed",
        )
    ),
    "nasbench101": Known(("cifar10_val_acc_108ep_1run",)),
    "nasbench_macro": Known(("cifar10_test_acc_mean",)),
    "darts": Known(("cifar10_valid_acc_50ep",)),
    "ofa_mbv3": Known(("imagenet_val_top1",)),
    "transnas_micro": TRANSNAS,
    "transnas_macro": TRANSNAS,
    "nasbench_nlp": Known(("best_val_loss",)),
    "naap440": Known(("cifar10_test_acc_best",)),
    "metaqnn": Known(("val_acc_best",), {"lr": 0.001}),
    "resnet_tinyimagenet": Known(("val_acc_best",), {"lr_step": 35000}),
    "graphgym": Known(("val_accuracy",), {"space": "v2", "dataset": "AmazonPhoto"}),
    "nasbench_graph": Known(tuple(f"{data}_test" for data in GRAPH_DATA)),
    "openlm": Known(("val_loss_openlm",)),
    "face_landmarks": Known(("val_error_30ep_tenth",)),
    "lstm_ptb": Known(("val_ppl_best",)),
    # 8 x 8 pixels and a short schedule: rho with CIFAR-10 of the same cells is .1 on NAS-Bench-201, .8 on NAS-Bench-101
    "digits": Known(("accuracy",), weight=0.2),
}


def known_labels(
    pool: Graphs, known: Iterable[str | Table] | None = None, seed: int = 0
) -> dict[str, tuple[GraphBatch, FloatArray, float]]:
    """Hints for `Predictor.fit`: labels of the tables whose networks the pool's graphs are near, in seconds.

    Args:
        pool: graphs of the family to be ranked.
        known: names of label tables or tables; of a table that is not in `KNOWN` every metric is taken, as higher is
            better unless its name says otherwise (`Metric.guess`). None: all of `KNOWN` that are found in $CGIR_DATA,
            and "digits", where the pool is near no other; what is not there is logged.
        seed: of the networks that are compared and taken.

    Returns:
        "table: metric" -> graphs of at most `MAX_NETWORKS` networks as the pool has them (with its cells or layers),
        their values, higher is better, and how far they are believed; empty where the pool is near no table.

    Raises:
        LabelError: the pool is empty, or a table that is named cannot be found.
    """
    batch, rng = as_batch(pool), np.random.default_rng(seed)
    if not len(batch):
        raise LabelError("known_labels: the pool has no graphs; expected some of the family to be ranked")
    features = wl_features(batch.select(np.sort(rng.permutation(len(batch))[:COMPARED])))
    found = (
        _present() if known is None else [tables.load(table) if isinstance(table, str) else table for table in known]
    )
    parts = sorted((part for table in found for part in _families(table)), key=lambda part: -_known(part).weight)
    hints: dict[str, tuple[GraphBatch, FloatArray, float]] = {}
    for table in tqdm(parts, desc="known families", unit="table", delay=3, leave=False, disable=None):
        if hints and _known(table).weight < min(weight for *_, weight in hints.values()):
            break  # hints share their weight: those that are believed little would only take of it
        usable = _usable(table)
        share, described = max(
            ((_share_near(features, one, rng), one) for one in _skeletons(usable)), key=lambda pair: pair[0]
        )
        level = logging.INFO if share >= NEAR_SHARE else logging.DEBUG
        logger.log(level, "known_labels: %.0f%% of the pool is near %s", 100 * share, table.name)
        if share >= NEAR_SHARE:
            hints.update(_hints(described, rng))
    return hints


def _present() -> Iterator[Table]:
    """The tables of `KNOWN` that are there; the others are logged."""
    missing = []
    for name in KNOWN:
        try:
            yield tables.load(name)
        except LabelError:
            missing.append(name)
    if missing:
        logger.warning(
            "known_labels: not compared, as CGIR_DATA does not lead to them: label tables %s", ", ".join(missing)
        )


def _families(table: Table) -> list[Table]:
    return [table.family(name) for name in dict.fromkeys(table.families)] if table.families else [table]


def _known(table: Table) -> Known:
    """What of a table, or of a family of it as "digits/nasbench201", is taken: those columns that are there."""
    known = KNOWN.get(table.name.partition("/")[0], Known(table.metrics))
    return known._replace(metrics=tuple(metric for metric in known.metrics if metric in table.metrics))


def _usable(table: Table) -> Table:
    """The rows that have a graph and all labels; of a network with several rows the best, as recipes differ."""
    known = _known(table)
    rows = table.only(**known.only) if known.only else table
    values = np.column_stack([higher_is_better(rows, metric) for metric in known.metrics])
    complete = np.flatnonzero(np.isfinite(values).all(axis=1) & rows.has_graph)
    best_first = complete[np.argsort(-values[complete, 0], kind="stable")]
    _, first = np.unique(np.asarray(rows.spec_strings)[best_first], return_index=True)
    return rows.select(np.sort(best_first[first]))


def higher_is_better(table: Table, metric: str) -> FloatArray:
    """A column of a label table, negated where its name says that lower is better."""
    return Metric.guess(metric).sign * table[metric]


def _skeletons(table: Table) -> list[Table]:
    """The table with the skeletons that its networks may have in the pool: its own, as published, and of one cell."""
    if table.space is None:
        return [table]
    several: list[Space[Any]] = [table.space, spaces.get(table.space.name)]
    # every space is a dataclass
    if any(field.name == "cells" for field in fields(table.space)):  # type: ignore[arg-type]
        several += [replace(space, cells=1) for space in several]  # type: ignore[type-var]
    return [replace(table, space=space) for space in dict.fromkeys(several)]


def _share_near(pool: Any, table: Table, rng: np.random.Generator) -> float:
    """Share of the pool's graphs, given by their subtrees, that are near the table."""
    some = wl_features(table.graphs(_drawn(table, COMPARED, rng)))
    apart = _distances(some, some)
    np.fill_diagonal(apart, np.inf)
    limit = np.quantile(apart.min(axis=1), NEAR_QUANTILE)
    return float((_distances(pool, some).min(axis=1) <= limit).mean())


def _distances(some: Any, others: Any) -> FloatArray:
    """(G, H): distances of graphs from 0 to 1, given by their subtrees."""
    totals = np.add.outer(np.asarray(some.sum(axis=1)), np.asarray(others.sum(axis=1)))
    relative: FloatArray = wl_distance(some, others) / np.sqrt(totals)
    return relative


def _hints(table: Table, rng: np.random.Generator) -> dict[str, tuple[GraphBatch, FloatArray, float]]:
    """All metrics on the same networks, which are smoothed together."""
    rows = _drawn(table, MAX_NETWORKS, rng)
    graphs, chosen = table.graphs(rows), table.select(rows)
    known = _known(table)
    values = {metric: higher_is_better(chosen, metric) for metric in known.metrics}
    return {f"{table.name}: {metric}": (graphs, y, known.weight) for metric, y in values.items() if np.ptp(y) > 0}


def _drawn(table: Table, count: int, rng: np.random.Generator) -> IntArray:
    return np.sort(rng.permutation(len(table))[:count])
