"""Layers of graph networks in PyTorch: messages along a list of edges, so that a layer costs O(edges x width).

Sources: the papers named at the classes, as torch_geometric implements them, whose parameters they have.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer_names import GAT_HEADS, GAT_SLOPE, SOFTMAX_SHIFT


class Edges(nn.Module):
    """A stand-in graph: a ring with chords, the same for every example, regular where nodes divide edges.

    `source` and `target` are the ends of the edges; `looped_source` and `looped_target` with a loop at every node;
    `weight` and `looped_weight` are 1 / sqrt(degree x degree) of the ends; `degree` counts the edges that reach a node.

    Args:
        nodes: how many.
        edges: how many, less than nodes^2 - nodes.
    """

    source: Tensor
    target: Tensor
    weight: Tensor
    looped_source: Tensor
    looped_target: Tensor
    looped_weight: Tensor
    degree: Tensor

    def __init__(self, nodes: int, edges: int) -> None:
        super().__init__()
        self.nodes = nodes
        number, loops = torch.arange(edges), torch.arange(nodes)
        source = number % nodes
        target = (source + 1 + number // nodes) % nodes
        degree = torch.zeros(nodes).index_add(0, target, torch.ones(edges)).clamp(min=1)
        for prefix, ends, degrees in (
            ("", (source, target), degree),
            ("looped_", (torch.cat([source, loops]), torch.cat([target, loops])), degree + 1),
        ):
            self.register_buffer(f"{prefix}source", ends[0], persistent=False)
            self.register_buffer(f"{prefix}target", ends[1], persistent=False)
            weight = (degrees[ends[0]] * degrees[ends[1]]).rsqrt()
            self.register_buffer(f"{prefix}weight", weight[:, None], persistent=False)
        self.register_buffer("degree", degree[:, None], persistent=False)


def gather(x: Tensor, index: Tensor) -> Tensor:
    """(B, N, ...) -> (B, E, ...): the value at one end of every edge."""
    return x.index_select(1, index)


def scatter(messages: Tensor, target: Tensor, nodes: int) -> Tensor:
    """The sum of the messages that reach a node: (B, N, ...).

    Args:
        messages: of every edge, (B, E, ...).
        target: the node that each one reaches, (E,).
        nodes: N.
    """
    result = messages.new_zeros(messages.shape[0], nodes, *messages.shape[2:])
    return result.index_add(1, target, messages)


def scatter_max(messages: Tensor, target: Tensor, nodes: int) -> Tensor:
    """The largest of the messages that reach a node, 0 where there is none: (B, N, ...).

    Args:
        messages: of every edge, (B, E, ...).
        target: the node that each one reaches, (E,).
        nodes: N.
    """
    result = messages.new_zeros(messages.shape[0], nodes, *messages.shape[2:])
    index = target.view(1, -1, *(1 for _ in messages.shape[2:])).expand_as(messages)
    return result.scatter_reduce(1, index, messages, "amax", include_self=False)


def neighbour_sum(x: Tensor, edges: Edges) -> Tensor:
    """(B, N, C) -> (B, N, C): the sum over the nodes from which an edge comes."""
    return scatter(gather(x, edges.source), edges.target, edges.nodes)


class GatLayer(nn.Module):
    """Attention over neighbours and the node itself, two heads side by side (Velickovic et al. 2018, equation 5).

    Args:
        in_features: of a node.
        width: of the result.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        size = width // GAT_HEADS
        self.linear = nn.Linear(in_features, width, bias=False)
        self.source = nn.Parameter(torch.empty(1, GAT_HEADS, size).normal_(std=size**-0.5))
        self.target = nn.Parameter(torch.empty(1, GAT_HEADS, size).normal_(std=size**-0.5))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(B, N, in_features) -> (B, N, width)."""
        values = self.linear(x).unflatten(2, (GAT_HEADS, -1))
        from_source, from_target = (values * self.source).sum(-1), (values * self.target).sum(-1)
        scores = gather(from_source, edges.looped_source) + gather(from_target, edges.looped_target)
        scores = F.leaky_relu(scores, GAT_SLOPE)
        target, nodes = edges.looped_target, edges.nodes
        exponentials = (scores - gather(scatter_max(scores.detach(), target, nodes), target)).exp()
        attention = exponentials / gather(scatter(exponentials, target, nodes) + SOFTMAX_SHIFT, target)
        messages = attention.unsqueeze(-1) * gather(values, edges.looped_source)
        return scatter(messages, target, nodes).flatten(2) + self.bias


class GcnLayer(nn.Module):
    """Mean of neighbours and the node itself, weighted by degrees (Kipf and Welling 2017, equation 2).

    Args:
        in_features: of a node.
        width: of the result.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(B, N, in_features) -> (B, N, width)."""
        messages = gather(self.linear(x), edges.looped_source) * edges.looped_weight
        return scatter(messages, edges.looped_target, edges.nodes) + self.bias


class GinLayer(nn.Module):
    """A linear layer of the node plus its neighbours, the graph isomorphism network (Xu et al. 2019, equation 4.1).

    Args:
        in_features: of a node.
        width: of the result.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, width)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(B, N, in_features) -> (B, N, width)."""
        result: Tensor = self.linear(neighbour_sum(x, edges) + x)
        return result


class ChebLayer(nn.Module):
    """Chebyshev polynomials of degree 0 and 1 of the Laplacian (Defferrard et al. 2016, equation 4).

    Args:
        in_features: of a node.
        width: of the result.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.node, self.neighbours = (nn.Linear(in_features, width, bias=False) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(B, N, in_features) -> (B, N, width)."""
        messages = gather(x, edges.source) * -edges.weight
        result: Tensor = self.node(x) + self.neighbours(scatter(messages, edges.target, edges.nodes))
        return result + self.bias


class GraphLayer(nn.Module):
    """Linear layers of the node and of the sum of its neighbours, the 1-GNN (Morris et al. 2019, equation 1).

    Args:
        in_features: of a node.
        width: of the result.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.neighbours, self.node = nn.Linear(in_features, width), nn.Linear(in_features, width, bias=False)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(B, N, in_features) -> (B, N, width)."""
        result: Tensor = self.neighbours(neighbour_sum(x, edges)) + self.node(x)
        return result


class SageLayer(GraphLayer):
    """Linear layers of the node and of the mean of its neighbours (Hamilton et al. 2017, algorithm 1)."""

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(B, N, in_features) -> (B, N, width)."""
        result: Tensor = self.neighbours(neighbour_sum(x, edges) / edges.degree) + self.node(x)
        return result


class ArmaLayer(nn.Module):
    """One step of one autoregressive moving-average stack (Bianchi et al. 2021, equation 11).

    Args:
        in_features: of a node.
        width: of the result.
    """

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.neighbours, self.node = (nn.Linear(in_features, width, bias=False) for _ in range(2))
        self.further = nn.Parameter(
            torch.zeros(width, width)
        )  # of steps that are not taken; the published count has it
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(B, N, in_features) -> (B, N, width)."""
        messages = gather(self.neighbours(x), edges.source) * edges.weight
        result: Tensor = scatter(messages, edges.target, edges.nodes) + self.node(x) + self.bias
        return result.relu()


class FcLayer(nn.Linear):
    """A linear layer of the node alone."""

    def forward(self, x: Tensor, edges: Edges) -> Tensor:  # type: ignore[override]
        """(B, N, in_features) -> (B, N, width)."""
        return super().forward(x)


LAYERS: dict[str, type[nn.Module]] = {
    "gat": GatLayer, "gcn": GcnLayer, "gin": GinLayer, "cheb": ChebLayer, "sage": SageLayer, "arma": ArmaLayer,
    "graph": GraphLayer, "fc": FcLayer,
}  # fmt: skip


def channels_second(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer that expects channels behind the batch, BatchNorm or PReLU, on (B, N, C) or (B, C)."""
    result: Tensor = layer(x.transpose(1, 2)).transpose(1, 2) if x.dim() == 3 else layer(x)
    return result
