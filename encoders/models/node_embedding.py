"""Node embedding: node kinds -> vectors, from the operator and the sizes of its shapes, window and weights."""

from __future__ import annotations

from torch import Tensor, nn

from cgir.node_features import FEATURE_NAMES, VARIANTS
from cgir.ops import INDEX


class NodeEmbedding(nn.Module):
    """A learned row for the operator and each of its variants, plus an MLP of `node_features`, for K distinct kinds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Embedding(len(INDEX), width)
        self.variants = nn.ModuleList(nn.Embedding(size, width) for size in VARIANTS.values())
        self.features = nn.Sequential(nn.Linear(len(FEATURE_NAMES), width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, ops: Tensor, features: Tensor) -> Tensor:
        """`node_features.categories` (K, 1 + V) and `node_features.node_features` (K, F) -> (K, width)."""
        x: Tensor = self.op(ops[:, 0]) + self.features(features.to(self.op.weight.dtype))
        for index, table in enumerate(self.variants, 1):
            x = x + table(ops[:, index])
        return x
