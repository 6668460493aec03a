"""Run by test_training.py: kill the training of a supernet at every step and at every checkpoint that it writes.

Each time it is called again, and must end with the bytes of the checkpoint of a run that was not killed. Prints how
many runs were killed.
"""

import os
import sys
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, os.getcwd())
from killed_children import dies
from one_shot_samples import digits, tiny

from search.one_shot import train, training_run

MOMENTS = ((training_run, "weight_gradient"), (os, "replace"))  # every gradient and write


def act(path: Path) -> None:
    """What is interrupted."""
    torch.set_num_threads(1)
    halves = digits(32).split()
    train(tiny(channels=2), *halves, steps=3, batch=4, path=path, checkpoint_every=2, progress=False, device="cpu")


def main(folder: Path) -> None:
    """Kill at each moment until the training survives."""
    act(folder / "whole")
    moment = 0
    while dies(partial(act, folder / f"{moment}"), MOMENTS, moment):
        act(folder / f"{moment}")
        assert (folder / f"{moment}").read_bytes() == (folder / "whole").read_bytes(), f"other bits at moment {moment}"
        moment += 1
    print(moment)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
