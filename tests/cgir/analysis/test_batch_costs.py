"""Costs of batches against loops over the nodes of each graph, and against memory counted by hand and by PyTorch."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from torch import nn

import frontends
from cgir.analysis.batch_costs import batch_flops, batch_params, peak_activation_bytes
from cgir.graph import Graph
from cgir.graph_batch import GraphBatch
from cgir.ops import OPS

SPACES = ("nasbench101", "nasbench201", "transnas_macro", "mnasnet", "nasbench_nlp")


def naive_peak(graph: Graph) -> int:
    """Step by step: what is still to be read, and what the operator writes."""
    live: dict[int, int] = {}
    peak = 0
    for step, node in enumerate(graph.nodes):
        if node.op != "Output" and OPS[node.op].category != "source":
            live[step] = 4 * prod(node.shape)
        peak = max(peak, sum(live.values()))
        for made in list(live):
            readers = graph.consumers[made]
            returned = any(graph.nodes[reader].op == "Output" for reader in readers)
            if not returned and all(reader <= step for reader in readers):
                del live[made]
    return peak


@pytest.mark.parametrize("name", SPACES)
def test_costs_are_those_of_each_graph(name: str) -> None:
    space = frontends.spaces.get(name)
    rng = np.random.default_rng(0)
    graphs = [space.graph(space.sample(rng)) for _ in range(5)]
    batch = GraphBatch.of(graphs)
    assert peak_activation_bytes(batch).tolist() == list(map(naive_peak, graphs))
    assert batch_flops(batch).tolist() == [graph.flops for graph in graphs]
    unshared = [sum(prod(param.shape) for node in graph.nodes for param in node.params) for graph in graphs]
    assert batch_params(batch).tolist() == unshared
    order = np.array([3, 0, 0])
    assert peak_activation_bytes(batch.select(order)).tolist() == peak_activation_bytes(batch)[order].tolist()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        early = torch.relu(x)
        return early, x + self.narrow(torch.relu(self.wide(early)))


def test_memory_counted_by_hand() -> None:
    graph = frontends.trace(Residual(), input_shape=(1, 3, 8, 8))
    # at the second ReLU: x and the early result, which are needed later, its operand and its output
    assert peak_activation_bytes(GraphBatch.of(graph)).tolist() == [4 * 64 * (3 + 3 + 16 + 16)]
    raw = frontends.trace(Residual(), input_shape=(1, 3, 8, 8), raw=True)
    assert peak_activation_bytes(GraphBatch.of(raw)).tolist() == [naive_peak(raw)]


def test_results_are_live_to_the_end() -> None:
    class TwoHeads(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            early = torch.sigmoid(x)
            return early, torch.tanh(torch.exp(torch.tanh(x)))

    graph = frontends.trace(TwoHeads(), input_shape=(1, 10))
    assert peak_activation_bytes(GraphBatch.of(graph)).tolist() == [4 * 10 * 3]


def test_no_graphs() -> None:
    empty = GraphBatch.of([])
    for cost in (batch_flops, batch_params, peak_activation_bytes):
        assert cost(empty).shape == (0,)
        assert cost(empty).dtype == np.float64
