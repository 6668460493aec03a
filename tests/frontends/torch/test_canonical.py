"""The canonical form of traced PyTorch code: equal computations become one graph, different ones stay apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cgir_samples
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch_samples import Function

import cgir
import frontends
from frontends.reference import resnet50
from frontends.torch.decompositions import DECOMPOSITIONS

IMAGE = (1, 8, 6, 6)
TOKENS = (1, 10, 16)


class Net(nn.Module):
    """A function of one tensor and a few parameters, with a layer before and behind it."""

    def __init__(self, function: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.image = len(shape) == 4
        width = shape[1] if self.image else shape[-1]
        self.before = nn.Conv2d(width, width, 1) if self.image else nn.Linear(width, width)
        self.weight, self.bias = nn.Parameter(torch.rand(width)), nn.Parameter(torch.rand(width))
        self.matrix = nn.Parameter(torch.rand(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.before(x)).abs()


def traced(function: Callable[..., Tensor], shape: tuple[int, ...] = TOKENS, **options: Any) -> cgir.Graph:
    graph = frontends.trace(Net(function, shape), input_shape=shape, **options)
    cgir.verify(graph)
    return graph


def _gelu_tanh(m: Net, x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _layer_norm(m: Net, x: Tensor) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered / torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-5) * m.weight + m.bias


def _attention(m: Net, x: Tensor) -> Tensor:
    q, k, v = (x.view(1, 10, 4, 4).transpose(1, 2) for _ in range(3))
    weights = ((q @ k.transpose(-2, -1)) / math.sqrt(4)).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(1, 10, 16)


def _attention_scaled_query(m: Net, x: Tensor) -> Tensor:
    q, k, v = (x.view(1, 10, 4, 4).permute(0, 2, 1, 3) for _ in range(3))
    weights = F.dropout(torch.softmax((q * 0.5) @ k.mT + torch.zeros(10, 10), dim=-1), 0.1, training=False)
    return torch.matmul(weights, v).permute(0, 2, 1, 3).flatten(2)


def _sdpa(m: Net, x: Tensor) -> Tensor:
    q = x.unflatten(-1, (4, 4)).transpose(1, 2)
    return F.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2)


SAME: dict[str, tuple[tuple[int, ...], tuple[Callable[..., Tensor], ...]]] = {
    "silu": (
        TOKENS,
        (
            lambda m, x: F.silu(x),
            lambda m, x: x * torch.sigmoid(x),
            lambda m, x: x.sigmoid() * x,
            lambda m, x: F.silu(x.clone(), inplace=True),
        ),
    ),
    "hardsigmoid": (
        TOKENS,
        (lambda m, x: F.hardsigmoid(x), lambda m, x: F.relu6(x + 3) / 6, lambda m, x: (x + 3).clamp(0, 6) * (1 / 6)),
    ),
    "hardswish": (
        TOKENS,
        (
            lambda m, x: F.hardswish(x),
            lambda m, x: x * F.relu6(x + 3) / 6,
            lambda m, x: x * (F.hardtanh(3 + x, 0, 6) / 6),
            lambda m, x: x * F.hardsigmoid(x),
        ),
    ),
    "relu6": (
        TOKENS,
        (
            lambda m, x: F.relu6(x),
            lambda m, x: torch.clamp(x, 0, 6),
            lambda m, x: x.clamp(min=0, max=6),
            lambda m, x: F.hardtanh(x, 0.0, 6.0),
        ),
    ),
    "mish": (TOKENS, (lambda m, x: F.mish(x), lambda m, x: x * torch.tanh(F.softplus(x)))),
    "gelu": (
        TOKENS,
        (
            lambda m, x: F.gelu(x),
            lambda m, x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
            lambda m, x: x * 0.5 * (1.0 + (x * 0.70710678).erf()),
            lambda m, x: x * (0.5 * (1.0 + (x * 0.70710678).erf())),
        ),
    ),
    "gelu tanh": (TOKENS, (lambda m, x: F.gelu(x, approximate="tanh"), _gelu_tanh)),
    "rms norm": (
        TOKENS,
        (
            lambda m, x: F.rms_norm(x, (16,), m.weight),
            lambda m, x: m.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
            lambda m, x: x * torch.rsqrt((x**2).mean(-1, keepdim=True) + 1e-6) * m.weight,
        ),
    ),
    "layer norm": (TOKENS, (lambda m, x: F.layer_norm(x, (16,), m.weight, m.bias), _layer_norm)),
    "linear": (
        TOKENS,
        (
            lambda m, x: F.linear(x, m.matrix, m.bias),
            lambda m, x: x @ m.matrix.t() + m.bias,
            lambda m, x: F.linear(x, m.matrix) + m.bias,
            lambda m, x: m.bias + torch.matmul(x, m.matrix),
        ),
    ),
    "attention": (TOKENS, (_sdpa, _attention, _attention_scaled_query)),
    "sum": (
        TOKENS,
        (
            lambda m, x: (x.relu() + x.tanh()) + x.exp(),
            lambda m, x: x.exp() + (x.tanh() + x.relu()),
            lambda m, x: sum([x.tanh(), x.exp(), x.relu()]),
        ),
    ),
    "nothing": (
        TOKENS,
        (
            lambda m, x: x,
            lambda m, x: F.dropout(x + 0, 0.5, training=False) * 1,
            lambda m, x: x.reshape(4, 40).to(torch.float64).float().view(1, 10, 16).contiguous(),
            lambda m, x: x + x.relu() * 0,
            lambda m, x: (x.relu(), x)[1],
        ),
    ),
    "global pool": (
        IMAGE,
        (
            lambda m, x: F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), m.matrix),
            lambda m, x: F.linear(x.mean((2, 3)), m.matrix),
            lambda m, x: F.linear(F.avg_pool2d(x, 6).view(1, -1), m.matrix),
            lambda m, x: F.linear(x.mean([-1, -2], keepdim=True).squeeze(-1).squeeze(-1), m.matrix),
        ),
    ),
    "padding": (
        IMAGE,
        (
            lambda m, x: F.conv2d(x, m.matrix[:, :, None, None].expand(8, 8, 3, 3), padding=1),
            lambda m, x: F.conv2d(F.pad(x, (1, 1, 1, 1)), m.matrix[:, :, None, None].expand(8, 8, 3, 3)),
            lambda m, x: F.conv2d(x, m.matrix[:, :, None, None].expand(8, 8, 3, 3), padding="same"),
        ),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_equal_computations_become_isomorphic_graphs(name: str) -> None:
    shape, functions = SAME[name]
    first, *others = (traced(function, shape) for function in functions)
    for number, other in enumerate(others, 1):
        assert cgir.isomorphic(first, other), f"{name}, way {number}:\n{cgir.diff(first, other)}"
        assert first.hash == other.hash


DIFFERENT: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "gelu and its approximation": (lambda m, x: F.gelu(x), lambda m, x: F.gelu(x, approximate="tanh")),
    "gated halves are not silu": (
        lambda m, x: torch.cat([F.silu(x[..., :8])] * 2, -1),
        lambda m, x: torch.cat([x[..., :8] * x[..., 8:].sigmoid()] * 2, -1),
    ),
    "a - b and b - a": (lambda m, x: x.relu() - x.exp(), lambda m, x: x.exp() - x.relu()),
    "a scalar": (lambda m, x: x * 2, lambda m, x: x * 3),
    "shared weights": (
        lambda m, x: F.linear(F.linear(x, m.matrix), m.matrix),
        lambda m, x: F.linear(F.linear(x, m.matrix), m.before.weight),
    ),
    "inner sum read twice": (
        lambda m, x: (x.relu() + x.exp()) + x.tanh(),
        lambda m, x: (s := x.relu() + x.exp()) + s.tanh(),
    ),
    "softmax over another axis": (lambda m, x: x.softmax(-1), lambda m, x: x.softmax(1)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_computations_stay_apart(name: str) -> None:
    a, b = (traced(function) for function in DIFFERENT[name])
    assert not cgir.isomorphic(a, b)
    assert cgir.diff(a, b)


def test_gated_halves_keep_their_sigmoid() -> None:
    graph = traced(lambda m, x: torch.cat([x[..., :8] * x[..., 8:].sigmoid()] * 2, -1))
    assert graph.op_counts()["Sigmoid"] == 1
    assert "SiLU" not in graph.op_counts()


def test_a_gated_linear_unit_is_the_product_of_its_halves() -> None:
    unit, product = traced(lambda m, x: F.glu(x)), traced(lambda m, x: x[..., :8] * x[..., 8:].sigmoid())
    assert cgir.isomorphic(unit, product), cgir.diff(unit, product)
    assert not cgir.isomorphic(unit, traced(lambda m, x: F.silu(x[..., :8])))


def _small_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 1),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(4 * 36, 2),
    )


def test_inference_level_folds_batch_norm_into_a_bias() -> None:
    folded = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(4 * 36, 2))
    a = frontends.trace(_small_cnn(), input_shape=(1, 3, 8, 8), level="inference")
    assert cgir.isomorphic(a, frontends.trace(folded, input_shape=(1, 3, 8, 8), level="inference"))
    assert not cgir.isomorphic(a, frontends.trace(_small_cnn(), input_shape=(1, 3, 8, 8)))


def test_inference_level_folds_batch_norm_into_linear_layers_too() -> None:
    written = nn.Sequential(nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU())
    folded = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    assert cgir.isomorphic(
        *(frontends.trace(model, input_shape=(2, 6), level="inference") for model in (written, folded))
    )


def test_canonical_form_is_a_fixed_point() -> None:
    for shape, functions in SAME.values():
        for function in functions:
            graph = traced(function, shape)
            assert cgir.canonicalize(graph).nodes == graph.nodes


def test_canonicalising_the_raw_graph_is_what_trace_does() -> None:
    raw = frontends.trace(_small_cnn(), input_shape=(1, 3, 8, 8), raw=True)
    assert raw.level == "raw"
    assert cgir.canonicalize(raw) == frontends.trace(_small_cnn(), input_shape=(1, 3, 8, 8))
    kept = cgir.canonicalize(raw, keep_movement=True)
    assert kept.op_counts()["Reshape"] == 1


def test_unknown_level_is_refused() -> None:
    with pytest.raises(cgir.InvalidGraphError, match="'fast', expected one of module, inference"):
        cgir.canonicalize(cgir.GraphBuilder().build(), level="fast")


def test_a_traced_network_is_the_one_written_by_hand() -> None:
    with torch.device("meta"):
        model = resnet50()
    traced_graph = frontends.trace(model, input_shape=(1, 3, 224, 224))
    assert cgir.isomorphic(traced_graph, cgir_samples.resnet50()), cgir.diff(traced_graph, cgir_samples.resnet50())


class TwoInputs(nn.Module):
    """Reads one input of two, and returns a constant beside the result."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, ignored: Tensor) -> tuple[Tensor, Tensor]:
        x.exp()
        return x.relu(), self.scale.exp()


