"""A supernet of Once-for-All that computes as it was trained: whole weights, sliced while an image runs through it.

Written from Cai et al. 2020 and the authors' description of their modules, without anything of the library; names of
tensors are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (2, 2, 2, 1, 2)
SWISH = (False, False, True, True, True)
SQUEEZE = (False, True, False, True, True)


def tree(**children: nn.Module | nn.Parameter) -> nn.Module:
    module = nn.Module()
    for name, child in children.items():
        setattr(module, name, child)
    return module


def conv(inner: int, outer: int, kernel: int, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, kernel, groups=groups, bias=bias)


def eight(channels: float) -> int:
    """The nearest multiple of 8, never more than a tenth below."""
    result = max(8, int((channels + 4) // 8) * 8)
    return result + 8 if result < 0.9 * channels else result


def hard_sigmoid(x: Tensor) -> Tensor:
    return (x + 3).clamp(0, 6) / 6


class DynamicSupernet(nn.Module):
    """Random weights and BatchNorm statistics; `forward` runs one network of it."""

    def __init__(self, widths: Sequence[int], classes: int, seed: int) -> None:
        super().__init__()
        stem, first, *stages, last, mix = widths
        self.first_conv = tree(conv=conv(3, stem, 3), bn=nn.BatchNorm2d(stem))
        inner = first
        blocks = [
            tree(
                depth_conv=tree(conv=conv(stem, stem, 3, stem), bn=nn.BatchNorm2d(stem)),
                point_linear=tree(conv=conv(stem, first, 1), bn=nn.BatchNorm2d(first)),
            )
        ]
        for stage, outer in enumerate(stages):
            for _ in range(4):
                blocks.append(self.block(inner, outer, SQUEEZE[stage]))
                inner = outer
        self.blocks = nn.ModuleList([tree(mobile_inverted_conv=block) for block in blocks])
        self.final_expand_layer = tree(conv=conv(inner, last, 1), bn=nn.BatchNorm2d(last))
        self.feature_mix_layer = tree(conv=conv(last, mix, 1))
        self.classifier = tree(linear=nn.Linear(mix, classes))
        generator = torch.Generator().manual_seed(seed)
        for name, value in self.state_dict().items():
            self.fill(name, value, generator)
        self.collected: dict[nn.BatchNorm2d, list[tuple[int, Tensor, Tensor]]] | None = None

    @staticmethod
    def block(inner: int, outer: int, squeeze: bool) -> nn.Module:
        hidden = eight(inner * 6)
        depthwise = tree(
            conv=conv(hidden, hidden, 7, hidden),
            **{"7to5_matrix": nn.Parameter(torch.eye(25)), "5to3_matrix": nn.Parameter(torch.eye(9))},
        )
        depth_conv = tree(conv=depthwise, bn=tree(bn=nn.BatchNorm2d(hidden)))
        if squeeze:
            middle = eight(hidden // 4)
            gate = tree(reduce=conv(hidden, middle, 1, bias=True), expand=conv(middle, hidden, 1, bias=True))
            depth_conv.se = tree(fc=gate)
        return tree(
            inverted_bottleneck=tree(conv=tree(conv=conv(inner, hidden, 1)), bn=tree(bn=nn.BatchNorm2d(hidden))),
            depth_conv=depth_conv,
            point_linear=tree(conv=tree(conv=conv(hidden, outer, 1)), bn=tree(bn=nn.BatchNorm2d(outer))),
        )

    @staticmethod
    def fill(name: str, value: Tensor, generator: torch.Generator) -> None:
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("matrix"):
            value.copy_(torch.eye(len(value)) + 0.3 * noise)
        elif name.endswith(("running_var", "bn.weight")):
            value.copy_(0.5 + noise.abs())
        elif value.dtype.is_floating_point:
            value.copy_(noise / (max(1, value[0].numel()) ** 0.5 if value.dim() > 1 else 2))

    def normalize(self, x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        """By the first channels of the statistics, or by those of the batch where they are collected."""
        assert norm.running_mean is not None
        assert norm.running_var is not None
        count = x.shape[1]
        mean, variance = norm.running_mean[:count], norm.running_var[:count]
        if self.collected is not None:
            values = x.transpose(0, 1).reshape(count, -1)
            mean = values.sum(1) / values.shape[1]
            variance = ((values - mean[:, None]) ** 2).sum(1) / values.shape[1]
            self.collected.setdefault(norm, []).append((len(x), mean, variance))
        scale = norm.weight[:count] / (variance + 1e-5).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + norm.bias[:count, None, None]

    def kernel(self, depthwise: Any, channels: int, size: int) -> Tensor:
        """The first channels of the 7 x 7 kernel, made smaller by one matrix after the other."""
        kernels = []
        for kernel in depthwise.conv.weight[:channels, 0]:
            if size < 7:
                kernel = (getattr(depthwise, "7to5_matrix") @ kernel[1:6, 1:6].reshape(25)).reshape(5, 5)
            if size < 5:
                kernel = (getattr(depthwise, "5to3_matrix") @ kernel[1:4, 1:4].reshape(9)).reshape(3, 3)
            kernels.append(kernel)
        return torch.stack(kernels)[:, None]

    def bottleneck(self, x: Tensor, block: Any, stage: int, stride: int, size: int, expansion: int) -> Tensor:
        inner, hidden = x.shape[1], eight(x.shape[1] * expansion)

        def act(y: Tensor) -> Tensor:
            return y * hard_sigmoid(y) if SWISH[stage] else y.relu()

        y = F.conv2d(x, block.inverted_bottleneck.conv.conv.weight[:hidden, :inner])
        y = act(self.normalize(y, block.inverted_bottleneck.bn.bn))
        y = F.conv2d(y, self.kernel(block.depth_conv.conv, hidden, size), None, stride, size // 2, groups=hidden)
        y = act(self.normalize(y, block.depth_conv.bn.bn))
        if SQUEEZE[stage]:
            middle, gate = eight(hidden // 4), block.depth_conv.se.fc
            z = y.mean((2, 3), keepdim=True)
            z = F.conv2d(z, gate.reduce.weight[:middle, :hidden], gate.reduce.bias[:middle]).relu()
            z = F.conv2d(z, gate.expand.weight[:hidden, :middle], gate.expand.bias[:hidden])
            y = y * hard_sigmoid(z)
        y = F.conv2d(y, block.point_linear.conv.conv.weight[:, :hidden])
        y = self.normalize(y, block.point_linear.bn.bn)
        return x + y if stride == 1 and x.shape[1] == y.shape[1] else y

    @torch.no_grad()
    def forward(self, x: Tensor, ks: Sequence[int], e: Sequence[int], d: Sequence[int]) -> Tensor:
        first: Any = self.first_conv
        x = self.normalize(F.conv2d(x, first.conv.weight, None, 2, 1), first.bn)
        x = x * hard_sigmoid(x)
        block: Any = self.blocks[0].mobile_inverted_conv
        y = F.conv2d(x, block.depth_conv.conv.weight, None, 1, 1, groups=x.shape[1])
        y = self.normalize(y, block.depth_conv.bn).relu()
        y = self.normalize(F.conv2d(y, block.point_linear.conv.weight), block.point_linear.bn)
        x = x + y if x.shape == y.shape else y
        for stage in range(5):
            for index in range(4 * stage, 4 * stage + d[stage]):
                stride = STRIDES[stage] if index == 4 * stage else 1
                block = self.blocks[index + 1].mobile_inverted_conv
                x = self.bottleneck(x, block, stage, stride, ks[index], e[index])
        last: Any = self.final_expand_layer
        x = self.normalize(F.conv2d(x, last.conv.weight), last.bn)
        x = (x * hard_sigmoid(x)).mean((2, 3), keepdim=True)
        mix: Any = self.feature_mix_layer
        x = F.conv2d(x, mix.conv.weight)
        x = (x * hard_sigmoid(x)).flatten(1)
        linear: Any = self.classifier
        return F.linear(x, linear.linear.weight, linear.linear.bias)
