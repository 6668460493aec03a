"""The load that the benchmark of busy machines makes: it is there, limits what it should, and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.busy_machines import JOBS, busy, quota_group
from cgir.cores import usable_cores

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system binds no process to cores")


def children() -> set[int]:
    """Processes that this one has started and that run."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(number) for task in tasks for number in task.read_text().split()}


def test_load_is_there_on_its_core_and_ends() -> None:
    before, core = children(), min(os.sched_getaffinity(0))
    with busy(2, core):
        new = children() - before
        assert [os.sched_getaffinity(process) for process in new] == [{core}] * 2
    assert children() == before


def test_quota_is_what_the_library_sees() -> None:
    with quota_group(1.0) as group:
        if group is None:
            pytest.skip("this process may make no control groups")
        code = "from cgir.cores import cgroup_quota, usable_cores; print(cgroup_quota(), usable_cores())"
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", sys.executable, "-c", code]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1.0 1\n"
    assert not group.exists()
    assert usable_cores() >= 1


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_jobs_run(job: str) -> None:
    JOBS[job]()()
