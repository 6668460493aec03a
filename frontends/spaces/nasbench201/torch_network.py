"""NAS-Bench-201's network (Dong & Yang 2020, section 2 and the authors' TinyNetwork), in PyTorch."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from frontends.spaces.edge_cell import EDGES

from .spec import Spec


def relu_conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution without bias, BatchNorm.

    Args:
        in_channels: channels it reads.
        out_channels: channels it returns.
        kernel: height and width of the kernel, odd; padded by half of it.
        stride: of the convolution.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def operation(op: str, channels: int) -> nn.Module:
    """The layer of one edge; `none` has no layer."""
    if op == "skip_connect":
        return nn.Identity()
    if op == "avg_pool_3x3":
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return relu_conv_bn(channels, channels, {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[op])


class NasBench201Cell(nn.Module):
    """Four nodes, each the sum of its incoming edges.

    Edges that leave a node nothing flows into are built but not run: the benchmark computes them on zeros, which adds a
    constant to the next node, and the canonical graph has no constants.
    """

    def __init__(self, spec: Spec, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                f"{target}_{source}": operation(op, channels)
                for (target, source), op in zip(EDGES, spec, strict=True)
                if op != "none"
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape; zeros where no path leads through."""
        values: list[Tensor | None] = [x]
        for target in range(1, 4):
            terms = [
                self._edge(target, source, value)
                for source, value in enumerate(values)
                if value is not None and f"{target}_{source}" in self.edges
            ]
            values.append(reduce(torch.add, terms) if terms else None)
        return values[3] if values[3] is not None else x * 0

    def _edge(self, target: int, source: int, value: Tensor) -> Tensor:
        result: Tensor = self.edges[f"{target}_{source}"](value)
        return result


class ReductionBlock(nn.Module):
    """The residual block between stages: half the height and width, other channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_a = relu_conv_bn(in_channels, out_channels, 3, stride=2)
        self.conv_b = relu_conv_bn(out_channels, out_channels, 3)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H/2, W/2)."""
        y = self.conv_b(self.conv_a(x))
        result: Tensor = self.downsample(x) + y
        return result


class NasBench201Network(nn.Module):
    """Stem, three stages of cells, BatchNorm, ReLU, global pooling, linear layer.

    Args:
        spec: operations of the cell.
        channels: of the first stage; each stage has twice those of the stage before.
        cells: in each stage.
        image: channels, height, width.
        classes: length of the logits.
    """

    def __init__(self, spec: Spec, channels: int, cells: int, image: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(image[0], channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        layers: list[nn.Module] = []
        for stage, width in enumerate((channels, 2 * channels, 4 * channels)):
            if stage:
                layers.append(ReductionBlock(width // 2, width))
            layers.extend(NasBench201Cell(spec, width) for _ in range(cells))
        self.cells = nn.Sequential(*layers)
        self.last = nn.Sequential(nn.BatchNorm2d(4 * channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(4 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        logits: Tensor = self.classifier(self.last(self.cells(self.stem(x))).flatten(1))
        return logits
