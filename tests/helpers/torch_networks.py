"""Networks of every kind in PyTorch, small, with their inputs on the meta device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_samples import Function

from frontends.reference import InvertedResidual, VisionTransformer, mobilenet_v3_small

META = torch.device("meta")


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=META)


def tokens(*shape: int) -> Tensor:
    return meta(*shape, dtype=torch.long)


class SharedBlocks(nn.Module):
    """Residual blocks, one of them used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.bn = (
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.Conv2d(16, 16, 3, padding="same", bias=False),
            nn.BatchNorm2d(16),
        )
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = F.relu(x + self.bn(self.conv(x)))
        return self.head(x.mean((2, 3)))


def to_windows(x: Tensor, size: int) -> Tensor:
    batch, height, width, channels = x.shape
    x = x.view(batch, height // size, size, width // size, size, channels)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size * size, channels)


def from_windows(x: Tensor, size: int, height: int, width: int) -> Tensor:
    batch = x.shape[0] // (height * width // size // size)
    x = x.view(batch, height // size, width // size, size, size, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(batch, height, width, -1)


class WindowAttention(nn.Module):
    """Swin's: attention inside windows, a learned bias by relative position, a mask for shifted windows."""

    def __init__(self, width: int, heads: int, size: int, shift: int) -> None:
        super().__init__()
        self.size, self.shift, self.heads = size, shift, heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.table = nn.Parameter(torch.zeros((2 * size - 1) ** 2, heads))
        self.register_buffer("index", torch.zeros(size * size, size * size, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        windows = to_windows(x, self.size)
        count, area, _ = windows.shape
        q, k, v = self.qkv(windows).reshape(count, area, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q * (channels // self.heads) ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(area, area, -1).permute(2, 0, 1).contiguous()
        scores = (scores + bias.unsqueeze(0)).softmax(-1)
        x = from_windows(
            self.proj((scores @ v).transpose(1, 2).reshape(count, area, channels)), self.size, height, width
        )
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


class Swin(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, width, 4, 4), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(WindowAttention(width, 2, 4, shift) for shift in (0, 2))
        self.merge, self.head = nn.Linear(4 * width, 2 * width, bias=False), nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = x + block(self.norm(x))
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = torch.cat([x[:, i::2, j::2, :] for j in (0, 1) for i in (0, 1)], -1)
        return self.head(self.merge(x).flatten(1, 2).mean(1))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.gamma * self.down(F.gelu(self.up(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.Conv2d(16, 16, 3, padding=2, dilation=2),
        )
        self.up, self.last = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.down1(x))
        second = self.bottom(F.leaky_relu(self.down2(first), 0.2)).sigmoid()
        up = self.up(second) + F.interpolate(second[:, :8], scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(torch.cat((first, up), 1))


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.convs = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for conv in self.convs:
            features.append(F.elu(conv(torch.cat(features, 1))))
        return F.avg_pool2d(torch.cat(features, dim=1), 3, stride=2, padding=1)


class TextNet(nn.Module):
    def __init__(self, cell: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 12)
        self.recurrent = cell(12, 16, batch_first=True, **options)
        self.head = nn.LazyLinear(5, device="cpu")
        width = (2 if options.get("bidirectional") else 1) * options.get("proj_size", 16)
        self.head = nn.Linear(width, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.recurrent(self.embedding(ids))[0][:, -1])


class TiedLanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(50, 16), nn.LayerNorm(16)
        self.positions = nn.Parameter(torch.zeros(8, 16))
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.positions[torch.arange(ids.shape[1], device=ids.device)]
        mask = torch.full((ids.shape[1],) * 2, -math.inf, device=x.device).triu(1)
        return self.head(self.norm(torch.softmax(x @ x.mT + mask, -1) @ x))


def sequential_transformer(**options: Any) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


@dataclass
class Pair:
    image: Tensor
    meta: dict[str, Tensor]


class Point(NamedTuple):
    x: Tensor
    y: Tensor


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(6, 4)

    def forward(self, pair: Pair, scale: Tensor) -> dict[str, Any]:
        features = self.conv(pair.image).amax((2, 3)) + self.linear(pair.meta["table"])
        return {"sum": features, "rest": [Point(features * scale, features.exp())]}


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "shared blocks": (SharedBlocks, (meta(1, 3, 32, 32),)),
    "mobilenet": (mobilenet_v3_small, (meta(1, 3, 64, 64),)),
    "inverted residual": (lambda: InvertedResidual(16, 64, 16, 5, 1, True, True), (meta(1, 16, 14, 14),)),
    "vit": (lambda: VisionTransformer(32, 8, 24, 2, 3, 10), (meta(1, 3, 32, 32),)),
    "swin": (Swin, (meta(1, 3, 32, 32),)),
    "convnext": (
        lambda: nn.Sequential(nn.Conv2d(3, 12, 4, 4), ConvNeXtBlock(12), ConvNeXtBlock(12)),
        (meta(1, 3, 32, 32),),
    ),
    "unet": (UNet, (meta(1, 3, 16, 16),)),
    "densenet": (DenseNet, (meta(1, 3, 16, 16),)),
    "lstm": (lambda: TextNet(nn.LSTM, num_layers=2, bidirectional=True, dropout=0.1), (tokens(1, 9),)),
    "lstm with projection": (lambda: TextNet(nn.LSTM, num_layers=2, proj_size=6), (tokens(1, 9),)),
    "gru": (lambda: TextNet(nn.GRU, bias=False), (tokens(1, 9),)),
    "rnn": (lambda: TextNet(nn.RNN, nonlinearity="relu"), (tokens(1, 9),)),
    "transformer": (lambda: sequential_transformer(batch_first=True), (meta(1, 7, 16),)),
    "transformer, sequence first": (sequential_transformer, (meta(7, 1, 16),)),
    "tied language model": (TiedLanguageModel, (tokens(1, 8),)),
    "conv1d": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 8, 5, 2, 2), nn.GroupNorm(2, 8), nn.MaxPool1d(3, ceil_mode=True), nn.Flatten()
        ),
        (meta(1, 4, 19),),
    ),
    "conv3d": (
        lambda: nn.Sequential(nn.Conv3d(2, 4, (1, 3, 3), groups=2), nn.BatchNorm3d(4), nn.AdaptiveMaxPool3d((2, 1, 1))),
        (meta(1, 2, 5, 8, 8),),
    ),
    "einsum": (lambda: Function(lambda m, x: torch.einsum("bhid,bhjd,bhjc->bhic", x, x + 1, x)), (meta(1, 2, 5, 4),)),
}


def build(name: str) -> tuple[nn.Module, tuple[Any, ...]]:
    make, inputs = NETWORKS[name]
    return make(), inputs
