"""Networks in PyTorch that are exported in three ways, and small ONNX models built by hand."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor, nn

from frontends.reference import Attention, Bottleneck, InvertedResidual, VisionTransformer


class Lambda(nn.Module):
    """Layers, then a function of their result."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.body, self.function = nn.Sequential(*layers), function

    def forward(self, *x: Tensor) -> Any:
        return self.function(self.body(x[0]), *x[1:])


class Recurrent(nn.Module):
    """A recurrent layer and a linear one on all its results, or on the last."""

    def __init__(self, layer: nn.Module, width: int, last: bool = False) -> None:
        super().__init__()
        self.layer, self.head, self.last = layer, nn.Linear(width, 5), last

    def forward(self, x: Tensor) -> Tensor:
        result, _ = self.layer(x)
        return self.head(result[:, -1] if self.last else result)


class LastState(nn.Module):
    """A linear layer on the last hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(6, 8, num_layers=2, batch_first=True), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[1][0][-1])


class Text(nn.Module):
    """Embedding, LSTM, head."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer, self.head = (
            nn.Embedding(20, 6),
            nn.LSTM(6, 8, num_layers=2, batch_first=True),
            nn.Linear(8, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.table(x))[0])


class ConvNeXt(nn.Module):
    """ConvNeXt's block: depthwise convolution, channels-last norm and layers, scale, residual."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down, self.scale = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
            nn.Parameter(torch.ones(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.down(F.gelu(self.up(out)))).permute(0, 3, 1, 2)


class UNet(nn.Module):
    """One level down and up, with a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up, self.last = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.first(x))
        return self.last(torch.cat([first, F.relu(self.up(F.relu(self.down(first))))], 1))


class Masked(nn.Module):
    """Self-attention with a mask that is an input, a constant, or the causal one."""

    def __init__(self, kind: str = "input", width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.kind, self.heads, self.qkv, self.proj = kind, heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("mask", torch.triu(torch.full((6, 6), -1e9), 1))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        )
        chosen = {"input": mask, "buffer": self.mask, "causal": None}[self.kind]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=chosen, is_causal=self.kind == "causal")
        return self.proj(out.transpose(1, 2).reshape(batch, length, width))


class MultiHead(nn.Module):
    """`nn.MultiheadAttention` on its own."""

    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.inner, self.need_weights = nn.MultiheadAttention(16, 2, batch_first=True), need_weights

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=self.need_weights)[0]


