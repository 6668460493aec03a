"""What labels of a family that are public are worth as hints, on networks of it that have none.

python -m examples.papers.known_families     # a line of JSON per target and draw; what is done is not run again
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.report import Table, publish
from cgir.typing import FloatArray
from encoders import GraphFeatures, Predictor
from encoders.features.graph_features import compute_features
from encoders.features.label_transforms import normal_scores
from encoders.metrics import spearman
from encoders.predictors.estimators import DEFAULT_TASK
from encoders.predictors.known_families import KNOWN, TRANSNAS_TASKS, known_labels
from examples.papers.universal_families import FAMILIES, Family, family
from examples.papers.universal_methods import universal
from frontends import tables
from frontends.tables import Table as LabelTable

KS = (0, 10, 50)
RANKED = 500  # networks of a target, or half of its family; labels are drawn of them
WITHOUT, WITH, RIVAL = METHODS = ("cgir", "cgir, known labels", "GP on the public labels")
ABOUT = """\
`known_labels(pool)` finds label tables whose networks a pool's graphs are near, by Weisfeiler-Lehman subtrees, and
gives their labels as hints: here of up to 1,000 networks of the same family that are not ranked, and of no graph equal
to one that is. *cgir*: taught by all families but this one; with known labels it has these hints. *GP on the public
labels*: `Predictor(head="gp")` fitted to them (to the mean of normal scores where there are several), which new labels
do not reach. Up to 500 networks, or half of the family, are ranked by none, 10 or 50 labels of their own; those with
labels are not counted. Spearman's rho, mean and deviation over draws of networks.

The share of a pool from which on a table counts as near, and the quantile of distances, were chosen by looking at the
distances of these families; how far labels of tables are believed, on DARTS, those of the embedded set, on the first
draws of the targets below that have them. Labels of digits say little of NAS-Bench-201 and Macro, and cost the former
something without labels of its own. Beside known labels, ten labels often rank worse than none, and without labels the
plain process on the public ones alone stays ahead.

