"""Projections of self-attention have one form, as one linear layer or three; others stay as they are."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import cgir
import frontends
from cgir.cost import node_flops


class Separate(nn.Module):
    """Self-attention with a linear layer each for query, key and value; `key_bias` for one that differs."""

    def __init__(self, width: int = 8, heads: int = 2, bias: bool = True, key_bias: bool | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.v = nn.Linear(width, width, bias), nn.Linear(width, width, bias)
        self.k = nn.Linear(width, width, bias if key_bias is None else key_bias)
        self.out = nn.Linear(width, width, bias)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        memory = x if memory is None else memory
        q, k, v = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, y in ((self.q, x), (self.k, memory), (self.v, memory))
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Packed(nn.Module):
    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


def trace(model: nn.Module, *shapes: tuple[int, ...]) -> cgir.Graph:
    graph = frontends.trace(model, input_shape=shapes or (1, 5, 8))
    cgir.verify(graph)
    assert graph.num_params == sum(p.numel() for p in model.parameters())
    return graph


@pytest.mark.parametrize("bias", [True, False])
def test_three_projections_and_a_packed_one_are_the_same(bias: bool) -> None:
    three, one = trace(Separate(bias=bias)), trace(Packed(bias=bias))
    assert cgir.isomorphic(three, one), cgir.diff(three, one)
    assert three.flops == one.flops == frontends.trace(Separate(bias=bias), input_shape=(1, 5, 8), raw=True).flops


def test_layers_that_share_all_projections_still_share_them() -> None:
    layer = Separate()
    graph = trace(nn.Sequential(layer, layer))
    first, second = (node for node in graph.nodes if node.op == "Linear" and node.shape[0] == 24)
    assert first.params == second.params


class OneMoreUse(nn.Module):
    """The query's weight is also used elsewhere, so packing it would count it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Separate()

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x) + self.attention.q(x).tanh()


class Watched(nn.Module):
    """The keys are also an output."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Separate(bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = (getattr(self.attention, name)(x) for name in "qkv")
        return F.scaled_dot_product_attention(q, k, v), self.attention.out(k)


@pytest.mark.parametrize(
    "model",
    [Separate(key_bias=False), OneMoreUse(), Watched()],
    ids=["one without bias", "weight used elsewhere", "key read elsewhere"],
)
def test_other_projections_stay_three(model: nn.Module) -> None:
    assert not any(node.op == "Linear" and node.shape[0] == 24 for node in trace(model).nodes)


def test_cross_attention_stays_three() -> None:
    graph = trace(Separate(), (1, 5, 8), (1, 7, 8))
    assert [node.shape for node in graph.nodes if node.op == "Linear"] == [(8, 5), (8, 7), (8, 7), (8, 5)]


def test_packing_keeps_the_order_of_query_key_and_value() -> None:
    graph = trace(Separate())
    packed = next(node for node in graph.nodes if node.op == "Linear" and node.shape[0] == 24)
    assert [param.id for param in packed.params] == ["q.weight+k.weight+v.weight", "q.bias+k.bias+v.bias"]


class LearnedQueries(nn.Module):
    """Five queries that are parameters, as DETR's first decoder layer has them."""

    def __init__(self):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(5, 8))
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        q, k, v = (
            layer(y).unflatten(-1, (2, 4)).transpose(1, 2)
            for layer, y in ((self.q, self.queries[None]), (self.k, x), (self.v, x))
        )
        return F.scaled_dot_product_attention(q, k, v)


def test_attention_of_learned_queries_counts_its_two_products():
    graph = frontends.trace(LearnedQueries(), input_shape=(1, 7, 8))
    (attention,) = [node for node in graph.nodes if node.op == "Attention"]
    assert len(attention.inputs) == 2  # key and value: what is made of parameters alone is no node
    assert node_flops(attention) == 2 * 2 * 5 * 7 * (4 + 4)


class KeysFirst(nn.Module):
    """Scores as the transpose of k q^T, or as q k^T."""

    def __init__(self, keys_first: bool) -> None:
        super().__init__()
        self.keys_first, self.q, self.k, self.v = keys_first, nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(8, 4)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        q, k = self.q(x), self.k(memory)
        scores = (k @ q.mT).mT if self.keys_first else q @ k.mT
        return scores.softmax(-1) @ self.v(memory)


def test_keys_may_be_the_first_factor() -> None:
    shapes = ((1, 7, 8), (1, 5, 8))
    first, second = (trace(KeysFirst(keys_first), *shapes) for keys_first in (True, False))
    assert cgir.isomorphic(first, second), cgir.diff(first, second)
    with FlopCounterMode(display=False) as counter:
        KeysFirst(True)(*map(torch.zeros, shapes))
    assert first.flops == second.flops == counter.get_total_flops()
