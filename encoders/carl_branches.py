"""The graph networks g_c and g_r of CARL: message passing whose nodes and edges are weighted by masks that are learned too."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, layer_norm

from .segments import Segments
from .sparse import Sparse

DIRECTIONS = ("both", "along", "against")


class Way(NamedTuple):
    """One direction of message passing: fetch what is heard over each edge, weigh it (E, B, 1), add it up where it is heard, with its own times `own` (N, 1)."""

    fetch: Sparse
    collect: Sparse
    weights: Tensor
    own: Tensor | None


def ways(reads: Segments, masks: Tensor, direction: str, literal: bool) -> list[Way]:
    """Weighted adjacency matrices of B branches, one for each direction.

    A row is divided by the number of its edges without masks, plus one for the node itself: divided by the sum of its masks, a node with one
    edge would not see its mask.

    Args:
        reads: for each of N nodes those it reads, E in all.
        masks: (E, B), share of each edge in each branch.
        direction: "along" the arrows a node hears those that it reads, "against" them those that read it, "both" is half of each.
        literal: as CARL eq. (1), without division and without the node itself.
    """
    read = reads.gather.transposed  # (N, E): for each node the edges over which it is read
    along, against = (reads.gather, reads.collect, reads.pattern), (reads.spread, read, read.pattern)
    chosen = {"both": [along, against], "along": [along], "against": [against]}[direction]
    result = []
    for fetch, collect, pattern in chosen:
        shares = 1 / (pattern.starts.diff().to(masks.dtype) + 1) if not literal else torch.ones_like(masks[:1, 0]).expand(len(reads))
        shares = shares / len(chosen)
        heard = shares.index_select(0, reads.pattern.rows if pattern is reads.pattern else reads.pattern.columns)
        result.append(Way(fetch, collect, (masks * heard.unsqueeze(1)).unsqueeze(2), None if literal else shares.unsqueeze(1)))
    return result


class BranchLayer(nn.Module):
    """One layer of several graph networks of one shape that read the same edges with weights of their own: h <- relu(norm(sum over ways d of A_d h W_d + b)).

    `literal`: h <- relu(A h W), as CARL eq. (1).
    """

    def __init__(self, branches: int, inputs: int, outputs: int, count: int, literal: bool) -> None:
        super().__init__()
        bound = 1 / sqrt(inputs)  # as nn.Linear
        self.weight = nn.Parameter(torch.empty(branches, inputs, count * outputs).uniform_(-bound, bound))
        self.bias = None if literal else nn.Parameter(torch.empty(branches, outputs).uniform_(-bound, bound))
        self.scale = None if literal else nn.Parameter(torch.ones(branches, outputs))
        self.shift = None if literal else nn.Parameter(torch.zeros(branches, outputs))

    def forward(self, x: Tensor, over: list[Way]) -> Tensor:
        """States (N, B, inputs) of the first B branches -> (N, B, outputs)."""
        nodes, branches, _ = x.shape
        products = torch.bmm(x.transpose(0, 1), self.weight[:branches]).view(branches, nodes, len(over), -1)
        parts = products.permute(2, 1, 0, 3).reshape(len(over), nodes, -1)  # rows of all branches side by side: one product of a matrix serves them all
        out = torch.stack([_heard(part, way, branches) for part, way in zip(parts.unbind(), over, strict=True)]).sum(0) if len(over) > 1 else _heard(parts[0], over[0], branches)
        out = out.view(nodes, branches, -1)
        if self.bias is None or self.scale is None or self.shift is None:
            return out.relu()
        out = layer_norm(out + self.bias[:branches], out.shape[2:])
        return torch.addcmul(self.shift[:branches], out, self.scale[:branches]).relu()


def _heard(x: Tensor, way: Way, branches: int) -> Tensor:
    messages = (way.fetch @ x).view(len(way.weights), branches, -1) * way.weights
    heard = way.collect @ messages.flatten(1)
    return heard if way.own is None else torch.addcmul(heard, x, way.own)
