"""Run by test_row_group_writer.py: kill a process that writes a data set at every moment at which it touches the disk.

For each moment prints whether the data set is then the old or the new one, and fails if it is neither, or if anything
hinders the next writer.
"""

import os
import shutil
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, os.getcwd())
from cgir_samples import ring_graph
from killed_children import DATA_SET_MOMENTS, dies

from cgir import FileFormatError, GraphStore

os.fsync = lambda handle: None  # slow, and a matter of power cuts; it is still a moment
GRAPHS = [ring_graph(n) for n in (3, 4, 5, 3)]


def act(action: str, path: Path) -> None:
    """What is interrupted."""
    if action == "write":
        GraphStore.write(path, GRAPHS[:3], labels={"x": range(3)}, shard_size=2)
    elif action == "append":
        GraphStore.append(path, GRAPHS[:3], labels={"x": range(3)}, shard_size=2)
    elif action == "merge":
        GraphStore.write(path, GraphStore.merge([GraphStore.open(path)] * 2), shard_size=4)
    else:
        GraphStore.write(path, GraphStore.open(path).deduplicate(), shard_size=2)


def state(path: Path) -> object:
    """All there is to read, or None where nothing is."""
    try:
        store = GraphStore.open(path)
    except FileFormatError:
        return None
    batch = store.batch()
    return (
        store.hashes,
        store.specs,
        str(store.labels["x"]),
        [batch.kinds[kind] for kind in batch.kind],
        batch.src.tolist(),
    )


def main(path: Path, action: str) -> None:
    """Print a word for every moment until the action survives."""
    old = path.with_name("before" + path.suffix)
    if path.name != "new":
        GraphStore.write(old, GRAPHS, specs="abcd", labels={"x": range(4)}, shard_size=2)

    def reset() -> None:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if old.exists():
            (shutil.copytree if old.is_dir() else shutil.copy)(old, path)

    reset()
    before = state(path)
    act(action, path)
    after, moment, died = state(path), 0, True
    while died:
        reset()
        died = dies(partial(act, action, path), DATA_SET_MOMENTS, moment)
        found = state(path)
        assert found in (before, after), f"neither old nor new at moment {moment}"
        print("old" if found == before else "new")
        if path.suffix or found is None:
            act("write", path)
        else:
            GraphStore.append(path, [ring_graph(3)])
            assert state(path)[0] == [*found[0], ring_graph(3).hash]
        left = [
            entry.name for entry in (path if path.is_dir() else path.parent).iterdir() if entry.name.startswith(".")
        ]
        assert not left, f"{left} are left of moment {moment}"
        moment += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
