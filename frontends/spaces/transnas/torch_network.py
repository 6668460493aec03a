"""TransNAS-Bench-101's networks (Duan et al. 2021), in PyTorch.

Source: the authors' net_macro.py, cell_micro.py, cell_ops.py and decoder.py.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from frontends.spaces.edge_cell import EDGES

from .tasks import IMAGE_TASKS, JIGSAW_TILES, TASKS, DecoderBlock, TransNasBackbone, decoder_blocks


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


class TransNasFactorizedReduce(nn.Module):
    """A skip that changes the shape: two 1x1 convolutions, the second on the image shifted by a pixel, concatenated.

    Args:
        in_channels: channels it reads.
        out_channels: channels it returns.
        stride: of both convolutions.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.relu, self.pad = nn.ReLU(), nn.ConstantPad2d((0, 1, 0, 1), 0)
        self.convs = nn.ModuleList(nn.Conv2d(in_channels, out_channels // 2, 1, stride, bias=False) for _ in range(2))
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride)."""
        x = self.relu(x)
        result: Tensor = self.bn(torch.cat([self.convs[0](x), self.convs[1](self.pad(x)[:, :, 1:, 1:])], dim=1))
        return result


def operation(op: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The layer of one edge; zeroize has no layer.

    Args:
        op: of `OPS`.
        in_channels: channels it reads.
        out_channels: channels it returns.
        stride: of its convolutions.
    """
    if op == "skip":
        return (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else TransNasFactorizedReduce(in_channels, out_channels, stride)
        )
    return relu_conv_bn(in_channels, out_channels, {"conv1x1": 1, "conv3x3": 3}[op], stride)


class TransNasCell(nn.Module):
    """Four nodes, each the sum of its incoming edges. Edges that leave a node without input are built but not run.

    Args:
        ops: an operation for every edge in `EDGES`.
        in_channels: channels it reads.
        out_channels: channels it returns.
        stride: of the edges that leave the input.
    """

    def __init__(self, ops: tuple[str, ...], in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels, self.stride = out_channels, stride
        self.edges = nn.ModuleDict()
        for (target, source), op in zip(EDGES, ops, strict=True):
            if op != "zeroize":
                self.edges[f"{target}_{source}"] = operation(
                    op, out_channels if source else in_channels, out_channels, 1 if source else stride
                )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride); zeros where no path leads through."""
        values: list[Tensor | None] = [x]
        for target in range(1, 4):
            names = [f"{target}_{source}" for source, value in enumerate(values) if value is not None]
            terms: list[Tensor] = [self.edges[name](values[int(name[-1])]) for name in names if name in self.edges]
            values.append(reduce(torch.add, terms) if terms else None)
        if values[3] is not None:
            return values[3]
        return (x[:, :1, :: self.stride, :: self.stride] * 0).expand(-1, self.out_channels, -1, -1)


class BasicBlock(nn.Module):
    """ResNet's block with the activations first.

    Args:
        in_channels: channels it reads.
        out_channels: channels it returns.
        stride: of the first convolution and the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv_a = relu_conv_bn(in_channels, out_channels, 3, stride)
        self.conv_b = relu_conv_bn(out_channels, out_channels, 3)
        shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.downsample = nn.Identity() if stride == 1 and in_channels == out_channels else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride)."""
        y: Tensor = self.downsample(x) + self.conv_b(self.conv_a(x))
        return y


def backbone_layers(backbone: TransNasBackbone, image_channels: int) -> nn.Sequential:
    """Stem and modules."""
    in_channels = backbone.channels
    layers: list[nn.Module] = [
        nn.Conv2d(image_channels, in_channels // 2, 3, 2, 1, bias=False),
        nn.BatchNorm2d(in_channels // 2),
        relu_conv_bn(in_channels // 2, in_channels, 3, 2),
    ]
    for out_channels, stride in backbone.modules:
        for cell in range(backbone.cells):
            cell_stride = 1 if cell else stride
            layers.append(
                BasicBlock(in_channels, out_channels, cell_stride)
                if backbone.ops is None
                else TransNasCell(backbone.ops, in_channels, out_channels, cell_stride)
            )
            in_channels = out_channels
    return nn.Sequential(*layers)


def image_decoder(in_channels: int, blocks: tuple[DecoderBlock, ...], outputs: int, task: str) -> nn.Sequential:
    """Convolutions with BatchNorm and LeakyReLU; the generative tasks end with Tanh.

    Args:
        in_channels: of the backbone's output.
        blocks: the layers before the last.
        outputs: channels of the image.
        task: one of `IMAGE_TASKS`.
    """
    layers: list[nn.Module] = []
    for channels, upsamples in blocks:
        conv = (
            nn.ConvTranspose2d(in_channels, channels, 3, 2, 1, output_padding=1)
            if upsamples
            else nn.Conv2d(in_channels, channels, 3, 1, 1)
        )
        layers += [conv, nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)]
        in_channels = channels
    end = nn.Identity() if task == "segmentsemantic" else nn.Tanh()
    return nn.Sequential(*layers, nn.Conv2d(in_channels, outputs, 3, 1, 1), end)


class TransNasNetwork(nn.Module):
    """Backbone and decoder of a task.

    Args:
        backbone: the searched part.
        task: one of `TASKS`.
        image_channels: channels of the image.
    """

    def __init__(self, backbone: TransNasBackbone, task: str, image_channels: int) -> None:
        super().__init__()
        self.encoder = backbone_layers(backbone, image_channels)
        self.jigsaw = task == "jigsaw"
        in_channels = backbone.modules[-1][0]
        if task in IMAGE_TASKS:
            self.decoder = image_decoder(
                in_channels, decoder_blocks(task, backbone.num_downsamplings), TASKS[task], task
            )
        else:
            in_channels *= JIGSAW_TILES if self.jigsaw else 1
            self.decoder = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_channels, TASKS[task]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), for jigsaw (B, 9, C, H, W) -> (B, outputs), or an image with a channel per output."""
        features = torch.cat([self.encoder(tile) for tile in x.unbind(1)], dim=1) if self.jigsaw else self.encoder(x)
        result: Tensor = self.decoder(features)
        return result
