"""Message passing on a directed adjacency. A layer reads from `adjacency` (N, N), whose row v lists the nodes that v hears."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .sparse import Sparse, scale_rows


def degrees(adjacency: Sparse) -> Tensor:
    """(N, 1): number of edges in each row, a double edge counted twice."""
    ones = torch.ones(adjacency.matrix.shape[1], 1, dtype=adjacency.matrix.dtype, device=adjacency.matrix.device)
    return adjacency.matrix @ ones


def mean_adjacency(adjacency: Sparse) -> Sparse:
    """Rows divided by their degree; a row without edges stays zero."""
    return scale_rows(adjacency, degrees(adjacency).squeeze(1).clamp(min=1).reciprocal())


class GraphConv(nn.Module):
    """The k-GNN operator for k = 1, with a mean (Morris et al. 2019, https://arxiv.org/abs/1810.02244, eq. 5 with bias).

    h'_v = W1 h_v + b + W2 mean_{u in N(v)} h_u

    `adjacency` holds the mean's weights (`mean_adjacency`), so several layers share one matrix.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.own = nn.Linear(inputs, outputs)
        self.neighbours = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, adjacency: Sparse) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        out: Tensor = self.own(x) + self.neighbours(adjacency @ x)
        return out

    @staticmethod
    def weights(adjacency: Sparse) -> Sparse:
        """The matrix `forward` expects, from edge counts."""
        return mean_adjacency(adjacency)


class GCN(nn.Module):
    """Graph convolution (Kipf & Welling 2017, https://arxiv.org/abs/1609.02907, eq. 2) normalised by rows, for directed edges.

    h'_v = W (h_v + sum_{u in N(v)} h_u) / (|N(v)| + 1) + b
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, adjacency: Sparse) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        share = (1 - degrees(adjacency)).to(x.dtype)  # rows of `adjacency` sum to d / (d + 1): the rest is the self-loop's weight
        out: Tensor = self.linear(adjacency @ x + share * x)
        return out

    @staticmethod
    def weights(adjacency: Sparse) -> Sparse:
        """The matrix `forward` expects, from edge counts."""
        return scale_rows(adjacency, (degrees(adjacency).squeeze(1) + 1).reciprocal())


LAYERS: dict[str, type[GraphConv] | type[GCN]] = {"graphconv": GraphConv, "gcn": GCN}
