"""GraphGym's networks (You et al. 2020, the authors' graphgym/models/gnn.py, layer.py and head.py), in PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .graphgym_spec import Spec
from .torch_layers import Edges, channels_second, gather, neighbour_sum, scatter_max

ACTIVATIONS: dict[str, type[nn.Module]] = {"prelu": nn.PReLU, "relu": nn.ReLU, "swish": nn.SiLU}


class LinearLayer(nn.Module):
    """Linear, and BatchNorm or a bias.

    Args:
        in_features: of a node.
        width: of the result.
        bn: whether there is BatchNorm instead of a bias.
    """

    def __init__(self, in_features: int, width: int, bn: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, width, bias=not bn)
        self.norm = nn.BatchNorm1d(width) if bn else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, in_features) -> (B, N, width), or of graphs without N."""
        x = self.linear(x)
        if self.norm is not None:
            x = channels_second(self.norm, x)
        return x


class MessagePassing(nn.Module):
    """Linear, the sum, mean or largest of the neighbours, and BatchNorm or a bias.

    Args:
        in_features: of a node.
        width: of the result.
        spec: which aggregation, and whether there is BatchNorm.
    """

    def __init__(self, in_features: int, width: int, spec: Spec) -> None:
        super().__init__()
        self.agg = spec.agg
        self.linear = nn.Linear(in_features, width, bias=False)
        self.norm = nn.BatchNorm1d(width) if spec.bn else nn.Identity()
        self.bias = None if spec.bn else nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """(B, N, in_features) -> (B, N, width)."""
        x = self.linear(x)
        if self.agg == "max":
            x = scatter_max(gather(x, edges.source), edges.target, edges.nodes)
        else:
            x = neighbour_sum(x, edges)
            x = x / edges.degree if self.agg == "mean" else x
        return x + self.bias if self.bias is not None else channels_second(self.norm, x)


class GraphGymNetwork(nn.Module):
    """Linear layers, message passing, linear layers.

    Args:
        spec: the searched part.
        width: of every layer.
        sizes: features of a node, and length of the logits.
        level: "node", "graph" or "link".
        nodes: of the graph.
        edges: of the graph.
    """

    def __init__(self, spec: Spec, width: int, sizes: tuple[int, int], level: str, nodes: int, edges: int) -> None:
        super().__init__()
        self.stage, self.level, self.edges = spec.stage, level, Edges(nodes, edges)
        self.act = ACTIVATIONS[spec.act]()  # one for all
        self.before, self.layers, self.after = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inner, classes = sizes
        for _ in range(spec.l_pre):
            self.before.append(LinearLayer(inner, width, spec.bn))
            inner = width
        for _ in range(spec.l_mp):
            self.layers.append(MessagePassing(inner, width, spec))
            inner = inner + width if spec.stage == "skipconcat" else width
        for _ in range(spec.l_post - 1):
            self.after.append(LinearLayer(inner, inner, spec.bn))
        self.out = nn.Linear(inner, inner if level == "link" else classes)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, nodes, features) -> logits (B, nodes, classes), (B, classes), or scores of links (B, edges)."""
        for layer in self.before:
            x = channels_second(self.act, layer(x))
        for layer in self.layers:
            result = layer(x, self.edges)
            if self.stage != "stack":
                result = x + result if self.stage == "skipsum" else torch.cat([x, result], 2)
            x = channels_second(self.act, result)
        x = F.normalize(x, dim=2)
        if self.level == "graph":
            x = x.sum(1)
        for layer in self.after:
            x = channels_second(self.act, layer(x))
        x = self.out(x)
        if self.level != "link":
            return x
        return (gather(x, self.edges.source) * gather(x, self.edges.target)).sum(2)
