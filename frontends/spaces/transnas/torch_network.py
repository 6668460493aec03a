"""TransNAS-Bench-101's networks (Duan et al. 2021 and the authors' net_macro.py, cell_micro.py, cell_ops.py,
decoder.py), in PyTorch.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from frontends.spaces.edge_cell import EDGES

from .common import IMAGE_TASKS, PIECES, TASKS, Block, Encoder, decoder


def relu_conv_bn(inner: int, outer: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution without bias, BatchNorm."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outer)
    )


class FactorizedReduce(nn.Module):
    """A skip that changes the shape: two 1x1 convolutions, the second on the image moved by a pixel, side by side."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.relu, self.pad = nn.ReLU(), nn.ConstantPad2d((0, 1, 0, 1), 0)
        self.convs = nn.ModuleList(nn.Conv2d(inner, outer // 2, 1, stride, bias=False) for _ in range(2))
        self.bn = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) -> (B, outer, H/stride, W/stride)."""
        x = self.relu(x)
        result: Tensor = self.bn(torch.cat([self.convs[0](x), self.convs[1](self.pad(x)[:, :, 1:, 1:])], dim=1))
        return result


def operation(op: str, inner: int, outer: int, stride: int) -> nn.Module:
    """The layer of one edge; zeroize has no layer."""
    if op == "skip":
        return nn.Identity() if stride == 1 and inner == outer else FactorizedReduce(inner, outer, stride)
    return relu_conv_bn(inner, outer, {"conv1x1": 1, "conv3x3": 3}[op], stride)


class Cell(nn.Module):
    """Four nodes, each the sum of its incoming edges. Edges that leave a node nothing flows into are built but not run."""

    def __init__(self, ops: tuple[str, ...], inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.outer, self.stride = outer, stride
        self.edges = nn.ModuleDict()
        for (target, source), op in zip(EDGES, ops, strict=True):
            if op != "zeroize":
                self.edges[f"{target}_{source}"] = operation(
                    op, outer if source else inner, outer, 1 if source else stride
                )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) -> (B, outer, H/stride, W/stride); zeros where no path leads through."""
        values: list[Tensor | None] = [x]
        for target in range(1, 4):
            names = [f"{target}_{source}" for source, value in enumerate(values) if value is not None]
            terms: list[Tensor] = [self.edges[name](values[int(name[-1])]) for name in names if name in self.edges]
            values.append(reduce(torch.add, terms) if terms else None)
        if values[3] is not None:
            return values[3]
        return (x[:, :1, :: self.stride, :: self.stride] * 0).expand(-1, self.outer, -1, -1)


class BasicBlock(nn.Module):
    """ResNet's block with the activations first."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv_a, self.conv_b = relu_conv_bn(inner, outer, 3, stride), relu_conv_bn(outer, outer, 3)
        shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        self.downsample = nn.Identity() if stride == 1 and inner == outer else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, H, W) -> (B, outer, H/stride, W/stride)."""
        y: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return y


def encoder_layers(encoder: Encoder, image_channels: int) -> nn.Sequential:
    """Stem and modules."""
    inner = encoder.channels
    layers: list[nn.Module] = [
        nn.Conv2d(image_channels, inner // 2, 3, 2, 1, bias=False), nn.BatchNorm2d(inner // 2), relu_conv_bn(inner // 2, inner, 3, 2)
    ]  # fmt: skip
    for outer, stride in encoder.modules:
        for cell in range(encoder.cells):
            step = 1 if cell else stride
            layers.append(
                BasicBlock(inner, outer, step) if encoder.ops is None else Cell(encoder.ops, inner, outer, step)
            )
            inner = outer
    return nn.Sequential(*layers)


def image_decoder(inner: int, blocks: tuple[Block, ...], outputs: int, task: str) -> nn.Sequential:
    """Convolutions with BatchNorm and LeakyReLU; the generative tasks end with Tanh."""
    layers: list[nn.Module] = []
    for channels, doubles in blocks:
        conv = (
            nn.ConvTranspose2d(inner, channels, 3, 2, 1, output_padding=1)
            if doubles
            else nn.Conv2d(inner, channels, 3, 1, 1)
        )
        layers += [conv, nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)]
        inner = channels
    end = nn.Identity() if task == "segmentsemantic" else nn.Tanh()
    return nn.Sequential(*layers, nn.Conv2d(inner, outputs, 3, 1, 1), end)


class Network(nn.Module):
    """Encoder and decoder of a task."""

    def __init__(self, encoder: Encoder, task: str, image_channels: int) -> None:
        super().__init__()
        self.encoder = encoder_layers(encoder, image_channels)
        self.jigsaw = task == "jigsaw"
        inner = encoder.modules[-1][0]
        if task in IMAGE_TASKS:
            self.decoder = image_decoder(inner, decoder(task, encoder.halvings), TASKS[task], task)
        else:
            inner *= PIECES if self.jigsaw else 1
            self.decoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inner, TASKS[task]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), for jigsaw (B, 9, C, H, W) -> (B, outputs), or an image with a channel per output."""
        features = torch.cat([self.encoder(piece) for piece in x.unbind(1)], dim=1) if self.jigsaw else self.encoder(x)
        result: Tensor = self.decoder(features)
        return result
