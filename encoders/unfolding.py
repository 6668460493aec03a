"""Nodes whose pasts are equal have equal states, so a state is computed once for all of them.

After l layers along the arrows a node's state depends only on the tree of its ancestors l steps back, its unfolding. Nodes of one batch are
grouped by their unfolding at every depth (Weisfeiler-Lehman refinement, as 64-bit hashes: two among a million different ones collide with
probability 3e-8); layer l then works on C_l groups instead of N nodes, far fewer where networks repeat their cells. Exact for every layer that sums or averages
over neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cgir.features import IntArray, ranges

from .sparse import Sparse, sparse

Colours = list[NDArray[np.int32]]


class Level(NamedTuple):
    """From the groups of depth l - 1 to the C groups of depth l.

    `own` (C,): each group's row one level up; `mean` (C, C of l - 1): averages over a group's neighbours, zero rows where it has none;
    `degree` (C, 1): number of neighbours, a double edge counted twice.
    """

    own: Tensor
    mean: Sparse
    degree: Tensor

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Level:
        """The same level on another device or in another precision."""
        return Level(self.own.to(device), self.mean.to(device, dtype), self.degree.to(device=device, dtype=dtype))


class Edges(NamedTuple):
    """For each node v the nodes it hears: sources[starts[v] : starts[v + 1]]."""

    sources: IntArray
    starts: IntArray

    @classmethod
    def of(cls, sources: IntArray, targets: IntArray, nodes: int) -> Edges:
        """Group edges by target."""
        order = np.argsort(targets, kind="stable")
        return cls(sources[order], np.concatenate([[0], np.cumsum(np.bincount(targets, minlength=nodes))]))


def colours(kind: IntArray, sources: IntArray, targets: IntArray, depth: int) -> Colours:
    """(N,) group of every node at depths 0 .. depth, numbered 0, 1, ...; at depth 0 a group is a kind."""
    result = [kind.astype(np.int32)]
    for _ in range(depth):
        mixed = _mix(result[-1].astype(np.uint64))
        heard = np.zeros(len(kind), np.uint64)
        np.add.at(heard, targets, _mix(mixed)[sources])  # a sum does not depend on the neighbours' order
        result.append(np.unique(mixed + _mix(heard), return_inverse=True)[1].astype(np.int32))
    return result


def levels(groups: Colours, edges: Edges) -> tuple[list[Level], IntArray, IntArray]:
    """Levels 1 .. depth of a batch from its nodes' colours.

    Returns: the levels, the kinds that are rows of level 0, and each node's row at the last level.
    """
    kinds, rows, _ = _compact(groups[0])
    result = []
    for group in groups[1:]:
        _, finer, example = _compact(group)
        degree = np.diff(edges.starts)[example]
        heard = rows[edges.sources[ranges(edges.starts[example], degree)]]
        weights = np.repeat(1 / np.maximum(degree, 1), degree)
        mean = sparse(np.concatenate([[0], np.cumsum(degree)]), heard, weights, int(rows.max()) + 1)
        result.append(Level(torch.from_numpy(rows[example]), mean, torch.from_numpy(degree.astype(np.float32)[:, None])))
        rows = finer
    return result, kinds, rows


def _compact(group: NDArray[np.int32]) -> tuple[IntArray, IntArray, IntArray]:
    """The groups that occur, each node's place among them, and a node of each."""
    example = np.full(int(group.max()) + 1, -1, np.int64)
    example[group] = np.arange(len(group))
    used = np.flatnonzero(example >= 0)
    place = np.zeros(len(example), np.int64)
    place[used] = np.arange(len(used))
    return used, place[group], example[used]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The splitmix64 finaliser: a bijection that spreads small integers over 64 bits."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
