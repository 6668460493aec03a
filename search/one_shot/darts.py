"""DARTS' supernet (Liu et al. 2019, the authors' cnn/model_search.py; PC-DARTS, Xu et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frontends.spaces.darts.genotype import CELLS, Cell, Edge, Genotype
from frontends.spaces.darts.graph_writer import NONE, STEM_MULTIPLIER, reduction_layers
from frontends.spaces.darts.space import NODES, OPS, Darts
from frontends.spaces.darts.torch_network import DartsFactorizedReduce, relu_conv_bn

from .choices import Choice, Picks
from .darts_operations import operation_maker
from .mixed_cell import MixedCell, cell_edges
from .network import Supernet, batch_norm, by_batch

EDGES = cell_edges(2, NODES)
TARGETS = tuple(range(2, NODES + 2))
SIZE = len(EDGES) * len(OPS)  # operation weights of one cell


class DartsSupernet(Supernet):
    """All pairs of cells at once, a mixture of eight operations on each of fourteen edges of either cell.

    A specification keeps two edges into each node; `none` is in the mixture but is never chosen. The space's skeleton
    is that of the final network; the authors search with channels=16, layers=8.

    Args:
        space: the skeleton.
        partial: K of PC-DARTS; its weights of edges choose the edges.
        normalize: put BatchNorm behind skips too, which the other operations have anyway.
    """

    def __init__(self, space: Darts, partial: int = 1, normalize: bool = False) -> None:
        super().__init__()
        self.space, self.has_edge_weights = space, partial > 1
        edge_groups = TARGETS * len(CELLS) if partial > 1 else ()  # a node has as many edges as states before it
        self.groups = (len(OPS),) * (len(CELLS) * len(EDGES)) + edge_groups
        self.choices = (*_operation_choices(), *_edge_choices(self.has_edge_weights))
        widths = [STEM_MULTIPLIER * space.channels] * 2
        self.stem = nn.Sequential(nn.Conv2d(space.image[0], widths[0], 3, padding=1, bias=False), batch_norm(widths[0]))
        self.cells = nn.ModuleList()
        channels, reducing = space.channels, reduction_layers(space.layers)
        self.kinds = [int(number in reducing) for number in range(space.layers)]  # index into CELLS
        for number, which in enumerate(self.kinds):
            channels *= 2 if which else 1
            halved = number - 1 in reducing
            self.cells.append(SearchCell((widths[-2], widths[-1]), channels, which == 1, halved, partial, normalize))
            widths.append(NODES * channels)
        self.classifier = nn.Linear(widths[-1], space.classes)

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, C, H, W) and mixture (A,) -> logits of classes (B, classes)."""
        operations = mixture[: 2 * SIZE].view(len(CELLS), len(EDGES), len(OPS))
        edges = mixture[2 * SIZE :].view(len(CELLS), len(EDGES)) if self.has_edge_weights else (None, None)
        before = last = self.stem(x)
        for cell, which in zip(self.cells, self.kinds, strict=True):
            before, last = last, cell([before, last], operations[which], edges[which])
        logits: Tensor = self.classifier(last.mean((2, 3)))
        return logits

    def magnitudes(self, mixture: Tensor) -> Tensor:
        """Mixture (A,) -> what `argmax` compares (A,): operation weights, with partial channels times their edge's.

        An edge's own entry is then its best such product but for `none`'s (PC-DARTS, section 3.3).
        """
        if not self.has_edge_weights:
            return mixture
        products = mixture[: 2 * SIZE].view(-1, len(OPS)) * mixture[2 * SIZE :, None]
        best = products[:, [op for op, name in enumerate(OPS) if name != NONE]].amax(1)
        return torch.cat([products.flatten(), best])

    def spec(self, picks: Picks) -> Genotype:
        """The two chosen edges into each node of either cell with their operations."""
        count = len(EDGES)
        cells = [
            _cell(picks[which * count :][:count], picks[len(CELLS) * count + which * NODES :][:NODES])
            for which in range(len(CELLS))
        ]
        return Genotype(*cells)


class SearchCell(nn.Module):
    """A mixed cell behind 1x1 convolutions of the results of the two cells before it.

    Args:
        in_channels: of its two inputs.
        channels: of each node.
        reduces: whether it is a reduction cell.
        halved: whether its first input is twice as large as its second.
        partial: K of PC-DARTS.
        normalize: put BatchNorm behind skips.
    """

    def __init__(
        self, in_channels: tuple[int, int], channels: int, reduces: bool, halved: bool, partial: int, normalize: bool
    ) -> None:
        super().__init__()
        first = DartsFactorizedReduce(in_channels[0], channels) if halved else relu_conv_bn(in_channels[0], channels, 1)
        layers = (first, relu_conv_bn(in_channels[1], channels, 1))
        self.preprocess = nn.ModuleList(by_batch(layer, affine=False) for layer in layers)
        operations = {name: operation_maker(name, normalize) for name in OPS}
        self.mixed = MixedCell(operations, 2, NODES, channels, reduces, partial)

    def forward(self, inputs: list[Tensor], operations: Tensor, edges: Tensor | None) -> Tensor:
        """The concatenation of all nodes (B, 4 * channels, H or H/2, W or W/2).

        Args:
            inputs: results of the two cells before.
            operations: (14, 8) mixture of each edge's operations.
            edges: (14,) weights of edges, with partial channels.
        """
        states = [layer(x) for layer, x in zip(self.preprocess, inputs, strict=True)]
        return torch.cat(self.mixed(states, operations, edges)[2:], 1)


def _operation_choices() -> list[Choice]:
    return [
        Choice(
            f"{cell} edge {target}<-{source}",
            OPS,
            tuple((which * SIZE + edge * len(OPS) + op,) for op in range(len(OPS))),
            never=(NONE,),
        )
        for which, cell in enumerate(CELLS)
        for edge, (target, source) in enumerate(EDGES)
    ]


def _edge_choices(has_edge_weights: bool) -> list[Choice]:
    starts = {target: sum(TARGETS[: target - 2]) for target in TARGETS}  # the number of a node's first edge
    return [
        Choice(
            f"{cell} edges into {target}",
            tuple(f"{target}<-{source}" for source in range(target)),
            tuple(_entries(which * len(EDGES) + starts[target] + source, has_edge_weights) for source in range(target)),
            num_chosen=2,
            of_inputs=True,
        )
        for which, cell in enumerate(CELLS)
        for target in TARGETS
    ]


def _entries(edge: int, has_edge_weights: bool) -> tuple[int, ...]:
    """What stands for an edge, numbered through both cells: its own weight, or those of all its operations."""
    if has_edge_weights:
        return (len(CELLS) * SIZE + edge,)
    return tuple(range(edge * len(OPS), (edge + 1) * len(OPS)))


def _cell(operations: Picks, edges: Picks) -> Cell:
    """A cell from the chosen operation of every edge and the chosen edges into every node."""
    names = {edge: OPS[op] for edge, (op,) in zip(EDGES, operations, strict=True)}
    return tuple(
        Edge(names[target, source], source)
        for target, sources in zip(TARGETS, edges, strict=True)
        for source in sources
    )
