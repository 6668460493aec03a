"""NAS-Bench-201's supernet (Dong & Yang 2020, the authors' TinyNetworkDarts; DARTS-PT, Wang et al. 2021)."""

from __future__ import annotations

from functools import partial as bind
from typing import Any

from torch import Tensor, nn

from frontends.spaces.edge_cell import EDGES
from frontends.spaces.nasbench201.space import NasBench201
from frontends.spaces.nasbench201.spec import OPS, Spec

from .choices import Choice, Picks
from .mixed_cell import AveragePool, MixedCell, OperationMaker, ReluConvNorm, Repeated
from .network import Supernet, batch_norm


def _relu_conv_bn(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """ReLU, 3x3 convolution, BatchNorm."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False), batch_norm(out_channels)
    )


class ReductionBlock(nn.Module):
    """The residual block between stages: half the height and width, other channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_a = _relu_conv_bn(in_channels, out_channels, stride=2)
        self.conv_b = _relu_conv_bn(out_channels, out_channels)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H/2, W/2)."""
        result: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return result


class NasBench201Supernet(Supernet):
    """All 15,625 cells at once: a mixture of five operations on each of six edges, the same in all cells.

    Args:
        space: the skeleton.
        partial: K of PC-DARTS; 1 is DARTS. Weights of edges are trained but choose nothing: every edge of the space has
            an operation.
        normalize: put BatchNorm behind skips and pooling too, which convolutions have anyway.
    """

    def __init__(self, space: NasBench201, partial: int = 1, normalize: bool = False) -> None:
        super().__init__()
        self.space = space
        self.num_edge_weights = len(EDGES) if partial > 1 else 0
        edge_groups = (1, 2, 3) if partial > 1 else ()
        self.groups = (len(OPS),) * len(EDGES) + edge_groups
        self.choices = tuple(
            Choice(f"edge {target}<-{source}", OPS, tuple((len(OPS) * k + o,) for o in range(len(OPS))))
            for k, (target, source) in enumerate(EDGES)
        )
        self.stem = nn.Sequential(
            nn.Conv2d(space.image[0], space.channels, 3, padding=1, bias=False), batch_norm(space.channels)
        )
        operations = _operations(normalize)
        self.layers = nn.ModuleList()
        for stage, width in enumerate(space.channels * 2**stage for stage in range(3)):
            if stage:
                self.layers.append(ReductionBlock(width // 2, width))
            self.layers.extend(MixedCell(operations, 1, 3, width, partial=partial) for _ in range(space.cells))
        self.last = nn.Sequential(batch_norm(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.classifier = nn.Linear(width, space.classes)

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Images (B, C, H, W) and mixture (A,) -> logits of classes (B, classes)."""
        size = len(EDGES) * len(OPS)
        weights = mixture[:size].view(len(EDGES), len(OPS))
        edge_weights = mixture[size:] if self.num_edge_weights else None
        x = self.stem(x)
        for layer in self.layers:
            x = layer([x], weights, edge_weights)[-1] if isinstance(layer, MixedCell) else layer(x)
        logits: Tensor = self.classifier(self.last(x).flatten(1))
        return logits

    def spec(self, picks: Picks) -> Spec:
        """The operations of the six edges."""
        return tuple(OPS[options[0]] for options in picks)


def _operations(normalize: bool) -> dict[str, OperationMaker]:
    makers: dict[str, Any] = {
        "none": lambda place: None,
        "skip_connect": lambda place: Repeated(place, None, normalize),
        "nor_conv_1x1": bind(ReluConvNorm, kernel=1),
        "nor_conv_3x3": bind(ReluConvNorm, kernel=3),
        "avg_pool_3x3": lambda place: Repeated(place, AveragePool(), normalize),
    }
    return {name: makers[name] for name in OPS}
