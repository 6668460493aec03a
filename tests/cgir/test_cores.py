"""Cores that a process may use: affinity as the system says it, quotas as files of cgroups say them."""

from __future__ import annotations

import os
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest

from cgir import cores
from cgir.cores import cgroup_quota, usable_cores

CGROUP2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
CGROUP1 = (
    "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
    "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
    "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
)


def machine(root: Path, mounts: str, groups: str, files: dict[str, str]) -> Path:
    """A folder with /proc and hierarchies as a process sees them."""
    for name, text in {"proc/self/mounts": mounts, "proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MACHINES = {
    "no cgroups": ("proc /proc proc rw 0 0\n", "", {}, inf),
    "version 2, no quota": (CGROUP2, "0::/user.slice/a\n", {"sys/fs/cgroup/user.slice/a/cpu.max": "max 100000\n"}, inf),
    "version 2": (CGROUP2, "0::/a\n", {"sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 0.5),
    "a container of version 2": (CGROUP2, "0::/\n", {"sys/fs/cgroup/cpu.max": "300000 200000\n"}, 1.5),
    "version 2, the group above": (
        CGROUP2,
        "0::/a/b/c\n",
        {"sys/fs/cgroup/a/cpu.max": "150000 100000\n", "sys/fs/cgroup/a/b/c/cpu.max": "400000 100000\n"},
        1.5,
    ),
    "version 1": (
        CGROUP1,
        "5:cpuset:/other\n4:cpu,cpuacct:/a\n0::/\n",
        {
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "25000\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpuset/other/cpu.cfs_quota_us": "1000\n",
            "sys/fs/cgroup/cpuset/other/cpu.cfs_period_us": "100000\n",
        },
        0.25,
    ),
    "version 1, no quota": (
        CGROUP1,
        "4:cpu,cpuacct:/a\n",
        {
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        },
        inf,
    ),
    "a container of version 1, whose group has the host's name": (
        CGROUP1,
        "4:cpu,cpuacct:/docker/0123\n",
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
        2.0,
    ),
    "a file of another kind": (CGROUP2, "0::/a\n", {"sys/fs/cgroup/a/cpu.max": "half of it\n"}, inf),
}


@pytest.mark.parametrize("name", MACHINES)
def test_quota_of_a_machine(name: str, tmp_path: Path) -> None:
    mounts, groups, files, expected = MACHINES[name]
    assert cgroup_quota(machine(tmp_path, mounts, groups, files)) == expected


@pytest.mark.parametrize(("quota", "expected"), [(0.1, 1), (1.0, 1), (1.5, 2), (3.0, 3), (64.0, 4), (inf, 4)])
def test_quota_is_rounded_up_and_never_above_the_cores(
    quota: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "cgroup_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert usable_cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_affinity_of_a_process() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from cgir.cores import usable_cores; "
    command = [sys.executable, "-c", f"{code}print(usable_cores())"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "1\n"
