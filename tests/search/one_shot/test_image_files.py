"""Images of the user's own in an .npz file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch

from cgir.errors import CgirError, FileFormatError
from search.one_shot import load_images
from search.one_shot.image_files import read_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 12), dtype=np.uint8)
LABELS = np.arange(20) % 4


def write(path: Path, **arrays: Any) -> str:
    np.savez(path, **{"images": IMAGES, "labels": LABELS} | arrays)
    return str(path)


def test_channels_are_standardised_and_nothing_else(tmp_path: Path) -> None:
    flat = IMAGES.copy()
    flat[:, 1] = 7  # a channel without a picture
    images = load_images(write(tmp_path / "mine.npz", images=flat))
    expected = (flat - flat.mean((0, 2, 3), keepdims=True)) / np.maximum(flat.std((0, 2, 3), keepdims=True, ddof=1), 1)
    assert np.allclose(images.pixels, expected, atol=1e-5)
    assert torch.equal(images.labels, torch.from_numpy(LABELS))
    assert (images.shape, images.classes, images.augment) == ((3, 8, 12), 4, False)


def test_square_images_are_averaged(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz", images=IMAGES[..., :8].astype(np.float64))
    blocks = IMAGES[..., :8].reshape(20, 3, 2, 4, 2, 4).mean((3, 5))
    mean, std = blocks.mean((0, 2, 3), keepdims=True), blocks.std((0, 2, 3), keepdims=True, ddof=1)
    assert np.allclose(load_images(path, size=2).pixels, (blocks - mean) / std, atol=1e-5)
    with pytest.raises(CgirError, match=r"size=3; expected a divisor of 8$"):
        load_images(path, size=3)
    with pytest.raises(CgirError, match=r"size=4; expected none, as images are 8x12$"):
        load_images(write(tmp_path / "wide.npz"), size=4)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        pytest.param({"images": IMAGES[0]}, "images (3, 8, 12), uint8; expected numbers (N, channels", id="3 axes"),
        pytest.param({"images": IMAGES[:0], "labels": LABELS[:0]}, "images (0, 3, 8, 12), uint8; expected", id="empty"),
        pytest.param({"images": IMAGES.astype(str)}, "<U3; expected numbers", id="text"),
        pytest.param({"images": IMAGES.transpose(0, 2, 3, 1)}, "have channels last", id="channels last"),
        pytest.param({"images": IMAGES * np.float32("nan")}, "a pixel is not a finite number", id="nan"),
        pytest.param({"labels": LABELS[:5]}, "labels (5,), int64; expected (20,) whole numbers from 0", id="too few"),
        pytest.param({"labels": LABELS - 1}, "expected (20,) whole numbers from 0", id="negative"),
        pytest.param({"labels": LABELS / 2}, "labels (20,), float64; expected", id="fractions"),
        pytest.param({"images": np.array([{}] * 20)}, "cannot be read (Object arrays cannot be loaded", id="objects"),
    ],
)
def test_other_arrays_are_refused(arrays: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz", **arrays)
    with pytest.raises(CgirError, match=f"^{re.escape(path)}: .*{re.escape(complaint)}") as error:
        load_images(path)
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    missing, text, array = (str(tmp_path / f"{name}.npz") for name in ("missing", "text", "array"))
    Path(text).write_text("images")
    with Path(array).open("wb") as file:
        np.save(file, IMAGES)
    np.savez(tmp_path / "half.npz", images=IMAGES)
    for path, complaint in (
        (missing, "no such file"),
        (text, "cannot be read"),
        (array, "cannot be read"),
        (str(tmp_path / "half.npz"), "has images; expected images and labels"),
    ):
        with pytest.raises(CgirError, match=f"^{re.escape(path)}: {re.escape(complaint)}"):
            load_images(path)


def test_damaged_files_are_refused_whatever_breaks(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    packed, directory = path.read_bytes(), path.read_bytes().index(b"PK\1\2")
    np.savez(path, images=IMAGES, labels=LABELS)
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    damaged = [packed[:100] + bytes(100) + packed[200:]]  # zlib.error
    damaged += [packed[:place] + b"\x61" + packed[place + 1 :] for place in (directory + 8, directory + 10)]
    for old, new in ((b"\x93NUMPY", b"\x93NUMPI"), (b"'shape': (", b"'shape':  ")):  # bytes; tokenize.TokenError
        with ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content.replace(old, new))
        damaged.append(path.read_bytes())
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="cannot be read"):
            read_npz(path)


def test_labels_with_large_gaps_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, images=np.zeros((3, 1, 4, 4)), labels=np.array([0, 1, 10**9]))  # a classifier of 10^9 classes
    with pytest.raises(FileFormatError, match="labels up to 1000000000 for 3 images; expected classes"):
        read_npz(path)
