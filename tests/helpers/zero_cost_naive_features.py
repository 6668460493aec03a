"""Proxies of activations and feature maps by loops from the papers' equations, and small networks to try them on."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Convolution, BatchNorm, ReLU, and a dead end."""

    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, stride, 1)
        self.norm = nn.BatchNorm2d(outer)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)))


class Blocks(nn.Module):
    """Stem of 4 channels, three blocks of which the second halves the size, classifier; with `dead`, a dead end too."""

    def __init__(self, dead: bool = False, channels: tuple[int, int, int] = (4, 6, 6)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        widths = (4, *channels)
        self.blocks = nn.Sequential(*(Block(a, b, 1 + (i == 1)) for i, (a, b) in enumerate(pairwise(widths))))
        self.head = nn.Linear(channels[-1], 5)
        self.dead = Block(channels[-1], 3) if dead else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        if self.dead is not None:
            self.dead(x)
        return self.head(x.mean((2, 3)))


class Functional(nn.Module):
    """The same as `Blocks` without modules but for the weights; activations in place."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.weights = nn.ParameterList(blocks.parameters())

    def forward(self, x: Tensor) -> Tensor:
        weights = list(self.weights)
        x = F.conv2d(x, weights[0], weights[1], padding=1)
        for i in range(3):
            kernel, bias, scale, shift = weights[2 + 4 * i : 6 + 4 * i]
            x = F.conv2d(x, kernel, bias, stride=1 + (i == 1), padding=1)
            x = torch.relu_(F.batch_norm(x, None, None, scale, shift, training=True))
        return F.linear(x.mean((2, 3)), *weights[14:16])


class Cut(nn.Module):
    """No path from the image to the output, as a cell of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(3, 4), Block(4, 4, 2), Block(4, 4))
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[1](self.blocks[0](x) * 0)
        return self.head(self.blocks[2](x).mean((2, 3)))


class Attention(nn.Module):
    """A layer of a transformer with tokens as `torchvision`'s."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(x)


class Transformer(nn.Module):
    """Patches of 2 x 2, a class token, three layers."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.layers = nn.ModuleList(Attention(width) for _ in range(3))
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, 0])


def outputs(network: nn.Module, kind: type[nn.Module], x: Tensor, skip: str = "dead") -> list[Tensor]:
    """What the modules of a kind return in training mode, but those whose name starts with `skip`."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, y: found.append(y))
        for name, module in network.named_modules()
        if isinstance(module, kind) and not name.startswith(skip)
    ]
    network.train()(x)
    for hook in hooks:
        hook.remove()
    return found


def naswot(activations: list[Tensor]) -> float:
    """Mellor et al. 2021, section 3: N_A less the Hamming distance of codes, for each pair."""
    codes = [
        [bool(v > 0) for layer in activations for v in layer[i].flatten().tolist()] for i in range(len(activations[0]))
    ]
    kernel = [[len(a) - sum(p != q for p, q in zip(a, b, strict=True)) for b in codes] for a in codes]
    sign, value = np.linalg.slogdet(np.array(kernel, dtype=float))
    assert sign > 0
    return float(value)


def swap(activations: list[Tensor]) -> int:
    """Peng et al. 2024: the size of the set of each unit's signs over samples."""
    return len({tuple((unit > 0).tolist()) for layer in activations for unit in layer.flatten(1).T})


def zico(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Li et al. 2023, section 3, weight by weight."""
    batches = []
    for part in (slice(0, len(x) // 2), slice(len(x) // 2, None)):
        network.zero_grad()
        F.cross_entropy(network.train()(x[part]), y[part]).backward()
        batches.append(
            {n: p.grad.abs().flatten().tolist() for n, p in network.named_parameters() if p.grad is not None}
        )
    total = 0.0
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2 or name not in batches[0]:
            continue
        inside = 0.0
        for pair in zip(*(batch[name] for batch in batches), strict=True):
            if statistics.pstdev(pair) > 0:
                inside += statistics.fmean(pair) / statistics.pstdev(pair)
        total += math.log(inside) if inside > 0 else 0.0
    return total


def meco(maps: list[Tensor]) -> float:
    """Jiang et al. 2023,: of maps (C, H, W)."""
    total = 0.0
    for feature in maps:
        rows = feature.detach().double().flatten(1).numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.nan_to_num(np.corrcoef(rows), nan=0.0)
        total += float(np.linalg.eigvals(correlation).real.min())
    return total


def entropy(feature: Tensor) -> float:
    """AZ-NAS's entropy of a map (B, C, H, W)."""
    samples = [
        feature[b, :, i, j].tolist()
        for b in range(len(feature))
        for i in range(feature.shape[2])
        for j in range(feature.shape[3])
    ]
    values = np.linalg.eigvalsh(np.cov(np.array(samples).T, bias=True))
    return -sum(v * math.log(v) for v in values / values.sum() if v > 1e-15)


def conditioning(block: Callable[[Tensor], Tensor], x: Tensor, signs: Tensor) -> float:
    """Trainability of a block whose output is as large as its input or half as large, by its dense Jacobian."""
    jacobian = torch.autograd.functional.jacobian(block, x).reshape(signs.numel(), x.numel())
    gradient = (jacobian.T @ signs.flatten()).reshape(x.shape)
    batch, outer, height, width = signs.shape
    step = x.shape[2] // height
    total = np.zeros((x.shape[1] * step * step, outer))
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                patch = gradient[b, :, i * step : (i + 1) * step, j * step : (j + 1) * step].flatten()
                total += np.outer(patch.numpy(), signs[b, :, i, j].numpy())
    sigma = float(np.linalg.svd(total / (batch * height * width), compute_uv=False)[0])
    return -sigma - 1 / sigma + 2


def az_ranks(table: list[tuple[float, ...]]) -> list[float]:
    """AZ-NAS's sum of ranks without ties: sum over components of log(rank / number), the worst having rank 1."""
    return [
        sum(math.log(sum(other[k] <= row[k] for other in table) / len(table)) for k in range(len(row))) for row in table
    ]


def sinusoid(frequency: float, direction: float, phase: float, i: int, j: int, size: tuple[int, int]) -> float:
    """Row i, column j of a target of dense regression."""
    along = j / size[1] * math.cos(direction) + i / size[0] * math.sin(direction)
    return math.sqrt(2) * math.sin(2 * math.pi * frequency * along + phase)


def adam(loss: Callable[[], Tensor], parameters: list[Any], steps: int, rate: float) -> list[float]:
    """Losses of Kingma and Ba 2015, algorithm 1, with the rate of step t times (1 + cos(pi t / steps)) / 2."""
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    losses = []
    for t in range(steps):
        value = loss()
        losses.append(value.item())
        gradients = torch.autograd.grad(value, parameters)
        scaled = rate * (1 + math.cos(math.pi * t / steps)) / 2
        for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g * g)
            step = m / (1 - 0.9 ** (t + 1)) / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
            p.data -= scaled * step
    return losses
