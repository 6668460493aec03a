"""The one training loop of heads and encoders: AdamW, cosine decay, the last epoch, no validation labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cgir.errors import CgirError
from cgir.typing import IntArray

from .seeding import seeded

Group = tuple[IntArray, int]  # indices of graphs that are compared in a step, and the output that learns it


@dataclass(frozen=True)
class TrainConfig:
    """How a network is fitted: `epochs` passes over the labels in mini-batches of `batch` graphs; `source_steps` steps
    on source families, with `batch` graphs of each; `hidden` units in the head; `dropout` in heads on frozen vectors,
    whole networks go without.

    The defaults were chosen on NAS-Bench-Macro, which is no target in RESULTS.md: there dropout helped frozen heads
    with few labels and hurt whole networks.
    """

    epochs: int = 150
    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 1e-3
    source_steps: int = 1000
    hidden: int = 64
    dropout: float = 0.15

    def __post_init__(self) -> None:
        if (
            min(self.epochs, self.batch - 1, self.source_steps, self.hidden) < 1
            or self.lr <= 0
            or not 0 <= self.dropout < 1
        ):
            raise CgirError(
                f"training: counts must be positive, batch at least 2, lr positive and 0 <= dropout < 1; found {self}"
            )


def cosine(step: int, steps: int) -> float:
    """Learning rate factor: 1 at step 0, towards 0 at the last one."""
    return 0.5 * (1 + cos(pi * step / steps))


def optimise(
    modules: Sequence[nn.Module], losses: Iterable[Callable[[], Tensor]], steps: int, config: TrainConfig, seed: int
) -> None:
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


def epochs(n: int, batch: int, count: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Index batches of `count` passes over n examples; a pass is split evenly, into batches of at least `batch`.

    Where one batch holds everything its order is kept, so that it is prepared once.
    """
    parts = steps_per_epoch(n, batch)
    for _ in range(count):
        yield from np.array_split(rng.permutation(n), parts) if parts > 1 else [np.arange(n)]


def steps_per_epoch(n: int, batch: int) -> int:
    """Number of batches in one pass of `epochs`."""
    return max(1, n // batch)


class Part(NamedTuple):
    """The graphs from `start` on, `size` of them, with labels that output `column` learns."""

    start: int
    size: int
    column: int = 0


def balanced(
    families: Sequence[Sequence[Part]], batch: int, steps: int, rng: np.random.Generator
) -> Iterator[list[Group]]:
    """For each step one group per family, `batch` different members (all, if there are fewer) of one of its parts, each
    as often as the others.
    """
    for _ in range(steps):
        parts = [family[int(rng.integers(len(family)))] if len(family) > 1 else family[0] for family in families]
        yield [
            (part.start + rng.choice(part.size, min(batch, part.size), replace=False), part.column) for part in parts
        ]
