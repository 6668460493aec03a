"""Costs of batches against loops over the nodes of each graph, and against memory counted by hand and by PyTorch."""

from __future__ import annotations

from collections.abc import Iterable
from math import log2, prod
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
import torch
from torch import fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

import frontends
from cgir.analysis.batch_costs import batch_flops, batch_params, convolution_entropy, peak_activation_bytes
from cgir.graph import Graph, Node
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


@pytest.mark.parametrize("name", ["ofa_mbv3", "mnasnet", "transnas_macro"])
def test_entropy_is_that_of_the_modules_convolutions(name: str) -> None:
    space = frontends.spaces.get(name)
    spec = space.sample(np.random.default_rng(0))
    transposed = nn.Sequential(nn.Conv2d(3, 8, 3, groups=1), nn.ConvTranspose2d(8, 6, 5, groups=2))
    for model, shape in ((space.module(spec), None), (transposed, (1, 3, 9, 9))):
        graph = space.graph(spec) if shape is None else frontends.trace(model, input_shape=shape)
        convs = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        fan_ins = [layer.in_channels * layer.kernel_size[0] ** 2 / layer.groups for layer in convs]
        found = convolution_entropy(GraphBatch.of([graph]))
        assert found == pytest.approx([sum(map(log2, fan_ins))])


class LiveTensors(TorchDispatchMode):
    """The most bytes that tensors take at a time while PyTorch runs."""

    def __init__(self) -> None:
        super().__init__()
        self.live: WeakSet[torch.Tensor] = WeakSet()
        self.peak = 0

    def __torch_dispatch__(self, call: Any, types: Iterable[Any], args: Any = (), kwargs: Any = None) -> Any:
        made = call(*args, **(kwargs or {}))
        self.live.add(made)
        storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in self.live}
        self.peak = max(self.peak, sum(storages.values()))
        return made


@pytest.mark.parametrize("name", ["nasbench201", "nasbench_macro", "mnasnet", "ofa_mbv3"])
def test_memory_is_what_pytorch_allocates(name: str) -> None:
    """Run by `torch.fx`, which lets go of values after their last use; the network's input is not allocated there."""
    space = frontends.spaces.get(name)
    spec = space.sample(np.random.default_rng(4))
    graph = space.graph(spec)
    traced = fx.symbolic_trace(space.module(spec).eval())
    traced.graph.eliminate_dead_code()
    for module in traced.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    image = torch.zeros(1, *graph.nodes[0].shape)
    with torch.inference_mode(), LiveTensors() as tensors:
        fx.Interpreter(traced, garbage_collect_values=True).run(image)
    assert peak_activation_bytes(GraphBatch.of(graph)).tolist() == [tensors.peak]


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


def test_results_are_live_to_the_end_and_constants_are_weights() -> None:
    nodes = (
        Node("Input", shape=(10,)),
        Node("Constant", shape=(10,)),
        Node("Mul", (0, 1), ((10,), (10,)), (10,)),
        Node("Output", (2,), ((10,),)),  # handed on here, and still there while the others run
        Node("Tanh", (0,), ((10,),), (10,)),
        Node("Exp", (4,), ((10,),), (10,)),
        Node("Mul", (5, 1), ((10,), (10,)), (10,)),
        Node("Output", (6,), ((10,),)),
    )
    assert peak_activation_bytes(GraphBatch.of(Graph(nodes))).tolist() == [4 * 10 * 3]


def test_no_graphs() -> None:
    empty = GraphBatch.of([])
    for cost in (batch_flops, batch_params, peak_activation_bytes):
        assert cost(empty).shape == (0,)
        assert cost(empty).dtype == np.float64
