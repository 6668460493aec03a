"""ImageNet from folders, prepared as Once-for-All's authors do it, with Pillow alone: `cgir[images]`.

Validation: the shorter side is resized to ceil(r / 0.875), the middle r x r is kept. Training, on which BatchNorm's
statistics are taken: a random part of 8 to 100 % of the area, resized to r x r, half of them mirrored, brightness by up
to an eighth and saturation by up to a half up or down. Files are in the order of torchvision's `ImageFolder`.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cgir.errors import CgirError, FileFormatError, one_line

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of random parts: share of the image, width to height
BRIGHTNESS, SATURATION = 32 / 255, 0.5
ATTEMPTS = 10  # at a random part that fits
AHEAD = 2  # batches that are read while the network computes


class Labelled(NamedTuple):
    """One image file and its class, from 0."""

    path: Path
    label: int


def image_files(folder: Path) -> list[Path]:
    """All images below a folder: classes in the order of their names, then files in the order of theirs.

    Raises:
        CgirError: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise CgirError(f"{folder}: no such folder; expected one with a folder of images for each class")
    found = sorted(
        Path(root, name)
        for root, _, names in os.walk(folder, followlinks=True)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    )
    if not found:
        raise CgirError(f"{folder}: no image below it; expected files such as {', '.join(sorted(SUFFIXES)[:4])}")
    return found


def labelled_images(folder: Path, classes: int, labels: Path | None = None) -> list[Labelled]:
    """The images of a validation folder with their classes.

    Args:
        folder: with a folder for each class, whose sorted names are the classes 0, 1, ...; or of images, with `labels`.
        classes: how many there are.
        labels: a file with a line "NAME NUMBER" for each image, numbers from 0 in the order of ImageNet's sorted names
            of classes (n01440764 is 0). The order of the development kit's ILSVRC2012_ID is another.

    Raises:
        CgirError: no such folder, another number of classes, or an image without label.
    """
    paths = image_files(folder)
    if labels is not None:
        numbers = _read_labels(labels, classes)
        if missing := [path.name for path in paths if path.name not in numbers]:
            raise CgirError(f"{labels}: no label of {missing[0]} and {len(missing) - 1} other images of {folder}")
        return [Labelled(path, numbers[path.name]) for path in paths]
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) != classes:
        raise CgirError(
            f"{folder}: {len(names)} folders of classes; expected the supernet's {classes}, or all images in one "
            "folder and --labels FILE"
        )
    number = {name: index for index, name in enumerate(names)}
    return [Labelled(path, number[path.relative_to(folder).parts[0]]) for path in paths if path.parent != folder]


def _read_labels(file: Path, classes: int) -> dict[str, int]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CgirError(f"{file}: cannot be read ({one_line(error, 80)})") from error
    numbers = {}
    for index, words in enumerate(map(str.split, lines), 1):
        if words and not (len(words) == 2 and words[1].isdecimal() and int(words[1]) < classes):
            raise FileFormatError(
                f"{file}: line {index} is {' '.join(words)[:60]!r}; expected the name of an image and a number "
                f"from 0 to {classes - 1}"
            )
        if words:
            numbers[Path(words[0]).name] = int(words[1])
    return numbers


def digest(images: Iterable[Labelled], folder: Path) -> str:
    """SHA-256 of names and classes, by which an interrupted measurement knows its images again."""
    lines = (f"{image.path.relative_to(folder).as_posix()} {image.label}\n" for image in images)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def validation_crop(image: Image, size: int) -> Image:
    """The middle of an image after resizing, `size` x `size`."""
    from PIL.Image import Resampling

    shorter = math.ceil(size / 0.875)
    width, height = image.size
    scaled = (shorter, int(shorter * height / width)) if width <= height else (int(shorter * width / height), shorter)
    image = image.resize(scaled, Resampling.BILINEAR)
    left, top = (round((length - size) / 2) for length in image.size)
    return image.crop((left, top, left + size, top + size))


def training_crop(image: Image, size: int, rng: np.random.Generator) -> Image:
    """A random part of an image with random brightness and saturation, `size` x `size`."""
    from PIL import ImageEnhance
    from PIL.Image import Resampling, Transpose

    box = _random_box(*image.size, rng)
    image = image.crop(box).resize((size, size), Resampling.BILINEAR)
    if rng.random() < 0.5:
        image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
    changes = (
        (ImageEnhance.Brightness, rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)),
        (ImageEnhance.Color, rng.uniform(1 - SATURATION, 1 + SATURATION)),
    )
    for change, factor in changes if rng.random() < 0.5 else changes[::-1]:
        image = change(image).enhance(factor)
    return image


def _random_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a random part; of an image too narrow or flat for it, the middle."""
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*AREA)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def read_image(path: Path, prepare: Callable[[Image], Image]) -> Tensor:
    """An image file, prepared: (3, height, width) uint8.

    Raises:
        CgirError: pillow is missing.
        FileFormatError: the file is damaged, or no image.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise CgirError("images are read by pillow: pip install 'cgir[images]'") from error
    try:
        with Image.open(path) as image:
            pixels = np.array(prepare(image.convert("RGB")))
    except Exception as error:  # whatever pillow raises on damaged bytes
        raise FileFormatError(f"{path}: cannot be read as an image ({one_line(error, 80)})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def normalized(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> float32, with ImageNet's mean and standard deviation of each channel taken out."""
    mean, std = (pixels.new_tensor(values, dtype=torch.float32)[:, None, None] for values in (MEAN, STD))
    return (pixels / 255 - mean) / std


def batches(reads: Sequence[Callable[[], Tensor]], size: int, workers: int, device: torch.device) -> Iterator[Tensor]:
    """Normalized batches (B, 3, H, W) on the device, in order; threads read ahead.

    Args:
        reads: one function for each image, which returns (3, H, W) uint8.
        size: of a batch; the last may be smaller.
        workers: threads.
        device: of the result.
    """
    parts = (reads[start : start + size] for start in range(0, len(reads), size))
    with ThreadPoolExecutor(workers) as pool:
        submitted = ([pool.submit(read) for read in part] for part in parts)
        waiting: list[list[Future[Tensor]]] = list(islice(submitted, AHEAD))
        try:
            while waiting:
                images = torch.stack([future.result() for future in waiting.pop(0)])
                waiting += islice(submitted, 1)
                yield normalized(images.to(device))
        finally:
            for future in chain(*waiting):
                future.cancel()
