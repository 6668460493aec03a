"""Heads: embeddings -> scores, and an encoder with a head as one network."""

from __future__ import annotations

from torch import Tensor, nn

from encoders.engine.batching import TensorBatch
from encoders.training.seeding import seeded

from .registry import GraphEncoder


class MLPHead(nn.Module):
    """Embeddings (G, dim) -> scores (G, tasks): one hidden layer.

    Args:
        dim: length of an embedding.
        width: hidden units.
        dropout: rate of dropout of the hidden units.
        seed: of the initial weights.
        tasks: number of outputs.
    """

    def __init__(self, dim: int, width: int = 64, dropout: float = 0.0, seed: int = 0, tasks: int = 1) -> None:
        super().__init__()
        with seeded(seed):
            self.layers = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, tasks))

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (G, dim) -> (G, tasks)."""
        out: Tensor = self.layers(x)
        return out


class Scorer(nn.Module):
    """Encoder and head as one network: a batch of graphs -> scores (G,)."""

    def __init__(self, encoder: GraphEncoder, head: MLPHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, arrays: TensorBatch) -> Tensor:
        """A batch of G graphs -> (G,)."""
        out: Tensor = self.head(self.encoder(arrays)).squeeze(1)
        return out
