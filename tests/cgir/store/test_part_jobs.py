"""Data sets written as jobs: what `GraphStore.write` writes, for any workers, orders and interruptions."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cgir_samples import equal_batches, ring_graph
from hostile_executor import HostileExecutor
from part_jobs_samples import (
    broken,
    deadly,
    endless_story,
    folder_bytes,
    no_content,
    quits,
    ring_jobs,
    rings,
    unprintable,
)

from cgir import CgirError, FileFormatError, GraphStore
from cgir.executors import open_executor
from cgir.store import Job, manifest, part_jobs

ROOT = Path(__file__).resolve().parents[3]
WORKER = """
import sys
from part_jobs_samples import ring_jobs
from cgir import GraphStore
from cgir.executors import open_executor
if __name__ == "__main__":
    with open_executor(sys.argv[1]) as executor:
        GraphStore.write_parts(sys.argv[2], ring_jobs(12, 0.1), executor)
"""


def parts(path):
    return sorted(entry.name for entry in path.glob("part-*"))


@pytest.fixture
def whole(tmp_path):
    GraphStore.write_parts(tmp_path / "whole", ring_jobs())
    return folder_bytes(tmp_path / "whole")


def test_jobs_write_what_write_writes(tmp_path, whole):
    sizes = range(3, 18)
    GraphStore.write(
        tmp_path / "one",
        map(ring_graph, sizes),
        "rings",
        map(str, sizes),
        {"x": [n / 7 for n in sizes]},
        shard_size=3,
    )
    a, b = GraphStore.open(tmp_path / "one"), GraphStore.open(tmp_path / "whole")
    assert (a.hashes, a.specs, a.families) == (b.hashes, b.specs, b.families)
    assert equal_batches(a.batch(), b.batch())
    np.testing.assert_array_equal(a.spectra, b.spectra)
    np.testing.assert_array_equal(a.labels["x"], b.labels["x"])
    files = [[path.read_bytes() for path in sorted((tmp_path / name).glob("part-*"))] for name in ("one", "whole")]
    assert files[0] == files[1]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_answers_changes_nothing(tmp_path, whole, monkeypatch, seed):
    monkeypatch.setattr(part_jobs, "WINDOW", 1 + seed)
    GraphStore.write_parts(tmp_path / "s", ring_jobs(), HostileExecutor(seed))
    assert folder_bytes(tmp_path / "s") == whole


def test_processes_write_the_same_bytes(tmp_path, whole):
    with open_executor("processes:2") as executor:
        GraphStore.write_parts(tmp_path / "s", ring_jobs(), executor)
    assert folder_bytes(tmp_path / "s") == whole


def test_what_is_there_is_not_made_again(tmp_path, whole):
    path = tmp_path / "s"
    with pytest.raises(CgirError, match=r"a worker was lost \(OSError: connection lost\).*the same call"):
        GraphStore.write_parts(path, ring_jobs(), HostileExecutor(0, lose=3))
    assert len(parts(path)) == 3
    with pytest.raises(FileFormatError, match="first write did not finish"):
        GraphStore.open(path)
    damaged, kept = path / parts(path)[0], path / parts(path)[1]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (path / ".part-00001-0123456789abcdef.parquet.0123456789ab.part").touch()  # of a worker that was killed
    (path / "part-00007-0123456789abcdef.parquet").touch()  # of other jobs
    before = kept.stat().st_mtime_ns
    executor = HostileExecutor(1)
    GraphStore.write_parts(path, ring_jobs(), executor)
    assert len(executor.submitted) == 3
    assert kept.stat().st_mtime_ns == before
    assert folder_bytes(path) == whole
    again = HostileExecutor(2)
    GraphStore.write_parts(path, ring_jobs(), again)  # the same data set, which is complete
    assert len(again.submitted) == 0
    assert folder_bytes(path) == whole


def test_a_longer_list_of_jobs_keeps_the_parts_of_a_shorter_one(tmp_path, whole):
    executor = HostileExecutor(0)
    GraphStore.write_parts(tmp_path / "s", ring_jobs(3))
    GraphStore.write_parts(tmp_path / "s", ring_jobs(), executor, overwrite=True)
    assert len(executor.submitted) == 2
    assert folder_bytes(tmp_path / "s") == whole


def test_an_existing_data_set_is_replaced_only_when_asked(tmp_path, whole):
    path = tmp_path / "s"
    GraphStore.write(path, [ring_graph(3)] * 4)
    (path / "part-00000-0123456789abcdef.parquet").touch()
    before = folder_bytes(path)
    with pytest.raises(CgirError, match=r"has a data set of 4 already; .*--overwrite"):
        GraphStore.write_parts(path, ring_jobs())
    assert folder_bytes(path) == before
    with pytest.raises(CgirError):
        GraphStore.write_parts(path, [*ring_jobs(), Job(broken, ("x",))], overwrite=True)
    assert len(GraphStore.open(path)) == 4
    GraphStore.write_parts(path, ring_jobs(), overwrite=True)
    assert folder_bytes(path) == whole
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(CgirError, match="exists already and is no data set"):
        GraphStore.write_parts(tmp_path / "other", ring_jobs(), overwrite=True)


def test_two_writers_are_refused(tmp_path):
    with (
        manifest.lock_folder(tmp_path / "s"),
        pytest.raises(CgirError, match="another process is writing"),
    ):
        GraphStore.write_parts(tmp_path / "s", ring_jobs())


@pytest.mark.parametrize(
    ("job", "complaint"),
    [
        (Job(broken, ("x",)), r"part-00001-\w+.parquet by part_jobs_samples:broken: KeyError: 'x'; the parts that are"),
        (Job(no_content), "returned a int; expected cgir.store.Content"),
        (Job(rings, (2.5, 1)), "TypeError"),
        (Job(quits), "part_jobs_samples:quits: SystemExit: no license; the parts"),
        (Job(unprintable), "part_jobs_samples:unprintable: Silent; the parts"),
        (Job(endless_story), r"ValueError: a line.{,1000} \.\.\.; the parts"),
        (Job(partial(rings, 3), (3,)), "a job cannot call functools:<partial>; expected a function at the top level"),
        (Job(lambda: 1), "a job cannot call .*<lambda>; expected a function at the top level"),
        (Job(rings, (3, {4})), "JSON has to write them: part_jobs_samples:rings: .*set is not JSON"),
    ],
    ids=["raises", "no content", "wrong arguments", "quits", "unprintable", "a page", "partial", "lambda", "no JSON"],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_jobs_that_fail_say_so_in_a_line(tmp_path, job, complaint, elsewhere):
    with pytest.raises(CgirError, match=complaint) as caught:
        GraphStore.write_parts(tmp_path / "s", [*ring_jobs(1), job], HostileExecutor(0) if elsewhere else None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s" / "_store.json").exists()


def test_a_failure_cancels_what_waits(tmp_path):
    jobs = [*ring_jobs(1), Job(broken, ("x",)), *ring_jobs(20, 0.05)[1:]]
    with pytest.raises(CgirError, match="KeyError"), ThreadPoolExecutor(1) as executor:  # which waits for calls
        GraphStore.write_parts(tmp_path / "s", jobs, executor)
    assert 1 <= len(parts(tmp_path / "s")) < 20


def test_what_is_no_executor_is_refused(tmp_path):
    with pytest.raises(CgirError, match=r"executor=3 has no submit; expected an executor"):
        GraphStore.write_parts(tmp_path / "s", ring_jobs(), 3)
    assert not (tmp_path / "s").exists()


def test_no_jobs_are_no_data_set(tmp_path):
    with pytest.raises(CgirError, match="no jobs"):
        GraphStore.write_parts(tmp_path / "s", [])
    assert not (tmp_path / "s").exists()


def test_names_tell_jobs_apart():
    jobs = [Job(rings, (3, 3)), Job(rings, (3, 4)), Job(rings, (3, "3")), Job(broken, (3, 3)), Job(rings, (3, 3, None))]
    assert len({part_jobs.part_key(job) for job in jobs}) == len(jobs)
    assert part_jobs.part_key(jobs[0]) == part_jobs.part_key(Job(rings, (3, 3)))
    assert part_jobs.part_key(jobs[0]._replace(paths=("elsewhere",))) == part_jobs.part_key(jobs[0])
    assert part_jobs.part_key(jobs[0], "other") != part_jobs.part_key(jobs[0])


def test_workers_that_write_elsewhere_are_noticed(tmp_path, monkeypatch):
    def elsewhere(folder, name, job, form):
        return manifest.Part(name, 3, "0" * 32)

    monkeypatch.setattr(part_jobs, "_write_part", elsewhere)
    with pytest.raises(CgirError, match=r"5 parts are not there that workers have written.*all machines share"):
        GraphStore.write_parts(tmp_path / "s", ring_jobs(), HostileExecutor(0))


@pytest.mark.parametrize("old", ["old", "new"])
def test_killed_at_any_moment(tmp_path, old):
    script = ROOT / "tests" / "helpers" / "killed_parts.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path, old], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = list(map(int, done.stdout.split()))
    assert found == sorted(found)
    assert set(found) == {0, 1, 2, 3}
    assert len(found) > 12


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes:2", "dask"])
def test_a_killed_driver_leaves_no_workers_and_its_parts(tmp_path, executor):
    GraphStore.write_parts(tmp_path / "whole", ring_jobs(12, 0.1))
    script, rng, kills = tmp_path / "driver.py", random.Random(0), 0
    script.write_text(WORKER, encoding="utf-8")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    for _ in range(30):
        process = subprocess.Popen(
            [sys.executable, script, executor, tmp_path / "s"],
            env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        limit = time.monotonic() + 60
        at = rng.randint(1, 4)
        there = len(parts(tmp_path / "s"))
        while process.poll() is None and len(parts(tmp_path / "s")) < there + at and time.monotonic() < limit:
            time.sleep(0.01)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        assert wait_until_empty(process.pid), "workers outlive their driver"
    assert process.returncode == 0
    assert kills >= 2
    assert folder_bytes(tmp_path / "s") == folder_bytes(tmp_path / "whole")


def wait_until_empty(group: int) -> bool:
    """Whether all processes of a group end within a minute."""
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return False


@pytest.mark.slow
def test_a_killed_process_is_a_line_and_the_next_call_goes_on(tmp_path):
    jobs = [*ring_jobs(3), Job(deadly, (str(tmp_path / "marker"),))]
    with (
        pytest.raises(CgirError, match=r"a worker was lost \(BrokenProcessPool.*the same call makes the others"),
        open_executor("processes:2") as executor,
    ):
        GraphStore.write_parts(tmp_path / "s", jobs, executor)
    with open_executor("processes:2") as executor:
        GraphStore.write_parts(tmp_path / "s", jobs, executor)
    assert len(GraphStore.open(tmp_path / "s")) == 11


@pytest.mark.slow
def test_dask_survives_a_killed_worker(tmp_path):
    jobs = [*ring_jobs(3), Job(deadly, (str(tmp_path / "marker"),))]
    with open_executor("dask", workers=2) as executor:
        GraphStore.write_parts(tmp_path / "s", jobs, executor)
    assert (tmp_path / "marker").exists()
    assert GraphStore.open(tmp_path / "s").specs == [*map(str, range(3, 12)), "3", "4"]
    assert json.loads((tmp_path / "s" / "_store.json").read_text())["format"] == "cgir-store"
