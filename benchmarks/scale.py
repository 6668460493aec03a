"""What one graph of 100,000 nodes costs: `python -m benchmarks.scale [--write]`.

Every operation runs in a process of its own on a graph that is built there. Seconds are processor time on one thread;
growth is from a quarter of the nodes, 4 where work is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from time import process_time
from types import MappingProxyType

from tqdm import tqdm

import cgir
from cgir import Graph, GraphBatch, GraphStore
from cgir.drawing import to_html, to_svg
from cgir.passes import canonicalize

from .large_graphs import FAMILIES
from .report import Table, publish, show

NODES = 100_000
NAMES = ("chain", "fan", "random DAG", "mixture of experts")
SECONDS = 300.0  # of one operation, after which it is ended
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def edited(graph: Graph) -> Graph:
    """The graph with another operator in the middle."""
    middle = len(graph) // 2
    other = "Sigmoid" if graph.nodes[middle].op != "Sigmoid" else "Tanh"
    return graph.with_nodes(replace(n, op=other) if i == middle else n for i, n in enumerate(graph.nodes))


def again(graph: Graph) -> Graph:
    """The graph without what it remembers about itself."""
    return replace(graph)


def save_and_load(graph: Graph, folder: Path) -> None:
    """As JSON."""
    graph.save(folder / "graph.json")
    cgir.load(folder / "graph.json")


# each gets the graph and an empty folder
OPERATIONS: MappingProxyType[str, Callable[[Graph, Path], object]] = MappingProxyType(
    {
        "verify": lambda graph, _: cgir.verify(graph),
        "canonicalize": lambda graph, _: canonicalize(graph),
        "hash": lambda graph, _: graph.hash,
        "isomorphic with itself": lambda graph, _: cgir.isomorphic(graph, again(graph)),
        "diff against one other operator": lambda graph, _: cgir.diff(graph, edited(graph)),
        "spectrum": lambda graph, _: cgir.spectrum(graph, progress=False),
        "wl_features": lambda graph, _: cgir.wl_features([graph]),
        "GraphBatch": lambda graph, _: GraphBatch.from_graphs([graph]),
        "GraphStore.write": lambda graph, folder: GraphStore.write(folder / "store", [graph]),
        "save and load": save_and_load,
        "report": lambda graph, _: graph.report(),
        "SVG": lambda graph, folder: to_svg(graph, folder / "graph.svg"),
        "HTML": lambda graph, folder: to_html(graph, folder / "graph.html"),
    }
)


def measure(operation: str, family: str, nodes: int) -> tuple[float, float]:
    """Processor seconds of an operation in this process, and its peak memory in MB."""
    graph = FAMILIES[family](nodes)
    with TemporaryDirectory() as folder:
        start = process_time()
        OPERATIONS[operation](graph, Path(folder))
        seconds = process_time() - start
    return seconds, getrusage(RUSAGE_SELF).ru_maxrss / 1024


def measured(operation: str, family: str, nodes: int) -> tuple[float, float] | None:
    """`measure` in a child process; None where it took longer than `SECONDS` or failed."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", operation, family, str(nodes)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, **THREADS})
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        print(f"{operation}, {family}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def cell(operation: str, family: str, nodes: int) -> str:
    """Seconds, growth and memory of an operation, as text."""
    small, large = (measured(operation, family, size) for size in (nodes // 4, nodes))
    if large is None:
        return f"not within {SECONDS:.0f} s"
    growth = f", x{large[0] / small[0]:.1f}" if small and small[0] > 0.05 else ""
    return f"{large[0]:.2g} s{growth}, {large[1]:,.0f} MB"


def main() -> None:
    """Measure every operation on every family."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the table for RESULTS.md")
    parser.add_argument("--nodes", type=int, default=NODES, help="of each graph")
    parser.add_argument("--one", nargs=3, metavar=("OPERATION", "FAMILY", "NODES"), help="measure one in this process")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], args.one[1], int(args.one[2]))))
        return
    rows = [
        (operation, *(cell(operation, family, args.nodes) for family in NAMES))
        for operation in tqdm(OPERATIONS, desc="operations")
    ]
    tables = [Table(f"One graph of {args.nodes:,} nodes", ("", *NAMES), tuple(rows))]
    show(tables)
    if args.write:
        about = (
            "Processor seconds of one operation in a process of its own on one thread, how many times as long as on a "
            "quarter of the nodes (4 where work is linear), and the peak memory of the process with all that it loads."
        )
        publish("scale", "Large graphs", about, "python -m benchmarks.scale --write", tables)


if __name__ == "__main__":
    main()
