"""A supernet and an ImageNet of a few bytes, on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ofa_dynamic import DynamicSupernet
from PIL import Image

WIDTHS = (8, 8, 8, 16, 16, 24, 16, 24, 32)
CLASSES = 5


def write_imagenet(folder: Path) -> Path:
    """`train` with three images of each of five classes, `val` with two, of several shapes; and a file `supernet`."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 3), ("val", 2)):
        for label in range(CLASSES):
            (folder / part / f"n0{label}").mkdir(parents=True)
            for number in range(count):
                shape = (*rng.integers(30, 60, 2), 3)
                pixels = rng.integers(0, 256, shape, np.uint8)
                Image.fromarray(pixels).save(folder / part / f"n0{label}" / f"{number}.png")
    torch.save({"state_dict": DynamicSupernet(WIDTHS, CLASSES, 3).state_dict()}, folder / "supernet")
    return folder
