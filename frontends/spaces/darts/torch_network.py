"""DARTS' CIFAR network (Liu et al. 2019, the authors' cnn/model.py and cnn/operations.py), in PyTorch.

Without auxiliary head and drop path.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .genotype import Cell, Genotype
from .graph_writer import NONE, SKIP, STEM_MULTIPLIER, reduction_layers


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


def separable(channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise convolution, 1x1 convolution, BatchNorm.

    Args:
        channels: of input and output.
        kernel: height and width of the depthwise kernel, odd.
        stride: of the depthwise convolution.
        dilation: of the depthwise convolution.
    """
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, dilation * (kernel // 2), dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


class DartsFactorizedReduce(nn.Module):
    """Half the size by two 1x1 convolutions of stride 2, the second on positions shifted by one."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv_1 = nn.Conv2d(in_channels, out_channels // 2, 1, 2, bias=False)
        self.conv_2 = nn.Conv2d(in_channels, out_channels // 2, 1, 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H/2, W/2); H and W even."""
        x = self.relu(x)
        result: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], 1))
        return result


def operation(op: str, channels: int, stride: int) -> nn.Module:
    """The layer of one pair; `none` has no layer.

    Args:
        op: name of the operation.
        channels: of input and output.
        stride: 2 where a reduction cell reads one of its inputs.
    """
    if op in (NONE, SKIP):
        return DartsFactorizedReduce(channels, channels) if op == SKIP and stride == 2 else nn.Identity()
    kind, kernel = op.rpartition("_")[0], int(op[-1])
    pad = kernel // 2
    if kind == "max_pool":
        return nn.MaxPool2d(kernel, stride, pad)
    if kind == "avg_pool":
        return nn.AvgPool2d(kernel, stride, pad, count_include_pad=False)
    if kind == "sep_conv":
        return nn.Sequential(*separable(channels, kernel, stride), *separable(channels, kernel))
    if kind == "dil_conv":
        return nn.Sequential(*separable(channels, kernel, stride, dilation=2))
    if kind == "conv":
        return relu_conv_bn(channels, channels, kernel, stride)
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, kernel), (1, stride), (0, pad), bias=False),
        nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), (pad, 0), bias=False),
        nn.BatchNorm2d(channels),
    )


class DartsCell(nn.Module):
    """One cell. States without input are None, and zeros in the concatenation.

    The authors compute what reads such a state on zeros, which adds a constant to what follows; here it is built but
    not run, because the canonical graph has no constants.

    Args:
        cell: its pairs.
        concat: the states it concatenates.
        in_channels: of its two inputs.
        channels: of each of its nodes.
        reduces: whether it is a reduction cell.
        halved: whether its first input is twice as large as its second.
    """

    def __init__(
        self,
        cell: Cell,
        concat: tuple[int, ...],
        in_channels: tuple[int, int],
        channels: int,
        reduces: bool,
        halved: bool,
    ) -> None:
        super().__init__()
        self.cell, self.concat = cell, concat
        first: nn.Module = (
            DartsFactorizedReduce(in_channels[0], channels) if halved else relu_conv_bn(in_channels[0], channels, 1)
        )
        self.preprocess = nn.ModuleList([first, relu_conv_bn(in_channels[1], channels, 1)])
        self.operations = nn.ModuleList(
            [operation(op, channels, 2 if reduces and source < 2 else 1) for op, source in cell]
        )

    def forward(self, *inputs: Tensor | None) -> Tensor | None:
        """Two results (B, C, H, W) of earlier cells -> (B, channels * nodes concatenated, H or H/2, W or W/2)."""
        states = [None if x is None else layer(x) for x, layer in zip(inputs, self.preprocess, strict=True)]
        for node in range(len(self.cell) // 2):
            terms = [self._run(pair, states) for pair in (2 * node, 2 * node + 1)]
            live = [term for term in terms if term is not None]
            states.append(live[0] + live[1] if len(live) == 2 else live[0] if live else None)
        results = [states[state] for state in self.concat]
        zeros = next((result * 0 for result in results if result is not None), None)
        return None if zeros is None else torch.cat([zeros if result is None else result for result in results], 1)

    def _run(self, pair: int, states: list[Tensor | None]) -> Tensor | None:
        op, source = self.cell[pair]
        state = states[source]
        return None if state is None or op == NONE else self.operations[pair](state)


class DartsNetwork(nn.Module):
    """Stem, cells, mean over positions, linear layer.

    Args:
        genotype: both cells.
        concats: the states that each of them concatenates.
        channels: of the first layer.
        layers: number of cells.
        image: channels, height, width.
        classes: length of the logits.
    """

    def __init__(
        self,
        genotype: Genotype,
        concats: tuple[tuple[int, ...], tuple[int, ...]],
        channels: int,
        layers: int,
        image: tuple[int, int, int],
        classes: int,
    ) -> None:
        super().__init__()
        widths = [STEM_MULTIPLIER * channels] * 2
        self.stem = nn.Sequential(nn.Conv2d(image[0], widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]))
        self.cells = nn.ModuleList()
        reducing = reduction_layers(layers)
        for number in range(layers):
            reduces = number in reducing
            channels *= 2 if reduces else 1
            self.cells.append(
                DartsCell(
                    genotype[reduces],
                    concats[reduces],
                    (widths[-2], widths[-1]),
                    channels,
                    reduces,
                    number - 1 in reducing,
                )
            )
            widths.append(channels * len(concats[reduces]))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, classes)."""
        previous: Tensor | None = self.stem(x)
        last = previous
        for cell in self.cells:
            previous, last = last, cell(previous, last)
        if last is None:
            features = x.flatten(1)[:, :1].expand(-1, self.classifier.in_features) * 0
        else:
            features = self.pool(last).flatten(1)
        logits: Tensor = self.classifier(features)
        return logits
