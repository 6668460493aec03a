"""Tables 1 and 4 of Han et al. 2023, extended: rank unseen families with 0 to 50 of their labels.

python -m contrastive.corpus runs/corpus                        # once, about 20 minutes
python -m examples.papers.universal_encoders runs/corpus        # ten encoders, some six minutes each on one core
python -m examples.papers.universal --workers 2                 # an hour; what is done is not run again
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.report import publish
from cgir.atomic_files import atomic_path
from cgir.typing import IntArray
from encoders import Predictor
from encoders.features.graph_features import GraphFeatures, compute_features
from encoders.metrics import kendall_tau, spearman
from examples.papers.universal_families import METRICS, Family, family, papers_family, trace_timm
from examples.papers.universal_methods import METHODS, Ranker, features_of
from examples.papers.universal_table import ABOUT, tables

Row = dict[str, Any]
FIRST_DRAW = 700  # settings were looked for with other draws, see ABOUT
COUNTS, PAPERS_COUNT = (5, 10, 50), 40
SEEDS = range(5)  # of encoders and heads; each sees two draws of labels
PAPERS = "paper's cells"


def problems(name: str) -> Iterator[tuple[str, Family, IntArray, tuple[int, ...], GraphFeatures]]:
    """Name, family, rows, numbers of labels and description of every target of a family."""
    found = family(name)
    for target, rows in found.targets.items():
        yield target, found, rows, COUNTS, features_of(name)
    if name == "nasbench201":
        for target, rows in papers_family().targets.items():
            yield target, papers_family(), rows, (PAPERS_COUNT,), compute_features(papers_family().graphs, None)


def scores(name: str, method: str, seed: int, folder: Path) -> Iterator[Row]:
    """Rank correlations of one method on all targets of a held-out family, for one encoder and two draws of labels.

    Args:
        name: of the family that is left out.
        method: one of `METHODS`.
        seed: of the encoder, and of the first draw.
        folder: of encoders and predictors.
    """
    make, ready = METHODS[method]
    model = make(name, seed, folder)
    found = []
    for target, family_, rows, counts, bare in problems(name):
        _ = bare.paths, bare.subtrees  # computed once, for all rows
        graphs = compute_features(bare, model.encoder if isinstance(model, Predictor) else None).select(rows)
        found.append(({"target": target, "method": method}, graphs, next(iter(family_.labels.values()))[rows], counts))
    # without labels first, of all targets: a model that is fitted to one knows labels of the family
    for about, graphs, labels, _ in found if ready else ():
        if isinstance(model, Predictor):
            model.fit([], [], seed=seed, pool=graphs)
        yield {**about, "labels": 0, "seed": seed, **measured(model.predict(graphs), labels)}
    for about, graphs, labels, counts in found:
        for draw in (seed, seed + len(SEEDS)):
            for count in (count for count in counts if 2 * count <= len(labels)):
                yield {**about, "labels": count, "seed": draw, **few(model, graphs, labels, count, draw)}


def few(model: Ranker, graphs: GraphFeatures, labels: np.ndarray, count: int, draw: int) -> dict[str, float]:
    """Fit to `count` labels and rank all other networks.

    Ours also gets the fraction of labels within one predicted standard deviation. Draws are nested: ten labels are
    among the fifty.

    Args:
        model: fitted to the labels.
        graphs: of the target.
        labels: (G,) of the graphs.
        count: number of labels.
        draw: number of the random draw.
    """
    order = np.random.default_rng(FIRST_DRAW + draw).permutation(len(labels))
    train, test = order[:count], order[count:]
    model.fit(graphs.select(train), labels[train], seed=draw, pool=graphs)
    if not isinstance(model, Predictor):
        return measured(model.predict(graphs.select(test)), labels[test])
    found, stds = model.predict(graphs.select(test), return_std=True)
    return {**measured(found, labels[test]), "inside": float(np.mean(np.abs(found - labels[test]) < stds))}


def measured(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Both rank correlations."""
    return {"spearman": spearman(scores, labels), "kendall": kendall_tau(scores, labels)}


def run(job: tuple[str, str, int], folder: Path) -> str:
    """One method on one family with one encoder, into a file of its own; nothing if that is there already."""
    method, name, seed = job
    path = folder / "scores" / f"{method.replace(' ', '_').replace(',', '')}-{name}-{seed}.json"
    if not path.exists():
        torch.set_num_threads(1)
        rows = list(scores(name, method, seed, folder))
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(rows))
    return path.stem


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each (default 1)")
    parser.add_argument("--folder", type=Path, default=Path("runs/universal"))
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="rows to run (default all)"
    )
    args = parser.parse_args()
    (args.folder / "scores").mkdir(parents=True, exist_ok=True)
    trace_timm()
    # cells of NAS-Bench-NLP teach, but are no target
    jobs = [
        (method, name, seed)
        for method in args.methods
        for name in METRICS
        if any(family(name).targets)
        for seed in SEEDS
    ]
    with ProcessPoolExecutor(args.workers) as pool:
        for done in pool.map(partial(run, folder=args.folder), jobs):
            print(done, flush=True)
    rows = [row for path in sorted((args.folder / "scores").glob("*.json")) for row in json.loads(path.read_text())]
    publish(
        "universal",
        "Families left out, with 0 to 50 labels",
        ABOUT,
        "python -m examples.papers.universal --workers 2",
        tables(rows),
    )


if __name__ == "__main__":
    main()