class Positions(nn.Module):
    """Tokens plus learned positions, looked up with an index that the forward makes."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places, self.norm = nn.Embedding(20, 8), nn.Embedding(16, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.tokens(x) + self.places(torch.arange(x.shape[1])))


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Any],
    outputs: Sequence[str],
    weights: dict[str, Any] | None = None,
    opset: int = 20,
    **more: Any,
) -> onnx.ModelProto:
    """A model by hand, with floating-point inputs of these sizes; names stand for open dimensions.

    Weights are arrays, or sizes of random ones.
    """
    rng = np.random.default_rng(0)
    arrays = {
        name: value if isinstance(value, np.ndarray) else rng.random(value, dtype=np.float32)
        for name, value in (weights or {}).items()
    }
    graph = helper.make_graph(
        list(nodes),
        "sample",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size) for name, size in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)], **more
    )


def _act(function: Callable[[Tensor], Tensor]) -> nn.Module:
    return Lambda(function, nn.Conv2d(3, 4, 3))


IMAGE, TOKENS = ((2, 3, 16, 16),), ((2, 6, 16),)
INDICES = (torch.zeros(2, 6, dtype=torch.int64),)
# name -> (module, inputs or their shapes)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Sequence[Any]]] = {
    "bottleneck": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 7, 2, 3, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            Bottleneck(16, 8, 2),
            Bottleneck(32, 8, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        ),
        ((2, 3, 32, 32),),
    ),
    "mobilenet": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Hardswish(),
            InvertedResidual(8, 16, 8, 3, 1, True, True),
            InvertedResidual(8, 16, 12, 5, 2, True, False),
        ),
        IMAGE,
    ),
    "vit": (lambda: VisionTransformer(16, 8, 16, 2, 2, 10), ((1, 3, 16, 16),)),
    "attention": (lambda: Attention(16, 2), TOKENS),
    "sdpa mask input": (lambda: Masked("input"), ((2, 6, 16), (2, 1, 6, 6))),
    "sdpa mask buffer": (lambda: Masked("buffer"), TOKENS),
    "sdpa causal": (lambda: Masked("causal"), TOKENS),
    "multihead": (lambda: MultiHead(False), TOKENS),
    "multihead weights": (lambda: MultiHead(True), TOKENS),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2, enable_nested_tensor=False
        ),
        TOKENS,
    ),
    "encoder norm first": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", norm_first=True, batch_first=True),
            2,
            enable_nested_tensor=False,
        ),
        TOKENS,
    ),
    "lstm": (lambda: Recurrent(nn.LSTM(16, 8, batch_first=True), 8), TOKENS),
    "lstm two layers": (lambda: Recurrent(nn.LSTM(16, 8, num_layers=2, batch_first=True), 8, last=True), TOKENS),
    "lstm both ways": (lambda: Recurrent(nn.LSTM(16, 8, bidirectional=True, batch_first=True), 16), TOKENS),
    "lstm both ways two layers": (
        lambda: Recurrent(nn.LSTM(16, 8, num_layers=2, bidirectional=True, batch_first=True), 16),
        TOKENS,
    ),
    "lstm state": (LastState, ((2, 7, 6),)),
    "lstm time first": (lambda: Recurrent(nn.LSTM(16, 8), 8), ((6, 2, 16),)),
    "gru": (lambda: Recurrent(nn.GRU(16, 8, num_layers=2, batch_first=True), 8), TOKENS),
    "rnn": (lambda: Recurrent(nn.RNN(16, 8, batch_first=True), 8), TOKENS),
    "text": (Text, INDICES),
    "positions": (Positions, INDICES),
    "convnext": (ConvNeXt, ((2, 8, 12, 12),)),
    "group norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU()), IMAGE),
    "instance norm": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.InstanceNorm2d(8)),
        IMAGE,
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.BatchNorm1d(8, affine=False)),
        ((4, 16),),
    ),
    "layer norm": (
        lambda: nn.Sequential(
            nn.Linear(16, 16), nn.LayerNorm(16), nn.LayerNorm(16, elementwise_affine=False), nn.LayerNorm((6, 16))
        ),
        TOKENS,
    ),
    "rms norm": (lambda: nn.Sequential(nn.Linear(16, 16), nn.RMSNorm(16)), TOKENS),
    "local response norm": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.LocalResponseNorm(3)), IMAGE),
    "prelu": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.PReLU()), IMAGE),
    "pixel shuffle": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(2, 8, 3), nn.ReLU()),
        IMAGE,
    ),
    "bilinear": (
        lambda: Lambda(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), nn.Conv2d(3, 4, 3)),
        IMAGE,
    ),
    "nearest": (lambda: Lambda(lambda x: F.interpolate(x, size=(20, 24)), nn.Conv2d(3, 4, 3)), IMAGE),
    "adaptive pool": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d((4, 8)), nn.Flatten(), nn.Linear(128, 3)
        ),
        IMAGE,
    ),
    "pools": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            nn.AvgPool2d(2),
        ),
        IMAGE,
    ),
    "unet": (UNet, IMAGE),
    "einsum": (
        lambda: Lambda(lambda x, y: torch.einsum("btc,bsc->bts", x, y), nn.Linear(16, 8)),
        ((2, 6, 16), (2, 5, 8)),
    ),
    "gelu": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 3), nn.GELU("tanh")), IMAGE),
    "silu mish": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.SiLU(),
            nn.Conv2d(4, 4, 3),
            nn.Mish(),
            nn.Conv2d(4, 4, 1),
            nn.Softplus(),
            nn.ELU(),
            nn.LeakyReLU(0.2),
        ),
        IMAGE,
    ),
    "hard": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Hardsigmoid(), nn.Conv2d(4, 4, 3), nn.Hardswish(), nn.Conv2d(4, 4, 1), nn.ReLU6()
        ),
        IMAGE,
    ),
    "softmax": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1), nn.LogSoftmax(1)), IMAGE),
    "glu": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GLU(1)), IMAGE),
    "arithmetic": (lambda: _act(lambda x: (1 - x) / 3 + (x * x).sqrt() - torch.exp(-x) ** 2),),
    "reductions": (lambda: _act(lambda x: x.amax((2, 3)) + x.mean((2, 3)) + x.sum((2, 3)) + x.std((2, 3))),),
    "comparisons": (
        lambda: _act(lambda x: torch.where(x > 0.5, x, x * 0.1) + x.masked_fill(x < 0, 1.0) + x.clamp(0, 2)),
    ),
    "padding": (lambda: _act(lambda x: F.pad(F.pad(x, (1, 2, 0, 1)), (1, 1, 1, 1), mode="reflect")),),
    "flip and roll": (lambda: _act(lambda x: x.flip(2) + x.roll(1, 3)),),
    "chunks": (lambda: _act(lambda x: torch.cat([y * 2 for y in x.chunk(2, 1)] + [x[:, 1:3]], 1)),),
    "linear no bias": (lambda: nn.Sequential(nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 4)), TOKENS),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(6, 8, 3, padding=2, dilation=2), nn.BatchNorm1d(8), nn.ReLU()), TOKENS),
}


def network(name: str) -> tuple[nn.Module, Any]:
    """The module, with weights that are all different, and its inputs."""
    make, *rest = NETWORKS[name]
    torch.manual_seed(0)
    module = make().eval()
    given = rest[0] if rest else IMAGE
    inputs = tuple(item if isinstance(item, Tensor) else torch.randn(item) for item in given)
    for tensor in (*module.parameters(), *(buffer for key, buffer in module.named_buffers() if "running" in key)):
        tensor.data = torch.rand(tensor.shape) + 0.5
    return module, inputs


@contextmanager
def quiet() -> Iterator[None]:
    """The exporters' own warnings: deprecation of TorchScript, versions of operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def program(module: nn.Module, inputs: Any, optimize: bool = True) -> torch.onnx.ONNXProgram:
    """What PyTorch's dynamo exporter returns."""
    with quiet():
        result = torch.onnx.export(module, inputs, dynamo=True, optimize=optimize, verbose=False)
    assert result is not None
    return result


def exported(module: nn.Module, inputs: Any, how: str) -> bytes:
    """The ONNX file that PyTorch writes: "dynamo", "dynamo raw" (not optimised) or "script"."""
    if how != "script":
        return program(module, inputs, how == "dynamo").model_proto.SerializeToString()
    file = io.BytesIO()
    with quiet():
        torch.onnx.export(module, inputs, file, dynamo=False)
    return file.getvalue()


node = helper.make_node


def small() -> onnx.ModelProto:
    """A convolution, an activation, a linear layer."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], name="/stem/stem.0/Conv", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "g", "h"], ["y"], transB=1),
    ]
    return model(nodes, {"x": ["batch", 3, 8, 8]}, ["y"], {"w": (4, 3, 3, 3), "b": (4,), "g": (5, 4), "h": (5,)})
