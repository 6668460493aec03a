"""TorchScript functions called from a forward: their graph is the graph of the same Python function."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_samples import Function

import cgir
import frontends

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def product(x: Tensor, w: Tensor) -> Tensor:
    return (x @ w).relu()


def gate(x: Tensor, w: Tensor) -> Tensor:
    return x * torch.sigmoid(F.linear(x, w))


def loop(x: Tensor, w: Tensor) -> Tensor:
    for _ in range(3):
        x = torch.tanh(x) + 1
    return x.reshape(x.size(0), -1).softmax(-1)


def in_place(x: Tensor, w: Tensor) -> Tensor:
    first, second = x.clone().chunk(2, -1)
    first += second * torch.tensor(2.5)
    second[:, 0] = torch.sqrt(torch.tensor(x.size(-1), dtype=torch.float))
    return torch.cat([first, second], -1)


def attention(x: Tensor, w: Tensor) -> Tensor:
    tokens = F.layer_norm(F.gelu(x), [4], w[0])[:, None, None]
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


def weights_only(x: Tensor, w: Tensor) -> Tensor:
    return (w * 8).round() / 8


def of_values(x: Tensor, w: Tensor) -> Tensor:
    if bool(x.sum() > 0):
        return x
    return -x


def using(function: Callable[..., Tensor]) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        result = function(m.layer(x), m.w)
        return result if result.shape[0] == len(x) else x @ result

    return Function(forward, layer=nn.Linear(4, 4), w=nn.Parameter(torch.ones(4, 4)))


@pytest.mark.parametrize("function", [product, gate, loop, in_place, attention, weights_only])
def test_script_functions_are_followed(function: Callable[..., Tensor]) -> None:
    x = torch.ones(2, 4)
    plain = frontends.trace(using(function), x)
    scripted = torch.jit.script(function)
    graph = frontends.trace(using(scripted), x)
    cgir.verify(graph)
    assert cgir.isomorphic(graph, plain) or function is attention  # whose heads are one axis with the batch, inside
    assert graph.num_params == plain.num_params
    assert graph.flops == plain.flops


def test_traced_functions_are_followed() -> None:
    function = torch.jit.trace(lambda x: x * 2 + 1, torch.zeros(1, 3))
    graph = frontends.trace(Function(lambda m, x: function(x.exp())), input_shape=(1, 3))
    assert [node.op for node in graph.nodes] == ["Input", "Exp", "Mul", "Add", "Output"]


def test_a_script_function_that_reads_values_names_its_line() -> None:
    scripted = torch.jit.script(of_values)

    def forward(m: Any, x: Tensor) -> Tensor:
        return scripted(x, x)

    line = of_values.__code__.co_firstlineno + 1
    with pytest.raises(cgir.TraceError, match=rf"{__file__}:{line}\): .*needs the values of a tensor"):
        frontends.trace(Function(forward), input_shape=(1, 3))


@pytest.mark.parametrize("fails", [True, False])
def test_nothing_changes(fails: bool) -> None:
    before = torch._C.ScriptFunction.__call__, torch._C.ScriptMethod.__call__
    buffer, weight = torch.ones(2), nn.Parameter(torch.ones(2))

    def change(x: Tensor, b: Tensor, w: Tensor) -> Tensor:
        b.add_(1)
        w.mul_(3)
        return x * b * w

    scripted = torch.jit.script(change)

    def forward(m: Any, x: Tensor) -> Tensor:
        result = scripted(x, m.b, m.w)
        if fails:
            raise KeyError("on purpose")
        return result

    model = Function(forward, w=weight)
    model.register_buffer("b", buffer)
    if fails:
        with pytest.raises(cgir.TraceError, match="on purpose"):
            frontends.trace(model, torch.ones(1, 2))
    else:
        assert frontends.trace(model, torch.ones(1, 2), raw=True).num_params == 2
    assert (torch._C.ScriptFunction.__call__, torch._C.ScriptMethod.__call__) == before
    assert torch.equal(buffer, torch.ones(2))
    assert torch.equal(weight, torch.ones(2))


def test_other_threads_run_their_own() -> None:
    scripted = torch.jit.script(product)
    results: list[Tensor] = []

    def elsewhere() -> None:
        results.append(scripted(torch.ones(1, 2), torch.ones(2, 2)))

    def forward(m: Any, x: Tensor) -> Tensor:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return scripted(x, x.T)

    frontends.trace(Function(forward), torch.ones(2, 2))
    assert torch.equal(results[0], torch.full((1, 2), 2.0))
