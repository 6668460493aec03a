"""The one training loop of heads and encoders: AdamW, cosine decay, the last epoch, no validation labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cgir.errors import CgirError

from .seeding import seeded


@dataclass(frozen=True)
class TrainConfig:
    """How a network is fitted: `epochs` passes over the labels in mini-batches of `batch` graphs; `source_steps` steps on source families,
    with `batch` graphs of each; `hidden` units in the head; `dropout` in heads on frozen vectors, whole networks go without.

    The defaults were chosen on NAS-Bench-Macro, which is no target in RESULTS.md: there dropout helped frozen heads with few labels and hurt whole networks.
    """

    epochs: int = 150
    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 1e-3
    source_steps: int = 1000
    hidden: int = 64
    dropout: float = 0.15

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch - 1, self.source_steps, self.hidden) < 1 or self.lr <= 0 or not 0 <= self.dropout < 1:
            raise CgirError(f"training: counts must be positive, batch at least 2, lr positive and 0 <= dropout < 1; found {self}")


def cosine(step: int, steps: int) -> float:
    """Learning rate factor: 1 at step 0, towards 0 at the last one."""
    return 0.5 * (1 + cos(pi * step / steps))


def optimise(modules: Sequence[nn.Module], losses: Iterable[Callable[[], Tensor]], steps: int, config: TrainConfig, seed: int) -> None:
    """Take `steps` steps, one for each of `losses`; the modules end in evaluation mode."""
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
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
    """Index batches of `count` passes over n examples; a pass is split evenly, into batches of at least `batch`.

    Where one batch holds everything its order is kept, so that it is prepared once.
    """
    parts = steps_per_epoch(n, batch)
    for _ in range(count):
        yield from np.array_split(rng.permutation(n), parts) if parts > 1 else [np.arange(n)]


def steps_per_epoch(n: int, batch: int) -> int:
    """Number of batches in one pass of `epochs`."""
    return max(1, n // batch)


def balanced(sizes: Sequence[int], batch: int, steps: int, rng: np.random.Generator) -> Iterator[list[NDArray[np.int64]]]:
    """For each step one index array per family, `batch` different members of it (all, if there are fewer); families lie one after the other."""
    starts = np.cumsum([0, *sizes])
    for _ in range(steps):
        yield [start + rng.choice(size, min(batch, size), replace=False) for start, size in zip(starts, sizes, strict=False)]
