"""Costs are those of one example, whatever the size of the batch and wherever the forward has it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch_samples import Function

import frontends
from cgir import Graph, TraceError


def measured(model: nn.Module, *inputs: Tensor) -> int:
    """FLOPs by PyTorch's own counter."""
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops()


def recurrent_by_hand(m: Any, x: Tensor) -> Tensor:
    h = torch.zeros(x.shape[0], 8)
    for t in range(x.shape[1]):
        h = torch.tanh(m.i(x[:, t]) + m.w(h))
    return h


def sample_convolution(m: Any, x: Tensor) -> Tensor:
    """A convolution whose weights are computed from each example, the batch in the channels' axis."""
    weights = m.hyper(x.mean((2, 3))).view(-1, 3, 3, 3)
    return F.conv2d(x.reshape(1, -1, 8, 8), weights, groups=len(x)).view(len(x), 5, 6, 6)


def sample_correlation(m: Any, x: Tensor) -> Tensor:
    kernel = F.adaptive_avg_pool2d(m.c(x), 3)
    return F.conv2d(m.c(x).view(1, -1, 8, 8), kernel.view(-1, 1, 3, 3), groups=len(x) * 4)


def convolutions_one_by_one(m: Any, x: Tensor) -> Tensor:
    return torch.stack([m.c(example) for example in x])


def time_first_attention(m: Any, x: Tensor) -> Tensor:
    x = x.transpose(0, 1)
    return m.a(x, x, x)[0].transpose(0, 1)


def modulated_constant(m: Any, style: Tensor) -> Tensor:
    """The first layer of a generator: what it reads is a parameter, its weights are those of each example."""
    weights = m.k[None] * m.style(style)[:, None, :, None, None]
    constant = m.c[None].repeat(len(style), 1, 1, 1).reshape(1, -1, 4, 4)
    return F.conv2d(constant, weights.reshape(-1, 3, 3, 3), groups=len(style)).view(len(style), 5, 2, 2)


def experts_by_row(m: Any, x: Tensor) -> Tensor:
    """Every token is multiplied by the matrix that it chooses."""
    choice = m.gate(x).argmax(-1).view(-1)
    return torch.bmm(m.w[choice], x.reshape(-1, 4, 1)).view(*x.shape[:2], 6)


def experts_by_column(m: Any, x: Tensor) -> Tensor:
    choice = m.gate(x).argmax(-1)[:, 0]
    return m.w.transpose(0, 1)[:, choice].transpose(0, 1) @ x[:, 0].unsqueeze(-1)


def selected_experts(m: Any, x: Tensor) -> Tensor:
    choice = m.gate(x).argmax(-1)
    return m.w.index_select(0, choice.flatten()) @ x.reshape(-1, 4, 1)


def nearest_neighbours(m: Any, x: Tensor) -> Tensor:
    """Neighbours are looked up among the points of all examples, each at its own offset."""
    places = m.gate(x).argmax(-1) + torch.arange(len(x))[:, None] * x.shape[1]
    return m.l(x.reshape(-1, 4)[places.view(-1)].view(len(x), -1, 4))


TABLE, MATRICES = nn.Parameter(torch.zeros(6, 4)), nn.Parameter(torch.zeros(3, 6, 4))
EXPERTS = {"w": MATRICES, "gate": nn.Linear(4, 3)}
PER_EXAMPLE: dict[str, tuple[Function, tuple[int, ...]]] = {
    "attention over time first": (Function(time_first_attention, a=nn.MultiheadAttention(32, 4)), (30, 32)),
    "LSTM over time first": (Function(lambda m, x: m.r(x.permute(1, 0, 2))[0], r=nn.LSTM(5, 6)), (7, 5)),
    "cell on a state of zeros": (Function(recurrent_by_hand, i=nn.Linear(4, 8), w=nn.Linear(8, 8)), (5, 4)),
    "weights of each example": (Function(sample_convolution, hyper=nn.Linear(3, 135)), (3, 8, 8)),
    "kernels of each example": (Function(sample_correlation, c=nn.Conv2d(3, 4, 1)), (3, 8, 8)),
    "loop over the examples": (Function(convolutions_one_by_one, c=nn.Conv2d(3, 5, 3)), (3, 8, 8)),
    "constant under weights of each example": (
        Function(modulated_constant, k=nn.Parameter(torch.zeros(5, 3, 3, 3)), c=nn.Parameter(torch.zeros(3, 4, 4)),
                 style=nn.Linear(7, 3)), (7,),
    ),
    "matrices looked up": (Function(experts_by_row, **EXPERTS), (5, 4)),
    "matrices looked up on the second axis": (Function(experts_by_column, **EXPERTS), (5, 4)),
    "matrices selected": (Function(selected_experts, **EXPERTS), (5, 4)),
    "points looked up among those of all examples": (
        Function(nearest_neighbours, gate=nn.Linear(4, 3), l=nn.Linear(4, 2)), (5, 4),
    ),
    "every example with every other": (Function(lambda m, x: m.l(x) @ m.l(x).T, l=nn.Linear(4, 8)), (4,)),
    "every example with every other, as a layer": (Function(lambda m, x: F.linear(x, m.l(x)), l=nn.Linear(4, 4)), (4,)),
    "table without a batch": (Function(lambda m, x: m.l(x) @ m.l(m.p).T, l=nn.Linear(4, 8), p=TABLE), (4,)),
}  # fmt: skip