Comparing a pool with all tables takes some six seconds on one thread. Where nothing is near, nothing changes."""


class Target(NamedTuple):
    """Networks to rank, and what is public of others.

    Attributes:
        family: whose first task is ranked.
        table: of the labels that are public.
        metrics: its columns; () for those that it brings.
        draws: of networks.
        only: of the family's networks, as text, those that are ranked; None: any.
    """

    family: str
    table: str
    metrics: tuple[str, ...] = ()
    draws: int = 2
    only: Callable[[str], bool] | None = None


def like_1shot1(text: str) -> bool:
    """Whether a cell of NAS-Bench-101 has the numbers of inputs of a space of NAS-Bench-1Shot1 (Zela et al. 2020)."""
    bits = np.fromiter(map(int, text.partition(":")[0]), int)
    size = int(len(bits) ** 0.5)
    inputs = tuple(bits.reshape(size, size).sum(axis=0).tolist())
    return inputs in ((0, 1, 2, 2, 2, 2), (0, 1, 1, 2, 2, 3), (0, 1, 1, 1, 2, 2, 2))


OTHER_TASKS = tuple(f"{task}_val_metric" for task in TRANSNAS_TASKS[1:])
TARGETS = {
    "DARTS, its own": Target("darts", "darts", draws=5),
    "NAS-Bench-201, its own": Target("nasbench201", "nasbench201", ("cifar10_test_200ep_mean",)),
    "NAS-Bench-201, CIFAR-100": Target("nasbench201", "nasbench201", ("cifar100_heldout5k_200ep_1seed",)),
    "NAS-Bench-201, digits": Target("nasbench201", "digits"),
    "NAS-Bench-101 like 1Shot1, other cells": Target("nasbench101", "nasbench101", only=like_1shot1),
    "NAS-Bench-101, digits": Target("nasbench101", "digits"),
    "NAS-Bench-Macro, its own": Target("nasbench_macro", "nasbench_macro"),
    "NAS-Bench-Macro, digits": Target("nasbench_macro", "digits"),
    "TransNAS micro, six other tasks": Target("transnas_micro", "transnas_micro", OTHER_TASKS),
}


def run(name: str, draw: int, folder: Path) -> dict[str, Any]:
    """Scores of every method at every number of labels, of one draw."""
    target = TARGETS[name]
    found = family(target.family)
    rng = np.random.default_rng(draw)
    wanted = [target.only is None or target.only(text) for text in found.texts]
    order = rng.permutation(np.flatnonzero(wanted))
    ranked = order[: min(RANKED, len(order) // 2)]
    table = _public(target, found, ranked)
    pool = compute_features(found.graphs.select(ranked), None)
    hints = known_labels(pool.graphs, [table], seed=draw)
    shared: dict[int, GraphFeatures] = {}  # features of each set of graphs, computed once
    described = {
        key: (shared.setdefault(id(graphs), compute_features(graphs, None)), values, weight)
        for key, (graphs, values, weight) in hints.items()
    }
    labels = found.labels[DEFAULT_TASK][ranked]
    scores = {method: [float("nan")] * len(KS) for method in METHODS}
    for method, given in ((WITHOUT, None), (WITH, described)):
        predictor = universal(target.family, 0, folder)
        for index, count in enumerate(KS):
            predictor.fit(pool.select(np.arange(count)), labels[:count], seed=draw, pool=pool, hints=given)
            scores[method][index] = spearman(predictor.predict(pool)[count:], labels[count:])
    graphs = next(iter(described.values()))[0]
    mean: FloatArray = np.mean([normal_scores(values) for _, values, _ in hints.values()], axis=0)
    rival = Predictor(head="gp").fit(graphs, mean, pool=pool).predict(pool)
    scores[RIVAL] = [spearman(rival[count:], labels[count:]) for count in KS]
    return {"target": name, "draw": draw, "known": len(graphs), "ranked": len(ranked), "scores": scores}


def _public(target: Target, found: Family, ranked: Any) -> LabelTable:
    """The table without what is ranked: one network of each other graph, or the package's own set."""
    if target.table == "digits":
        return tables.load("digits").family(target.family)
    table = tables.load(target.table)
    ranked_texts = {found.texts[row] for row in ranked}
    others = set(found.texts) - ranked_texts
    first = {text: row for row, text in reversed(list(enumerate(table.spec_strings)))}
    chosen = table.select([first[text] for text in found.texts if text in others])
    metrics = target.metrics or KNOWN[target.table].metrics
    return replace(chosen, columns={metric: chosen[metric] for metric in metrics})


def near_tables(name: str) -> str:
    """Which label tables 200 networks of a family are near."""
    found = family(name)
    rows = np.random.default_rng(1).permutation(len(found.graphs))[:200]
    near = dict.fromkeys(key.partition(":")[0] for key in known_labels(found.graphs.select(rows), seed=1))
    return ", ".join(near) or "none"


def report(rows: list[dict[str, Any]], near: dict[str, str]) -> list[Table]:
    """Means and deviations over draws, and what is near."""
    lines = []
    for name in TARGETS:
        some = [row for row in rows if row["target"] == name]
        for method in METHODS if some else ():
            values = np.asarray([row["scores"][method] for row in some])
            cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(values.mean(axis=0), values.std(axis=0), strict=True)]
            lines.append((name, str(some[0]["known"]), str(some[0]["ranked"]), str(len(some)), method, *cells))
    columns = ("target, labels", "public", "ranked", "draws", "method", *(f"{count} labels" for count in KS))
    return [
        Table("Public labels as hints", columns, tuple(lines)),
        Table("Tables that pools of 200 networks are near", ("pool", "near"), tuple(near.items())),
    ]


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/known_families"))
    parser.add_argument("--sources", type=Path, default=Path("runs/universal"), help="where taught predictors are kept")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    args.sources.mkdir(parents=True, exist_ok=True)
    path = args.folder / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    done = {(row["target"], row["draw"]) for row in rows}
    jobs = [(name, draw) for draw in range(5) for name in TARGETS if draw < TARGETS[name].draws]
    for name, draw in tqdm([job for job in jobs if job not in done], desc="draws"):
        rows.append(run(name, draw, args.sources))
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    near = {name: near_tables(name) for name in tqdm(FAMILIES, desc="near tables")}
    publish(
        "known_families",
        "Labels of known families",
        ABOUT,
        "python -m examples.papers.known_families",
        report(rows, near),
    )


if __name__ == "__main__":
    main()
