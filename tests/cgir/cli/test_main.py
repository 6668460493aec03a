"""The command line as a user meets it: help, version, one line for an error, exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_samples import run_cgir

import cgir
from cgir.cli.main import main


def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = run_cgir("--help").stdout
    assert "examples:" in text
    for command in ("trace", "show", "diff", "pretrain", "finetune", "predict", "explain", "latency", "demo"):
        assert command in text
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert f"usage: cgir {command}" in (found := capsys.readouterr().out)
        assert command != "trace" or found.count("  cgir trace ") == 2


def test_help_is_there_at_once() -> None:
    """No framework and no layer above the graphs is imported to print a help text."""
    higher = {"torch", "frontends", "encoders", "contrastive", "search", "sklearn", "scipy.stats", "scipy.optimize"}
    code = "import sys; from cgir.cli.main import build_parser; build_parser().format_help(); "
    code += f"print(*{higher} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_a_damaged_graph_is_one_line_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / "damaged.json"
    path.write_text('{"format": "cgir-graph", "ver')
    done = run_cgir("show", str(path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "damaged.json" in done.stderr
    assert "Traceback" in run_cgir("--debug", "show", str(path)).stderr


PASSIVE = """
from contextlib import suppress
from cgir.cli.main import main
with suppress(SystemExit):
    main(["--version"])
import torch
"""


@pytest.mark.parametrize("users", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "77"}], ids=str)
def test_threads_wait_passively_unless_the_user_says_otherwise(users: dict[str, str]) -> None:
    """As the library of threads itself says when PyTorch loads it."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    environment |= users | {"OMP_DISPLAY_ENV": "VERBOSE"}
    command = [sys.executable, "-c", PASSIVE]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    wanted = users or {"OMP_WAIT_POLICY": "PASSIVE"}
    for name, value in wanted.items():
        assert f"{name} = '{value}'" in told


def test_version() -> None:
    assert run_cgir("--version").stdout == f"cgir {cgir.__version__}\n"


def test_a_wrong_argument_is_one_line_that_leads_to_the_help() -> None:
    done = run_cgir("pretrain", "x", "-o", "y", "--steps", "0")
    assert done.returncode == 2
    message = "argument --steps: '0' is no whole number of 1 or more (see cgir pretrain --help)"
    assert done.stderr == f"cgir pretrain: error: {message}\n"
    assert run_cgir("tables", "graphs").stderr.endswith(": name, -o/--output (see cgir tables graphs --help)\n")
    assert run_cgir().stderr == "cgir: error: the following arguments are required: COMMAND (see cgir --help)\n"
