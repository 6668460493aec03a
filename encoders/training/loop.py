"""Training of heads and encoders on labels: AdamW with cosine decay, the last epoch's weights, no validation labels.

Also the mini-batches it takes: `epochs` of one family, `balanced` over several. `decay_learning_rate` is the schedule
of pretraining too, whose loop (`contrastive.pretraining`) differs in the rest: gradients are summed over processes and
not clipped, and a run can be resumed.
"""

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
from frontends.torch.surroundings import plain_surroundings
from frontends.torch.thread_count import threads_for

from .seeding import seeded

MAX_GRADIENT_NORM = 5.0

Group = tuple[
    IntArray, int
]  # indices of graphs compared in a step, and the index of the output that is trained on them


@dataclass(frozen=True)
class TrainConfig:
    """How a network is fitted to labels.

    The defaults were chosen on NAS-Bench-Macro, which is no target in RESULTS.md: there dropout improved frozen
    heads with few labels and made networks trained as a whole worse.

    Args:
        epochs: passes over the labels.
        batch: graphs of a mini-batch; on source families, of each family.
        lr: learning rate at the first step.
        weight_decay: of AdamW.
        source_steps: steps on source families.
        hidden: hidden units of the head.
        dropout: rate in heads on frozen vectors; networks trained as a whole have none.

    Raises:
        CgirError: numbers out of range.
    """

    epochs: int = 150
    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 1e-3
    source_steps: int = 1000
    hidden: int = 64
    dropout: float = 0.15

    def __post_init__(self) -> None:
        counts = min(self.epochs, self.batch - 1, self.source_steps, self.hidden)
        if counts < 1 or self.lr <= 0 or not 0 <= self.dropout < 1:
            raise CgirError(
                f"training: counts must be positive, batch at least 2, lr positive and 0 <= dropout < 1; found {self}"
            )


def cosine_factor(step: int, steps: int) -> float:
    """Factor of the learning rate: 1 at step 0, towards 0 at the last one."""
    return 0.5 * (1 + cos(pi * step / steps))


def decay_learning_rate(optimizer: torch.optim.Optimizer, lr: float, step: int, steps: int) -> None:
    """Set the learning rate of a step by the cosine schedule.

    Args:
        optimizer: all its parameters get the rate.
        lr: the rate at step 0.
        step: number of the step.
        steps: number of all steps.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * cosine_factor(step, steps)


def optimise(
    modules: Sequence[nn.Module],
    losses: Iterable[Callable[[], Tensor]],
    steps: int,
    config: TrainConfig,
    seed: int,
    numbers: int = 0,
) -> None:
    """Take one optimizer step for each of `losses`; the modules end in evaluation mode.

    Args:
        modules: their parameters are trained.
        losses: `steps` functions that compute the loss of a step.
        steps: their number, by which the learning rate decays.
        config: learning rate and weight decay.
        seed: of the generator that dropout draws from.
        numbers: that a layer writes in a step, by which threads are chosen (`threads_for`).
    """
    with plain_surroundings(grad=True, single=True), threads_for(numbers), seeded(seed):
        _optimise(modules, losses, steps, config)


def _optimise(
    modules: Sequence[nn.Module], losses: Iterable[Callable[[], Tensor]], steps: int, config: TrainConfig
) -> None:
    parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
    for module in modules:
        module.train()
    for step, loss in enumerate(losses):
        decay_learning_rate(optimizer, config.lr, step, steps)
        optimizer.zero_grad()
        torch.autograd.backward(loss())
        nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
        optimizer.step()
    for module in modules:
        module.eval()


def epochs(n: int, batch: int, count: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Indices of mini-batches for several passes over n examples.

    A pass is split evenly, into batches of at least `batch`. A single batch of all examples is not
    shuffled, so that it is prepared only once.

    Args:
        n: number of examples.
        batch: smallest batch, unless n is smaller.
        count: number of passes.
        rng: shuffles the examples.
    """
    parts = steps_per_epoch(n, batch)
    for _ in range(count):
        yield from np.array_split(rng.permutation(n), parts) if parts > 1 else [np.arange(n)]


def steps_per_epoch(n: int, batch: int) -> int:
    """Number of batches in one pass of `epochs`."""
    return max(1, n // batch)


class Part(NamedTuple):
    """The `size` graphs from `start` on, on whose labels output `column` is trained."""

    start: int
    size: int
    column: int = 0


def balanced(
    families: Sequence[Sequence[Part]], batch: int, steps: int, rng: np.random.Generator
) -> Iterator[list[Group]]:
    """For each step one group per family: `batch` different members of one of its parts.

    Args:
        families: the parts of each family, one of which is drawn with equal probability.
        batch: members in a group; all, if there are fewer.
        steps: number of steps.
        rng: draws parts and members.
    """
    for _ in range(steps):
        parts = [family[int(rng.integers(len(family)))] if len(family) > 1 else family[0] for family in families]
        yield [
            (part.start + rng.choice(part.size, min(batch, part.size), replace=False), part.column) for part in parts
        ]
