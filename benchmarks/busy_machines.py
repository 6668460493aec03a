"""Trainings beside other work, and with half a core: `python -m benchmarks.busy_machines [--write] [JOB ...]`.

It makes the load itself: processes that count. On two idle cores it takes some ten minutes, most of them the demo's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, sleep
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from cgir import GraphBatch
from cgir.cores import usable_cores

from .report import Table, publish, show

LOAD = 8  # processes of the heaviest load
QUOTA = 0.5  # of a core
SECONDS = 1800.0  # of one job, after which it is ended
GROUPS = "/sys/fs/cgroup/cpu", "/sys/fs/cgroup"  # of version 1, and of version 2
COUNT = "while True: pass"
ABOUT = f"""\
Each job runs in a process of its own, whose environment says nothing of threads but that they wait passively, as
`cgir` lets them: alone; beside a process that keeps one core busy; beside {LOAD} that are bound to none; and in a
control group with a quota of {QUOTA} cores. *Times its share* are seconds over those that its processor time alone
would take with a fair share of the cores: one core, or the cores over all processes that want one, or the quota."""


def demo() -> Callable[[], object]:
    """`cgir demo`, PyTorch's own start included."""

    def run() -> None:
        from cgir.cli.demo import run_demo

        with TemporaryDirectory() as folder:
            run_demo(Path(folder))

    return run


def pretraining() -> Callable[[], object]:
    """Fifty steps on graphs of three spaces."""
    from contrastive import PretrainConfig, pretrain

    names = ("nasbench101", "nasbench201", "nasbench_macro")
    batch = GraphBatch.concatenate([_sample(name, 500) for name in names])
    families = np.repeat(names, 500)
    return lambda: pretrain(batch, PretrainConfig(steps=50), families, progress=False)


def fit() -> Callable[[], object]:
    """50 labels and a new pool of 1,000 networks of DARTS."""
    from encoders import Predictor, load_pretrained

    encoder, pool = load_pretrained(), _sample("darts", 1000)
    labels = np.random.default_rng(0).normal(size=50)
    return lambda: Predictor(encoder).fit(pool.select(np.arange(50)), labels, pool=pool)


def heads() -> Callable[[], object]:
    """An ensemble of heads on the encoder, 50 labels."""
    from encoders import Predictor, load_pretrained

    encoder, graphs = load_pretrained(), _sample("nasbench201", 50)
    labels = np.random.default_rng(0).normal(size=50)
    return lambda: Predictor(encoder, head="rank", frozen=True).fit(graphs, labels)


def supernet() -> Callable[[], object]:
    """Forty steps of a supernet of NAS-Bench-201."""
    import torch

    from search import one_shot

    generator = torch.Generator().manual_seed(0)
    images = one_shot.Images(torch.randn(256, 3, 16, 16, generator=generator), torch.arange(256) % 10, 10)
    network = one_shot.supernet("nasbench201", channels=8, cells=1, image=(3, 16, 16))
    return lambda: one_shot.train(network, images, images, steps=40, progress=False)


def _sample(name: str, count: int) -> GraphBatch:
    from frontends import spaces

    space, rng = spaces.get(name), np.random.default_rng(0)
    return space.graphs([space.sample(rng) for _ in range(count)])


JOBS: MappingProxyType[str, Callable[[], Callable[[], object]]] = MappingProxyType(
    {"demo": demo, "pretraining": pretraining, "fit": fit, "heads": heads, "supernet": supernet}
)


class Seconds(NamedTuple):
    """Of one job: on the clock, and of the processor."""

    wall: float
    processor: float


def measure(job: str) -> Seconds:
    """The seconds of a job in this process, without its preparation."""
    run = JOBS[job]()
    wall, processor = perf_counter(), process_time()
    run()
    return Seconds(perf_counter() - wall, process_time() - processor)


def in_child(job: str, group: Path | None = None) -> Seconds | None:
    """The seconds of a job in a new process, in a control group if one is given; None if it takes too long."""
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.busy_machines", "--measure", job]
    if group is not None:
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *command]
    try:
        done = subprocess.run(
            command,
            env=environment | {"OMP_WAIT_POLICY": "PASSIVE"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return None
    return Seconds(*json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def busy(count: int, core: int | None = None) -> Iterator[None]:
    """So many processes that count, on one core if it is given."""
    prefix = [] if core is None else ["taskset", "-c", str(core)]
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([*prefix, sys.executable, "-c", COUNT])
            stack.callback(process.wait)
            stack.callback(process.kill)
        sleep(1)
        yield


@contextmanager
def quota_group(cores: float) -> Iterator[Path | None]:
    """A control group with a quota; None where none can be made."""
    root = next((Path(text) for text in GROUPS if os.access(text, os.W_OK)), None)
    group = None if root is None else root / f"cgir-{os.getpid()}"
    try:
        if group is not None:
            group.mkdir()
            period = 100_000
            if (group / "cpu.cfs_quota_us").exists():
                (group / "cpu.cfs_quota_us").write_text(str(int(cores * period)))
            else:
                (group / "cpu.max").write_text(f"{int(cores * period)} {period}")
    except OSError:
        group = None
    try:
        yield group
    finally:
        if group is not None:
            group.rmdir()


def row(job: str) -> tuple[str, ...]:
    """A job's line: its seconds alone, and beside each load how many and how much of its share."""
    cores, first = usable_cores(), min(os.sched_getaffinity(0))
    alone = in_child(job)
    with busy(1, first):
        one = in_child(job)
    with busy(LOAD):
        many = in_child(job)
    with quota_group(QUOTA) as group:
        limited = None if group is None else in_child(job, group)
    if alone is None:
        return job, *[f"over {SECONDS:.0f}"] * 5
    shares = ((one, min(1.0, cores - 1.0) or 0.5), (many, min(1.0, cores / (LOAD + 1))), (limited, QUOTA))
    cells = [_cell(seconds, alone.processor / share) for seconds, share in shares]
    if group is None:
        cells[-1] = "not allowed here"
    return job, f"{alone.wall:.1f}", f"{alone.processor:.1f}", *cells


def _cell(seconds: Seconds | None, fair: float) -> str:
    return f"over {SECONDS:.0f}" if seconds is None else f"{seconds.wall:.1f} ({seconds.wall / fair:.2f})"


def main() -> None:
    """Measure, print, and publish if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", choices=[*JOBS, []], help="default: all")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    parser.add_argument("--measure", metavar="JOB", help=argparse.SUPPRESS)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends the load too
    if args.measure:
        print(json.dumps(measure(args.measure)))
        return
    rows = tuple(row(job) for job in tqdm(args.jobs or JOBS, desc="jobs"))
    columns = (
        "job",
        "alone, s",
        "processor, s",
        "one core busy, s",
        f"{LOAD} processes beside it, s",
        "half a core, s",
    )
    table = Table(f"Seconds, and in brackets times its share, on {usable_cores()} cores", columns, rows)
    show([table])
    if args.write:
        publish("busy_machines", "Busy machines", ABOUT, "python -m benchmarks.busy_machines --write", [table])


if __name__ == "__main__":
    main()
