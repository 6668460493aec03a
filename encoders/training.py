"""The one training loop of heads and encoders: AdamW, cosine decay, the last epoch, no validation labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .seeding import seeded


@dataclass(frozen=True)
class TrainConfig:
    """How a network is fitted; `epochs` counts passes over the labels, in mini-batches of `batch` graphs."""

    epochs: int = 150
    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 1e-3


def cosine(step: int, steps: int) -> float:
    """Learning rate factor: 1 at step 0, towards 0 at the last one."""
    return 0.5 * (1 + cos(pi * step / steps))


def optimise(modules: Sequence[nn.Module], losses: Iterable[Callable[[], Tensor]], steps: int, config: TrainConfig, seed: int) -> None:
    """Take `steps` steps, one for each of `losses`; the modules end in evaluation mode."""
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    for module in modules:
        module.train()
    with seeded(seed):
        for step, loss in enumerate(losses):
            for group in optimizer.param_groups:
                group["lr"] = config.lr * cosine(step, steps)
            optimizer.zero_grad()
            loss().backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
    for module in modules:
        module.eval()


def epochs(n: int, batch: int, count: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Index batches of `count` passes over n examples; a pass is split evenly, so that no batch has a single example."""
    parts = max(1, round(n / batch))
    for _ in range(count):
        yield from np.array_split(rng.permutation(n), parts)


def steps_per_epoch(n: int, batch: int) -> int:
    """Number of batches in one pass of `epochs`."""
    return max(1, round(n / batch))
