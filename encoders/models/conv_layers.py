"""Message-passing layers: from the node states of depth l - 1 to those of depth l, over one `MessageBlock`.

The new state of a node depends only on its own state and the multiset of its neighbours' states, so one state per class
of equal nodes is enough. There is no attention over all nodes of a graph, as no two nodes of different graphs would be
equal any more.

Notation:
    h_v, h'_v: state of node v before and after the layer, in_channels and out_channels long.
    N(v): the nodes that send v a message, once for every edge.
    C: rows of a depth, each a class of nodes with equal states.
    E: edges of a block.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from encoders.engine.message_blocks import MessageBlock

HEADS = 4


class GraphConv(nn.Module):
    """The k-GNN operator for k = 1, with a mean over neighbours (Morris et al. 2019).

    h'_v = W1 h_v + b + W2 mean_{u in N(v)} h_u (https://arxiv.org/abs/1810.02244, eq. 5)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.self_linear = nn.Linear(in_channels, out_channels)
        self.neighbour_linear = nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, in_channels) -> (C of depth l, out_channels)."""
        if block.keeps_rows:
            mean = block.neighbours.mean @ x
            return torch.addmm(self.self_linear(x), mean, self.neighbour_linear.weight.t())
        # both products are computed in one and before aggregation, as depth l - 1 has fewer classes; rows 2 r and
        # 2 r + 1 are the products of row r
        both = linear(x, torch.cat([self.self_linear.weight, self.neighbour_linear.weight]))
        return (block.self_plus_mean @ both.view(-1, self.self_linear.out_features)).add_(self.self_linear.bias)


class GCN(nn.Module):
    """Graph convolution normalised by rows, as edges are directed (Kipf & Welling 2017).

    h'_v = W (h_v + sum_{u in N(v)} h_u) / (|N(v)| + 1) + b (https://arxiv.org/abs/1609.02907, eq. 2)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, in_channels) -> (C of depth l, out_channels)."""
        out: Tensor = block.neighbours_with_self.mean @ self.linear(x)  # an average keeps the bias
        return out


class GIN(nn.Module):
    """Graph isomorphism network, with a learned epsilon that starts at 0 (Xu et al. 2019).

    h'_v = MLP((1 + eps) h_v + sum_{u in N(v)} h_u), MLP(x) = W2 relu(W1 x + b1) + b2
    (https://arxiv.org/abs/1810.00826, eq. 4.1)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.first = nn.Linear(in_channels, out_channels)
        self.second = nn.Linear(out_channels, out_channels)

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, in_channels) -> (C of depth l, out_channels)."""
        y = linear(x, self.first.weight)  # W1 commutes with the sum
        y = (1 + self.epsilon) * block.self_rows(y) + block.neighbours.sum @ y + self.first.bias
        out: Tensor = self.second(y.relu())
        return out


class GAT(nn.Module):
    """Graph attention, HEADS heads of out_channels / HEADS each, concatenated (Velickovic et al. 2018).

    h'_v = sum over u in N(v) and v of alpha_vu W h_u + b, alpha_v = softmax over u of LeakyReLU(a_dst W h_v + a_src W
    h_u), slope 0.2 (https://arxiv.org/abs/1710.10903, eq. 1 to 5)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.att_dst, self.att_src = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(HEADS, out_channels // HEADS))) for _ in range(2)
        )
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, in_channels) -> (C of depth l, out_channels)."""
        y, edges = self.linear(x), block.neighbours_with_self
        heads = y.view(-1, *self.att_dst.shape)
        dst, src = (heads * self.att_dst).sum(-1), (heads * self.att_src).sum(-1)
        scores = leaky_relu(edges.expand @ block.self_rows(dst) + edges.gather @ src, 0.2)
        return edges.scatter_sum @ _weighted(edges.gather @ y, edges.softmax(scores)) + self.bias


class ResGatedGraphConv(nn.Module):
    """Residual gated graph convolution (Bresson & Laurent 2017).

    h'_v = U h_v + b + sum_{u in N(v)} sigmoid(A h_v + B h_u) * V h_u, every product with a bias
    (https://arxiv.org/abs/1711.07553, eq. 11)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.skip, self.key, self.query, self.value = (nn.Linear(in_channels, out_channels) for _ in range(4))

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, in_channels) -> (C of depth l, out_channels)."""
        edges = block.neighbours
        gates = (edges.expand @ block.self_rows(self.key(x)) + edges.gather @ self.query(x)).sigmoid()
        out: Tensor = block.self_rows(self.skip(x)) + edges.scatter_sum @ (gates * (edges.gather @ self.value(x)))
        return out


class TransformerConv(nn.Module):
    """Attention over edges, HEADS heads of d = out_channels / HEADS, concatenated (Shi et al. 2021).

    h'_v = W h_v + b + sum_{u in N(v)} alpha_vu V h_u, alpha_v = softmax over u in N(v) of (Q h_v) (K h_u) / sqrt(d),
    every product with a bias (https://arxiv.org/abs/2009.03509, eq. 3 and 4)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.skip, self.key, self.query, self.value = (nn.Linear(in_channels, out_channels) for _ in range(4))

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, in_channels) -> (C of depth l, out_channels)."""
        edges = block.neighbours
        keys, queries = edges.gather @ self.key(x), edges.expand @ block.self_rows(self.query(x))
        channels = self.key.out_features // HEADS
        scores = (keys * queries).view(-1, HEADS, channels).sum(-1) / sqrt(channels)
        messages = _weighted(edges.gather @ self.value(x), edges.softmax(scores))
        out: Tensor = block.self_rows(self.skip(x)) + edges.scatter_sum @ messages
        return out


def _weighted(messages: Tensor, weights: Tensor) -> Tensor:
    """Messages (E, out_channels) of several heads times the weight (E, heads) of each."""
    # -1 has no meaning where there are no edges
    heads = messages.view(*weights.shape, messages.shape[1] // weights.shape[1])
    return (heads * weights.unsqueeze(-1)).view_as(messages)


LAYERS: dict[str, type[GraphConv | GCN | GIN | GAT | ResGatedGraphConv | TransformerConv]] = {
    "graphconv": GraphConv,
    "gcn": GCN,
    "gin": GIN,
    "gat": GAT,
    "gated": ResGatedGraphConv,
    "transformer": TransformerConv,
}
ATTENTION_LAYERS = ("gat", "transformer")  # whose width is split among heads
