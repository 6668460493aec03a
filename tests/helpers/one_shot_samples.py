"""Small supernets with random weights of their operations, and a few digits."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from search.one_shot import Images, Supernet, Trained, load_images, supernet


def tiny(name: str = "nasbench201", **arguments: Any) -> Supernet:
    """A supernet of 4 channels for digits."""

    size = {"cells": 1} if name != "darts" else {"layers": 3}
    return supernet(name, **{"channels": 4, "image": (1, 8, 8)} | size | arguments)


def trained_like(network: Supernet, seed: int = 0) -> Trained:
    """As trained: the mixture is not uniform."""
    logits = torch.randn(network.num_weights, generator=torch.Generator().manual_seed(seed))
    return Trained(network, logits, [], {})


@lru_cache(maxsize=4)
def digits(count: int = 64) -> Images:
    """The first `count` digits."""
    return load_images("digits").select(torch.arange(count))
