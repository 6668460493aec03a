"""Run by test_interrupted_training.py: pretraining and the training of a supernet, interrupted by real signals.

Each run is a copy of this process, which gets its signals in its third step. Prints a JSON object: for each run its
exit status as a shell sees it, what it said, and the seconds that it took to end.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, os.getcwd())
from encoders_samples import random_cnns
from one_shot_samples import digits, tiny

import contrastive
from cgir.cli.main import main
from cgir.store import GraphStore
from contrastive.pretraining import PretrainingRun
from encoders import EncoderConfig
from search.one_shot import train
from search.one_shot.training_run import TrainingRun

STEPS = 12
SLOW = 5.0  # seconds of the third step
CONFIG = contrastive.PretrainConfig.paper(steps=STEPS, batch=8, projection=4, encoder=EncoderConfig(width=8, layers=1))
INT, TERM = int(signal.SIGINT), int(signal.SIGTERM)
GRAPHS = random_cnns(20)
FAMILIES = ["one", "other"] * 10  # of one alone it warns


def pretrain(folder: Path, steps: int = STEPS) -> None:
    """As a library, whose caller sees the exception."""
    config = contrastive.PretrainConfig(**{**CONFIG.__dict__, "steps": steps})
    try:
        contrastive.pretrain(GRAPHS, config, FAMILIES, run_dir=folder / "run", progress=False)
    except KeyboardInterrupt as error:
        print(error, file=sys.stderr)
        os._exit(77)


def command(folder: Path) -> None:
    """As a command."""
    words = ["pretrain", str(folder / "store"), "-o", str(folder / "run"), "--batch", "8", "--steps", str(STEPS)]
    os._exit(main(words))


def supernet(folder: Path) -> None:
    """The training of a supernet."""
    path = folder / "run" / "state.safetensors"
    try:
        train(tiny(channels=2), *digits(32).split(), steps=STEPS, batch=4, path=path, progress=False, device="cpu")
    except KeyboardInterrupt as error:
        print(error, file=sys.stderr)
        os._exit(77)


def own_handler(folder: Path) -> None:
    """A program with a handler of its own for one of the signals."""
    signal.signal(signal.SIGTERM, lambda number, frame: print("mine", file=sys.stderr, flush=True))
    pretrain(folder)


def interrupted(act: Callable[[Path], None], folder: Path, numbers: list[int], seconds: float = 0.2) -> dict:
    """Send signals, 1.2 seconds apart, to a copy of this process in its third step, which takes some seconds."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for run in (PretrainingRun, TrainingRun):
            _announce(run, write, seconds)
        act(folder)
        os._exit(0)
    os.read(read, 1)
    start = time.monotonic()
    for index, number in enumerate(numbers):
        time.sleep(1.2 * bool(index))
        os.kill(child, number)
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - start
    return {"code": code if code >= 0 else 128 - code, "said": (folder / "stderr").read_text(), "seconds": took}


def _announce(run: type, write: int, seconds: float) -> None:
    advance = run.advance

    def announced(self, *args):
        if self.step == 2:
            os.write(write, b"x")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.05)
        return advance(self, *args)

    run.advance = announced


def run_all(root: Path) -> dict:
    """All runs by name."""
    torch.set_num_threads(1)
    found = {}
    cases = {
        "command-int": (command, [INT]), "command-term": (command, [TERM]), "library-int": (pretrain, [INT]),
        "library-term": (pretrain, [TERM]), "twice": (pretrain, [INT, INT], SLOW), "own": (own_handler, [TERM]),
        "supernet-int": (supernet, [INT]),
    }  # fmt: skip
    for name, (act, *how) in cases.items():
        (folder := root / name).mkdir()
        GraphStore.write(folder / "store", GRAPHS, family=FAMILIES)
        found[name] = interrupted(act, folder, *how)
    for name, act in (("library-int", pretrain), ("straight", pretrain), ("supernet-int", supernet)):
        (root / name).mkdir(exist_ok=True)
        act(root / name)
    (root / "supernet").mkdir()
    supernet(root / "supernet")
    return found


if __name__ == "__main__":
    print(json.dumps(run_all(Path(sys.argv[1]))))
