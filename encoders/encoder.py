"""`Encoder`: graphs -> vectors, by message passing along the arrows and, in a stream of its own, against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cgir.errors import CgirError

from .batching import Graphs, GraphTensors, TensorBatch
from .embedding import NodeEmbedding
from .layers import LAYERS
from .seeding import seeded
from .sparse import Sparse


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
    """A stack in one direction: h <- h + dropout(relu(norm(layer(h))))."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        layer = LAYERS[config.layer]
        self.weights = layer.weights
        self.layers = nn.ModuleList(layer(config.width, config.width) for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, adjacency: Sparse) -> Tensor:
        """Node states (N, width) and edge counts (N, N) -> node states (N, width)."""
        matrix = self.weights(adjacency)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + self.dropout(norm(layer(x, matrix)).relu())
        return x


class Encoder(nn.Module):
    """Two streams over the same node embeddings, mean-pooled apart and concatenated: (G, 2 x width).

    The streams never see each other's states, so nodes with equal pasts (or equal futures) have equal states.
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
        """A batch of G graphs -> (G, dim)."""
        x = self.embedding(arrays.ops, arrays.features).index_select(0, arrays.kind)
        streams = (self.along(x, arrays.incoming), self.against(x, arrays.incoming.flipped))
        return torch.cat([arrays.pool @ nodes for nodes in streams], dim=1)

    def embed(self, graphs: Graphs, max_nodes: int = 100_000) -> NDArray[np.float32]:
        """Embeddings as float32 (G, dim), in evaluation mode and without gradients, `max_nodes` nodes at a time."""
        return embed(self, graphs if isinstance(graphs, GraphTensors) else GraphTensors(graphs), max_nodes)


def embed(module: nn.Module, graphs: GraphTensors, max_nodes: int = 100_000) -> NDArray[np.float32]:
    """Outputs of a module that reads `TensorBatch`es, for all graphs; the module's mode is restored."""
    training, weight = module.training, next(module.parameters())
    module.eval()
    try:
        with torch.no_grad():
            parts = [module(chunk.to(weight.device, weight.dtype)).float().cpu().numpy() for chunk in graphs.chunks(max_nodes)]
    finally:
        module.train(training)
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
