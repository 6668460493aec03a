"""What `examples.papers.zero_cost` scores: networks of five labelled spaces at sizes for two cores, and images."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cgir.atomic_files import atomic_path
from cgir.typing import FloatArray, IntArray
from encoders import Predictor, load_pretrained
from encoders.features.graph_features import compute_features
from encoders.predictors.estimators import DEFAULT_TASK
from examples.papers.universal_families import METRICS, family
from examples.papers.universal_methods import features_of, taught
from frontends import spaces
from search.one_shot import load_images
from search.zero_cost.isolation import isolated

NETWORKS, BATCH, SEEDS = 300, 64, 5
TITLES = {
    "nasbench201": "NAS-Bench-201",
    "nasbench101": "NAS-Bench-101",
    "transnas_micro": "TransNAS-Bench-101 micro",
    "nasbench_macro": "NAS-Bench-Macro",
    "darts": "DARTS",
}
# Height and width of the images, and the skeleton around the cells; whatever is not named is as published.
SIZES = {"nasbench201": 16, "nasbench101": 16, "transnas_micro": 64, "nasbench_macro": 16, "darts": 16}
SKELETONS: dict[str, dict[str, Any]] = {
    "nasbench201": {"channels": 16, "cells": 5},
    "nasbench101": {"channels": 16, "cells": 1},
    "transnas_micro": {"channels": 16, "cells": 1},
    "nasbench_macro": {"channels": 8, "head": 128},
    "darts": {"channels": 16, "layers": 5},
}
SHALLOW = {"nasbench201": {"channels": 8, "cells": 1}}  # those that dense regression trains
UNTAUGHT = "timm_imagenet"  # tracing its models takes longer than everything else here


class Sample(NamedTuple):
    """Networks of a family: rows in `family(name)`, specifications as text, labels (higher is better)."""

    rows: IntArray
    texts: tuple[str, ...]
    labels: FloatArray


def sample(name: str) -> Sample:
    """The 300 networks, or all where there are fewer, in a random order, so that the first are a smaller sample."""
    found = family(name)
    rows = np.random.default_rng(0).permutation(len(found.texts))[:NETWORKS]
    return Sample(rows, tuple(found.texts[row] for row in rows), found.labels[DEFAULT_TASK][rows])


def network(name: str, text: str, seed: int, shallow: bool = False) -> nn.Module:
    """A network newly initialised.

    Args:
        name: of the family.
        text: its specification.
        seed: of the weights.
        shallow: whether it has the skeleton of `SHALLOW`, if its family has one.
    """
    skeleton = SKELETONS[name] | (SHALLOW.get(name, {}) if shallow else {})
    space = spaces.get(name, **skeleton, image=(3, SIZES[name], SIZES[name]))
    with isolated(seed, torch.device("cpu")):
        module: nn.Module = space.module(space.parse(text))
    return module


@cache
def batches(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """For each seed 64 training images of CIFAR-10 (64, 3, 32, 32), not augmented, and their labels (64,).

    They are kept in the folder, as the whole set takes a while to read.
    """
    place = folder / "batches.npz"
    if not place.exists():
        images = load_images("cifar10")
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        chosen = images.select(order[: SEEDS * BATCH])
        with atomic_path(place) as temporary, temporary.open("wb") as file:
            np.savez(file, pixels=chosen.pixels.numpy(), labels=chosen.labels.numpy())
    with np.load(place, allow_pickle=False) as found:
        pixels, labels = torch.from_numpy(found["pixels"]), torch.from_numpy(found["labels"])
    return list(zip(torch.split(pixels, BATCH), torch.split(labels, BATCH), strict=True))


def resized(pixels: Tensor, size: int) -> Tensor:
    """Square images at another size: means of pixels, or pixels repeated."""
    full = pixels.shape[-1]
    if size <= full:
        return F.avg_pool2d(pixels, full // size)
    return pixels.repeat_interleave(size // full, 2).repeat_interleave(size // full, 3)


def without_labels(name: str, folder: Path) -> FloatArray:
    """Scores (networks,) of the sample by the encoder that comes with the package and heads of other families' labels.

    Heads of one seed, taught by all families but this one and timm; they are kept in the folder.
    """
    place = folder / f"taught-without-{name}"
    if not place.exists():
        others = [other for other in METRICS if other not in (name, UNTAUGHT)]
        taught(load_pretrained().without_sources(), others, seed=0).save(place)
    predictor = Predictor.load(place)
    graphs = compute_features(features_of(name), predictor.encoder)
    predictor.fit([], [], seed=0, pool=graphs)
    return predictor.predict(graphs)[sample(name).rows]
