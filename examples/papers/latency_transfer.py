"""Latency is a metric like accuracy: networks ranked on a device never seen, after ten measurements.

python -m examples.papers.latency_transfer --workers 2     # some 30 minutes; what is done is not run again
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
from tqdm import tqdm

from benchmarks.report import publish
from cgir.atomic_files import atomic_path
from encoders.metrics import spearman
from examples.papers.latency_devices import TABLES, devices, splits
from examples.papers.latency_methods import ALONE, WITH_DEVICES, Problem, ceiling, hints
from examples.papers.latency_table import ABOUT, ALL_OTHERS, CEILING, tables

Row = dict[str, Any]
Job = tuple[str, str, int]  # table, protocol, column of the new device
LABELS, DRAWS = 10, 3


def rows_of(job: Job) -> Iterator[Row]:
    """Rank correlations on one new device, in every draw of the measured networks.

    Methods that know no other device have the same ones in all protocols.
    """
    name, protocol, new = job
    found, old = devices(name), splits(name)[protocol][new]
    about = {"table": name, "protocol": protocol, "device": found.names[new]}
    truth, known = found.latencies[found.ranked, new], hints(found, old)
    methods = WITH_DEVICES
    if protocol == ALL_OTHERS:
        methods = ALONE | WITH_DEVICES
        score = spearman(ceiling(found, new, found.ranked), truth)
        yield {**about, "method": CEILING, "draw": 0, "spearman": score}
    others = np.setdiff1d(np.arange(len(found.latencies)), found.ranked)
    for draw in range(DRAWS):
        labelled = np.random.default_rng((draw, new)).permutation(others)[:LABELS]
        problem = Problem(found, new, old, known, labelled, found.ranked, draw)
        for method, predict in methods.items():
            yield {**about, "method": method, "draw": draw, "spearman": spearman(predict(problem), truth)}


def run(job: Job, folder: Path) -> None:
    """One new device, into a file of its own."""
    torch.set_num_threads(1)
    rows = list(rows_of(job))
    with atomic_path(_path(job, folder)) as temporary:
        temporary.write_text(json.dumps(rows), encoding="utf-8")


def jobs(names: list[str]) -> list[Job]:
    """Every new device of every protocol."""
    return [(name, protocol, new) for name in names for protocol, split in splits(name).items() for new in split]


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each (default 1)")
    parser.add_argument("--folder", type=Path, default=Path("runs/latency"))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs(args.tables) if not _path(job, args.folder).exists()]
    with ProcessPoolExecutor(args.workers) as pool:
        for _ in tqdm(pool.map(partial(run, folder=args.folder), missing), total=len(missing), unit="device"):
            pass
    rows = [row for path in sorted(args.folder.glob("*.json")) for row in json.loads(path.read_text(encoding="utf-8"))]
    publish(
        "latency_transfer",
        "Latency on a device never seen",
        ABOUT,
        "python -m examples.papers.latency_transfer --workers 2",
        tables(rows),
    )


def _path(job: Job, folder: Path) -> Path:
    name, protocol, new = job
    return folder / f"{name}-{protocol.replace(' ', '_')}-{new}.json"


if __name__ == "__main__":
    main()
