"""Node kinds -> vectors: what an operator is, and how large its shapes, window and weights are."""

from __future__ import annotations

from torch import Tensor, nn

from cgir.features import FEATURE_NAMES
from cgir.ops import INDEX


class NodeEmbedding(nn.Module):
    """Operator embedding plus a two-layer perceptron of `cgir.features.node_features`, for K distinct kinds at once."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Embedding(len(INDEX), width)
        self.features = nn.Sequential(nn.Linear(len(FEATURE_NAMES), width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, ops: Tensor, features: Tensor) -> Tensor:
        """ops (K,) rows of the operator table, features (K, F) -> (K, width)."""
        out: Tensor = self.op(ops) + self.features(features.to(self.op.weight.dtype))
        return out