@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_costs_do_not_depend_on_the_size_of_the_batch(name: str) -> None:
    model, size = PER_EXAMPLE[name]
    graphs = [frontends.trace(model, torch.zeros(batch, *size)) for batch in (1, 2, 5)]
    if not name.startswith("LSTM"):  # which the counter does not know
        assert graphs[0].flops == measured(model, torch.zeros(1, *size))
    assert {(graph.flops, graph.num_params, graph.hash, graph.complete) for graph in graphs} == {
        (graphs[0].flops, graphs[0].num_params, graphs[0].hash, True)
    }
    assert graphs[0].flops > 0


@pytest.mark.parametrize(
    ("model", "size", "flops"),
    [
        (nn.GRU(8, 16), (12, 8), 2 * 12 * 3 * 16 * (8 + 16)),
        (nn.GRU(8, 16, batch_first=True), (12, 8), 2 * 12 * 3 * 16 * (8 + 16)),
        (nn.Conv2d(3, 5, 3), (3, 8, 8), 2 * 5 * 6 * 6 * 27),
        (nn.Sequential(nn.Conv1d(4, 6, 3), nn.ReLU(), nn.Conv1d(6, 4, 3)), (4, 9), 2 * (6 * 7 * 12 + 4 * 5 * 18)),
        (nn.Linear(4, 6), (4,), 2 * 24),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (7, 8), 2 * 7 * (4 * 64 + 2 * 7 * 8 + 2 * 8 * 16)),
    ],
    ids=lambda item: type(item).__name__ if isinstance(item, nn.Module) else "",
)
def test_layers_on_a_tensor_without_a_batch(model: nn.Module, size: tuple[int, ...], flops: int) -> None:
    graph = frontends.trace(model, torch.zeros(size))
    assert (graph.flops, graph.complete) == (flops, True)
    assert frontends.trace(model, torch.zeros(size), batch=None).flops == flops


def test_the_first_axis_is_the_batch_unless_said_otherwise() -> None:
    model, x = nn.LSTM(8, 16), torch.zeros(12, 3, 8)
    said = frontends.trace(model, x, batch=1)
    assert (said.flops, said.complete) == (2 * 12 * 4 * 16 * (8 + 16), True)
    unsaid = frontends.trace(model, x)
    assert unsaid.flops == 2 * 3 * 4 * 16 * (8 + 16)  # the first axis is one of 12 examples, the second one time
    assert [gap.reason.partition(";")[0] for gap in unsaid.gaps] == [
        "lstm takes axis 1 for the batch, but costs were divided by the 12 examples on axis 0 of input 'input'"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model.eval(), (x,), strict=False)
    assert frontends.trace(program, batch=1).flops == said.flops
    assert frontends.trace(program).gaps == unsaid.gaps


def test_one_example_that_a_layer_takes_for_many_is_said() -> None:
    model, x = nn.LSTM(8, 16), torch.zeros(1, 64, 8)
    graph = frontends.trace(model, x)
    assert [gap.quantity for gap in graph.gaps] == ["batch"]
    assert "lstm takes axis 1 for the batch, of 64 examples, but there is one on axis 0" in graph.gaps[0].reason
    assert re.search(r"FLOPs +uncertain 196,608  ", graph.report())
    assert frontends.trace(model, x, batch=1).complete
    assert frontends.trace(model, torch.zeros(64, 1, 8), batch=1).complete
    assert frontends.trace(nn.LSTM(8, 16, batch_first=True), x).complete


def convolution(m: Any, x: Tensor, edges: Tensor) -> Tensor:
    """Mean of the neighbours, then a layer: nodes stand on the first axis."""
    gathered = m.edge(x.index_select(0, edges[0]))
    return m.node(torch.zeros(len(x), 8).index_add(0, edges[1], gathered))


