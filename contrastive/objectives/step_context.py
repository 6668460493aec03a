"""What a part of the loss sees, and what parts have in common."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from contrastive.pair_sampler import Pairs
from encoders.models.encoder import Encoder


class StepContext(NamedTuple):
    """One process's part of a step: of the batch `pairs`, which every process knows, the graphs at `rows`, and their
    embeddings `vectors` (R, dim).

    A part of the loss returns its process's share: over all processes, shares add up to the loss of the whole batch,
    and their gradients to its gradient. A process alone has all rows.
    """

    step: int
    pairs: Pairs
    rows: slice
    vectors: Tensor
    encoder: Encoder


def mlp(inputs: int, outputs: int) -> nn.Sequential:
    """Two layers, (..., inputs) -> (..., outputs)."""
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))