def test_what_is_on_no_path_from_an_input_to_an_output_is_gone() -> None:
    graph = frontends.trace(TwoInputs(), input_shape=((1, 4), (1, 5)))
    cgir.verify(graph)
    assert [node.op for node in graph.nodes] == ["Input", "ReLU", "Output"]


@pytest.mark.parametrize(
    "shaped",
    [
        lambda p, x: p.expand_as(x),
        lambda p, x: p.view_as(x[0]),
        lambda p, x: p.reshape_as(x[0]),
        lambda p, x: p.half().type_as(x),
        lambda p, x: p.to(x),
        lambda p, x: torch.broadcast_tensors(p, x)[0],
        lambda p, x: torch.meshgrid(p, x[0], indexing="ij")[0].mean(1),
        lambda p, x: torch.meshgrid(x[0], p, indexing="xy")[1].mean(1),
    ],
)
def test_a_parameter_given_the_shape_of_another_tensor_is_read(shaped: Any) -> None:
    model = Function(lambda m, x: m.l(x) + shaped(m.p, x), l=nn.Linear(4, 4), p=nn.Parameter(torch.zeros(4)))
    graph = frontends.trace(model, torch.zeros(1, 4))
    assert [(node.op, len(node.params)) for node in graph.nodes if node.op != "Mean"] == [
        ("Input", 0), ("Linear", 2), ("Add", 1), ("Output", 0),
    ]  # fmt: skip
    assert graph.complete
    assert graph.num_params == 24


