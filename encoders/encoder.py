"""`Encoder`: graphs -> vectors, by message passing along the arrows and, in a stream of its own, against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cgir.errors import CgirError

from .batching import Direction, Graphs, GraphTensors, TensorBatch, as_tensors
from .embedding import NodeEmbedding
from .layers import LAYERS
from .seeding import seeded


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of an encoder: `width` of node states, `layers` in each direction, `layer` "graphconv" or "gcn"."""

    width: int = 64
    layers: int = 5
    layer: str = "graphconv"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise CgirError(f"encoder: unknown layer {self.layer!r}; expected one of {', '.join(LAYERS)}")
        if self.width < 1 or self.layers < 1 or not 0 <= self.dropout < 1:
            raise CgirError(f"encoder: width and layers must be positive and 0 <= dropout < 1; found {self}")


class Stream(nn.Module):
    """A stack in one direction: h <- h + dropout(relu(norm(layer(h)))), and the mean over a graph's nodes.

    Nodes that share a state share their dropout too.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        layer = LAYERS[config.layer]
        self.layers = nn.ModuleList(layer(config.width, config.width) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, direction: Direction) -> Tensor:
        """States of the kinds (K, width) -> graphs (G, width)."""
        for layer, norm, level in zip(self.layers, self.norms, direction.levels, strict=True):
            x = x.index_select(0, level.own) + self.dropout(norm(layer(x, level)).relu())
        return direction.pool @ x


class Encoder(nn.Module):
    """Two streams over the same node embeddings, mean-pooled apart and concatenated: (G, 2 x width).

    The streams never see each other's states: that is what lets `unfolding` compute each distinct past, and each distinct future, once.
    """

    def __init__(self, config: EncoderConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config = config or EncoderConfig()
        with seeded(seed):
            self.embedding = NodeEmbedding(self.config.width)
            self.along = Stream(self.config)
            self.against = Stream(self.config)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return 2 * self.config.width

    def forward(self, arrays: TensorBatch) -> Tensor:
        """A batch of G graphs, taken for as many layers as the encoder has -> (G, dim)."""
        x = self.embedding(arrays.ops, arrays.features)
        return torch.cat([self.along(x, arrays.along), self.against(x, arrays.against)], dim=1)

    def embed(self, graphs: Graphs, max_nodes: int = 100_000) -> NDArray[np.float32]:
        """Embeddings as float32 (G, dim), in evaluation mode and without gradients, `max_nodes` nodes at a time."""
        return embed(self, as_tensors(graphs, self.config.layers), max_nodes).reshape(-1, self.dim)


def embed(module: nn.Module, graphs: GraphTensors, max_nodes: int = 100_000) -> NDArray[np.float32]:
    """Outputs of a module that reads `TensorBatch`es, for all graphs; the module's mode is restored."""
    training, weight = module.training, next(module.parameters())
    module.eval()
    try:
        with torch.no_grad():
            parts = [module(chunk.to(weight.device, weight.dtype)).float().cpu().numpy() for chunk in graphs.chunks(max_nodes)]
    finally:
        module.train(training)
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
