"""Operators that read a constant where their cost has its size: costs of the canonical graph are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torch_samples import Function

import frontends


def table(*size: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(size))


def repeated(state: Tensor, x: Tensor) -> Tensor:
    return state.expand(len(x), *state.shape[1:])


def unrolled(m: Any, x: Tensor) -> Tensor:
    state = repeated(m.h, x)
    for step in x.unbind(1):
        state = m.cell(step, state)
    return state


def reading(m: Any, x: Tensor) -> Tensor:
    """A cell whose input is a row of a table, as that of a decoder's first token."""
    return m.cell(m.e(torch.zeros(len(x), dtype=torch.long)), m.l(x))


def memory(m: Any, x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(m.l(x), repeated(m.k, x), repeated(m.k, x))


def generated(m: Any, x: Tensor) -> Tensor:
    return F.conv2d(m.c, m.l(x[0]).view(4, 3, 3, 3))


MODELS: dict[str, tuple[Callable[..., Tensor], dict[str, Any], tuple[int, ...], int | None]] = {
    "first state of a GRU cell": (unrolled, {"cell": nn.GRUCell(4, 8), "h": table(1, 8)}, (5, 4), None),
    "first state of a simple cell": (unrolled, {"cell": nn.RNNCell(4, 8), "h": table(1, 8)}, (5, 4), None),
    "input of a GRU cell": (
        reading, {"cell": nn.GRUCell(4, 8), "e": nn.Embedding(24, 4), "l": nn.Linear(5, 8)}, (5,), None,
    ),
    "keys and values": (memory, {"k": table(1, 2, 3, 4), "l": nn.Linear(4, 4)}, (2, 5, 4), None),
    "image under computed weights": (generated, {"c": table(1, 3, 6, 6), "l": nn.Linear(5, 108)}, (5,), None),
    "rows under a computed matrix": (
        lambda m, x: F.linear(m.p, m.l(x[0]).view(4, 6)), {"p": table(7, 6), "l": nn.Linear(5, 24)}, (5,), None,
    ),
    "initial states of an LSTM": (
        lambda m, x: m.r(x, (m.h.expand(-1, len(x), -1).contiguous(),) * 2)[0],
        {"r": nn.LSTM(5, 8, batch_first=True), "h": table(1, 1, 8)}, (6, 5), 2 * 6 * 32 * (5 + 8),
    ),
    "sequence of a GRU": (
        lambda m, x: m.r(torch.zeros(len(x), 6, 5), m.l(x).unsqueeze(0))[0],
        {"r": nn.GRU(5, 8, batch_first=True), "l": nn.Linear(4, 8)}, (4,), 2 * (4 * 8 + 6 * 24 * (5 + 8)),
    ),
    "sequence of a GRU below another": (
        lambda m, x: m.r(m.r(torch.zeros(len(x), 6, 8), m.l(x).unsqueeze(0))[0])[0],
        {"r": nn.GRU(8, 8, batch_first=True), "l": nn.Linear(4, 8)}, (4,), 2 * (4 * 8 + 2 * 6 * 24 * (8 + 8)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_costs_are_those_that_pytorch_counts(name: str) -> None:
    forward, parts, size, flops = MODELS[name]
    model, x = Function(forward, **parts), torch.zeros(1, *size)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(x)
    graph, recorded = (frontends.trace(model, x, raw=raw) for raw in (False, True))
    assert graph.flops == recorded.flops == (flops or counter.get_total_flops())
    assert graph.num_params == sum(param.numel() for param in model.parameters())
    assert graph.complete


@pytest.mark.parametrize(
    "name", ["first state of a GRU cell", "keys and values", "sequence of a GRU", "sequence of a GRU below another"]
)
def test_costs_are_those_of_one_example(name: str) -> None:
    forward, parts, size, _ = MODELS[name]
    graphs = [frontends.trace(Function(forward, **parts), torch.zeros(batch, *size)) for batch in (1, 3)]
    assert {(graph.flops, graph.hash, graph.complete) for graph in graphs} == {(graphs[0].flops, graphs[0].hash, True)}
