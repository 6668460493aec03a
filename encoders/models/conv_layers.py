"""Message passing: a layer takes the states of one depth to those of the next (`levels.MessageBlock`).

Every layer here sees of a node its own state and the multiset of states that it hears, and nothing else: that is why
classes of nodes can stand for their nodes. Attention over all nodes of a graph is not offered, as no two nodes of
different graphs would be equal any more.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from encoders.engine.message_blocks import MessageBlock

HEADS = 4


class GraphConv(nn.Module):
    """The k-GNN operator for k = 1, with a mean over neighbours (Morris et al. 2019, https://arxiv.org/abs/1810.02244,
    eq. 5).

    h'_v = W1 h_v + b + W2 mean_{u in N(v)} h_u
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.self_linear = nn.Linear(inputs, outputs)
        self.neighbour_linear = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, inputs) -> (C of depth l, outputs)."""
        # the products come first, as there are fewer classes one level up, and both in one; rows 2 r and 2 r + 1 are
        # then the products of row r
        both = linear(x, torch.cat([self.self_linear.weight, self.neighbour_linear.weight]))
        return (block.self_plus_mean @ both.view(-1, self.self_linear.out_features)).add_(self.self_linear.bias)


class GCN(nn.Module):
    """Graph convolution (Kipf & Welling 2017, https://arxiv.org/abs/1609.02907, eq. 2) normalised by rows, as edges are
    directed.

    h'_v = W (h_v + sum_{u in N(v)} h_u) / (|N(v)| + 1) + b
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, inputs) -> (C of depth l, outputs)."""
        return block.neighbours_with_self.mean @ self.linear(x)  # an average keeps the bias


class GIN(nn.Module):
    """Graph isomorphism network (Xu et al. 2019, https://arxiv.org/abs/1810.00826, eq. 4.1), with a learned epsilon
    that starts at 0.

    h'_v = MLP((1 + eps) h_v + sum_{u in N(v)} h_u), MLP(x) = W2 relu(W1 x + b1) + b2
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.first = nn.Linear(inputs, outputs)
        self.second = nn.Linear(outputs, outputs)

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, inputs) -> (C of depth l, outputs)."""
        y = linear(x, self.first.weight)  # a product passes through a sum
        y = (1 + self.epsilon) * block.self_rows(y) + block.neighbours.sum @ y + self.first.bias
        out: Tensor = self.second(y.relu())
        return out


class GAT(nn.Module):
    """Graph attention (Velickovic et al. 2018, https://arxiv.org/abs/1710.10903, eq. 1 to 5), HEADS heads of outputs /
    HEADS each, concatenated.

    h'_v = sum over u in N(v) and v of alpha_vu W h_u + b, alpha_v = softmax over u of LeakyReLU(a_own W h_v + a_heard W
    h_u), slope 0.2
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.att_dst, self.att_src = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(HEADS, outputs // HEADS))) for _ in range(2)
        )
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, inputs) -> (C of depth l, outputs)."""
        y, edges = self.linear(x), block.neighbours_with_self
        heads = y.view(-1, *self.att_dst.shape)
        own, heard = (heads * self.att_dst).sum(-1), (heads * self.att_src).sum(-1)
        scores = leaky_relu(edges.expand @ block.self_rows(own) + edges.gather @ heard, 0.2)
        return edges.scatter_sum @ _weighted(edges.gather @ y, edges.softmax(scores)) + self.bias


class Gated(nn.Module):
    """Residual gated graph convolution (Bresson & Laurent 2017, https://arxiv.org/abs/1711.07553, eq. 11).

    h'_v = U h_v + b + sum_{u in N(v)} sigmoid(A h_v + B h_u) * V h_u, every product with a bias
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip, self.key, self.query, self.value = (nn.Linear(inputs, outputs) for _ in range(4))

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, inputs) -> (C of depth l, outputs)."""
        edges = block.neighbours
        gates = (edges.expand @ block.self_rows(self.key(x)) + edges.gather @ self.query(x)).sigmoid()
        return block.self_rows(self.skip(x)) + edges.scatter_sum @ (gates * (edges.gather @ self.value(x)))


class TransformerConv(nn.Module):
    """Attention over edges (Shi et al. 2021, https://arxiv.org/abs/2009.03509, eq. 3 and 4), HEADS heads of d = outputs
    / HEADS, concatenated.

    h'_v = W h_v + b + sum_{u in N(v)} alpha_vu V h_u, alpha_v = softmax over u in N(v) of (Q h_v) (K h_u) / sqrt(d),
    every product with a bias
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip, self.key, self.query, self.value = (nn.Linear(inputs, outputs) for _ in range(4))

    def forward(self, x: Tensor, block: MessageBlock) -> Tensor:
        """(C of depth l - 1, inputs) -> (C of depth l, outputs)."""
        edges = block.neighbours
        keys, queries = edges.gather @ self.key(x), edges.expand @ block.self_rows(self.query(x))
        depth = self.key.out_features // HEADS
        scores = (keys * queries).view(-1, HEADS, depth).sum(-1) / sqrt(depth)
        return block.self_rows(self.skip(x)) + edges.scatter_sum @ _weighted(
            edges.gather @ self.value(x), edges.softmax(scores)
        )


def _weighted(messages: Tensor, weights: Tensor) -> Tensor:
    """Messages (E, outputs) of several heads times the weight (E, heads) of each."""
    # -1 has no meaning where there are no edges
    heads = messages.view(*weights.shape, messages.shape[1] // weights.shape[1])
    return (heads * weights.unsqueeze(-1)).view_as(messages)


LAYERS: dict[str, type[GraphConv] | type[GCN] | type[GIN] | type[GAT] | type[Gated] | type[TransformerConv]] = {
    "graphconv": GraphConv, "gcn": GCN, "gin": GIN, "gat": GAT, "gated": Gated, "transformer": TransformerConv,
}  # fmt: skip
WITH_HEADS = ("gat", "transformer")
