"""Accuracy against latency measured here: the front that 50 queries find among 200 labelled MobileNets, and all of it.

    python -m examples.papers.search_latency      # a second a network to measure them, once; then a minute

Latencies are kept in runs/latency/rows.jsonl, which `benchmarks.latency` fills, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

import search
from benchmarks.latency import LABELLED, NETWORKS, SAMPLED, Network, measure
from benchmarks.report import Table, publish, show
from cgir.analysis.weisfeiler_lehman import graph_hashes
from encoders import Predictor
from encoders.predictors.stacking import Model
from examples.papers.search_sources import source_predictor
from frontends import spaces, tables

QUERIES, SEEDS = (25, 50), range(10)
METRIC, CLOCK = "imagenet_val_top1", "cpu_ms"
ABOUT = """\
Networks of Once-for-All MobileNetV3 with a measured accuracy (supernet, top-1 on ImageNet, 128 to 224 pixels) and a
latency measured here by `search.latency`: ONNX Runtime, one thread, batch 1, median processor time of two passes, which
is what a busy machine disturbs least. A search may ask for both at once, for so many of them. **Hypervolume**: of the
front that was found, as a share of the front of all (reference: the worst accuracy and the longest latency of all);
**found**: share of the points of the front of all. Ten seeds, mean and deviation. The accuracy's predictor was taught
by families other than Once-for-All (`examples.papers.search`), the latency's knows nothing before the first answers.
The control asks for accuracy and FLOPs, and its networks are then judged by their latencies."""


class Labelled(NamedTuple):
    """The networks, and spec -> both values."""

    space: search.ListedSpace
    values: dict[Any, dict[str, float]]


Search = Callable[[Labelled, int, int, Path], search.History]


def networks() -> list[Network]:
    """200 rows of the label table without repetition: those of `benchmarks.latency`, and more of the same draw."""
    table = tables.load(LABELLED)
    first = np.random.default_rng(0).choice(len(table), NETWORKS - sum(SAMPLED.values()), replace=False).tolist()
    others = [row for row in np.random.default_rng(1).permutation(len(table)).tolist() if row not in set(first)]
    found: dict[str, Network] = {}
    space = spaces.get(LABELLED)
    for row in [*first, *others]:
        digest = graph_hashes(space.graphs([table.specs[row]]))[0]
        found.setdefault(digest, Network(LABELLED, table.spec_strings[row]))
        if len(found) == NETWORKS:
            break
    return list(found.values())


@cache
def labelled() -> Labelled:
    """All 200 with accuracy and latency; measures what is missing."""
    chosen, table = networks(), tables.load(LABELLED)
    rows, space = measure(chosen), spaces.get(LABELLED)
    specs = [space.parse(network.text) for network in chosen]
    accuracy = dict(zip(table.spec_strings, table[METRIC], strict=True))
    values = {
        spec: {
            "accuracy": accuracy[network.text],
            "latency_ms": median(row[CLOCK] for row in rows if row["text"] == network.text),
        }
        for spec, network in zip(specs, chosen, strict=True)
    }
    return Labelled(search.ListedSpace(space, specs, space.graphs(specs)), values)


def guided(found: Labelled, queries: int, seed: int, folder: Path) -> search.History:
    """`search.evolve` with a predictor of each objective.

    Args:
        found: the networks.
        queries: budget.
        seed: of the search.
        folder: of source predictors.
    """
    predictors: Mapping[str, Model] = {
        "accuracy": source_predictor(LABELLED, folder),
        "latency_ms": Predictor(),
    }
    objectives = ["accuracy", "-latency_ms"]
    return search.evolve(
        found.space, predictors, found.values.__getitem__, queries, seed, objectives=objectives, progress=False
    )


def by_flops(found: Labelled, queries: int, seed: int, folder: Path) -> search.History:
    """The control: FLOPs instead of latency.

    Args:
        found: the networks.
        queries: budget.
        seed: of the search.
        folder: of source predictors.
    """
    model = source_predictor(LABELLED, folder)
    objectives = ["accuracy", "-flops"]
    return search.evolve(
        found.space, model, found.values.__getitem__, queries, seed, objectives=objectives, progress=False
    )


def drawn(found: Labelled, queries: int, seed: int, folder: Path) -> search.History:
    """Random search.

    Args:
        found: the networks.
        queries: budget.
        seed: of the draws.
        folder: not read.
    """
    objectives = ["accuracy", "-latency_ms"]
    return search.random_search(
        found.space, None, found.values.__getitem__, queries, seed, objectives=objectives, progress=False
    )


METHODS: dict[str, Search] = {"cgir": guided, "cgir, FLOPs instead of latency": by_flops, "random": drawn}


def judged(found: Labelled, specs: Sequence[Any]) -> tuple[float, float]:
    """Hypervolume as a share of that of all networks, and the share of their front that is among `specs`."""
    every = np.asarray([(value["accuracy"], -value["latency_ms"]) for value in found.values.values()])
    some = np.asarray([(found.values[spec]["accuracy"], -found.values[spec]["latency_ms"]) for spec in specs])
    reference, best = every.min(axis=0), every[search.pareto_front(every)]
    there = {tuple(point) for point in some.tolist()}
    share = mean(tuple(point) in there for point in best.tolist())
    return search.hypervolume(some, reference) / search.hypervolume(every, reference), share


def table(found: Labelled, folder: Path) -> Table:
    """A row a method."""
    lines = []
    for name, method in METHODS.items():
        cells = []
        runs = [method(found, max(QUERIES), seed, folder) for seed in tqdm(SEEDS, desc=name)]
        for count in QUERIES:
            volumes, shares = zip(*(judged(found, run.specs[:count]) for run in runs), strict=True)
            cells += [_cell(volumes, 4), _cell(shares, 2)]
        lines.append((name, *cells))
    columns = [column for count in QUERIES for column in (f"hypervolume, {count} queries", "found")]
    size = len(search.pareto_front(np.asarray([(v["accuracy"], -v["latency_ms"]) for v in found.values.values()])))
    caption = f"{len(found.values)} networks, {size} of them on the front of accuracy and latency"
    return Table(caption, ("search", *columns), tuple(lines))


def _cell(values: Sequence[float], digits: int) -> str:
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def main() -> None:
    """Measure, search, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/search"), help="of source predictors")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = [table(labelled(), args.folder)]
    show(found)
    publish(
        "search_latency",
        "Searches for accuracy and latency",
        ABOUT,
        "python -m examples.papers.search_latency",
        found,
    )


if __name__ == "__main__":
    main()
