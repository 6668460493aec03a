"""What is left of a process: nothing, once it is killed and whoever inherited it has noticed."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

PATIENCE = 30.0  # seconds; of a machine with much else to do


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within a time that no idle machine needs."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def runs(process: int) -> bool:
    """Whether there is such a process; a dead one that nobody waited for is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def all_end(processes: Iterable[int]) -> bool:
    """Whether all of them end soon."""
    left = list(processes)
    return wait_for(lambda: not any(map(runs, left)))


def written(path: Path) -> list[int]:
    """The numbers that somebody else writes into a file, once there are any."""
    assert wait_for(lambda: path.exists() and bool(path.read_text()))
    return [int(word) for word in path.read_text().split()]
