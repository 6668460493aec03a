"""Builds `cgir-digits`, the embedded label set: 3 families x 250 networks, trained on scikit-learn's 8x8 digits.

    python -m benchmarks.digits --out frontends/data/digits.parquet

Every network is trained once per seed; the label is the mean accuracy on the held-out images after the last epoch. Rows
that are done are kept in `runs/`, so that an interrupted build continues. No two networks of a family are isomorphic,
and none ignores its input. `train_seconds` is wall time of all seeds of a network, one thread.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from hashlib import sha256
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy
import sklearn
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import frontends
from cgir.checksums import PARQUET_KEY, UNSEALED, seal_parquet
from frontends.spaces import Space

log = logging.getLogger(__name__)

SKELETONS: dict[str, dict[str, Any]] = {
    "nasbench101": {"channels": 8, "stacks": 3, "cells": 1, "image": (1, 8, 8), "classes": 10},
    "nasbench201": {"channels": 4, "cells": 1, "image": (1, 8, 8), "classes": 10},
    "nasbench_macro": {"channels": 4, "stages": (2, 3, 3), "head": 32, "image": (1, 8, 8), "classes": 10},
}
# Short and on a fifth of the images: with more of either, most networks end so close together that seeds no longer
# agree on their order.
TRAINING: dict[str, Any] = {
    "seeds": (0, 1, 2),
    "epochs": 6,
    "batch": 32,
    "optimizer": "AdamW",
    "schedule": "OneCycle",
    "max_lr": 0.01,
    "test_share": 0.8,
    "split_seed": 0,
}
NETWORKS, SAMPLING_SEED = 250, 0


class Data(NamedTuple):
    """Images (N, 1, 8, 8) with mean 0 and standard deviation 1 over the training images, labels (N,)."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor


@lru_cache(maxsize=1)
def digits() -> Data:
    """The fixed stratified split."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images, labels, test_size=TRAINING["test_share"], stratify=labels, random_state=TRAINING["split_seed"]
    )
    (train_images, test_images), (train_labels, test_labels) = parts[:2], map(torch.tensor, parts[2:])
    mean, std = train_images.mean(), train_images.std()

    def scaled(part: np.ndarray) -> torch.Tensor:
        return (
            torch.tensor((part - mean) / std, dtype=torch.float32)
            .reshape(-1, 1, 8, 8)
            .contiguous(memory_format=torch.channels_last)
        )

    return Data(scaled(train_images), train_labels, scaled(test_images), test_labels)


def train(space: Space[Any], text: str, seed: int) -> float:
    """Accuracy on the test images after the last epoch, of a network initialised and shuffled by `seed`.

    Args:
        space: with the skeleton of its family.
        text: the network's spec string.
        seed: of initialisation and shuffling.
    """
    data = digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = space.module(space.parse(text))
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # depthwise convolutions run faster
        batches = [
            torch.split(torch.randperm(len(data.train_labels)), TRAINING["batch"]) for _ in range(TRAINING["epochs"])
        ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=TRAINING["max_lr"], fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, TRAINING["max_lr"], total_steps=sum(map(len, batches)))
    for batch in (rows for epoch in batches for rows in epoch):
        loss = torch.nn.functional.cross_entropy(model(data.train_images[batch]), data.train_labels[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        hits = model(data.test_images).argmax(1) == data.test_labels
    return float(hits.double().mean())


def measure(job: tuple[str, str]) -> dict[str, Any]:
    """All seeds of one (family, spec): a row of the runs file."""
    torch.set_num_threads(1)
    family, text = job
    space = frontends.spaces.get(family, **SKELETONS[family])
    started = time.perf_counter()
    accuracies = [train(space, text, seed) for seed in TRAINING["seeds"]]
    return {"family": family, "spec": text, "accuracies": accuracies, "train_seconds": time.perf_counter() - started}


def choose(family: str, count: int) -> list[str]:
    """`count` strings drawn uniformly, without isomorphic networks and without those that ignore their input."""
    space = frontends.spaces.get(family, **SKELETONS[family])
    rng = np.random.default_rng([SAMPLING_SEED, list(SKELETONS).index(family)])
    chosen: dict[str, str] = {}
    while len(chosen) < count:
        spec = space.sample(rng)
        graph = space.graph(spec)
        if graph.num_params:
            chosen.setdefault(graph.hash, space.format(spec))
    return list(chosen.values())


def finished(runs: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of an earlier run; a last line that an interruption cut short is ignored."""
    rows = {}
    for line in runs.read_text().splitlines() if runs.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            log.warning("%s: skipped a damaged line", runs)
            continue
        rows[row["family"], row["spec"]] = row
    return rows


