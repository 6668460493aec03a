"""`SiblingTransformer`: the encoder of NN-Former, with attention along edges, against them, and to siblings.

The paper's parts: adjacency-sibling multi-head attention and the bidirectional graph isomorphism feed-forward network
(Xu et al. 2025, "NN-Former: Rethinking Graph Structure in Neural Architecture Representation", CVPR,
https://arxiv.org/abs/2507.00880); the order of norms, the missing biases and which head has which mask follow the
authors' code (XuRuihan/NNFormer, neuralformer/models/encoders/neuralformer.py). Differences: nodes are embedded as
in `Encoder`, their shapes included, without the authors' codes of positions and depth, and the readout is a mean over
nodes (one of their options) instead of the first one, since the order of nodes is no property of a network. Where a
node reads another twice, the latter counts twice in sums.

Notation:
    g: graphs of a group that are padded to the same size.
    V: nodes of a padded graph.
    A: (V, V) adjacency matrix, A_uv = 1 where v reads u.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from cgir.errors import CgirError
from cgir.typing import Float32Array
from encoders.engine.batching import GraphTensors, TensorBatch
from encoders.engine.devices import Device
from encoders.engine.segments import Segments
from encoders.engine.streaming import GraphSource, embed
from encoders.training.seeding import seeded

from .node_embedding import NodeEmbedding

HEADS = 4  # one for each relation
# Graphs x nodes x nodes computed together: 32 MB in single precision for the four heads. A larger graph is computed by
# itself.
MAX_NODE_PAIRS = 2_000_000


@dataclass(frozen=True)
class SiblingConfig:
    """Shape of a `SiblingTransformer`.

    The defaults are for 50 to 500 labels: on NAS-Bench-Macro, 100 labels, other sizes and dropout were within seed
    noise. The authors have 12 layers of width 192 and 768 hidden units.

    Args:
        width: length of a node state, a multiple of the heads.
        layers: number of layers.
        feed_forward: hidden units of the feed-forward part of a layer, an even number.
        dropout: rate after the attention and after the feed-forward part of a layer.

    Raises:
        CgirError: numbers out of range.
    """

    width: int = 64
    layers: int = 3
    feed_forward: int = 128
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if (
            self.width < 1
            or self.width % HEADS
            or self.layers < 1
            or self.feed_forward < 1
            or self.feed_forward % 2
            or not 0 <= self.dropout < 1
        ):
            raise CgirError(
                f"sibling transformer: expected a width that is a multiple of its {HEADS} heads, an even feed_forward, "
                f"at least one layer and 0 <= dropout < 1; found {self}"
            )


class PaddedGraphs(NamedTuple):
    """Graphs of similar size, padded to V nodes.

    Attributes:
        nodes: (g, V) number of each node in the batch.
        is_node: (g, V) False for padding.
        reads: (g, V, V) how often the node of the row reads that of the column, the transpose of A.
        attention_masks: (g, HEADS, V, V) whether each head lets the node of the row attend to that of the column.
    """

    nodes: Tensor
    is_node: Tensor
    reads: Tensor
    attention_masks: Tensor


class SiblingLayer(nn.Module):
    """x <- x + attention(norm(x)), x <- x + feed_forward(norm(x)), over dense padded graphs."""

    def __init__(self, config: SiblingConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.feed_forward
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.self_linear, self.neighbour_linear = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.feed_forward_out = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, graphs: PaddedGraphs) -> Tensor:
        """States (g, V, width) -> (g, V, width)."""
        x = x + self.dropout(self._attention(self.attention_norm(x), graphs.attention_masks))
        out: Tensor = x + self.dropout(self._feed_forward(self.feed_forward_norm(x), graphs.reads))
        return out

    def _attention(self, x: Tensor, masks: Tensor) -> Tensor:
        """Head h: softmax over the nodes that mask h allows of q k / sqrt(width / HEADS), times v."""
        queries, keys, values = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask=masks)
        out: Tensor = self.attention_out(attended.transpose(1, 2).flatten(2))
        return out

    def _feed_forward(self, x: Tensor, reads: Tensor) -> Tensor:
        """W relu(W_self x + [A W_1 x, A^T W_2 x]): half of the hidden units sum over readers, half over inputs."""
        readers, inputs = self.neighbour_linear(x).chunk(2, dim=2)
        messages = torch.cat([reads.transpose(1, 2) @ readers, reads @ inputs], dim=2)
        out: Tensor = self.feed_forward_out((self.self_linear(x) + messages).relu())
        return out


class SiblingTransformer(nn.Module):
    """NN-Former's encoder (see the module): the four heads are masked by A, A^T, A^T A and A A^T, each plus identity.

    So a node attends to itself and to the nodes that read it, the nodes it reads, siblings that read a node it reads,
    and siblings that a reader of it reads. Every layer mixes both directions and two steps, so nodes with equal
    computation trees may have different states, and batches have to be plain.

    Graphs are padded to dense arrays in groups of similar size with at most MAX_NODE_PAIRS graphs x nodes^2: without
    gradients memory does not grow with the number of graphs, and small graphs are not padded to the size of a large
    one. No result depends on other graphs or on padding.
    """

    plain = True

    def __init__(self, config: SiblingConfig | None = None, seed: int = 0) -> None:
        super().__init__()
        self.config = config or SiblingConfig()
        with seeded(seed):
            self.embedding = NodeEmbedding(self.config.width)
            self.norm = nn.LayerNorm(self.config.width)
            self.layers = nn.ModuleList(SiblingLayer(self.config) for _ in range(self.config.layers))
            self.last_norm = nn.LayerNorm(self.config.width)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.config.width

    def forward(self, arrays: TensorBatch) -> Tensor:
        """A plain batch of G graphs -> (G, dim): the mean of each graph's nodes."""
        return arrays.forward_stream.node_rows.mean @ self.nodes(arrays)

    def nodes(self, arrays: TensorBatch) -> Tensor:
        """A plain batch of graphs with N nodes in all -> the states of every node (N, dim).

        Raises:
            CgirError: the batch is not plain.
        """
        if arrays.in_neighbours is None:
            raise CgirError(
                "sibling transformer: the batch does not say what its nodes read; "
                "prepare it as GraphTensors(graphs, engine='plain')"
            )
        kinds = self.embedding(arrays.ops, arrays.features)
        x = self.norm(arrays.forward_stream.blocks[0].self_rows(kinds))
        states, nodes = [], []
        for group in padded_groups(arrays.forward_stream.node_rows.sizes, arrays.in_neighbours, x.dtype):
            y = x[group.nodes]
            for layer in self.layers:
                y = layer(y, group)
            states.append(y[group.is_node])
            nodes.append(group.nodes[group.is_node])
        out: Tensor = self.last_norm(torch.cat(states)[torch.cat(nodes).argsort()])
        return out

    def embed(
        self,
        graphs: GraphSource,
        max_nodes: int | None = None,
        progress: bool = True,
        device: Device = "auto",
        autocast: bool = False,
    ) -> Float32Array:
        """Embeddings as float32 (G, dim), in evaluation mode and without gradients, by the plain engine.

        Args:
            graphs: in any form; a store, or an iterable of graphs or of batches, is read part by part.
            max_nodes: nodes computed at once, which bounds memory; by default `batching.CHUNK_NODES`.
            progress: show a progress bar where it takes longer than a few seconds.
            device: "auto", the GPU where there is one, "cpu", "cuda" or "cuda:1"; the encoder itself stays where it is.
            autocast: compute in bfloat16 where PyTorch's autocast does.
        """
        if isinstance(graphs, GraphTensors) and graphs.engine != "plain":
            graphs = graphs.batch
        vectors = embed(self, graphs, self.config.layers, max_nodes, "plain", progress, device, autocast)
        return vectors.reshape(-1, self.dim)


