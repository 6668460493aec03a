"""What the campaign says of an input: each outcome is seen, and a process that dies costs only the input it died of."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz import campaign, watched
from benchmarks.fuzz.target import Target
from cgir.errors import CgirError, FileFormatError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def _raise(error):
    raise error


def _bad_message():
    error = CgirError()
    error.args = ("two\nlines",)
    raise error


def _spin():
    while True:
        pass


READ = {
    "accepted": lambda: None,
    "refused": lambda: _raise(FileFormatError("no")),
    "refused by the system": lambda: _raise(OSError(28, "disk full")),
    "other class": lambda: _raise(KeyError("x")),
    "exit": lambda: _raise(SystemExit(0)),
    "bad message": _bad_message,
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "end": lambda: os._exit(0),
    "hang": _spin,
    "memory": lambda: bytearray(3 << 30),
    "peak": lambda: bytearray(900 << 20),
    "executed": lambda: os.system("true"),
    "process": lambda: subprocess.run(["true"], check=False),
    "file": lambda: Path("/etc/passwd").read_bytes(),
}
EXPECTED = {
    "accepted": "accepted", "refused": "refused", "refused by the system": "refused", "other class": "other class",
    "exit": "other class", "bad message": "bad message", "crash": "crash", "abort": "crash", "end": "crash",
    "hang": "hang", "memory": "memory", "peak": "memory", "executed": "executed", "process": "executed",
    "file": "executed",
}  # fmt: skip
TARGET = Target("tests", lambda _: None, lambda rng, seeds, folder: int(rng.integers(100)), lambda given: None)


@pytest.mark.parametrize("name", READ)
def test_each_outcome_is_seen(name, tmp_path, monkeypatch):
    monkeypatch.setattr(watched, "SECONDS", 1)
    monkeypatch.setattr(watched, "BYTES", (512 if name == "peak" else 2048) << 20)
    target = TARGET._replace(read=lambda given: READ[name]())
    (found,) = watched.outcomes(target, None, 0, range(5, 6), tmp_path / "files")
    assert (found.number, found.name) == (5, EXPECTED[name])


def test_a_death_costs_only_the_input_that_caused_it(tmp_path):
    target = TARGET._replace(read=lambda given: os.abort() if given < 30 else None)
    given = [int(np.random.default_rng([0, index]).integers(100)) for index in range(20)]
    found = list(watched.outcomes(target, None, 0, range(20), tmp_path / "files"))
    assert [outcome.number for outcome in found] == list(range(20))
    assert [outcome.name for outcome in found] == ["crash" if value < 30 else "accepted" for value in given]


def test_a_generator_that_fails_is_named(tmp_path):
    target = TARGET._replace(write=lambda rng, seeds, folder: {}["x"])
    found = list(watched.outcomes(target, None, 0, range(2), tmp_path / "files"))
    assert [(outcome.name, outcome.message) for outcome in found] == [("not made", "KeyError: 'x'")] * 2


def test_a_process_that_says_nothing_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(watched, "PATIENCE", 1.0)
    target = TARGET._replace(read=lambda given: time.sleep(60))
    (found,) = watched.outcomes(target, None, 0, range(1), tmp_path / "files")
    assert found.name == "hang"


def test_inputs_depend_on_the_seed_and_their_number_alone(tmp_path):
    seen = tmp_path / "seen"
    target = TARGET._replace(read=lambda given: seen.open("a").write(f"{given}\n"))

    def given(indices, seed=0):
        seen.write_text("")
        list(watched.outcomes(target, None, seed, indices, tmp_path / "files"))
        return seen.read_text().split()

    whole = given(range(20))
    assert given(range(10)) + given(range(10, 20)) == whole
    assert given(range(20), seed=1) != whole


def test_a_campaign_goes_on_where_it_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(campaign, "target_of", lambda kind: TARGET)
    monkeypatch.setattr(campaign, "_prepared", lambda kind, folder: None)
    said = []
    campaign.run("tests", tmp_path, 150, 0, float("inf"), said.append)
    with (tmp_path / "tests.jsonl").open("a") as file:
        file.write('{"start": 150, "st')  # a line that was not finished
    campaign.run("tests", tmp_path, 220, 0, float("inf"), said.append)
    assert said == [100, 50, 70]
    assert campaign.result("tests", tmp_path).inputs == 220
