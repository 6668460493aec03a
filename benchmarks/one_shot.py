"""Supernets computed by source node, against one module per operation and edge: `python -m benchmarks.one_shot`.

One thread. Processor time of both in turns in one process; memory of a fresh process for each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from search.one_shot import Supernet, supernet

from .paired_timing import in_turns, on_threads
from .per_edge_supernets import PerEdgeDarts, PerEdgeNasBench1Shot1, PerEdgeNasBench201
from .report import Table, publish, show

PER_EDGE: dict[str, Callable[[Supernet], nn.Module]] = {
    "nasbench201": PerEdgeNasBench201,
    "darts": PerEdgeDarts,
    "nasbench1shot1": PerEdgeNasBench1Shot1,
}
BATCH, REPETITIONS = 64, 5
CASES: tuple[tuple[str, dict[str, Any], int], ...] = (  # space, skeleton, pixels
    ("nasbench201", {"channels": 8, "cells": 1}, 16),
    ("nasbench201", {"channels": 16, "cells": 5}, 32),
    ("darts", {"channels": 8, "layers": 3}, 16),
    ("nasbench1shot1", {"channels": 8, "cells": 1}, 16),
)


def passes(space: str, skeleton: dict[str, Any], pixels: int, by_node: bool) -> Callable[[], None]:
    """Forward and backward of a batch, gradients of weights and mixture.

    Args:
        space: of the supernet.
        skeleton: its size.
        pixels: height and width of the images.
        by_node: computed by source node, else by edges.
    """
    ours = supernet(space, image=(3, pixels, pixels), **skeleton)
    network = ours if by_node else PER_EDGE[space](ours)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, pixels, pixels, generator=generator)
    labels = torch.randint(10, (BATCH,), generator=generator)
    mixture = ours.mix(torch.zeros(ours.num_weights)).requires_grad_()
    inputs = [*network.parameters(), mixture]

    def run() -> None:
        torch.autograd.grad(cross_entropy(network(images, mixture), labels), inputs)

    return run


def peak_of(case: int, by_node: bool) -> float:
    """MiB that a pass takes at its peak beyond what was there before it, in a fresh process."""
    run = passes(*CASES[case], by_node)
    before = _memory("VmRSS")
    run()
    return _memory("VmHWM") - before


def _memory(which: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{which}:")[2].split()[0]) / 1024


def _peak(case: int, by_node: bool) -> float:
    command = [sys.executable, "-m", "benchmarks.one_shot", "--peak", str(case), "node" if by_node else "edge"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def row(case: int, repetitions: int = REPETITIONS) -> tuple[str, ...]:
    """Seconds and MiB of both ways, and their ratios."""
    space, skeleton, pixels = CASES[case]
    runs = {way: passes(space, skeleton, pixels, way == "node") for way in ("node", "edge")}
    seconds = in_turns(runs, repetitions, clock=process_time)
    peaks = {way: _peak(case, way == "node") for way in runs}
    size = ", ".join(f"{name} {value}" for name, value in skeleton.items())
    return (
        space,
        f"{size}, {pixels} pixels",
        *(f"{seconds[way]:.3f}" for way in runs),
        f"{seconds['edge'] / seconds['node']:.2f}",
        *(f"{peaks[way]:,.0f}" for way in runs),
        f"{peaks['edge'] / peaks['node']:.2f}",
    )


def measured() -> list[Table]:
    """The table of this script."""
    columns = ("supernet", "size", "by node (s)", "by edge (s)", "ratio", "by node (MiB)", "by edge (MiB)", "ratio")
    caption = (
        f"forward and backward of {BATCH} images, processor time, median of {REPETITIONS}; "
        "memory beyond that before the pass"
    )
    return [Table(caption, columns, tuple(map(row, tqdm(range(len(CASES))))))]


def main() -> None:
    """Measure, print, and with `--write` keep the table for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", nargs=2, metavar=("CASE", "WAY"), help="only the memory of one case, node or edge")
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options: Any = parser.parse_args()
    on_threads(1)
    if options.peak:
        print(peak_of(int(options.peak[0]), options.peak[1] == "node"))
        return
    tables = measured()
    show(tables)
    if options.write:
        about = (
            "`search.one_shot` computes a mixture by source node: one convolution for all edges that leave a node, "
            "mixture weights as the scale of BatchNorm, operations without weights once. Beside it the same supernets "
            "with a module for every operation on every edge, as their authors write them "
            "(benchmarks/per_edge_supernets.py); values and gradients are equal, which tests check to 1e-12. In "
            "NAS-Bench-1Shot1 only the projections of a cell's input can be joined."
        )
        publish("supernets", "Supernets", about, "python -m benchmarks.one_shot --write", tables)


if __name__ == "__main__":
    main()