def padded_groups(sizes: Tensor, in_neighbours: Segments, dtype: torch.dtype) -> Iterator[PaddedGraphs]:
    """All graphs of a batch, padded in groups of similar size.

    Args:
        sizes: (G,) nodes of each graph; graphs follow each other.
        in_neighbours: the nodes that each node reads.
        dtype: of the adjacency matrices.
    """
    starts = sizes.cumsum(0) - sizes
    graph_of_node = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    readers, inputs = in_neighbours.pattern.rows.long(), in_neighbours.pattern.columns.long()
    graph_of_edge = graph_of_node[readers]
    for members in size_groups(sizes.cpu().tolist()):
        graphs = torch.tensor(members).to(sizes.device)
        first_node, largest = starts[graphs], int(sizes[graphs].max())
        columns = torch.arange(largest, device=sizes.device)
        is_node = columns < sizes[graphs].unsqueeze(1)
        row_of_graph = torch.full_like(starts, -1).index_copy(0, graphs, torch.arange(len(graphs), device=sizes.device))
        edges = row_of_graph[graph_of_edge] >= 0
        row, shift = row_of_graph[graph_of_edge[edges]], starts[graph_of_edge[edges]]
        reads = torch.zeros(len(graphs), largest, largest, dtype=dtype, device=sizes.device)
        reads.index_put_(
            (row, readers[edges] - shift, inputs[edges] - shift), reads.new_ones(len(row)), accumulate=True
        )
        # padding repeats the first node; nothing attends to it
        nodes = torch.where(is_node, first_node.unsqueeze(1) + columns, first_node.unsqueeze(1))
        yield PaddedGraphs(nodes, is_node, reads, attention_masks(reads))


def size_groups(sizes: list[int]) -> Iterator[list[int]]:
    """Indices of graphs of `sizes` (G,) nodes, in groups of similar size, largest first.

    A group has graphs x largest^2 at most MAX_NODE_PAIRS, or is one graph.
    """
    order = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)
    while order:
        largest = sizes[order[0]]
        much_smaller = (rank for rank, graph in enumerate(order) if largest - sizes[graph] > max(16, largest // 4))
        count = max(1, min(next(much_smaller, len(order)), MAX_NODE_PAIRS // largest**2))
        yield order[:count]
        order = order[count:]


def attention_masks(reads: Tensor) -> Tensor:
    """`reads` -> `attention_masks` of `PaddedGraphs`: (g, V, V) -> (g, HEADS, V, V)."""
    read_by = reads.transpose(1, 2)
    identity = torch.eye(reads.shape[1], dtype=torch.bool, device=reads.device)
    relations = (read_by, reads, reads @ read_by, read_by @ reads)
    return torch.stack([(relation > 0) | identity for relation in relations], dim=1)
