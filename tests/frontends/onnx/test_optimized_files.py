"""Files of onnxruntime's optimisers and quantisers: the float file's graph, and sizes as onnxruntime computes them."""

from __future__ import annotations

import functools
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import cgir
import frontends
from tests.helpers import onnx_runtime, onnx_samples
from tests.helpers.onnx_operators import check_sizes

SIZES = {"image": (2, 3, 12, 12), "vector": (2, 8), "text": (2, 6, 16), "recurrent": (2, 5, 6)}
OPTIMIZED = [f"{network} {level}" for network in SIZES for level in onnx_runtime.LEVELS]
# static quantisation drops what only cuts off values: ReLU and ReLU6 are gone from its files
WITHOUT_RELU = ("text", "recurrent")


class Residual(nn.Module):
    """x + convolution, an activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.conv(x)))


class Block(nn.Module):
    """One layer of a transformer, normalised behind the sums as in BERT."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x + self.attention(x, x, x, need_weights=False)[0])
        return self.second(x + self.mlp(x))


class Recurrent(nn.Module):
    """A linear layer, an LSTM of both directions, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 12), nn.Linear(16, 3)
        self.lstm = nn.LSTM(12, 8, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.lstm(self.first(x))[0])
        return y


def _image() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), Residual(16), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU6(), nn.Conv2d(16, 32, 1), nn.LeakyReLU(0.1),
        nn.Conv2d(32, 32, 1), nn.Hardsigmoid(), nn.Conv2d(32, 32, 3), nn.Sigmoid(),
        nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10), nn.Softmax(-1),
    )  # fmt: skip


def _vector() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4), nn.LeakyReLU(0.2), nn.Linear(4, 2)
    )


NETWORKS = {"image": _image, "vector": _vector, "text": lambda: nn.Sequential(Block(), Block()), "recurrent": Recurrent}


@functools.cache
def network(name: str) -> tuple[onnx.ModelProto, cgir.Graph]:
    """A network's float file, and its graph traced from PyTorch."""
    module = NETWORKS[name]().eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in (*module.parameters(), *(buffer for key, buffer in module.named_buffers() if "running" in key)):
        tensor.data = torch.rand(tensor.shape, generator=generator) * 0.2 + 0.05
    proto = onnx.load_from_string(onnx_samples.exported(module, (torch.rand(SIZES[name]),), "script"))
    return proto, frontends.trace(module, input_shape=SIZES[name], level="inference")


def check(found: onnx.ModelProto, expected: cgir.Graph, isomorphic: bool = True) -> None:
    graph = frontends.trace(found, level="inference")
    cgir.verify(graph)
    cgir.verify(frontends.trace(found, raw=True))
    assert (graph.num_params, graph.flops, graph.complete) == (expected.num_params, expected.flops, True)
    assert cgir.isomorphic(graph, expected) or not isomorphic, cgir.diff(expected, graph)
    check_sizes(found, onnx_runtime.random_inputs(found))


@pytest.mark.parametrize("case", OPTIMIZED)
def test_optimizers(case: str, tmp_path: Path) -> None:
    name, level = case.split()
    proto, expected = network(name)
    check(onnx_runtime.optimized(proto, level, tmp_path), expected)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("how", ["dynamic", "qdq", "operators"])
def test_quantizers(name: str, how: str, tmp_path: Path) -> None:
    proto, expected = network(name)
    found = onnx_runtime.quantized(proto, how, tmp_path)
    check(found, expected, how == "dynamic" or name in WITHOUT_RELU)
    if how != "qdq":
        check(onnx_runtime.optimized(found, "all", tmp_path), expected, how == "dynamic" or name in WITHOUT_RELU)


def test_quantizers_for_each_channel(tmp_path: Path) -> None:
    proto, expected = network("text")
    check(onnx_runtime.quantized(proto, "dynamic", tmp_path, per_channel=True), expected)
    check(onnx_runtime.quantized(proto, "qdq", tmp_path, per_channel=True), expected)


def test_weights_in_blocks(tmp_path: Path) -> None:
    proto, expected = network("text")
    check(onnx_runtime.quantized(proto, "blocks", tmp_path, bits=4, is_symmetric=True), expected)
    check(onnx_runtime.quantized(proto, "blocks", tmp_path, bits=8, is_symmetric=False), expected)
