"""Readouts: node states -> graph vectors.

A graph is a segment of nodes, each given by the row of its state; a row with the state of several nodes counts as often
as it occurs.

Notation:
    G: graphs.
    C: rows of node states.
    width: length of a state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.engine.segments import Segments


class MeanPool(nn.Module):
    """Mean over nodes. `width`, the length of a state, is used only by pools with weights."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, nodes: Segments) -> Tensor:
        """States (C, width), nodes of G graphs -> (G, width)."""
        return nodes.mean @ x


class SumPool(MeanPool):
    """Sum over nodes."""

    def forward(self, x: Tensor, nodes: Segments) -> Tensor:
        """States (C, width), nodes of G graphs -> (G, width)."""
        return nodes.sum @ x


class MaxPool(MeanPool):
    """Maximum over nodes, channel by channel."""

    def forward(self, x: Tensor, nodes: Segments) -> Tensor:
        """States (C, width), nodes of G graphs -> (G, width)."""
        return nodes.max_pool(x)


class MixedPool(MeanPool):
    """Mean of the first half of the channels, sum of the others: they represent composition and size of a network."""

    def forward(self, x: Tensor, nodes: Segments) -> Tensor:
        """States (C, width), nodes of G graphs -> (G, width)."""
        half = x.shape[1] // 2
        return torch.cat([nodes.mean @ x[:, :half], nodes.sum @ x[:, half:]], dim=1)


class AttentionPool(nn.Module):
    """Gated sum over nodes, with gates that sum to one over a graph (Li et al. 2016).

    r_G = sum_{v in G} alpha_v tanh(W h_v + b), alpha = softmax over v in G of a h_v (https://arxiv.org/abs/1511.05493,
    eq. 7). The paper's gates are logistic, one for each channel, and its sum goes through another tanh, which graphs of
    a thousand nodes saturate.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, 1, bias=False)  # a softmax cancels a bias
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor, nodes: Segments) -> Tensor:
        """States (C, width), nodes of G graphs -> (G, width)."""
        gates = nodes.softmax(nodes.gather @ self.gate(x))
        out: Tensor = nodes.scatter_sum @ (gates * (nodes.gather @ self.value(x).tanh()))
        return out


POOLS: dict[str, type[MeanPool | AttentionPool]] = {
    "mean": MeanPool,
    "sum": SumPool,
    "mixed": MixedPool,
    "max": MaxPool,
    "attention": AttentionPool,
}
