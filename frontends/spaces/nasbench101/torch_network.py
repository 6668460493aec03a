"""NAS-Bench-101's network (Ying et al. 2019, section 2 and the authors' model_builder), in PyTorch.

Architecture only: BatchNorm's momentum and the weights' initial values are PyTorch's, not TensorFlow's.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from .cell import CONV1X1, CONV3X3, Cell, vertex_channels


def conv_bn_relu(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    """Convolution of stride 1 without bias, BatchNorm, ReLU.

    Args:
        in_channels: channels it reads.
        out_channels: channels it returns.
        kernel: height and width of the kernel, odd; padded so that the size stays.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def operation(op: int, channels: int) -> nn.Module:
    """The layer of one interior vertex."""
    if op in (CONV3X3, CONV1X1):
        return conv_bn_relu(channels, channels, 3 if op == CONV3X3 else 1)
    return nn.MaxPool2d(3, 1, 1)


class NasBench101Cell(nn.Module):
    """One cell: sums into interior vertices, a concatenation (plus the projected input) into the output.

    Args:
        cell: pruned.
        in_channels: channels of its input.
        out_channels: channels of its output.
    """

    def __init__(self, cell: Cell, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.widths = vertex_channels(cell, in_channels, out_channels)
        self.last = len(self.widths) - 1
        self.sources = [[s for s in range(1, t) if cell.matrix[s][t]] for t in range(self.last + 1)]
        self.operations = nn.ModuleList([operation(op, self.widths[t]) for t, op in enumerate(cell.ops, 1)])
        self.projections = nn.ModuleDict(
            {str(t): conv_bn_relu(in_channels, self.widths[t], 1) for t, edge in enumerate(cell.matrix[0]) if edge}
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        values = [x]
        for t, op in enumerate(self.operations, 1):
            terms = [self._truncate(values[s], t) for s in self.sources[t]]
            if str(t) in self.projections:
                terms.append(self.projections[str(t)](x))
            values.append(op(reduce(torch.add, terms)))
        terms = [values[s] for s in self.sources[self.last]]
        terms = [torch.cat(terms, 1)] if len(terms) > 1 else terms
        if str(self.last) in self.projections:
            terms.append(self.projections[str(self.last)](x))
        return reduce(torch.add, terms)

    def _truncate(self, value: Tensor, target: int) -> Tensor:
        return value if value.shape[1] == self.widths[target] else value[:, : self.widths[target]]


class NasBench101Network(nn.Module):
    """Stem, stacks of cells with pooling and twice the channels in between, mean over positions, linear layer.

    Args:
        cell: pruned.
        channels: after the stem, and in the first stack.
        stacks: how many there are.
        cells: in each stack.
        image: channels, height, width.
        classes: length of the logits.
    """

    def __init__(
        self, cell: Cell, channels: int, stacks: int, cells: int, image: tuple[int, int, int], classes: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_bn_relu(image[0], channels, 3)]
        width = channels
        for stack in range(stacks):
            out_channels = channels * 2**stack
            if stack:
                layers.append(nn.MaxPool2d(2, 2))
            for _ in range(cells):
                layers.append(NasBench101Cell(cell, width, out_channels))
                width = out_channels
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits
