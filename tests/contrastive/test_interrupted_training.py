"""Trainings that are interrupted by Ctrl-C or SIGTERM keep their state, and say in one line where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cgir.atomic_files import locked
from cgir.errors import CgirError
from contrastive import PretrainConfig, pretrain
from contrastive.pretraining import LOCK
from encoders import EncoderConfig
from encoders.models.checkpoints import read_tensors

HELPERS = Path(__file__).parents[1] / "helpers"
STATE = Path("run") / "state.safetensors"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder, and what each run of the helper did."""
    root = tmp_path_factory.mktemp("interrupted")
    words = [sys.executable, str(HELPERS / "interrupted_training.py"), str(root)]
    environment = {**os.environ, "PYTHONPATH": f"{HELPERS}:{os.getcwd()}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return root, json.loads(done.stdout.splitlines()[-1])


def step_of(path: Path) -> int:
    return int(read_tensors(path, "pretraining")[1]["step"])


@pytest.mark.parametrize(("name", "code"), [("command-int", 130), ("command-term", 143)])
def test_a_command_saves_and_says_where(runs: tuple[Path, dict[str, Any]], name: str, code: int) -> None:
    root, found = runs
    assert found[name]["code"] == code
    line = found[name]["said"].splitlines()[-1]  # the others are the bar
    state = root / name / STATE
    assert line == (
        f"cgir: interrupted: pretraining stopped at step 3 of 12; its state is in {state}, and the same call or "
        "command goes on from there"
    )
    assert step_of(state) == 3
    assert sorted(os.listdir(root / name / "run")) == ["state.safetensors"]


def test_a_caller_gets_the_interruption_after_the_state_is_saved(runs: tuple[Path, dict[str, Any]]) -> None:
    root, found = runs
    assert found["library-int"]["code"] == 77
    assert found["library-int"]["said"].startswith("pretraining stopped at step 3 of 12; its state is in ")
    assert found["library-term"]["code"] == 143  # it died of the signal, and said where the state is
    assert "pretraining stopped at step 3" in found["library-term"]["said"]
    assert step_of(root / "library-term" / STATE) == 3
    assert (root / "library-int" / STATE).read_bytes() == (root / "straight" / STATE).read_bytes()


def test_a_second_interruption_does_not_wait(runs: tuple[Path, dict[str, Any]]) -> None:
    root, found = runs
    assert found["twice"]["code"] == 77
    assert found["twice"]["seconds"] < 4
    assert not (root / "twice" / STATE).exists()


def test_a_handler_of_the_program_stays(runs: tuple[Path, dict[str, Any]]) -> None:
    root, found = runs
    assert found["own"]["code"] == 0
    assert found["own"]["said"] == "mine\n"
    assert step_of(root / "own" / STATE) == 12


def test_the_training_of_a_supernet(runs: tuple[Path, dict[str, Any]]) -> None:
    root, found = runs
    assert found["supernet-int"]["code"] == 77
    assert "training stopped at step 3 of 12" in found["supernet-int"]["said"]
    assert (root / "supernet-int" / STATE).read_bytes() == (root / "supernet" / STATE).read_bytes()
    assert os.listdir(root / "supernet-int" / "run") == ["state.safetensors"]


def test_a_run_folder_has_one_writer(tmp_path: Path) -> None:
    config = PretrainConfig.paper(steps=1, batch=8, projection=4, encoder=EncoderConfig(width=8, layers=1))
    from encoders_samples import random_cnns

    with locked(tmp_path / LOCK, tmp_path), pytest.raises(CgirError, match="another process is writing to it"):
        pretrain(random_cnns(10), config, run_dir=tmp_path, progress=False)
    pretrain(random_cnns(10), config, run_dir=tmp_path, progress=False)
    assert sorted(os.listdir(tmp_path)) == ["encoder.safetensors", "state.safetensors"]
