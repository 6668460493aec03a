"""Accuracy of Once-for-All networks: BatchNorm recalibrated on training images, validation images classified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cgir.errors import CgirError
from encoders.engine.devices import as_device
from examples.papers import ofa_images
from examples.papers.ofa_images import Labelled
from examples.papers.ofa_supernet import Supernet, read_supernet, subnet
from frontends.spaces.mbconv.ofa_mbv3 import Spec

TOP1, TOP5, IMAGES = "imagenet_val_top1", "imagenet_val_top5", "n_val_images"
COLUMNS = (TOP1, TOP5, IMAGES, "resolution", "seconds")
STATISTICS_IMAGES, BATCH = 2000, 200  # the authors' `RunManager.reset_running_statistics`
STATISTICS_SEED = 937162211  # the authors' `DataProvider.SUB_SEED`: of the 2,000 images


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the statistics of every BatchNorm to averages over batches, as the authors' `set_running_statistics` does.

    Of each batch the mean and the variance (divided by the number of values) of a layer's input count as many times as
    the batch has images; the layer then normalizes by these two themselves, so that the next one sees what it will see.
    """
    totals: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    count = 0

    def take(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        [x] = inputs
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        layer.get_buffer("running_mean").copy_(mean)
        layer.get_buffer("running_var").copy_(variance)
        total = totals.setdefault(layer, (torch.zeros_like(mean), torch.zeros_like(mean)))
        total[0].add_(mean, alpha=len(x))
        total[1].add_(variance, alpha=len(x))

    hooks = [layer.register_forward_pre_hook(take) for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    try:
        network.eval()
        for batch in batches:
            network(batch)
            count += len(batch)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, (mean, variance) in totals.items():
        layer.get_buffer("running_mean").copy_(mean / count)
        layer.get_buffer("running_var").copy_(variance / count)


@torch.inference_mode()
def accuracy(network: nn.Module, batches: Iterable[Tensor], labels: Tensor) -> tuple[float, float]:
    """Share of images, in percent, whose class has the highest output, and one of the five highest.

    Args:
        network: images -> logits (B, classes); in evaluation mode.
        batches: of images, in the order of the labels.
        labels: (N,) int64.
    """
    right = torch.zeros(2)
    start = 0
    for batch in batches:
        logits = network(batch).cpu()
        expected = labels[start : start + len(batch), None]
        best = logits.topk(min(5, logits.shape[1])).indices == expected
        right += torch.tensor([best[:, :1].sum(), best.sum()])
        start += len(batch)
    top1, top5 = (100 * right / len(labels)).tolist()
    return top1, top5


@dataclass(frozen=True)
class Measurement:
    """What a network is measured with; `measurement(spec)[TOP1]` is an answer to a search.

    Attributes:
        supernet: where the weights come from.
        train: images that BatchNorm's statistics are taken on.
        val: images that are classified.
        settings: what a table must share with this measurement to be continued by it.
        device: that computes.
        workers: threads that read images.
    """

    supernet: Supernet
    train: Sequence[Path]
    val: Sequence[Labelled]
    settings: dict[str, Any]
    device: torch.device
    workers: int

    def __call__(self, spec: Spec) -> dict[str, float]:
        """The columns of `COLUMNS` for one network."""
        start = perf_counter()
        network = subnet(spec, self.supernet).to(self.device)
        reads: list[Callable[[], Tensor]] = [
            partial(_training_image, path, spec.r, index) for index, path in enumerate(self.train)
        ]
        recalibrate(network, self._batches(reads, "BatchNorm"))
        reads = [
            partial(ofa_images.read_image, path, partial(ofa_images.validation_crop, size=spec.r))
            for path, _ in self.val
        ]
        labels = torch.tensor([image.label for image in self.val])
        top1, top5 = accuracy(network, self._batches(reads, "validation"), labels)
        values = (top1, top5, len(self.val), spec.r, perf_counter() - start)
        return dict(zip(COLUMNS, values, strict=True))

    def _batches(self, reads: Sequence[Callable[[], Tensor]], name: str) -> Iterator[Tensor]:
        with tqdm(total=len(reads), desc=name, unit="image", leave=False, disable=None) as bar:
            for batch in ofa_images.batches(reads, BATCH, self.workers, self.device):
                yield batch
                bar.update(len(batch))


def _training_image(path: Path, size: int, index: int) -> Tensor:
    """The same random part for every network: the seed is the image's place among those drawn."""
    rng = np.random.default_rng((STATISTICS_SEED, index))
    return ofa_images.read_image(path, partial(ofa_images.training_crop, size=size, rng=rng))


def measurement(
    weights: Path,
    imagenet: Path,
    *,
    labels: Path | None = None,
    images: int | None = None,
    device: str = "auto",
    workers: int = 8,
) -> Measurement:
    """Read the supernet and list the images.

    Args:
        weights: file of the supernet.
        imagenet: folder with `train` and `val`.
        labels: of the images in `val`, where these are not in folders of classes.
        images: of the validation set, drawn at random with a fixed seed; default all.
        device: "auto", "cpu" or "cuda".
        workers: threads that read images.
    """
    chosen_device = as_device(device)
    if workers < 1:
        raise CgirError(f"--workers {workers}; expected at least 1")
    supernet = read_supernet(weights)
    val = ofa_images.labelled_images(imagenet / "val", supernet.space.classes, labels)
    if images is not None:
        if not 0 < images <= len(val):
            raise CgirError(f"--images {images}; expected 1 to {len(val)}, the images in {imagenet / 'val'}")
        order = torch.randperm(len(val), generator=torch.Generator().manual_seed(0))
        val = [val[row] for row in sorted(order[:images].tolist())]
    train = ofa_images.image_files(imagenet / "train")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(STATISTICS_SEED))
    train = [train[row] for row in order[:STATISTICS_IMAGES].tolist()]
    settings = {
        "supernet": supernet.digest,
        "validation": ofa_images.digest(val, imagenet),
        "statistics": ofa_images.digest([Labelled(path, 0) for path in train], imagenet),
    }
    return Measurement(supernet, train, val, settings, chosen_device, workers)