def aggregation(pick: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda m, x: m.node(pick(x, m.edges))


def test_nodes_of_a_graph_are_no_batch() -> None:
    model = Function(convolution, edge=nn.Linear(4, 8), node=nn.Linear(8, 2))
    x, edges = torch.zeros(10, 4), torch.zeros(2, 24, dtype=torch.long)
    graph = frontends.trace(model, (x, edges), batch=None)
    assert (graph.flops, graph.complete) == (measured(model, x, edges), True)
    gaps = frontends.trace(model, (x, edges)).gaps
    assert "input 'args.1' has 2 on axis 0 and was taken to have no batch" in gaps[0].reason


@pytest.mark.parametrize(
    "pick",
    [
        lambda x, edges: x.index_select(0, edges),
        lambda x, edges: x[edges],
        lambda x, edges: torch.zeros(10, 10) @ x,
        lambda x, edges: x.gather(0, edges[:, None].expand(-1, 4)),
    ],
)
def test_what_mixes_the_examples_is_a_gap(pick: Callable[[Tensor, Tensor], Tensor]) -> None:
    model = Function(aggregation(pick), node=nn.Linear(4, 2))
    model.register_buffer("edges", torch.zeros(24, dtype=torch.long))
    graph = frontends.trace(model, torch.zeros(10, 4))
    assert not graph.complete
    assert "batch=None" in graph.gaps[0].reason
    whole = frontends.trace(model, torch.zeros(10, 4), batch=None)
    assert (whole.flops, whole.complete) == (measured(model, torch.zeros(10, 4)), True)


def test_one_element_of_each_example_is_no_mixture() -> None:
    model = Function(lambda m, x: m.l(x[torch.arange(len(x)), x.sum(-1).argmax(-1)]), l=nn.Linear(4, 2))
    assert frontends.trace(model, torch.zeros(3, 5, 4)).flops == 2 * 4 * 2


def test_a_batch_that_the_module_fixes_is_kept() -> None:
    model = Function(lambda m, x: m.l(x + m.table) + m.l(m.table).sum(0), l=nn.Linear(4, 2))
    model.register_buffer("table", torch.zeros(3, 4))
    graph = frontends.trace(model, torch.zeros(3, 4))
    assert graph.flops == 2 * 4 * 2 + 3 * 2 * 4 * 2
    assert "has no batch axis" in graph.gaps[0].reason


def test_the_batch_that_is_said_must_fit() -> None:
    with pytest.raises(TraceError, match="batch names input 'y', which there is not; inputs are input"):
        frontends.trace(nn.Linear(4, 2), torch.zeros(3, 4), batch={"y": 0})
    with pytest.raises(TraceError, match="batch is 2, expected an axis of the inputs, which have 2 axes: 0 to 1"):
        frontends.trace(nn.Linear(4, 2), torch.zeros(3, 4), batch=2)


def test_the_forward_runs_on_the_shapes_it_is_given() -> None:
    seen: list[Graph | int] = []
    model = Function(lambda m, x: seen.append(len(x)) or m.l(x), l=nn.Linear(4, 2))
    frontends.trace(model, torch.zeros(3, 4))
    assert seen == [3]


def test_weights_generated_from_parameters_have_no_batch() -> None:
    parts = {"code": nn.Parameter(torch.zeros(3)), "hyper": nn.Linear(3, 8)}
    model = Function(lambda m, x: x @ m.hyper(m.code).view(4, 2), **parts)
    x = torch.zeros(2, 4)
    graph = frontends.trace(torch.export.export(model, (x,), strict=False))
    assert (graph.flops, graph.complete) == (2 * 3 * 8 + 2 * 4 * 2, True)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("batch_first", [False, True])
def test_attention_layers_of_decomposed_programs_move_their_batch(batch_first: bool) -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    x = torch.zeros(2, 5, 8)
    program = torch.export.export(layer, (x, x, x), strict=False).run_decompositions()
    graph = frontends.trace(program, batch=0 if batch_first else 1)
    assert graph.flops == 2 * (5 if batch_first else 2) * (4 * 8 * 8 + 2 * (5 if batch_first else 2) * 8)
    assert graph.complete
    assert frontends.trace(program, batch=0).complete == batch_first


def test_states_of_a_layer_that_takes_another_axis_for_the_batch_keep_their_size() -> None:
    graph = frontends.trace(nn.LSTM(8, 16), torch.zeros(12, 3, 8))
    assert [node.shape for node in graph.nodes if node.op == "Output"] == [(16, 3), (16, 1, 3), (16, 1, 3)]
