"""`Encoder`: graphs -> vectors, by message passing along the arrows and, in a stream of its own, against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cgir.errors import CgirError
from cgir.typing import Float32Array
from encoders.engine.batching import Engine, StreamBlocks, TensorBatch
from encoders.engine.streaming import GraphSource, embed
from encoders.training.seeding import seeded

from .conv_layers import HEADS, LAYERS, WITH_HEADS
from .node_embedding import NodeEmbedding
from .norms import NORMS
from .pooling import POOLS

if TYPE_CHECKING:
    from encoders.predictors.source_families import SourceModel


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of an encoder: `width` of node states, `layers` in each direction; `layer`, `norm` and `pool` are names in
    LAYERS, NORMS and POOLS.

    `dropout` is drawn once for all nodes that share a state: compressed and plain engines then draw differently.
    """

    width: int = 64
    layers: int = 5
    layer: str = "graphconv"
    norm: str = "layer"
    pool: str = "mean"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for part, table in (("layer", LAYERS), ("norm", NORMS), ("pool", POOLS)):
            if (name := getattr(self, part)) not in table:
                raise CgirError(f"encoder: unknown {part} {name!r}; expected one of {', '.join(table)}")
        if self.layer in WITH_HEADS and self.width % HEADS:
            raise CgirError(
                f"encoder: width={self.width} with layer {self.layer!r}; expected a multiple of its {HEADS} heads"
            )
        if self.width < 1 or self.layers < 1 or not 0 <= self.dropout < 1:
            raise CgirError(f"encoder: width and layers must be positive and 0 <= dropout < 1; found {self}")


class Stream(nn.Module):
    """A stack in one direction: h <- h + dropout(relu(norm(layer(h)))), and a pool over each graph's nodes."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        layer = LAYERS[config.layer]
        self.layers = nn.ModuleList(layer(config.width, config.width) for _ in range(config.layers))
        self.norms = nn.ModuleList(NORMS[config.norm](config.width) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.pool = POOLS[config.pool](config.width)

    def states(self, x: Tensor, direction: StreamBlocks) -> Tensor:
        """States of the kinds (K, width) -> those of the rows of the last level."""
        for layer, norm, block in zip(self.layers, self.norms, direction.blocks, strict=True):
            new, kept = self.dropout(norm(layer(x, block), block.multiplicity).relu_()), block.self_rows(x)
            x = kept + new if kept is x else kept.add_(new)  # in place only where it is a copy
        return x

    def forward(self, x: Tensor, direction: StreamBlocks) -> Tensor:
        """States of the kinds (K, width) -> graphs (G, width)."""
        out: Tensor = self.pool(self.states(x, direction), direction.node_rows)
        return out


class Encoder(nn.Module):
    """Two streams over the same node embeddings, pooled apart and concatenated: (G, 2 x width).

    The streams never see each other's states: that is what lets `unfolding` compute each distinct past, and each
    distinct future, once. `sources`: what labelled families taught on its embeddings, where it came with that
    (`pretrained.load_pretrained`).
    """

    plain = False  # it reads any batch
    sources: SourceModel | None = None

    def __init__(self, config: EncoderConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config = config or EncoderConfig()
        with seeded(seed):
            self.embedding = NodeEmbedding(self.config.width)
            self.forward_stream = Stream(self.config)
            self.backward_stream = Stream(self.config)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return 2 * self.config.width

    def forward(self, arrays: TensorBatch) -> Tensor:
        """A batch of G graphs, taken for as many layers as the encoder has -> (G, dim)."""
        x = self.embedding(arrays.ops, arrays.features)
        return torch.cat(
            [self.forward_stream(x, arrays.forward_stream), self.backward_stream(x, arrays.backward_stream)], dim=1
        )

    def nodes(self, arrays: TensorBatch) -> Tensor:
        """A batch of graphs with N nodes in all -> the states of every node in both streams (N, dim)."""
        x = self.embedding(arrays.ops, arrays.features)
        streams = ((self.forward_stream, arrays.forward_stream), (self.backward_stream, arrays.backward_stream))
        return torch.cat(
            [direction.node_rows.gather @ stream.states(x, direction) for stream, direction in streams], dim=1
        )

    def embed(
        self, graphs: GraphSource, max_nodes: int | None = None, engine: Engine = "auto", progress: bool = True
    ) -> Float32Array:
        """Embeddings as float32 (G, dim), in evaluation mode and without gradients.

        A store, or an iterable of graphs or of batches, is read bit by bit; no more than `max_nodes` nodes are computed
        at once. See `streaming.embed`.
        """
        return embed(self, graphs, self.config.layers, max_nodes, engine, progress).reshape(-1, self.dim)
