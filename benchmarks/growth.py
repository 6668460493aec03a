"""How cost grows with the size of the work, beside a peer: `python -m benchmarks.growth [--only ROW ...] [--write]`.

Processor seconds on one thread, once each; sizes are powers of ten up to those given, and peers end earlier, where they
become unbearable. The usual sizes take some minutes. All that may be asked for:

    python -m benchmarks.growth --graphs 10000000 --operators 100000 --nodes 100000 --labels 1000 --queries 1000 --write
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from threadpoolctl import threadpool_limits

from cgir.analysis.laplacian_spectrum import K

from . import growth_rows
from .growth_plot import draw
from .growth_rows import CONFIG, MEMORY, PIECE, POOL, Costs
from .report import RESULTS, Table, publish, show

SECONDS = "processor seconds"
ABOUT = f"""\
Processor seconds on one thread, once each, by the size of the work, with peers up to the size that they bear; both axes
of the drawings are in powers of ten. *Tracing*: residual blocks of three operators each on the meta device. *Spectra*:
the {K} smallest eigenvalues of one random graph, of which nearly no two nodes are alike; networkx finds them all.
*Embeddings*: networks of NAS-Bench-101 in random order (all of them again after the last), {CONFIG.layers} layers x
{CONFIG.width} in each direction, compiled and embedded {PIECE:,} at a time by a process that did nothing before;
vectors are added up. The more graphs come together, the more of their nodes are equal. *Fits*: the pretrained predictor
with a pool of {POOL:,} networks, which is new to it or was given to its last fit too. *Searches*: NAS-Bench-201 with an
oracle that answers at once; the predictor of `search.evolve` learns from all answers in each generation."""


class Row(NamedTuple):
    """A measurement: `measure` gets sizes, powers of ten from `smallest` to `largest`, and tells costs by them."""

    measure: Callable[[Sequence[int]], Costs]
    smallest: int
    largest: int
    title: str


ROWS = {  # memory is told by what comes first
    "graphs": Row(growth_rows.embedding, 100, 100_000, "embeddings: graphs"),
    "operators": Row(growth_rows.tracing, 100, 10_000, "tracing: operators of a module"),
    "nodes": Row(growth_rows.solving, 100, 10_000, "spectra: nodes of a graph"),
    "labels": Row(growth_rows.fitting, 10, 100, "fits: labels"),
    "queries": Row(growth_rows.searching, 10, 100, "searches: queries"),
}


def powers(smallest: int, largest: int) -> list[int]:
    """Powers of ten from the one to the other."""
    return [10**power for power in range(12) if smallest <= 10**power <= largest]


def number(value: float) -> str:
    """Three digits, or the whole number where it has more."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def table(name: str, found: Costs) -> Table:
    """Costs by size."""
    sizes = sorted({size for costs in found.values() for size in costs})
    rows = ((way, *(number(costs[size]) if size in costs else "" for size in sizes)) for way, costs in found.items())
    caption = f"{ROWS[name].title}; {SECONDS} ([drawing](benchmarks/results/growth_{name}.svg))"
    return Table(caption, ("", *(f"{size:,}" for size in sizes)), tuple(rows))


def kept() -> dict[str, Table]:
    """The tables that were kept before, by the names of their rows."""
    path = RESULTS / "growth.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["tables"] if path.exists() else []
    tables = [Table(entry["caption"], tuple(entry["columns"]), tuple(map(tuple, entry["rows"]))) for entry in entries]
    return {name: found for name, row in ROWS.items() for found in tables if found.caption.startswith(row.title)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and with `--write` keep each table with its drawing for RESULTS.md as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), help="measurements (default: all)")
    for name, row in ROWS.items():
        parser.add_argument(f"--{name}", type=int, default=row.largest, metavar="N", help="at most (%(default)s)")
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the peers' own
    for name in options.only:
        with threadpool_limits(limits=1):
            found = ROWS[name].measure(powers(ROWS[name].smallest, getattr(options, name)))
        measured = table(name, found)
        show([measured])
        if options.write:
            seconds = {way: costs for way, costs in found.items() if way != MEMORY}
            draw(seconds, RESULTS / f"growth_{name}.svg", ROWS[name].title, SECONDS)
            tables = kept() | {name: measured}
            ordered = [tables[row] for row in ROWS if row in tables]
            publish("growth", "How cost grows", ABOUT, "python -m benchmarks.growth --write", ordered)


if __name__ == "__main__":
    main()
