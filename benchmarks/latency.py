"""Latency of 200 MobileNet-like networks, measured twice on one thread: `python -m benchmarks.latency`.

Two passes visit all networks, each in another order, and take turns where there are more rounds. Rows are kept in
runs/latency/rows.jsonl, a line a visit, so that an interrupted run goes on; `--networks 60` measures the first 60.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

import search
from cgir.atomic_files import atomic_path
from cgir.typing import FloatArray
from encoders.metrics import spearman
from encoders.training.seeding import seeded
from frontends import spaces, tables

from .report import Table, publish, show

ROWS = Path("runs/latency/rows.jsonl")
LABELLED = "ofa_mbv3"  # these are rows of the label table, whose accuracy is known
SAMPLED = {"mnasnet": 30, "proxylessnas": 30}  # random networks
NETWORKS, ROUNDS, RUNS = 200, 2, 20
CLOCKS = {
    "median_ms": "clock, median",
    "p10_ms": "clock, 10th percentile",
    "cpu_ms": "processor time, median",
}
Row = dict[str, Any]


class Network(NamedTuple):
    """A network by its space and its specification in that space's text form."""

    space: str
    text: str


def networks(count: int) -> list[Network]:
    """The first `count` networks, spaces mixed: labelled ones without repetition, and sampled ones."""
    rng = np.random.default_rng(0)
    table = tables.load(LABELLED)
    rows = rng.choice(len(table), NETWORKS - sum(SAMPLED.values()), replace=False)
    found = [Network(LABELLED, table.spec_strings[row]) for row in rows]
    for name, number in SAMPLED.items():
        space = spaces.get(name)
        found += [Network(name, space.format(space.sample(rng))) for _ in range(number)]
    return [found[index] for index in rng.permutation(NETWORKS)[:count]]


def visit(network: Network, number: int) -> Row:
    """Build, export and measure a network in a round."""
    start = perf_counter()
    space = spaces.get(network.space)
    spec = space.parse(network.text)
    graph = space.graph(spec)
    with seeded(0):
        module = space.module(spec)
    found = search.latency(module, inputs=space.inputs(spec), runs=RUNS, threads=1)
    costs = {"flops": graph.flops, "params": graph.num_params, "seconds": perf_counter() - start}
    return {"round": number, **network._asdict(), **asdict(found), **costs}


def measure(chosen: Sequence[Network], path: Path = ROWS) -> list[Row]:
    """All visits of these networks; those in the file are not repeated, others are appended to it.

    Args:
        chosen: the networks.
        path: of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {(row["round"], row["space"], row["text"]): row for row in whole_lines(path)}
    wanted = [
        (number, chosen[index])
        for number in range(ROUNDS)
        for index in np.random.default_rng(number).permutation(len(chosen))
    ]
    with path.open("a", encoding="utf-8") as file:
        for number, network in tqdm([key for key in wanted if (key[0], *key[1]) not in rows], unit="visit"):
            rows[number, *network] = row = visit(network, number)
            file.write(json.dumps(row) + "\n")
            file.flush()
    return [rows[number, *network] for number, network in wanted]


def whole_lines(path: Path) -> list[Row]:
    """The rows of a file; a last line that an interruption tore is removed from it."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    if lines and not lines[-1].endswith("\n"):
        lines = lines[:-1]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    return [json.loads(line) for line in lines]


def passes(rows: Sequence[Row], chosen: Sequence[Network], key: str) -> FloatArray:
    """(2, networks) milliseconds, the median over each pass's rounds.

    Args:
        rows: all visits.
        chosen: the networks.
        key: of the value in a row.
    """
    return np.array(
        [
            [median(row[key] for row in rows if row["round"] % 2 == turn and row["text"] == network.text
                    and row["space"] == network.space) for network in chosen]
            for turn in (0, 1)
        ]
    )  # fmt: skip


def repeatability(rows: Sequence[Row], chosen: Sequence[Network]) -> Table:
    """How alike two passes are, by what was read off."""
    lines = []
    for key, name in CLOCKS.items():
        first, second = passes(rows, chosen, key)
        apart = np.abs(first - second) / ((first + second) / 2)
        cells = (spearman(first, second), np.median(apart), np.quantile(apart, 0.9))
        lines.append((name, f"{cells[0]:.4f}", f"{cells[1]:.1%}", f"{cells[2]:.1%}", f"{first.mean():.2f}"))
    columns = ("of each visit", "Spearman", "difference, median", "difference, 90th percentile", "mean (ms)")
    return Table(
        "two passes over all networks; difference of a network's two times, as a share of their mean",
        columns,
        tuple(lines),
    )


def correlations(rows: Sequence[Row], chosen: Sequence[Network]) -> Table:
    """What latency has to do with costs, by space."""
    times = passes(rows, chosen, "cpu_ms").mean(0)
    costs = {(row["space"], row["text"]): (row["flops"], row["params"]) for row in rows}
    lines = []
    for name in (LABELLED, *SAMPLED, "all"):
        mine = [index for index, network in enumerate(chosen) if name in ("all", network.space)]
        flops, params = np.array([costs[chosen[index]] for index in mine], float).T
        ms = times[mine]
        per_ms = flops / ms / 1e6  # MFLOPs a millisecond are GFLOPs a second
        ranks = (f"{spearman(cost, ms):.3f}" for cost in (flops, params))
        ranges = (f"{ms.min():.1f} to {ms.max():.1f}", f"{per_ms.min():.0f} to {per_ms.max():.0f}")
        lines.append((name, str(len(mine)), *ranges, *ranks))
    columns = ("space", "networks", "ms", "GFLOP/s", "Spearman with FLOPs", "Spearman with parameters")
    return Table("latency (processor time) against costs", columns, tuple(lines))


def main() -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=NETWORKS, help="measure the first ones (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = networks(options.networks)
    rows = measure(chosen)
    found = [repeatability(rows, chosen), correlations(rows, chosen)]
    show(found)
    if options.write:
        spread = median((row["p90_ms"] - row["p10_ms"]) / row["median_ms"] for row in rows)
        about = (
            f"{len(chosen)} MobileNet-like networks with random weights, each at its own image size, one image, one "
            f"thread, {rows[0]['runtime']}, by `search.latency`. {ROUNDS} rounds visit all of them, {RUNS} runs a "
            f"visit, which takes {mean(row['seconds'] for row in rows):.1f} s with building and export. Within a visit "
            f"the clock's 10th and 90th percentile lie {spread:.0%} of the median apart (median of all visits): "
            "the clock also counts what other programs do on the machine in the meantime; processor time does not."
        )
        part = "" if len(chosen) == NETWORKS else f" --networks {len(chosen)}"
        command = f"python -m benchmarks.latency{part} --write"
        publish("latency", "Latency, measured", about, command, found)


if __name__ == "__main__":
    main()
