"""Run by test_part_jobs.py: kill a data set's jobs at every moment at which they touch the disk, and call them again.

The second call must end with the bytes of one that was not killed. Prints for each moment how many parts it found.
"""

import os
import shutil
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, os.getcwd())
from cgir_samples import ring_graph
from killed_children import DATA_SET_MOMENTS, dies
from part_jobs_samples import folder_bytes, ring_jobs

from cgir import FileFormatError, GraphStore

os.fsync = lambda handle: None  # slow, and a matter of power cuts; it is still a moment


def act(path: Path) -> None:
    """What is interrupted."""
    GraphStore.write_parts(path, ring_jobs(3), overwrite=True)


def main(folder: Path, old: bool) -> None:
    """Kill at each moment until the call survives; `old`: there is another data set at the path."""
    whole, path, moment, died = folder / "whole", folder / "killed", 0, True
    act(whole)
    while died:
        shutil.rmtree(path, ignore_errors=True)
        if old:
            GraphStore.write(path, [ring_graph(9)])
        died = dies(partial(act, path), DATA_SET_MOMENTS, moment)
        print(len([name for name in os.listdir(path) if name in os.listdir(whole) and name != "_store.json"]))
        try:
            assert len(GraphStore.open(path)) in (1, 9)
        except FileFormatError:
            assert not old
        act(path)
        assert folder_bytes(path) == folder_bytes(whole), f"other bytes at moment {moment}"
        moment += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "old")
