"""How many cores this process may use, which in containers is fewer than the machine has."""

from __future__ import annotations

import os
from functools import cache
from math import ceil, inf
from pathlib import Path


def usable_cores() -> int:
    """Cores that this process may use: those that it may run on, or fewer where its cgroup has a quota.

    Quotas are those of cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`), of the process's group and of all above it;
    half a core counts as one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, ceil(min(cgroup_quota(), cores))))


@cache
def cgroup_quota(root: Path = Path("/")) -> float:
    """The least quota of processor time of this process's cgroups, in cores; infinite where there is none.

    Args:
        root: where /proc and the mounted hierarchies are found.
    """
    return min((_group_quota(root, *hierarchy) for hierarchy in _hierarchies(root)), default=inf)


def _group_quota(root: Path, hierarchy: Path, is_v2: bool) -> float:
    """The least quota of the process's group in a hierarchy and of groups above it.

    Of groups outside of the process's namespace the top alone is visible.
    """
    top, group = root / hierarchy.relative_to("/"), _group(root, is_v2)
    return min(_quota(top / folder.relative_to("/"), is_v2) for folder in (group, *group.parents))


def _hierarchies(root: Path) -> list[tuple[Path, bool]]:
    """Where the hierarchies that can limit processor time are mounted, and whether they are of version 2."""
    found = []
    for line in _lines(root / "proc/self/mounts"):
        _, place, kind, options, *_ = line.split(" ")
        if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
            found.append((Path(place), kind == "cgroup2"))
    return found


def _group(root: Path, is_v2: bool) -> Path:
    """The process's group in a hierarchy: of `number:controllers:path`, where version 2 has number 0."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" if is_v2 else "cpu" in controllers.split(","):
            return Path(path)
    return Path("/")


def _quota(folder: Path, is_v2: bool) -> float:
    if is_v2:
        numbers = " ".join(_lines(folder / "cpu.max")).split()
    else:
        numbers = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):  # "max", -1, or no such file
        return inf
    quota, period = map(int, numbers)
    return quota / period if quota and period else inf


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
