"""Node kinds -> vectors: what an operator is, and how large its shapes, window and weights are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cgir.features import FEATURE_NAMES
from cgir.ops import INDEX

# What tells convolutions apart, by name and not only by size: 3 x 3 lies no nearer to 1 x 1 than to 7 x 7. Larger values share the last row.
VARIANTS = {"kernel_height": 8, "kernel_width": 8, "stride": 4, "dilation": 3, "grouping": 3}
DENSE, GROUPED, DEPTHWISE = 0, 1, 2


class NodeEmbedding(nn.Module):
    """A row for the operator and for each of its `VARIANTS`, plus a two-layer perceptron of `cgir.features.node_features`, for K distinct kinds at once."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Embedding(len(INDEX), width)
        self.variants = nn.ModuleDict({name: nn.Embedding(size, width) for name, size in VARIANTS.items()})
        self.features = nn.Sequential(nn.Linear(len(FEATURE_NAMES), width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, ops: Tensor, features: Tensor) -> Tensor:
        """ops (K,) rows of the operator table, features (K, F) -> (K, width)."""
        x: Tensor = self.op(ops) + self.features(features.to(self.op.weight.dtype))
        for row, table in zip(_variants(features), self.variants.values(), strict=True):
            x = x + table(row)
        return x


def _variants(features: Tensor) -> list[Tensor]:
    """Of each of `VARIANTS` the rows (K,), read back from the features (K, F)."""
    values = ((8 * features.double()).exp2() - 1).round().long()
    column = {name: values[:, index] for index, name in enumerate(FEATURE_NAMES)}
    groups = column["groups"]
    column["grouping"] = torch.where(groups <= 1, DENSE, torch.where(groups == column["in_channels"], DEPTHWISE, GROUPED))
    return [column[name].clamp(0, size - 1) for name, size in VARIANTS.items()]
