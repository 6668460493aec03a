"""Layers of graph networks: values, parameters and graphs of torch_geometric's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import frontends
from cgir.analysis.isomorphism import isomorphic
from frontends.spaces.graph_networks.torch_layers import LAYERS, Edges, scatter_max

NODES, EDGES, DIM, OUT = 12, 36, 6, 8
# name -> torch_geometric's class, its further arguments, and its names of our parameters
PEERS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "gat": (
        "GATConv",
        {"heads": 2, "out_channels": OUT // 2},
        {"source": "att_src", "target": "att_dst", "bias": "bias", "linear.weight": "lin.weight"},
    ),
    "gcn": ("GCNConv", {}, {"bias": "bias", "linear.weight": "lin.weight"}),
    "gin": ("GINConv", {}, {"linear.weight": "nn.weight", "linear.bias": "nn.bias"}),
    "cheb": (
        "ChebConv",
        {"K": 2},
        {"bias": "bias", "node.weight": "lins.0.weight", "neighbours.weight": "lins.1.weight"},
    ),
    "sage": (
        "SAGEConv",
        {},
        {"neighbours.weight": "lin_l.weight", "neighbours.bias": "lin_l.bias", "node.weight": "lin_r.weight"},
    ),
    "arma": (
        "ARMAConv",
        {},
        {"further": "weight", "neighbours.weight": "init_weight", "node.weight": "root_weight", "bias": "bias"},
    ),
    "graph": (
        "GraphConv",
        {},
        {"neighbours.weight": "lin_rel.weight", "neighbours.bias": "lin_rel.bias", "node.weight": "lin_root.weight"},
    ),
}
# torch_geometric multiplies a node by 1 + 0, adds loops of weight 0, and keeps an axis of ARMA's stacks
SAME_GRAPHS = ("gat", "gcn", "sage", "graph")


class OnGraph(nn.Module):
    """A layer of torch_geometric on the edges of a stand-in graph, for one example."""

    def __init__(self, layer: nn.Module, edges: Edges) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("edge_index", torch.stack([edges.source, edges.target]))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x, self.edge_index)
        return result


class OnEdges(nn.Module):
    """One of our layers on a stand-in graph."""

    def __init__(self, layer: nn.Module, edges: Edges) -> None:
        super().__init__()
        self.layer, self.edges = layer, edges

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x, self.edges)
        return result


def both(name: str) -> tuple[OnEdges, OnGraph]:
    """Our layer and torch_geometric's with equal parameters, on one graph."""
    geometric = pytest.importorskip("torch_geometric.nn")
    class_name, arguments, names = PEERS[name]
    if name == "gin":
        peer = geometric.GINConv(nn.Linear(DIM, OUT))
    else:
        peer = getattr(geometric, class_name)(**{"in_channels": DIM, "out_channels": OUT, **arguments})
    ours, theirs = LAYERS[name](DIM, OUT), dict(peer.named_parameters())
    assert sorted(names.values()) == sorted(theirs)
    with torch.no_grad():
        for key, parameter in ours.named_parameters():
            value = theirs[names[key]].normal_()
            if name == "arma" and key.endswith("weight"):
                value = value.squeeze().T
            parameter.copy_(value.reshape(parameter.shape))
    edges = Edges(NODES, EDGES)
    return OnEdges(ours, edges), OnGraph(peer, edges)


@pytest.mark.parametrize("name", PEERS)
def test_layers_compute_what_torch_geometric_computes(name: str) -> None:
    ours, peer = both(name)
    x = torch.randn(3, NODES, DIM)
    expected = torch.stack([peer(example) for example in x])
    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize("name", SAME_GRAPHS)
def test_layers_have_the_graphs_of_torch_geometric(name: str) -> None:
    ours, peer = both(name)
    graph = frontends.trace(ours, (torch.zeros(1, NODES, DIM),))
    assert isomorphic(graph, frontends.trace(peer, (torch.zeros(NODES, DIM),), batch=None))
    assert graph.complete


@pytest.mark.parametrize("edges", [36, 40, 0])
def test_the_largest_message_is_that_of_a_loop_over_the_edges(edges: int) -> None:
    graph = Edges(NODES, edges)
    messages = torch.randn(2, edges, 3)
    expected = torch.full((2, NODES, 3), -torch.inf)
    for place, node in enumerate(graph.target.tolist()):
        expected[:, node] = torch.maximum(expected[:, node], messages[:, place])
    expected[expected.isinf()] = 0
    torch.testing.assert_close(scatter_max(messages, graph.target, NODES), expected)


@pytest.mark.parametrize(("nodes", "edges"), [(5, 20), (5, 7), (2, 1), (12, 36)])
def test_a_stand_in_graph_has_no_loops_and_no_edge_twice(nodes: int, edges: int) -> None:
    graph = Edges(nodes, edges)
    pairs = set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    assert len(pairs) == edges
    assert all(source != target for source, target in pairs)
    degrees = [sum(target == node for _, target in pairs) for node in range(nodes)]
    assert max(degrees) - min(degrees) <= 1
    assert graph.degree.flatten().tolist() == [max(degree, 1) for degree in degrees]
