"""Paired timing: two ways to do one thing run in turns in one process, on a stated number of threads."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class Effort(NamedTuple):
    """Repetitions and numbers of threads of a measurement.

    Where a table has a row for each number of threads, all of them are measured, else the largest.
    """

    repetitions: int
    threads: tuple[int, ...]


def on_threads(count: int) -> None:
    """Let PyTorch, and threads that are started from now on, have so many processors."""
    torch.set_num_threads(count)
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, PROCESSORS[:count])


def in_turns(
    runs: Mapping[str, Callable[[], object]],
    repetitions: int,
    warm: bool = True,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, float]:
    """Median seconds of each run, with all runs in turn and garbage collected in between, as in `timeit`.

    The first round, which fills caches, does not count where `warm`.

    Args:
        runs: name -> what is timed.
        repetitions: rounds that count.
        warm: whether a first round does not count.
        clock: `process_time` for work of one thread on a machine that others use.
    """
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions + warm):
        for name, run in runs.items():
            gc.collect()  # the other one's objects are many
            gc.disable()
            start = clock()
            run()
            spent[name].append(clock() - start)
            gc.enable()
    return {name: median(times[warm:]) for name, times in spent.items()}


def difference(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Length of what lies between ours and theirs, as a share of theirs."""
    between, length = np.sum(
        [(float((a - b).double().square().sum()), float(b.double().square().sum())) for a, b in pairs], axis=0
    )
    return float(np.sqrt(between / length))
