"""Labelled images that supernets are trained and judged on."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from cgir.errors import CgirError, FileFormatError, one_line
from search.seeds import check_seed

from .arguments import check_types
from .image_files import read_npz

NAMES = ("digits", "cifar10")


@dataclass(frozen=True)
class Images:
    """Images and their labels, on the CPU.

    Args:
        pixels: (N, C, H, W) float32, each channel with mean 0 and standard deviation 1.
        labels: (N,) int64, from 0.
        classes: number of classes.
        augment: whether `draw` shifts by up to an eighth of the size and mirrors.
        name: in messages.

    Raises:
        CgirError: shapes, types or labels do not fit together.
    """

    pixels: Tensor
    labels: Tensor
    classes: int
    augment: bool = False
    name: str = "images"

    def __post_init__(self) -> None:
        for what, tensor in (("pixels", self.pixels), ("labels", self.labels)):
            if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
                raise CgirError(f"{self.name}: {what} are a {type(tensor).__name__}; expected a dense torch.Tensor")
            if tensor.device.type != "cpu":
                raise CgirError(f"{self.name}: on {tensor.device}; expected the CPU, from which batches are copied")
        if type(self.classes) is not int:
            raise CgirError(f"{self.name}: classes={self.classes!r}; expected a whole number")
        if self.pixels.dim() != 4 or self.pixels.dtype != torch.float32 or not self.pixels.numel():
            raise CgirError(
                f"{self.name}: pixels of shape {tuple(self.pixels.shape)}, {self.pixels.dtype}; "
                "expected (N, channels, height, width), torch.float32"
            )
        if self.labels.shape != (len(self.pixels),) or self.labels.dtype != torch.int64:
            raise CgirError(
                f"{self.name}: labels of shape {tuple(self.labels.shape)}, {self.labels.dtype} "
                f"for {len(self.pixels)} images; expected ({len(self.pixels)},), torch.int64"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= self.classes:
            raise CgirError(f"{self.name}: labels {low} to {high}; expected 0 to {self.classes - 1}")
        if not bool(torch.isfinite(self.pixels).all()):
            raise CgirError(f"{self.name}: a pixel is not a finite number; expected finite float32")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def select(self, rows: Tensor) -> Images:
        """The images at `rows`, in that order."""
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows])

    def split(self, seed: int = 0, share: float = 0.5) -> tuple[Images, Images]:
        """Two disjoint random parts, the first with `share` of the images.

        DARTS trains weights on one half and architecture parameters on the other (Liu et al. 2019, section 3.1).
        """
        check_seed(f"{self.name}.split", seed)
        check_types(f"{self.name}.split", {"share": share}, {"share": 0.5})
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        cut = round(len(self) * share) if 0 < share < 1 else 0
        if not 0 < cut < len(self):
            raise CgirError(f"{self.name}: share={share} of {len(self)} images leaves one part empty")
        return self.select(order[:cut]), self.select(order[cut:])

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` random images (count, C, H, W), with replacement, augmented if the set is; their labels (count,)."""
        rows = torch.randint(len(self), (count,), generator=generator)
        pixels = self.pixels[rows]
        return (_augmented(pixels, generator) if self.augment else pixels), self.labels[rows]


def load_images(
    name: str | PathLike[str], size: int | None = None, folder: str | PathLike[str] | None = None
) -> Images:
    """The training images of a known set, or those in an .npz file.

    "digits" are scikit-learn's 1,797 handwritten digits, (1, 8, 8), which need no download. "cifar10" are the 50,000
    training images of CIFAR-10, (3, 32, 32), from `cifar10/train.parquet` in the layout of Hugging Face (columns `img`
    and `label`); drawn images are augmented. A file has the arrays that `image_files.read_npz` describes.

    Args:
        name: one of `NAMES`, or a file that ends in .npz.
        size: height and width to which images are averaged; a divisor of theirs. Default: theirs.
        folder: that has the folder `cifar10`; default the environment variable CGIR_DATA.

    Raises:
        CgirError: an unknown name, no such file, a size that does not divide, or pillow is missing.
        FileFormatError: the file cannot be read, lacks an array, or one is of another shape or type.
    """
    name = os.fspath(name)
    if name.endswith(".npz"):
        pixels, labels = read_npz(name)
    elif name in NAMES:
        pixels, labels = _digits() if name == "digits" else _cifar10(folder)
    else:
        raise CgirError(f"no images are called {name!r}; there are {', '.join(NAMES)}, and files .npz")
    pixels = _averaged(pixels, size, name)
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
    pixels = (pixels - mean) / std.masked_fill(std == 0, 1)  # a channel without a picture becomes 0
    return Images(pixels, labels, int(labels.max()) + 1, augment=name == "cifar10", name=name)


def _averaged(pixels: Tensor, size: int | None, name: str) -> Tensor:
    height, width = pixels.shape[2:]
    if size is None or size == height == width:
        return pixels
    if type(size) is not int or size < 1 or height != width or height % size:
        side = f"a divisor of {height}" if height == width else f"none, as images are {height}x{width}"
        raise CgirError(f"{name}: size={size!r}; expected {side}")
    return F.avg_pool2d(pixels, height // size)


def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(labels, dtype=torch.int64)


def _cifar10(folder: str | PathLike[str] | None) -> tuple[Tensor, Tensor]:
    import pyarrow.parquet as pq

    root = folder if folder is not None else os.environ.get("CGIR_DATA")
    path = None if root is None else Path(root, "cifar10", "train.parquet")
    if path is None or not path.is_file():
        raise CgirError(
            f"cifar10: {'CGIR_DATA is not set' if path is None else f'{path}: no such file'}; "
            "expected a folder with cifar10/train.parquet (columns img and label); the set 'digits' needs none"
        )
    try:
        from PIL import Image
    except ImportError as error:
        raise CgirError(
            "cifar10: its images are PNG or JPEG files, which pillow reads: pip install 'cgir[images]'"
        ) from error
    try:
        table = pq.read_table(path, columns=["img", "label"])
        files = tqdm(table["img"].to_pylist(), desc="cifar10", unit="image", leave=False, disable=None)
        pictures = [Image.open(BytesIO(file["bytes"])).convert("RGB") for file in files]
        pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        labels = torch.tensor(table["label"].to_pylist())
    except Exception as error:  # whatever PyArrow and pillow raise on another table or damaged bytes
        raise FileFormatError(
            f"{path}: cannot be read ({one_line(error, 100)}); expected columns img (with bytes) and label"
        ) from error
    return pixels.permute(0, 3, 1, 2).float().contiguous(), labels


def _augmented(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to an eighth of its size, filled up with zeros, half of them mirrored."""
    count, _, height, width = pixels.shape
    pad = max(1, height // 8)
    padded = F.pad(pixels, (pad, pad, pad, pad))
    down, right = torch.randint(2 * pad + 1, (2, count), generator=generator)
    mirrored = torch.randint(2, (count,), generator=generator).bool()
    rows = (down[:, None] + torch.arange(height))[:, None, :, None]
    columns = torch.where(mirrored[:, None], torch.arange(width - 1, -1, -1), torch.arange(width)) + right[:, None]
    index = torch.arange(count)[:, None, None, None], torch.arange(pixels.shape[1])[:, None, None]
    return padded[index[0], index[1], rows, columns[:, None, None, :]]
