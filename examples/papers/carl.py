"""Table 1 of Ji et al. 2025 (CARL) and its ablations on measured labels, with other encoders, ours and more spaces.

python -m examples.papers.carl --workers 2     # a line of JSON per score; what is done is not run again
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks.report import publish
from cgir.atomic_files import atomic_path
from encoders.metrics import kendall_tau
from examples.papers.carl_methods import BASELINES, GRID, OURS, PARTS, RIVALS, Method, predictions
from examples.papers.carl_table import ABOUT, tables
from examples.papers.carl_tasks import MAIN, OTHERS, TASKS, problem

Row = dict[str, Any]
SEEDS, FEWER_SEEDS = 10, 5  # draws of labels; fewer for rivals, ablations and further tasks
FIRST_SEED = 600  # settings were looked for with other draws, see ABOUT
GROUPS = {"baselines": BASELINES, "rivals": RIVALS, "ours": OURS, "ablation": {**GRID, **PARTS}}
ABLATION, ABLATION_LABELS = "NAS-Bench-201, CIFAR-10", 78


def scores(task: str, methods: Mapping[str, Method], labels: int, seed: int) -> Iterator[Row]:
    """Kendall's tau of every method for one draw of labels: over all networks, and over unseen ones.

    Unseen are networks that are not isomorphic to a labelled one.

    Args:
        task: one of `TASKS`.
        methods: name -> method.
        labels: number of labels.
        seed: of the draw and of the methods.
    """
    found = problem(task)
    chosen = np.random.default_rng(seed).permutation(len(found.train))[:labels]
    unseen = ~np.isin(found.sorts, found.sorts[chosen])
    for name, method in methods.items():
        start = perf_counter()
        scores = predictions(method, found, chosen, seed)
        seconds = perf_counter() - start
        taus = {
            key: kendall_tau(scores[mask], found.test[mask]) for key, mask in (("all", slice(None)), ("unseen", unseen))
        }
        yield {
            "task": task,
            "method": name,
            "labels": labels,
            "seed": seed,
            "seconds": seconds,
            "networks": len(found.train),
            **taus,
        }


def run(job: tuple[str, str, int], folder: Path) -> str:
    """A group of methods on one seed of a task, into a file of its own; nothing if that is there already."""
    task, group, seed = job
    path = folder / f"{group}-{task.replace(', ', '-').replace(' ', '_')}-{seed}.json"
    if not path.exists():
        torch.set_num_threads(1)
        counts = (ABLATION_LABELS,) if group == "ablation" else TASKS[task].counts
        rows = [{"group": group, **row} for labels in counts for row in scores(task, GROUPS[group], labels, seed)]
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(rows))
    return path.stem


def jobs(groups: Sequence[str]) -> list[tuple[str, str, int]]:
    """Task, group of methods, and seed of everything that is to be run."""

    def of(task: str, group: str) -> range:
        return range(FIRST_SEED, FIRST_SEED + (SEEDS if task in MAIN and group != "rivals" else FEWER_SEEDS))

    found = [
        (task, group, seed) for task in MAIN for group in ("ours", "baselines", "rivals") for seed in of(task, group)
    ]
    found += [(ABLATION, "ablation", seed) for seed in of(ABLATION, "rivals")]
    found += [(task, group, seed) for task in OTHERS for group in ("ours", "baselines") for seed in of(task, group)]
    return [job for job in found if job[1] in groups]


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each (default 1)")
    parser.add_argument("--folder", type=Path, default=Path("runs/carl"))
    parser.add_argument(
        "--groups", nargs="+", choices=GROUPS, default=list(GROUPS), help="methods to run (default all)"
    )
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.workers) as pool:
        for done in pool.map(partial(run, folder=args.folder), jobs(args.groups)):
            print(done, flush=True)
    rows = [row for path in sorted(args.folder.glob("*.json")) for row in json.loads(path.read_text())]
    publish(
        "carl",
        "Rank correlations with 50 to 469 labels",
        ABOUT,
        "python -m examples.papers.carl --workers 2",
        tables(rows),
    )


if __name__ == "__main__":
    main()
