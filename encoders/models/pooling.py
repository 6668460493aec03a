"""Node states -> graph vectors. A graph is a segment of nodes, each of which names the row its state is in, so that
rows count as often as they occur.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.engine.segments import Segments


class MeanPool(nn.Module):
    """Mean over nodes. `width`, the length of a state, is there for pools that learn."""

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
    """Mean of the first half of the channels, sum of the others: what a network is made of, and how much of it there
    is.
    """

    def forward(self, x: Tensor, nodes: Segments) -> Tensor:
        """States (C, width), nodes of G graphs -> (G, width)."""
        half = x.shape[1] // 2
        return torch.cat([nodes.mean @ x[:, :half], nodes.sum @ x[:, half:]], dim=1)


class AttentionPool(nn.Module):
    """Gated sum over nodes (Li et al. 2016, https://arxiv.org/abs/1511.05493, eq. 7), with gates that sum to one over a
    graph.

    r_G = sum_{v in G} alpha_v tanh(W h_v + b), alpha = softmax over v in G of a h_v. The paper's gates are logistic,
    one for each channel, and its sum goes through another tanh, which graphs of a thousand nodes saturate.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, 1, bias=False)  # a softmax does not see a bias
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor, nodes: Segments) -> Tensor:
        """States (C, width), nodes of G graphs -> (G, width)."""
        gates = nodes.softmax(nodes.gather @ self.gate(x))
        return nodes.scatter_sum @ (gates * (nodes.gather @ self.value(x).tanh()))


POOLS: dict[str, type[MeanPool] | type[AttentionPool]] = {
    "mean": MeanPool,
    "sum": SumPool,
    "mixed": MixedPool,
    "max": MaxPool,
    "attention": AttentionPool,
}
