"""Layers of CARL: masks of edges, and graph convolutions over edges weighted by such masks.

The weights of edges are learned, so gradients flow through them; the matrices of `conv_layers` are constant.

Notation:
    N, E: nodes and edges of a plain batch.
    B: branches, causal and redundant.
    D: directions of messages, 1 or 2.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from encoders.engine.segments import Segments
from encoders.engine.sparse import SparseMatrix

DIRECTIONS = ("both", "along", "against")


class EdgeMask(nn.Module):
    """Eq. (2) for edges: softmax(MLP(states of both ends, concatenated)) is the causal and the redundant share."""

    def __init__(self, in_channels: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2 * in_channels, hidden), nn.Linear(hidden, 2)

    def forward(self, x: Tensor, edges: Segments) -> Tensor:
        """States of nodes (N, in_channels) -> (E, 2), in the order of `edges`."""
        # each end's part of the product is computed once for every node
        src_weight, dst_weight = self.first.weight.chunk(2, dim=1)
        expand = _with_transpose(edges.expand, edges.scatter_sum)
        hidden = edges.gather @ linear(x, src_weight) + expand @ linear(x, dst_weight, self.first.bias)
        out: Tensor = self.second(hidden.relu())
        return out.softmax(1)


class MessageDirection(NamedTuple):
    """Weighted adjacency matrices of B branches, for messages in one direction.

    Attributes:
        gather: (E, N) the sender's state for each edge.
        scatter: (N, E) sums messages at the receiver.
        weights: (E, B, 1) of each edge in each branch.
        self_weights: (N, 1) of a node's own state; None: it is left out.
    """

    gather: SparseMatrix
    scatter: SparseMatrix
    weights: Tensor
    self_weights: Tensor | None


def message_directions(edges: Segments, masks: Tensor, direction: str, literal: bool) -> list[MessageDirection]:
    """Weighted adjacency matrices of B branches, one for each direction of messages.

    Each row includes the node itself with weight 1 and is divided by one plus the number of its edges, not by the sum
    of their masks: divided by that sum, a node with one edge would not depend on the mask.

    Args:
        edges: the in-neighbours of each of N nodes, E in all.
        masks: (E, B), the share of each edge in each branch.
        direction: a name in DIRECTIONS: with "along" a node receives from the nodes that it reads, with "against" from
            those that read it; "both" is the mean of the two.
        literal: CARL's eq. (1) as printed: rows are not divided and do not include the node itself.
    """
    pattern, readers = edges.pattern, edges.gather.transposed
    along = (edges.gather, _with_transpose(edges.scatter_sum, edges.expand), pattern.rows, pattern.row_ptr)
    against = (
        _with_transpose(edges.expand, edges.scatter_sum),
        _with_transpose(readers, edges.gather),
        pattern.columns,
        readers.pattern.row_ptr,
    )
    used = {"both": [along, against], "along": [along], "against": [against]}[direction]
    factor = 1 / len(used)
    result = []
    for gather, scatter, receiver, ptr in used:
        self_weights = factor / (ptr.diff().to(masks.dtype) + 1).unsqueeze(1)
        weights = masks * (factor if literal else self_weights.index_select(0, receiver))
        result.append(MessageDirection(gather, scatter, weights.unsqueeze(2), None if literal else self_weights))
    return result


def _with_transpose(matrix: SparseMatrix, transposed: SparseMatrix) -> SparseMatrix:
    """The matrix with this transpose; computing it for a gradient takes longer than the products of a small batch."""
    result = SparseMatrix(matrix.pattern)
    result.transposed = transposed
    return result


class BranchConv(nn.Module):
    """A graph convolution for each of several branches: h <- relu(norm(sum over directions d of A_d h W_d)).

    Branches do not share weights; the bias is that of the norm.

    Args:
        branches: number of branches.
        in_channels: length of a state before.
        out_channels: length of a state after.
        num_directions: D.
        literal: h <- relu(sum over d of A_d h W_d), CARL's eq. (1).
    """

    def __init__(self, branches: int, in_channels: int, out_channels: int, num_directions: int, literal: bool) -> None:
        super().__init__()
        bound = 1 / sqrt(in_channels)  # the initialisation of nn.Linear
        weight = torch.empty(branches, in_channels, num_directions * out_channels)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound))
        self.scale = None if literal else nn.Parameter(torch.ones(branches, out_channels))
        self.shift = None if literal else nn.Parameter(torch.zeros(branches, out_channels))

    def forward(self, x: Tensor, directions: list[MessageDirection]) -> Tensor:
        """States (N, B, in_channels) of the first B branches -> (N, B, out_channels)."""
        nodes, branches, _ = x.shape
        products = torch.bmm(x.transpose(0, 1), self.weight[:branches]).view(branches, nodes, len(directions), -1)
        parts = products.permute(2, 1, 0, 3).flatten(2)  # branches side by side: a row is gathered once for all
        sums = [_aggregate(part, direction) for part, direction in zip(parts.unbind(), directions, strict=True)]
        out = (sums[0] if len(sums) == 1 else sums[0] + sums[1]).view(nodes, branches, -1)
        if self.scale is not None and self.shift is not None:
            out = torch.addcmul(self.shift[:branches], layer_norm(out, out.shape[2:]), self.scale[:branches])
        return out.relu()


def _aggregate(x: Tensor, direction: MessageDirection) -> Tensor:
    """States of all branches side by side (N, B x F) -> weighted sums over the neighbours and the node itself."""
    branches = direction.weights.shape[1]
    # explicit sizes: -1 is ambiguous where there are no edges
    messages = torch.unflatten(direction.gather @ x, 1, (branches, x.shape[1] // branches)) * direction.weights
    sums = direction.scatter @ messages.flatten(1)
    return sums if direction.self_weights is None else torch.addcmul(sums, x, direction.self_weights)
