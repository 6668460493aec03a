"""A network that is not trusted: its graph is that of a trace here, and what it takes or does ends with its process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lemur_samples import BRANCHES, BROKEN, ENDLESS, HUNGRY, PLAIN

import frontends
from cgir import Graph, LimitError, TraceError, canonicalize
from cgir.limits import Limits
from frontends.tables.lemur import trace_network

SETTINGS = {"lr": 0.01, "momentum": 0.9, "dropout": 0.2, "batch": 16, "transform": "norm_flip"}
ROOT = Path(__file__).parents[4]

ATTEMPTS = """
import ctypes, os, sys, socket, subprocess, resource
from pathlib import Path
from frontends.tables.lemur import network_worker
there, keep = Path(sys.argv[1]), os.dup(1)
network_worker._restrict(30, keep)

def outcome(attempt):
    try:
        attempt()
    except PermissionError as error:
        return str(error)
    return "done"

attempts = {
    "write": lambda: open(there / "new", "w"),
    "append": lambda: open(there / "old", "a"),
    "flags": lambda: os.open(there / "new", os.O_CREAT | os.O_RDWR),
    "remove": lambda: os.remove(there / "old"),
    "rename": lambda: os.rename(there / "old", there / "new"),
    "folder": lambda: os.mkdir(there / "new"),
    "link": lambda: os.symlink(there / "old", there / "new"),
    "start": lambda: subprocess.run(["true"]),
    "shell": lambda: os.system("true"),
    "fork": os.fork,
    "kill": lambda: os.kill(os.getppid(), 0),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
    "native": lambda: ctypes.pythonapi.system(b"true"),
    "read": lambda: open(there / "old"),
}
for name, attempt in attempts.items():
    os.write(keep, f"{name}: {outcome(attempt)}\\n".encode())
"""


def trace(source: str, limits: Limits | None = None, **settings: Any) -> Graph:
    options = {"limits": limits} if limits else {}
    return trace_network(source, "net", (3, 32, 32), classes=10, settings=SETTINGS | settings, **options)


@pytest.mark.parametrize("source", [PLAIN, BRANCHES], ids=["plain", "branches"])
def test_graphs_are_those_of_a_trace_here(source: str) -> None:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    model = namespace["Net"]((16, 3, 32, 32), (10,), SETTINGS | {"unheard_of": 0.5}, torch.device("cpu")).eval()
    direct = canonicalize(frontends.trace(model, input_shape=(1, 3, 32, 32)))
    found = trace(source)
    assert found.hash == direct.hash
    assert found.num_params == sum(parameter.numel() for parameter in model.parameters())


def test_settings_reach_the_network() -> None:
    with pytest.raises(TraceError, match=r"^net: ValueError: no such network$"):
        trace(BRANCHES, unheard_of=2.0)


def test_a_network_that_fails_says_where() -> None:
    with pytest.raises(TraceError, match=r"net.*expected input.*to have 9 channels, but got 8 channels"):
        trace(BROKEN)
    with pytest.raises(TraceError, match=r"^net: KeyError: 'Net'$"):
        trace("x = 1")
    with pytest.raises(TraceError, match=r"^net: line 1 imports ctypes, which no network needs; it is not run$"):
        trace("import ctypes\nctypes.string_at(0)")


@pytest.mark.parametrize("call", ["getattr(self, name)", "hasattr(self, name)", "setattr(self, name, 0)"])
def test_names_that_are_computed_are_checked_when_they_are_used(call: str) -> None:
    lines = ["self = nn.init.constant_", "name = '__glo' + 'bals__'", call]
    source = PLAIN.replace("        self.device = device\n", "".join(f"        {line}\n" for line in lines))
    with pytest.raises(TraceError, match=r"^net: AttributeError: no network may call .*attr with '__globals__'$"):
        trace(source)


def test_a_network_without_an_end_is_ended() -> None:
    trace(PLAIN)  # the process is there
    start = time.monotonic()
    with pytest.raises(LimitError, match=r"^net: it takes longer than allowed"):
        trace(ENDLESS, Limits(seconds=1))
    assert time.monotonic() - start < 30
    assert trace(PLAIN).num_params  # the next one is not disturbed


def test_a_network_that_wants_much_memory_is_ended() -> None:
    with pytest.raises(LimitError, match=r"^net: MemoryError"):
        trace(HUNGRY, Limits(bytes=1 << 29))
    assert trace(PLAIN).num_params


def test_a_network_that_ends_its_process_is_an_error() -> None:
    deep = "import torch\ndef f(x):\n    return [f(x)]\n" + PLAIN.replace(
        "        super().__init__()\n", "        f(0)\n"
    )
    with pytest.raises(TraceError, match=r"^net: (RecursionError|no answer)"):
        trace(deep)
    assert trace(PLAIN).num_params


def test_a_restricted_process_can_only_read_and_compute(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    command = [sys.executable, "-c", ATTEMPTS, str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    outcomes = dict(line.split(": ", 1) for line in found.stdout.splitlines())
    assert outcomes.pop("read") == "done"
    assert len(outcomes) == 13
    assert all(outcome.startswith("networks may not ") for outcome in outcomes.values()), outcomes
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old"
