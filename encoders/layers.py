"""Message passing between groups of nodes (see `unfolding`): a layer takes the states of one depth to those of the next."""

from __future__ import annotations

from torch import Tensor, nn

from .unfolding import Level


class GraphConv(nn.Module):
    """The k-GNN operator for k = 1, with a mean over neighbours (Morris et al. 2019, https://arxiv.org/abs/1810.02244, eq. 5).

    h'_v = W1 h_v + b + W2 mean_{u in N(v)} h_u
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.own = nn.Linear(inputs, outputs)
        self.neighbours = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(C of depth l - 1, inputs) -> (C of depth l, outputs)."""
        # the products come first: there are fewer groups one level up
        return self.own(x).index_select(0, level.own) + level.mean @ self.neighbours(x)


class GCN(nn.Module):
    """Graph convolution (Kipf & Welling 2017, https://arxiv.org/abs/1609.02907, eq. 2) normalised by rows, as edges are directed.

    h'_v = W (h_v + sum_{u in N(v)} h_u) / (|N(v)| + 1) + b
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, level: Level) -> Tensor:
        """(C of depth l - 1, inputs) -> (C of depth l, outputs)."""
        y, share = self.linear(x), 1 / (level.degree + 1)
        # the bias passes through both terms; where there are no neighbours, share is 1
        return share * y.index_select(0, level.own) + (1 - share) * (level.mean @ y)


LAYERS: dict[str, type[GraphConv] | type[GCN]] = {"graphconv": GraphConv, "gcn": GCN}
