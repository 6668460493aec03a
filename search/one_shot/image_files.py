"""`read_npz`: labelled images of your own, in a file that NumPy writes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cgir.errors import CgirError, FileFormatError, one_line
from cgir.typing import AnyArray

ARRAYS = ("images", "labels")
MOST_CHANNELS = 4  # of images that may have been saved with channels last


def read_npz(path: str | PathLike[str]) -> tuple[Tensor, Tensor]:
    """The arrays `images` and `labels` of a file that `numpy.savez` wrote; nothing in it is run.

    Args:
        path: of the file.

    Returns:
        Images (N, channels, height, width) float32, with the values they have; labels (N,) int64, from 0.

    Raises:
        CgirError: no such file.
        FileFormatError: the file lacks an array, or one is of another shape or type.
    """
    if not Path(path).is_file():
        raise CgirError(f"{path}: no such file; `numpy.savez` writes one, with the arrays images and labels")
    images, labels = _arrays(path)
    if images.dtype.kind not in "fiu" or images.ndim != 4 or 0 in images.shape:
        raise FileFormatError(
            f"{path}: images {images.shape}, {images.dtype}; expected numbers (N, channels, height, width)"
        )
    if images.shape[3] <= MOST_CHANNELS < images.shape[1]:
        raise FileFormatError(
            f"{path}: images {images.shape} have channels last; expected (N, channels, height, width): "
            "save np.moveaxis(images, 3, 1)"
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min() < 0:
        raise FileFormatError(
            f"{path}: labels {labels.shape}, {labels.dtype}; expected {images.shape[:1]} whole numbers from 0"
        )
    if int(labels.max()) >= len(labels):
        raise FileFormatError(
            f"{path}: labels up to {labels.max()} for {len(labels)} images; "
            "expected classes that are numbered from 0, without gaps"
        )
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))


def _arrays(path: str | PathLike[str]) -> list[AnyArray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file]
            if missing:
                raise FileFormatError(f"{path}: has {', '.join(file) or 'no array'}; expected images and labels")
            arrays = [file[name] for name in ARRAYS]
            if not all(isinstance(array, np.ndarray) for array in arrays):  # NumPy gives other members as bytes
                raise TypeError("a member is no array")
            return arrays
    except FileFormatError:
        raise
    except Exception as error:  # whatever zipfile, zlib and NumPy's parser raise on damaged bytes
        raise FileFormatError(
            f"{path}: cannot be read ({one_line(error, 100)}); write it with numpy.savez(path, images=..., labels=...)"
        ) from error