def results(jobs: list[tuple[str, str]], workers: int) -> Iterator[dict[str, Any]]:
    """Rows as they get ready; in this process if there is one worker."""
    if workers == 1:
        yield from map(measure, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(measure, jobs)


def run(jobs: list[tuple[str, str]], runs: Path, workers: int) -> list[dict[str, Any]]:
    """Train what is missing, appending every finished row to `runs`; rows in the order of `jobs`.

    Args:
        jobs: (family, spec string) of all networks.
        runs: JSON lines file of finished rows.
        workers: number of processes.
    """
    rows = finished(runs)
    missing = [job for job in jobs if job not in rows]
    runs.parent.mkdir(parents=True, exist_ok=True)
    with runs.open("a") as file:
        if runs.stat().st_size and not runs.read_bytes().endswith(b"\n"):
            file.write("\n")  # so that the next row does not continue a damaged one
        for row in tqdm(
            results(missing, workers), "digits", initial=len(jobs) - len(missing), total=len(jobs), unit="net"
        ):
            rows[row["family"], row["spec"]] = row
            file.write(json.dumps(row) + "\n")
            file.flush()
    return [rows[job] for job in jobs]


def agreement(accuracies: Iterable[Iterable[float]]) -> float:
    """Spearman's rho between two seeds, averaged over all pairs of seeds; `accuracies` (networks, seeds)."""
    columns = np.asarray(list(accuracies)).T
    return float(np.mean([spearmanr(a, b).statistic for a, b in combinations(columns, 2)]))


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows with parameters and FLOPs, and everything needed to reproduce them in the schema's metadata."""
    costs = []
    for row in rows:
        space = frontends.spaces.get(row["family"], **SKELETONS[row["family"]])
        graph = space.graph(space.parse(row["spec"]))
        costs.append((graph.num_params, graph.flops))
    accuracy = np.asarray([row["accuracies"] for row in rows])
    columns: dict[str, Any] = {"family": [row["family"] for row in rows], "spec": [row["spec"] for row in rows]}
    columns |= {f"acc_seed{seed}": accuracy[:, i] for i, seed in enumerate(TRAINING["seeds"])}
    columns |= {"accuracy": accuracy.mean(1), "params": [p for p, _ in costs], "flops": [f for _, f in costs]}
    columns["train_seconds"] = [row["train_seconds"] for row in rows]
    agreements = {
        family: round(agreement(row["accuracies"] for row in rows if row["family"] == family), 4)
        for family in SKELETONS
    }
    libraries = {"torch": torch, "scikit-learn": sklearn, "numpy": np, "scipy": scipy}
    versions = {"python": platform.python_version()} | {
        name: library.__version__ for name, library in libraries.items()
    }
    about = {
        "name": "cgir-digits",
        "skeletons": SKELETONS,
        "training": TRAINING,
        "sampling_seed": SAMPLING_SEED,
        "seed_spearman": agreements,
        "versions": versions,
    }
    return pa.table(columns).replace_schema_metadata({"cgir": json.dumps(about), PARQUET_KEY: UNSEALED})


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.digits", description="Train the networks of the embedded label set and write it as Parquet."
    )
    parser.add_argument("--out", type=Path, default=Path("frontends/data/digits.parquet"), help="file to write")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        help="folder for finished rows, from which an interrupted build continues",
    )
    parser.add_argument("--networks", type=int, default=NETWORKS, help="networks per family")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each")
    args = parser.parse_args(argv)
    digest = sha256(json.dumps([SKELETONS, TRAINING], sort_keys=True).encode()).hexdigest()[:8]
    families = [choose(family, args.networks) for family in SKELETONS]
    # one of each family in turn, so that an interrupted run has something of all
    jobs = [(family, text) for row in zip(*families, strict=True) for family, text in zip(SKELETONS, row, strict=True)]
    rows = run(jobs, args.runs / f"digits-{digest}.jsonl", args.workers)
    rows.sort(key=lambda row: list(SKELETONS).index(row["family"]))
    result = table(rows)
    temporary = args.out.with_name(args.out.name + ".part")
    pq.write_table(result, temporary, compression="zstd", write_page_checksum=True)
    seal_parquet(temporary)
    os.replace(temporary, args.out)
    agreements = json.loads(result.schema.metadata[b"cgir"])["seed_spearman"]
    log.info("%s: %d networks, seed-to-seed Spearman %s", args.out, result.num_rows, agreements)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
