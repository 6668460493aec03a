"""The command line with strange words, files, streams and terminals: one line, no traceback, a fitting exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cgir.cli import main as entry
from cgir.cli.main import main
from cgir.graph import Graph
from cgir.interrupts import Terminated
from frontends import spaces

SPACE = spaces.get("nasbench201")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a graph, lists and things that are no files."""
    monkeypatch.chdir(tmp_path)
    graph().save("g.json")
    Path("loop").write_text("@loop\n")
    Path("binary").write_bytes(b"\xff\xfe\n")
    Path("folder").mkdir()
    return tmp_path


def graph() -> Graph:
    return SPACE.graph(SPACE.sample(np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "@loop"], "lists in lists"),
        (["predict", "@binary"], "not a text in UTF-8"),
        (["predict", "@folder"], "Is a directory"),
        (["predict", "@missing"], "No such file"),
        (["predict", "@/dev/zero"], "more than"),
        (["show", "g.json", "--html", ""], ".: is a folder; expected a file to write"),
        (["show", "g.json", "--svg", "folder"], "folder: is a folder"),
        (["show", "g.json", "--svg", "missing/x"], "missing/x: there is no folder missing"),
        (["show", "a\nb"], r"'a\nb' does not name"),
        (["show", "\0"], "NUL"),
        (["show", "\ud800"], "surrogates"),
        (["show", "\x1b[2J"], r"\x1b[2J"),
        (["trace", "x", "--input-shape", "1" + "0" * 30], "2^63 elements"),
        (["trace", "x", "--input-shape", "1099511627776,1099511627776"], "2^63 elements"),
        (["show", "g.json", "--depth", "1" + "0" * 30], "too large"),
        (["pretrain", "folder", "-o", "x", "--steps", "nan"], "no whole number"),
        (["pretrain", "a\x1bb", "-o", "x"], r"a\x1bb"),
    ],
)
def test_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(words)
    except SystemExit as end:
        status = int(str(end.code))
    errors = capsys.readouterr().err
    assert status == 2
    assert "Traceback" not in errors
    assert said in (last := errors.splitlines()[-1])
    assert last.isprintable()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyError("a\nb"), 1, "cgir: internal error: KeyError: 'a\\nb' (run again with --debug for the traceback"),
        (RecursionError("deep"), 1, "cgir: internal error: RecursionError: deep"),
        (MemoryError(), 1, "cgir: internal error: MemoryError"),
        (KeyboardInterrupt(), 130, "cgir: interrupted"),
        (Terminated("saved"), 143, "cgir: interrupted: saved"),
        (BrokenPipeError(), 0, ""),
        (OSError(28, "No space left on device", "a\x1bb"), 2, "cgir: a\\x1bb: No space left on device"),
    ],
)
def test_whatever_is_raised(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(entry, "_run", fail)
    monkeypatch.setattr(entry, "discard_output", lambda: None)
    assert main(["show", "g.json"]) == status
    assert capsys.readouterr().err.startswith(said)
    if status in (1, 2):
        assert main(["--debug", "show", "g.json"]) == status
        assert "Traceback (most recent call last)" in capsys.readouterr().err


def run(code: str, **how: Any) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", f"import sys; from cgir.cli.main import main; {code}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **how.pop("env", {})}
    return subprocess.run(words, stderr=subprocess.PIPE, text=True, env=environment, timeout=120, **how)


def test_any_terminal() -> None:
    """One that takes ASCII only; one that is gone; one that is full; none; and one that is closed early."""
    Graph((*graph().nodes,), "\u00d7\u202e", "module", ()).save("strange.json")
    show = "sys.exit(main(['show', 'strange.json', '--report']))"
    ascii_only = run(show, env={"PYTHONIOENCODING": "ascii"}, stdout=subprocess.PIPE)
    assert (ascii_only.returncode, ascii_only.stderr) == (0, "")
    assert "\\xd7\\u202e" in ascii_only.stdout
    with open("/dev/full", "w") as full:
        done = run(show, stdout=full)
    assert (done.returncode, done.stderr) == (2, "cgir: [Errno 28] No space left on device\n")
    closed = run(f"import os; os.close(1); sys.stdout = None; {show}", stdout=subprocess.PIPE)
    assert (closed.returncode, closed.stderr) == (0, "")
    read, write = os.pipe()
    os.close(read)
    gone = run(show, stdout=write)
    os.close(write)
    assert (gone.returncode, gone.stderr) == (0, "")


def test_sigterm_ends_a_command_with_a_line() -> None:
    code = "import os, signal, cgir.cli.show as s; s.load_or_trace = lambda *_: os.kill(os.getpid(), signal.SIGTERM)"
    done = run(f"{code}; sys.exit(main(['show', 'g.json']))")
    assert (done.returncode, done.stderr) == (143, "cgir: interrupted\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
