"""Zero-cost proxies and rankings without labels, on measured labels of five spaces.

python -m examples.papers.zero_cost --workers 2     # a line of JSON per network; what is done is not run again
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.report import publish
from cgir.atomic_files import atomic_path
from examples.papers.zero_cost_families import (
    SEEDS,
    SHALLOW,
    SIZES,
    TITLES,
    batches,
    network,
    resized,
    sample,
    without_labels,
)
from examples.papers.zero_cost_table import ABOUT, tables
from search.zero_cost import NAMES, dense_regression, score
from search.zero_cost.az_nas import Components, components
from search.zero_cost.probe import Probe

Row = dict[str, Any]
Scores = dict[str, float | None]
ROWS = "rows.jsonl"


class Part(NamedTuple):
    """Something that is measured.

    Attributes:
        run: function of (network, images, their labels, seed).
        networks: how many.
        seeds: of weights and batches.
        families: of which.
        shallow: whether networks have the skeletons of `SHALLOW`.
    """

    run: Callable[[nn.Module, Tensor, Tensor, int], Scores]
    networks: int
    seeds: Sequence[int] = (0,)
    families: Sequence[str] = tuple(TITLES)
    shallow: bool = False


class Job(NamedTuple):
    """One network: what is measured, its family, specification and seed."""

    part: str
    family: str
    text: str
    seed: int


def proxies(module: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Scores:
    """All proxies at once, and the four scores that AZ-NAS ranks, on random inputs as the authors'.

    Args:
        module: the network.
        images: (B, C, H, W).
        labels: (B,).
        seed: of random numbers.
    """
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    parts = components(Probe(module, noise, seed=seed)) or [None] * len(Components._fields)
    return score(module, images, labels, names=NAMES, seed=seed) | dict(zip(Components._fields, parts, strict=True))


def alone(module: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Scores:
    """Seconds of each proxy that is asked for by itself.

    Args:
        module: the network.
        images: (B, C, H, W).
        labels: (B,).
        seed: of random numbers.
    """
    runs: dict[str, Callable[[], Any]] = {
        name: partial(score, module, images, labels, names=(name,), seed=seed) for name in NAMES
    }
    runs["az_nas"] = lambda: components(Probe(module, images, seed=seed))
    return {name: timed(found)[1] for name, found in runs.items()}


def dense(module: nn.Module, images: Tensor, labels: Tensor, seed: int, steps: int) -> Scores:
    """Dense regression, which sees no label.

    Args:
        module: the network.
        images: (B, C, H, W).
        labels: (B,).
        seed: of random numbers.
        steps: of training.
    """
    return {f"dense_regression, {steps} steps": dense_regression(module, images, steps=steps, seed=seed)}


# In the order in which they are run: the main table first.
PARTS: dict[str, Part] = {
    "proxies": Part(proxies, 300),
    "alone": Part(alone, 10),
    "dense 20": Part(partial(dense, steps=20), 60, shallow=True),
    "dense 20, deep": Part(partial(dense, steps=20), 60, families=tuple(SHALLOW)),
    "dense 60": Part(partial(dense, steps=60), 60, shallow=True),
    "dense 200": Part(partial(dense, steps=200), 30, families=("nasbench_macro", "darts")),
    "seeds": Part(proxies, 60, range(1, SEEDS)),
}


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and its seconds of processor time."""
    start = process_time()
    return run(), process_time() - start


def run(job: Job, folder: Path) -> Row:
    """Measure one network."""
    torch.set_num_threads(1)
    pixels, labels = batches(folder)[job.seed]
    module = network(job.family, job.text, job.seed, PARTS[job.part].shallow)
    images = resized(pixels, SIZES[job.family])
    scores, seconds = timed(lambda: PARTS[job.part].run(module, images, labels, job.seed))
    return {**job._asdict(), "scores": scores, "seconds": seconds}


def read(path: Path) -> list[Row]:
    """The rows of a file; a last line that an interruption cut off does not count."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def jobs(parts: Sequence[str], families: Sequence[str]) -> Iterator[Job]:
    """Everything that is to be run, in order."""
    for name in parts:
        for family in families:
            if family in PARTS[name].families:
                texts = sample(family).texts[: PARTS[name].networks]
                yield from (Job(name, family, text, seed) for seed in PARTS[name].seeds for text in texts)


def run_missing(wanted: Sequence[Job], folder: Path, workers: int) -> None:
    """Append a row for every job that has none."""
    path = folder / ROWS
    rows = read(path)
    with atomic_path(path) as temporary:  # without what was cut off
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = {Job(*(row[field] for field in Job._fields)) for row in rows}
    missing = [job for job in wanted if job not in done]
    if not missing:
        return
    batches(folder)
    with ProcessPoolExecutor(workers) as pool, path.open("a", encoding="utf-8") as file:
        for row in tqdm(pool.map(partial(run, folder=folder), missing), total=len(missing), desc="networks"):
            file.write(json.dumps(row) + "\n")
            file.flush()


def main() -> None:
    """Run what is missing and publish what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each (default 1)")
    parser.add_argument("--folder", type=Path, default=Path("runs/zero_cost"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default all)")
    parser.add_argument("--families", nargs="+", choices=TITLES, default=list(TITLES))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    run_missing(list(jobs(args.parts, args.families)), args.folder, args.workers)
    samples = {name: sample(name) for name in TITLES}
    ours = {name: without_labels(name, args.folder) for name in TITLES}
    publish(
        "zero_cost",
        "Rankings without training: zero-cost proxies",
        ABOUT,
        "python -m examples.papers.zero_cost --workers 2",
        tables(read(args.folder / ROWS), samples, ours),
    )


if __name__ == "__main__":
    main()
