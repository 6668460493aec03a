"""`Encoder`: message passing along the edges and, in a separate stream, against them; graphs -> vectors.

Notation:
    G, N: graphs and nodes of a batch.
    K: distinct node kinds in it.
    width: length of a node state.
    dim: length of an embedding, 2 x width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cgir.errors import CgirError
from cgir.typing import Float32Array
from encoders.engine.batching import Engine, StreamBlocks, TensorBatch
from encoders.engine.devices import Device
from encoders.engine.streaming import GraphSource, embed
from encoders.training.seeding import seeded

from .conv_layers import ATTENTION_LAYERS, HEADS, LAYERS
from .node_embedding import NodeEmbedding
from .norms import NORMS
from .pooling import POOLS


@dataclass(frozen=True)
class EncoderConfig:
    """Shape of an encoder.

    Args:
        width: length of a node state.
        layers: number of layers in each direction.
        layer: kind of layer, a name in LAYERS.
        norm: normalisation after a layer, a name in NORMS.
        pool: readout, a name in POOLS.
        dropout: rate after each layer. A mask is sampled once for all nodes that share a state, so masks of the
            compressed and the plain engine differ.

    Raises:
        CgirError: unknown names, or numbers out of range.
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
        if self.layer in ATTENTION_LAYERS and self.width % HEADS:
            raise CgirError(
                f"encoder: width={self.width} with layer {self.layer!r}; expected a multiple of its {HEADS} heads"
            )
        if self.width < 1 or self.layers < 1 or not 0 <= self.dropout < 1:
            raise CgirError(f"encoder: width and layers must be positive and 0 <= dropout < 1; found {self}")


class Stream(nn.Module):
    """Residual layers in one direction, h <- h + dropout(relu(norm(layer(h)))), and a pool over each graph's nodes."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        layer = LAYERS[config.layer]
        self.layers = nn.ModuleList(layer(config.width, config.width) for _ in range(config.layers))
        self.norms = nn.ModuleList(NORMS[config.norm](config.width) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.pool = POOLS[config.pool](config.width)

    def states(self, x: Tensor, stream: StreamBlocks) -> Tensor:
        """Embeddings of the kinds (K, width) -> states of the rows of the last layer."""
        for layer, norm, block in zip(self.layers, self.norms, stream.blocks, strict=True):
            update, residual = norm(layer(x, block), block.multiplicity).relu_(), block.self_rows(x)
            if self.dropout.p and self.dropout.training:
                update = self.dropout(update)
            x = residual + update if residual is x else residual.add_(update)  # in place only where it is a copy
        return x

    def forward(self, x: Tensor, stream: StreamBlocks) -> Tensor:
        """Embeddings of the kinds (K, width) -> graphs (G, width)."""
        out: Tensor = self.pool(self.states(x, stream), stream.node_rows)
        return out


class Encoder(nn.Module):
    """Two streams over the same node embeddings, pooled separately and concatenated: (G, 2 x width).

    The streams never read each other's states, so that the engine can compute each distinct computation tree, of
    ancestors and of descendants, once.
    """

    plain = False  # reads compressed batches, too

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
        """G graphs, prepared for as many layers as the encoder has -> (G, dim)."""
        x = self.embedding(arrays.ops, arrays.features)
        forward = self.forward_stream(x, arrays.forward_stream)
        return torch.cat([forward, self.backward_stream(x, arrays.backward_stream)], dim=1)

    def nodes(self, arrays: TensorBatch) -> Tensor:
        """Graphs with N nodes in all -> the states of every node in both streams (N, dim)."""
        x = self.embedding(arrays.ops, arrays.features)
        forward = arrays.forward_stream.node_rows.gather @ self.forward_stream.states(x, arrays.forward_stream)
        backward = arrays.backward_stream.node_rows.gather @ self.backward_stream.states(x, arrays.backward_stream)
        return torch.cat([forward, backward], dim=1)

    def embed(
        self,
        graphs: GraphSource,
        max_nodes: int | None = None,
        engine: Engine = "auto",
        progress: bool = True,
        device: Device = "auto",
        autocast: bool = False,
    ) -> Float32Array:
        """Embeddings as float32 (G, dim), in evaluation mode and without gradients.

        Args:
            graphs: in any form; a store, or an iterable of graphs or of batches, is read part by part.
            max_nodes: nodes computed at once, which bounds memory; by default `batching.CHUNK_NODES`.
            engine: as in `GraphTensors`; graphs that are prepared keep theirs.
            progress: show a progress bar where it takes longer than a few seconds.
            device: "auto", the GPU where there is one, "cpu", "cuda" or "cuda:1"; the encoder itself stays where it is.
            autocast: compute in bfloat16 where PyTorch's autocast does.
        """
        vectors = embed(self, graphs, self.config.layers, max_nodes, engine, progress, device, autocast)
        return vectors.reshape(-1, self.dim)
