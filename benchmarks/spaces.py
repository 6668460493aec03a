"""Search spaces compiled to arrays, against tracing and exporting their modules: `python -m benchmarks.spaces`.

One thread, processor time. Whole spaces run in processes of their own, so that memory is theirs; there, seconds are on
the clock.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import frontends
from frontends import spaces

from .report import Table, publish, show

WHOLE = {  # networks, and seconds that compiling them may take on two cores
    "nasbench201": (15_625, 4),
    "nasbench101": (423_624, 150),
    "transnas_micro": (4_096, None),
    "transnas_macro": (3_256, None),
    "nasbench_macro": (6_561, None),
}
COMPILED, TRACED, EXPORTED = 2_000, 12, 5  # random points of each space, by what is measured on them


def whole(name: str) -> tuple[int, int, int, float, float, float]:
    """List and compile all networks of a space, in a fresh process.

    Returns: numbers of networks, nodes and edges, seconds to list the specs and to compile, MiB of peak memory.
    """
    space = spaces.get(name)
    start = perf_counter()
    specs = list(space.enumerate())
    listed = perf_counter()
    batch = space.graphs(specs)
    return len(batch), batch.num_nodes, len(batch.src), listed - start, perf_counter() - listed, _peak()


def _peak() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def whole_rows() -> Iterator[tuple[str, ...]]:
    """A row for each space that is small enough."""
    for name, (count, limit) in tqdm(WHOLE.items()):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.spaces", "--whole", name], capture_output=True, text=True, check=True
        )
        networks, nodes, edges, listing, seconds, peak = (float(cell) for cell in done.stdout.split())
        if networks != count:
            raise SystemExit(f"{name}: {networks:.0f} networks, expected {count}")
        sizes = (f"{value:,.0f}" for value in (networks, nodes, edges))
        yield (
            name,
            *sizes,
            f"{listing:.1f}",
            f"{seconds:.1f}",
            str(limit or ""),
            f"{1e6 * seconds / networks:.0f}",
            f"{peak:,.0f}",
        )


def per_graph(name: str) -> tuple[str, ...]:
    """Milliseconds a graph on random points of a space: compiled, written one by one, traced, exported."""
    space, rng = spaces.get(name), np.random.default_rng(0)
    specs = [space.sample(rng) for _ in range(COMPILED)]
    compiled = _timed(space.graphs, specs) / len(specs)
    single = median(_timed(space.graph, spec) for spec in specs[:100])
    traced = median(_timed(_traced, space, spec) for spec in specs[:TRACED])
    exported = median(_timed(_exported, space, spec) for spec in specs[:EXPORTED])
    cells = (f"{1000 * value:.3g}" for value in (compiled, single, traced, exported))
    return name, *cells, f"{traced / compiled:.0f}", f"{exported / compiled:.0f}"


def _traced(space: spaces.Space[Any], spec: Any) -> object:
    return frontends.trace(_module(space, spec), space.inputs(spec))


def _exported(space: spaces.Space[Any], spec: Any) -> object:
    return torch.export.export(_module(space, spec), space.inputs(spec), strict=False)


def _module(space: spaces.Space[Any], spec: Any) -> torch.nn.Module:
    with torch.device("meta"):
        return space.module(spec).eval()


def _timed(run: Callable[..., object], *args: Any) -> float:
    gc.collect()
    start = process_time()
    run(*args)
    return process_time() - start


def main() -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--whole",
        metavar="SPACE",
        help="only all networks of one space: networks, nodes, edges, seconds to list, seconds to compile, MiB",
    )
    parser.add_argument(
        "--spaces", nargs="*", default=list(spaces.SPACES), help="for the time of one graph (default: all)"
    )
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.whole:
        print(*whole(options.whole))
        return
    tables = [
        Table(
            "whole spaces, `space.graphs(space.enumerate())`",
            (
                "space",
                "networks",
                "nodes",
                "edges",
                "specs listed (s)",
                "compiled (s)",
                "limit (s)",
                "µs a network",
                "peak MiB",
            ),
            tuple(whole_rows()),
        ),
        Table(
            f"milliseconds a graph: {COMPILED:,} random networks compiled together; one by one; {TRACED} traced and "
            f"{EXPORTED} exported, module included",
            (
                "space",
                "space.graphs",
                "space.graph",
                "frontends.trace(module)",
                "torch.export(module)",
                "trace / graphs",
                "export / graphs",
            ),
            tuple(map(per_graph, tqdm(options.spaces))),
        ),
    ]
    show(tables)
    if options.write:
        about = (
            "Networks of the search spaces, at their published sizes, straight to arrays (`GraphBatch`), on one "
            "thread of one process."
        )
        publish("spaces", "Search spaces, whole", about, "python -m benchmarks.spaces --write", tables)


if __name__ == "__main__":
    main()
