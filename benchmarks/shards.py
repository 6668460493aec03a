"""What a part of a large data set costs: `python -m benchmarks.shards [--write]`.

A part is drawn, built, hashed, written and embedded in this process; seconds are processor time of all its threads, on
a machine that may be busy, so they are those of one core. A call that is killed half-way and made again is compared
with one that is not. What 10^8 networks cost is computed from these numbers, not measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import process_time
from typing import NamedTuple

from tqdm import tqdm

from cgir import GraphStore
from encoders import embed_store
from frontends import spaces
from frontends.spaces.data_sets import JOB_SIZE, sample_jobs

from .report import Table, publish, show
from .store import memory

NAMES = ("nasbench101", "ofa_mbv3")
PLANNED, CORES = 10**8, 64
KILLED_PARTS, KILLED_SIZE = 4, 1000
SCANNED_PARTS = 40
CALL = """
import sys
from cgir import GraphStore
from frontends import spaces
from frontends.spaces.data_sets import sample_jobs
GraphStore.write_parts(sys.argv[1], sample_jobs(spaces.get("ofa_mbv3"), {count}, size={size}))
"""


class Cost(NamedTuple):
    """Of a graph: seconds to draw and build, to hash and write, to embed; bytes of the graph, and of its vector."""

    build: float
    write: float
    embed: float
    graph_bytes: float
    vector_bytes: float


def part_cost(name: str, count: int) -> Cost:
    """Draw, write and embed one part of a space, `count` networks."""
    jobs = sample_jobs(spaces.get(name), count, size=count)
    start = process_time()
    content = jobs[0].run()
    sizes = [len(batch) for batch in content.graphs]
    build = process_time() - start
    assert sum(sizes) == count
    with TemporaryDirectory() as folder:
        store, vectors = Path(folder) / "store", Path(folder) / "vectors"
        start = process_time()
        GraphStore.write_parts(store, jobs)
        write = process_time() - start - build
        start = process_time()
        embed_store("universal", store, vectors)
        embed = process_time() - start
        bytes_of = [sum(path.stat().st_size for path in part.glob("part*")) for part in (store, vectors)]
    return Cost(build / count, write / count, embed / count, bytes_of[0] / count, bytes_of[1] / count)


def children_seconds() -> float:
    """Processor time of all processes that this one has started and that have ended."""
    usage = getrusage(RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def killed_call() -> tuple[float, float]:
    """Processor seconds of a call that writes a small data set, and of one that is killed half-way and made again."""
    program = CALL.format(count=KILLED_PARTS * KILLED_SIZE, size=KILLED_SIZE)
    with TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        start = children_seconds()
        subprocess.run([sys.executable, "-c", program, whole], check=True)
        uninterrupted = children_seconds() - start
        process = subprocess.Popen([sys.executable, "-c", program, killed])
        while process.poll() is None and len(list(killed.glob("part*"))) < KILLED_PARTS // 2:
            time.sleep(0.05)
        process.kill()
        process.wait()
        subprocess.run([sys.executable, "-c", program, killed], check=True)
        names = [sorted(path.name for path in part.iterdir()) for part in (whole, killed)]
        same = names[0] == names[1] and all(
            (whole / name).read_bytes() == (killed / name).read_bytes() for name in names[0]
        )
        assert same, "a resumed data set has other bytes"
        return uninterrupted, children_seconds() - start - uninterrupted


def scan_seconds() -> float:
    """Elapsed seconds a part of a call that finds all parts there."""
    jobs = sample_jobs(spaces.get("transnas_macro"), SCANNED_PARTS, size=1)
    with TemporaryDirectory() as folder:
        GraphStore.write_parts(Path(folder) / "s", jobs)
        start = time.perf_counter()
        GraphStore.write_parts(Path(folder) / "s", jobs)
        return (time.perf_counter() - start) / SCANNED_PARTS


def cost_table(costs: dict[str, Cost], count: int) -> Table:
    """The measured costs."""
    columns = (
        "space", "us to draw and build", "us to hash, with spectrum, and write", "us to embed",
        "graphs a second, all of it", "bytes a graph", "bytes a vector",
    )  # fmt: skip
    rows = tuple(
        (
            name,
            *(f"{1e6 * seconds:,.0f}" for seconds in cost[:3]),
            f"{1 / sum(cost[:3]):,.0f}",
            *(f"{size:,.0f}" for size in cost[3:]),
        )
        for name, cost in costs.items()
    )
    return Table(f"Measured: a part of {count:,} networks, one core, the universal encoder", columns, rows)


def restart_table() -> Table:
    """The measured costs of an interruption."""
    uninterrupted, resumed = killed_call()
    rows = (
        (f"{KILLED_PARTS} parts of {KILLED_SIZE:,} of ofa_mbv3, not interrupted", f"{uninterrupted:.1f} s"),
        ("killed half-way (SIGKILL) and called again, the same bytes", f"{resumed:.1f} s, imports of both included"),
        ("finding a part that is there", f"{1000 * scan_seconds():.1f} ms"),
        ("most memory of all of this", f"{memory('VmHWM'):,.0f} MiB"),
    )
    return Table("Measured: interruptions", ("", ""), rows)


def plan_table(costs: dict[str, Cost]) -> Table:
    """What 10^8 networks take, computed from the measured costs."""
    rows = []
    for name, cost in costs.items():
        writing, embedding = (PLANNED * seconds / 3600 for seconds in (cost.build + cost.write, cost.embed))
        part = JOB_SIZE * (cost.build + cost.write)
        rows.append(
            (
                name,
                f"{writing:,.0f} + {embedding:,.0f}",
                f"{writing / CORES:.1f} + {embedding / CORES:.1f}",
                f"{PLANNED // JOB_SIZE:,} + {PLANNED // JOB_SIZE:,}",
                f"{PLANNED * cost.graph_bytes / 1e9:,.0f} + {PLANNED * cost.vector_bytes / 1e9:,.0f}",
                f"{part:,.0f}",
            )
        )
    columns = (
        "space", "core-hours: graphs + vectors", f"hours on {CORES} cores", f"files of {JOB_SIZE:,}",
        "disk, GB", "seconds that a killed worker loses at most (graphs)",
    )  # fmt: skip
    return Table("Computed from the measured costs: 10^8 networks", columns, tuple(rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and with `--write` keep the tables for RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graphs", type=int, default=4096, help="networks in a part (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="keep the result for RESULTS.md")
    options = parser.parse_args(arguments)
    part_cost("transnas_macro", 10)  # imports, weights
    costs = {name: part_cost(name, options.graphs) for name in tqdm(NAMES)}
    found = [cost_table(costs, options.graphs), restart_table(), plan_table(costs)]
    show(found)
    if options.write:
        about = (
            "Graphs and vectors of 10^8 networks of a search space, by `cgir space NAME --sample 100000000 -o POOL "
            "--executor dask:ADDRESS`, then `cgir embed POOL -o VECTORS --executor dask:ADDRESS`. Each file is a job "
            "of its own, results are names, and a restart makes what is missing, so time is inverse to cores as long "
            "as the shared disk keeps up. Seconds are processor time, also on a busy machine; the plan is computed "
            "from them."
        )
        publish("shards", "Data sets of 10^8 networks: the plan", about, "python -m benchmarks.shards --write", found)


if __name__ == "__main__":
    main()
