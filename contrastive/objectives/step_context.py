"""Input of the loss terms (`StepContext`), and the layers that they share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from contrastive.pair_sampler import Pairs
from encoders.models.encoder import Encoder


class StepContext(NamedTuple):
    """What one process computes of a pretraining step.

    A loss term returns its process's share: the sum of all shares is the loss of the whole batch, and the sum of their
    gradients its gradient. A single process has all rows.

    step: number of the optimiser step.
    pairs: the whole batch of B graphs, the same in every process.
    rows: the R rows of `pairs` that are this process's.
    embeddings: (R, dim) of the graphs at `rows`, in `SignedLog` where the encoder sums over nodes.
    encoder: gave the embeddings.
    """

    step: int
    pairs: Pairs
    rows: slice
    embeddings: Tensor
    encoder: Encoder

    @property
    def chosen(self) -> Tensor:
        """(R,) indices of the graphs at `rows`, where embeddings are."""
        return torch.from_numpy(self.pairs.indices[self.rows]).to(self.embeddings.device)


class SignedLog(nn.Module):
    """sign(x) log(1 + |x|): embeddings that sum over nodes differ by orders of magnitude between families."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return x.sign() * x.abs().log1p()


def mlp(in_features: int, out_features: int) -> nn.Sequential:
    """A perceptron with one hidden layer of the input's width, (..., in_features) -> (..., out_features)."""
    return nn.Sequential(nn.Linear(in_features, in_features), nn.ReLU(), nn.Linear(in_features, out_features))