def test_grids_are_pytorchs() -> None:
    x, y, z = torch.arange(2.0), torch.arange(3.0), torch.arange(4.0)
    for indexing in ("ij", "xy"):
        for given, expected in zip(
            DECOMPOSITIONS["meshgrid"](x, y, z, indexing=indexing),
            torch.meshgrid(x, y, z, indexing=indexing),
            strict=True,
        ):
            assert torch.equal(given, expected)


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: x + torch.arange(10.0)[:, None] @ torch.arange(4.0)[None],  # positions of rotary embeddings
        lambda m, x: x @ F.linear(torch.ones(4, 6), torch.ones(4, 6)),
        lambda m, x: x[:, torch.tensor([1, 2]) @ torch.tensor([3, 1])],  # an index
        lambda m, x: x + F.conv1d(torch.ones(1, 3, 6), torch.ones(10, 3, 3)),
        lambda m, x: torch.einsum("bij,bkj->bik", x[:, :, :1], torch.ones(1, 4, 1)),
        lambda m, x: torch.einsum("bij,jk->bik", x, torch.ones(4, 4)),
        lambda m, x: torch.einsum("bij,bjd->bid", x[:, :, :1], x[:, :3]),
    ],
)
def test_products_cost_what_pytorch_counts(forward: Any) -> None:
    """Those of constants too, whose results may decide shapes; einsum multiplies single elements without a product."""
    model, x = Function(forward), torch.zeros(1, 10, 4)
    with FlopCounterMode(display=False) as counter:
        model(x)
    graph = frontends.trace(model, x)
    assert (graph.flops, graph.complete) == (counter.get_total_flops(), True)
