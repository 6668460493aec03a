"""What CARL is made of: shares of edges, and graph networks over edges weighted by such shares, through which gradients
flow.
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


class EdgeShares(nn.Module):
    """Eq. (2) for edges: softmax(MLP(states of both ends side by side)), causal and redundant."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2 * inputs, width), nn.Linear(width, 2)

    def forward(self, x: Tensor, reads: Segments) -> Tensor:
        """States of nodes (N, inputs) -> (E, 2), in the order of `reads`."""
        source, reader = self.first.weight.chunk(2, dim=1)  # each end's part of the product, once for every node
        hidden = reads.gather @ linear(x, source) + _known(reads.expand, reads.scatter_sum) @ linear(
            x, reader, self.first.bias
        )
        out: Tensor = self.second(hidden.relu())
        return out.softmax(1)


class Way(NamedTuple):
    """One direction of message passing: `fetch` what each edge carries, times `weights` (E, B, 1), `collect` it, and
    add `own` (N, 1) of the node itself.
    """

    fetch: SparseMatrix
    collect: SparseMatrix
    weights: Tensor
    own: Tensor | None


def ways(reads: Segments, masks: Tensor, direction: str, literal: bool) -> list[Way]:
    """Weighted adjacency matrices of B branches, one for each direction of messages.

    A node's row, which has the node itself in it with weight 1, is divided by one plus the number of its edges,
    whatever their masks are: divided by the sum of masks, a node with one edge would not see its mask.

    Args:
        reads: for each of N nodes those it reads, E in all.
        masks: (E, B), the share of each edge in each branch.
        direction: a name in DIRECTIONS: along the arrows a node hears those that it reads, against them those that read
            it, "both" is the mean of the two.
        literal: as CARL's eq. (1) is printed: neither divided nor with the node itself.
    """
    pattern, readers = reads.pattern, reads.gather.transposed
    along = (reads.gather, _known(reads.scatter_sum, reads.expand), pattern.rows, pattern.row_ptr)
    against = (
        _known(reads.expand, reads.scatter_sum),
        _known(readers, reads.gather),
        pattern.columns,
        readers.pattern.row_ptr,
    )
    result = []
    for fetch, collect, hearer, starts in {"both": [along, against], "along": [along], "against": [against]}[direction]:
        half = 0.5 if direction == "both" else 1.0
        shares = half / (starts.diff().to(masks.dtype) + 1).unsqueeze(1)
        weights = masks * (half if literal else shares.index_select(0, hearer))
        result.append(Way(fetch, collect, weights.unsqueeze(2), None if literal else shares))
    return result


def _known(matrix: SparseMatrix, transposed: SparseMatrix) -> SparseMatrix:
    """The matrix, with its transpose at hand: a gradient then need not look for it, which in small batches takes longer
    than the products.
    """
    result = SparseMatrix(matrix.pattern)
    result.transposed = transposed
    return result


class BranchLayer(nn.Module):
    """A graph convolution for each of several branches, with weights of its own: h <- relu(norm(sum over ways d of A_d
    h W_d)); the norm has the bias.

    `count`: ways. `literal`: h <- relu(sum over d of A_d h W_d), CARL's eq. (1).
    """

    def __init__(self, branches: int, inputs: int, outputs: int, count: int, literal: bool) -> None:
        super().__init__()
        bound = 1 / sqrt(inputs)  # as nn.Linear starts
        self.weight = nn.Parameter(torch.empty(branches, inputs, count * outputs).uniform_(-bound, bound))
        self.scale = None if literal else nn.Parameter(torch.ones(branches, outputs))
        self.shift = None if literal else nn.Parameter(torch.zeros(branches, outputs))

    def forward(self, x: Tensor, over: list[Way]) -> Tensor:
        """States (N, B, inputs) of the first B branches -> (N, B, outputs)."""
        nodes, branches, _ = x.shape
        products = torch.bmm(x.transpose(0, 1), self.weight[:branches]).view(branches, nodes, len(over), -1)
        parts = products.permute(2, 1, 0, 3).flatten(2)  # branches side by side: a row is fetched once for all
        heard = [_heard(part, way) for part, way in zip(parts.unbind(), over, strict=True)]
        out = (heard[0] if len(heard) == 1 else heard[0] + heard[1]).view(nodes, branches, -1)
        if self.scale is not None and self.shift is not None:
            out = torch.addcmul(self.shift[:branches], layer_norm(out, out.shape[2:]), self.scale[:branches])
        return out.relu()


def _heard(x: Tensor, way: Way) -> Tensor:
    branches = way.weights.shape[1]
    # sizes in full: there may be no edge
    messages = (way.fetch @ x).unflatten(1, (branches, x.shape[1] // branches)) * way.weights
    heard = way.collect @ messages.flatten(1)
    return heard if way.own is None else torch.addcmul(heard, x, way.own)
