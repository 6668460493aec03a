"""Loops of PyTorch: what an iteration changes is unknown inside the body, and counted as often as the loop runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops import scan, while_loop
from torch._higher_order_ops.map import map as map_over
from torch.utils.flop_counter import FlopCounterMode
from torch_samples import Function

import cgir
import frontends

LINEAR = 2 * 4 * 4  # FLOPs of nn.Linear(4, 4) on one vector


def trace_both(forward: Callable[..., Any], *inputs: Tensor, **parts: Any) -> cgir.Graph:
    """The graph of a module, which the program exported from it must have too."""
    model = Function(forward, **parts).eval()
    graph = frontends.trace(model, inputs)
    cgir.verify(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, inputs, strict=False)
    exported = frontends.trace(program)
    cgir.verify(exported)
    assert cgir.isomorphic(graph, exported), cgir.diff(graph, exported)
    assert (exported.num_params, exported.flops) == (graph.num_params, graph.flops)
    return graph


def cell(model: Any, state: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    state = torch.tanh(model.a(state) + model.b(step))
    return state, state.clone()


STARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda x: torch.zeros(x.shape[0], 4),
    "new zeros": lambda x: x.new_zeros(x.shape[0], 4),
    "zero product": lambda x: x[:, 0] * 0,
    "ones": lambda x: torch.ones(x.shape[0], 4),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("start", STARTS)
def test_a_scan_counts_as_its_steps_written_out(start: str, batch: int) -> None:
    parts = {"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}
    inputs = torch.rand(batch, 6, 4)

    def scanned(model: Any, x: Tensor) -> Any:
        return scan(lambda state, step: cell(model, state, step), STARTS[start](x), x, dim=1)[0]

    def written_out(x: Tensor) -> Tensor:
        state = STARTS[start](x)
        for step in x.unbind(1):
            state, _ = cell(Function(lambda _: None, **parts), state, step)
        return state

    with FlopCounterMode(display=False) as counter:
        written_out(inputs)
    graph = trace_both(scanned, inputs, **parts)
    assert (graph.num_params, graph.flops) == (40, 6 * 2 * LINEAR) == (40, counter.get_total_flops() // batch)
    assert graph.op_counts()["Loop"] == 1


def test_a_state_that_the_body_leaves_alone_stays_what_it_is() -> None:
    def forward(model: Any, x: Tensor) -> Any:
        def body(state: tuple[Tensor, Tensor], step: Tensor) -> Any:
            return (state[0] + step * state[1], state[1].clone()), step.clone()

        return scan(body, (torch.zeros(1, 4), torch.tensor(2.0)), x, dim=1)[0][0]

    graph = trace_both(forward, torch.rand(1, 6, 4))
    assert [node.attr("scalar") for node in graph.nodes if node.op == "Mul"] == [2.0]


def test_a_state_that_starts_as_a_parameter_is_counted() -> None:
    graph = trace_both(
        lambda m, x: scan(lambda state, step: cell(m, state, step), m.start.expand(x.shape[0], 4).clone(), x, dim=1)[0],
        torch.rand(2, 6, 4),
        a=nn.Linear(4, 4),
        b=nn.Linear(4, 4),
        start=nn.Parameter(torch.zeros(1, 4)),
    )
    assert (graph.num_params, graph.flops) == (44, 6 * 2 * LINEAR)


@pytest.mark.parametrize(
    ("start", "condition", "step", "rounds"),
    [
        (0, lambda i: i < 3, lambda i: i + 1, 3),
        (10, lambda i: i >= 0, lambda i: i - 2, 6),
        (0, lambda i: i != 5, lambda i: 1 + i, 5),
        (0, lambda i: i < 100_001, lambda i: i + 2, 50_001),
        (7, lambda i: i < 3, lambda i: i + 1, 0),
        (2, lambda i: i < 3, lambda i: i + 1, 1),
    ],
)
def test_counting_loops(start: int, condition: Callable[[Any], Any], step: Callable[[Any], Any], rounds: int) -> None:
    def forward(model: Any, x: Tensor) -> Any:
        states = (torch.tensor(start), torch.zeros(1, 4))
        return while_loop(lambda i, h: condition(i), lambda i, h: (step(i), model.a(h + x) * i), states)[1] + x

    graph = trace_both(forward, torch.rand(1, 4), a=nn.Linear(4, 4))
    assert graph.num_params == (20 if rounds else 0)
    assert graph.flops == rounds * LINEAR
    assert graph.complete
    assert graph.op_counts().get("Loop", 0) == (rounds > 1)


@pytest.mark.parametrize(
    ("condition", "step"),
    [
        (lambda i, h: h.sum() < 3, lambda i: i + 1),
        (lambda i, h: i < 100, lambda i: i * 2),
        (lambda i, h: (i < 3) & (h.sum() < 3), lambda i: i + 1),
        (lambda i, h: i != 10**6, lambda i: i + 3),
    ],
)
def test_loops_of_unknown_length_count_once(condition: Callable[..., Any], step: Callable[..., Any]) -> None:
    def forward(model: Any, x: Tensor) -> Any:
        return while_loop(condition, lambda i, h: (step(i), model.a(h)), (torch.tensor(1), x))[1]

    graph = trace_both(forward, torch.rand(1, 4), a=nn.Linear(4, 4))
    assert (graph.flops, graph.op_counts()["Loop"]) == (LINEAR, 1)
    assert [gap.quantity for gap in graph.gaps] == ["FLOPs"]
    assert "while_loop" in graph.gaps[0].reason


def test_elements_of_constants_differ_in_each_step() -> None:
    graph = trace_both(
        lambda m, x: map_over(lambda i: m.a(x) * i, torch.arange(3)), torch.rand(1, 4), a=nn.Linear(4, 4)
    )
    assert (graph.num_params, graph.flops) == (20, 3 * LINEAR)
    assert [node.attr("scalar") for node in graph.nodes if node.op == "Mul"] == [None]


def test_loops_in_loops_multiply() -> None:
    def inner(model: Any, state: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        states = (torch.tensor(0), state)
        state = while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, model.a(h)), states)[1] + step
        return state, state.clone()

    model = Function(
        lambda m, x: scan(lambda state, step: inner(m, state, step), torch.zeros(1, 4), x, dim=1)[0], a=nn.Linear(4, 4)
    )
    graph = frontends.trace(model, torch.rand(1, 5, 4))
    assert (graph.num_params, graph.flops) == (20, 5 * 3 * LINEAR)


def test_a_constant_condition_decides_between_branches() -> None:
    graph = frontends.trace(
        Function(lambda m, x: torch.cond(torch.tensor(True), m.a, lambda y: y.relu(), (x,)), a=nn.Linear(4, 4)),
        torch.rand(1, 4),
    )
    assert [node.op for node in graph.nodes] == ["Input", "Linear", "Output"]
