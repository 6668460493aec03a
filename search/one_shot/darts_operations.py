"""DARTS' operations (Liu et al. 2019, the authors' cnn/operations.py) on all edges that leave a node."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frontends.spaces.darts.graph_writer import NONE, SKIP

from .mixed_cell import AveragePool, Operation, OperationMaker, Place, Repeated, ScaledNorm, Source
from .network import batch_norm


class Separable(Operation):
    """Depthwise and pointwise convolution and BatchNorm behind a ReLU, once or, undilated, twice.

    Args:
        place: where it is.
        kernel: of the depthwise convolutions.
        dilation: of the first; 1 makes it two of each.
    """

    def __init__(self, place: Place, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        channels, targets, stride = place
        width, pad = targets * channels, kernel // 2
        self.targets = targets
        self.depthwise = nn.Conv2d(
            channels, width, kernel, stride, pad * dilation, dilation, groups=channels, bias=False
        )
        self.pointwise = nn.Conv2d(width, width, 1, groups=targets, bias=False)
        self.again: nn.Module | None = None
        if dilation == 1:
            self.again = nn.Sequential(
                batch_norm(width, affine=False),
                nn.ReLU(),
                nn.Conv2d(width, width, kernel, 1, pad, groups=width, bias=False),
                nn.Conv2d(width, width, 1, groups=targets, bias=False),
            )
        self.norm = ScaledNorm(channels, targets)

    def forward(self, source: Source, weights: Tensor) -> Tensor:
        """See `Operation`."""
        x = self.depthwise(source.positive)  # the targets of the first channel, those of the second, ...
        x = self.pointwise(x.unflatten(1, (-1, self.targets)).transpose(1, 2).flatten(1, 2))
        result: Tensor = self.norm(x if self.again is None else self.again(x), weights)
        return result


class FactorizedReduce(Operation):
    """Half the size by two 1x1 convolutions of stride 2, the second on positions shifted by one, and BatchNorm."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        width = place.targets * place.channels
        self.targets = place.targets
        self.conv_1 = nn.Conv2d(place.channels, width // 2, 1, 2, bias=False)
        self.conv_2 = nn.Conv2d(place.channels, width // 2, 1, 2, bias=False)
        self.norm = ScaledNorm(place.channels, place.targets)

    def forward(self, source: Source, weights: Tensor) -> Tensor:
        """See `Operation`."""
        x = source.positive
        halves = [self.conv_1(x).chunk(self.targets, 1), self.conv_2(x[:, :, 1:, 1:]).chunk(self.targets, 1)]
        both = torch.cat([half for pair in zip(*halves, strict=True) for half in pair], 1)
        result: Tensor = self.norm(both, weights)
        return result


def operation_maker(name: str, normalize: bool) -> OperationMaker:
    """The maker of an operation.

    Args:
        name: of the operation.
        normalize: put BatchNorm behind skips too; pooling has it, in the authors' supernet.
    """
    if name == NONE:
        return lambda place: None
    if name == SKIP:
        return lambda place: FactorizedReduce(place) if place.stride == 2 else Repeated(place, None, normalize)
    kind, kernel = name.rpartition("_")[0], int(name[-1])
    if kind == "max_pool":
        return lambda place: Repeated(place, nn.MaxPool2d(kernel, place.stride, kernel // 2), True)
    if kind == "avg_pool":
        return lambda place: Repeated(place, AveragePool(place.stride), True)
    return lambda place: Separable(place, kernel, dilation=2 if kind == "dil_conv" else 1)
