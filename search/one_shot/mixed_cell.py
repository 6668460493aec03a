"""A cell of mixed operations on its edges (DARTS, Liu et al. 2019, section 2.1), computed by source node.

All edges that leave a node apply the same kinds of operations to the same tensor. So there is one convolution per kind
and node, with the channels of all its targets, one pooling for all of them, and mixture weights of normalised
operations are the scale of the BatchNorm behind them. Values and gradients are those of one module per edge.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .network import batch_norm


class Source(NamedTuple):
    """A node as the operations on its edges read it: itself and its positive part, both (B, C, H, W)."""

    value: Tensor
    positive: Tensor


class Place(NamedTuple):
    """What operations that leave a node are built for.

    Attributes:
        channels: of the node, and of each target.
        targets: number of nodes that read it.
        stride: 2 where the targets have half its height and width.
    """

    channels: int
    targets: int
    stride: int


class Operation(nn.Module, ABC):
    """One kind of operation on all edges that leave a node."""

    @abstractmethod
    def forward(self, source: Source, weights: Tensor) -> Tensor:
        """The node and the mixture weights (T,) of its targets -> weighted results (B, T * C, H, W)."""


OperationMaker = Callable[[Place], Operation | None]


class ScaledNorm(nn.Module):
    """BatchNorm without own weights, of `targets` blocks of channels, each multiplied by its mixture weight."""

    def __init__(self, channels: int, targets: int) -> None:
        super().__init__()
        self.channels = channels
        self.norm: nn.Module = batch_norm(targets * channels, affine=False)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """(B, T * C, H, W), (T,) -> (B, T * C, H, W)."""
        scale = weights.repeat_interleave(self.channels)
        if isinstance(self.norm, nn.BatchNorm2d):  # the scale costs nothing there
            return F.batch_norm(x, None, None, scale, training=True, eps=self.norm.eps)
        result: Tensor = self.norm(x) * scale[:, None, None]
        return result


class Repeated(Operation):
    """An operation without weights: computed once, and the same for all targets but for its mixture weight.

    Args:
        place: where it is.
        layer: the operation; None is the identity.
        normalize: put BatchNorm behind it.
    """

    def __init__(self, place: Place, layer: nn.Module | None, normalize: bool) -> None:
        super().__init__()
        self.layer = layer
        self.norm = batch_norm(place.channels, affine=False) if normalize else None

    def forward(self, source: Source, weights: Tensor) -> Tensor:
        """See `Operation`."""
        x = source.value if self.layer is None else self.layer(source.value)
        x = x if self.norm is None else self.norm(x)
        return (x[:, None] * weights[:, None, None, None]).flatten(1, 2)


class AveragePool(nn.Module):
    """Means of 3x3 windows over those positions that are inside the image.

    By a convolution with ones, which is faster on a CPU than PyTorch's average pooling.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), or half of H and W with a stride of 2."""
        ones = x.new_ones(1, 1, *x.shape[2:])
        return self._sums(x) / self._sums(ones)

    def _sums(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return F.conv2d(x, x.new_ones(channels, 1, 3, 3), stride=self.stride, padding=1, groups=channels)


class ReluConvNorm(Operation):
    """ReLU, convolution, BatchNorm."""

    def __init__(self, place: Place, kernel: int) -> None:
        super().__init__()
        channels, targets, stride = place
        self.conv = nn.Conv2d(channels, targets * channels, kernel, stride, kernel // 2, bias=False)
        self.norm = ScaledNorm(channels, targets)

    def forward(self, source: Source, weights: Tensor) -> Tensor:
        """See `Operation`."""
        result: Tensor = self.norm(self.conv(source.positive), weights)
        return result


class OutgoingEdges(nn.Module):
    """All operations on all edges that leave a node; entries of the mixture are in the order of `operations`."""

    def __init__(self, operations: Mapping[str, OperationMaker], place: Place) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        made = {name: make(place) for name, make in operations.items()}
        self.operations = nn.ModuleDict({name: op for name, op in made.items() if op is not None})
        self.columns = tuple(column for column, name in enumerate(made) if made[name] is not None)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """The node (B, C, H, W) and mixture weights (T, O) -> sums of operations (B, T * C, H', W')."""
        source = Source(x, self.relu(x))
        total: Tensor | None = None
        for column, operation in zip(self.columns, self.operations.values(), strict=True):
            term = operation(source, weights[:, column])
            total = term if total is None else total + term
        assert total is not None, "a cell needs an operation other than none"
        return total


class MixedCell(nn.Module):
    """A directed acyclic graph of nodes, a mixture of operations on the edge from every node to every later one.

    Edges are numbered by target, then source, as in the benchmarks' strings: `edges[k]` is (target, source).

    Args:
        operations: makers of the operations of an edge by name, None for `none`.
        num_inputs: number of input nodes, which come first.
        num_nodes: number of nodes behind them.
        channels: of every node.
        reduces: whether nodes have half the height and width of the inputs.
        partial: K; only a K-th of the channels goes through the operations, and nodes weight the edges that lead into
            them ("PC-DARTS", Xu et al. 2020, sections 3.2 and 3.3); 1 is the plain cell.
    """

    def __init__(
        self,
        operations: Mapping[str, OperationMaker],
        num_inputs: int,
        num_nodes: int,
        channels: int,
        reduces: bool = False,
        partial: int = 1,
    ) -> None:
        super().__init__()
        self.num_inputs, self.num_states = num_inputs, num_inputs + num_nodes
        self.edges = cell_edges(num_inputs, num_nodes)
        self.active, self.partial = channels // partial, partial
        self.outgoing = nn.ModuleList()
        for source in range(self.num_states - 1):
            stride = 2 if reduces and source < num_inputs else 1
            self.outgoing.append(OutgoingEdges(operations, Place(self.active, self._num_targets(source), stride)))
        self.bypass = nn.MaxPool2d(2, 2) if reduces else nn.Identity()
        self.rows = [[k for k, edge in enumerate(self.edges) if edge[1] == s] for s in range(self.num_states)]

    def _num_targets(self, source: int) -> int:
        return self.num_states - max(source + 1, self.num_inputs)

    def forward(self, inputs: list[Tensor], weights: Tensor, edge_weights: Tensor | None = None) -> list[Tensor]:
        """All nodes, inputs included.

        Args:
            inputs: the input nodes, each (B, C, H, W).
            weights: (E, O) mixture of each edge's operations.
            edge_weights: (E,) weights of edges, with partial channels.
        """
        states = list(inputs)
        sums: list[Tensor | None] = [None] * self.num_states  # of each node, as far as its sources are known
        for source, outgoing in enumerate(self.outgoing):
            x, rows = states[source], self.rows[source]
            active = weights[rows] if edge_weights is None else weights[rows] * edge_weights[rows, None]
            blocks = outgoing(x[:, : self.active] if self.partial > 1 else x, active).chunk(len(rows), 1)
            if edge_weights is not None:
                rest = self.bypass(x[:, self.active :]) if source < self.num_inputs else x[:, self.active :]
                blocks = [
                    torch.cat([block, rest * edge_weights[row]], 1) for block, row in zip(blocks, rows, strict=True)
                ]
            for row, block in zip(rows, blocks, strict=True):
                target = self.edges[row][0]
                total = sums[target]
                sums[target] = block if total is None else total + block
            if source + 1 >= self.num_inputs:
                states.append(self._shuffle(sums[source + 1]))
        return states

    def _shuffle(self, x: Tensor | None) -> Tensor:
        """Channels of all groups in turn, so that the next node's operations read others ("PC-DARTS", section 3.2)."""
        assert x is not None
        return x if self.partial == 1 else F.channel_shuffle(x, self.partial)


def cell_edges(num_inputs: int, num_nodes: int) -> tuple[tuple[int, int], ...]:
    """(target, source) of all edges, by target, then source."""
    return tuple((t, s) for t in range(num_inputs, num_inputs + num_nodes) for s in range(t))
