"""NAS-Bench-Graph's networks (Qin et al. 2022, section 3 and the authors' architecture code), in PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layer_names import SKIP
from .nasbench_graph_spec import GraphDataSet, Spec
from .torch_layers import LAYERS, Edges, channels_second


class NasBenchGraphNetwork(nn.Module):
    """Perhaps a linear layer, the four operations, one or two linear layers; scores of every node.

    The published count of parameters includes a BatchNorm for every skip, which nothing reads.

    Args:
        spec: the searched part.
        data: the data set.
        nodes: of the graph.
        edges: of the graph.
    """

    def __init__(self, spec: Spec, data: GraphDataSet, nodes: int, edges: int) -> None:
        super().__init__()
        self.link, self.leaves, width = spec.link, spec.leaves, data.width
        self.edges = Edges(nodes, edges)
        self.before = nn.Linear(data.features, width) if data.linear_before else None
        sizes = [width if data.linear_before else data.features]
        self.operations, self.norms = nn.ModuleList(), nn.ModuleList()
        for source, op in zip(spec.link, spec.ops, strict=True):
            self.operations.append(nn.Identity() if op == SKIP else LAYERS[op](sizes[source], width))
            self.norms.append(nn.BatchNorm1d(width))
            sizes.append(sizes[source] if op == SKIP else width)
        size = sum(sizes[leaf] for leaf in spec.leaves)
        inner = [nn.Linear(size, width), nn.ReLU()] if data.linear_after else []
        self.after = nn.Sequential(*inner, nn.Linear(width if data.linear_after else size, data.classes))

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, nodes, features) -> logits (B, nodes, classes)."""
        results = [self.before(x).relu() if self.before is not None else x]
        for source, operation, norm in zip(self.link, self.operations, self.norms, strict=True):
            x = results[source]
            if not isinstance(operation, nn.Identity):
                x = channels_second(norm, operation(x, self.edges)).relu()
            results.append(x)
        logits: Tensor = self.after(torch.cat([results[leaf] for leaf in self.leaves], 2))
        return logits
