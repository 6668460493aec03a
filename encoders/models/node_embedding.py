"""Node kinds -> vectors: what an operator is, and how large its shapes, window and weights are."""

from __future__ import annotations

from torch import Tensor, nn

from cgir.node_features import FEATURE_NAMES, VARIANTS
from cgir.ops import INDEX


class NodeEmbedding(nn.Module):
    """A row for the operator and for each of its `cgir.node_features.VARIANTS`, plus a two-layer perceptron of
    `node_features`, for K distinct kinds at once.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Embedding(len(INDEX), width)
        self.variants = nn.ModuleList(nn.Embedding(size, width) for size in VARIANTS.values())
        self.features = nn.Sequential(nn.Linear(len(FEATURE_NAMES), width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, ops: Tensor, features: Tensor) -> Tensor:
        """ops (K, 1 + V) of `cgir.node_features.categories`, features (K, F) -> (K, width)."""
        x: Tensor = self.op(ops[:, 0]) + self.features(features.to(self.op.weight.dtype))
        for index, table in enumerate(self.variants, 1):
            x = x + table(ops[:, index])
        return x
