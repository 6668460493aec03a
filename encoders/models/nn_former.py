"""`SiblingTransformer`: attention that follows edges both ways and looks at siblings, as in NN-Former.

The paper's parts: adjacency-sibling multi-head attention and the bidirectional graph isomorphism feed-forward network
(Xu et al. 2025, "NN-Former: Rethinking Graph Structure in Neural Architecture Representation", CVPR,
https://arxiv.org/abs/2507.00880); the order of norms, the missing biases and which head has which mask follow the
authors' code (XuRuihan/NNFormer, neuralformer/models/encoders/neuralformer.py). Different here: nodes are embedded as
in `Encoder`, their shapes included, without the authors' codes of positions and depth, and the readout is a mean over
nodes (one of their options) instead of the first one, since the order of nodes is no property of a network. A node that
reads another twice counts it twice in sums.
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
from encoders.engine.segments import Segments
from encoders.engine.streaming import GraphSource, embed
from encoders.training.seeding import seeded

from .node_embedding import NodeEmbedding

HEADS = 4  # one for each relation
# Graphs x nodes x nodes computed together: 32 MB in single precision for the four heads. A larger graph is computed by
# itself.
PAIRS = 2_000_000


@dataclass(frozen=True)
class SiblingConfig:
    """Shape of a `SiblingTransformer`: `width` of node states, `layers`, hidden units of the `feed_forward` part,
    `dropout` of what a half layer adds.

    The defaults are for 50 to 500 labels: on NAS-Bench-Macro, 100 labels, other sizes and dropout were within seed
    noise. The authors have 12 layers of width 192 and 768 hidden units.
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
                f"sibling transformer: expected a width that is a multiple of its {HEADS} heads, an even feed_forward, at least one layer "
                f"and 0 <= dropout < 1; found {self}"
            )


class Padded(NamedTuple):
    """Graphs of similar size, padded to V nodes: `nodes` (g, V) of the batch, `real` (g, V) where there is one; `reads`
    (g, V, V), how often the node of the row reads that of the column, and `masks` (g, HEADS, V, V), whom each head lets
    a node look at.
    """

    nodes: Tensor
    real: Tensor
    reads: Tensor
    masks: Tensor


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

    def forward(self, x: Tensor, graphs: Padded) -> Tensor:
        """States (g, V, width) -> (g, V, width)."""
        x = x + self.dropout(self._attention(self.attention_norm(x), graphs.masks))
        out: Tensor = x + self.dropout(self._feed_forward(self.feed_forward_norm(x), graphs.reads))
        return out

    def _attention(self, x: Tensor, masks: Tensor) -> Tensor:
        """Head h: softmax over the nodes that mask h allows of q k / sqrt(width / HEADS), times v."""
        queries, keys, values = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        seen = scaled_dot_product_attention(queries, keys, values, attn_mask=masks)
        out: Tensor = self.attention_out(seen.transpose(1, 2).flatten(2))
        return out

    def _feed_forward(self, x: Tensor, reads: Tensor) -> Tensor:
        """W relu(W_own x + [A W_1 x, A^T W_2 x]): half of the hidden units hear the nodes that read a node, half those
        that it reads.
        """
        readers, read = self.neighbour_linear(x).chunk(2, dim=2)
        heard = torch.cat([reads.transpose(1, 2) @ readers, reads @ read], dim=2)
        out: Tensor = self.feed_forward_out((self.self_linear(x) + heard).relu())
        return out


class SiblingTransformer(nn.Module):
    """NN-Former's encoder (see the module): with A_uv = 1 where v reads u, the four heads are masked by A, A^T, A^T A
    and A A^T, each with the node itself.

    So a node looks at the nodes that read it, at those it reads, at siblings that read what it reads, and at siblings
    whose readers it shares. Both directions and two steps are mixed in every layer: classes of nodes with equal pasts
    cannot stand for their nodes, and batches have to be plain.

    Graphs are padded to dense arrays in groups of similar size, so many at a time that graphs x nodes^2 stays under
    PAIRS: without gradients memory does not grow with the number of graphs, and small ones do not pay for a large one
    among them. No result depends on other graphs or on padding.
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
        """A plain batch of graphs with N nodes in all -> the states of every node (N, dim); CgirError where the batch
        has no `reads`.
        """
        if arrays.in_neighbours is None:
            raise CgirError(
                "sibling transformer: the batch does not say what its nodes read; prepare it as GraphTensors(graphs, engine='plain')"
            )
        x = self.norm(arrays.forward_stream.blocks[0].self_rows(self.embedding(arrays.ops, arrays.features)))
        states, places = [], []
        for group in padded(arrays.forward_stream.node_rows.sizes, arrays.in_neighbours, x.dtype):
            y = x[group.nodes]
            for layer in self.layers:
                y = layer(y, group)
            states.append(y[group.real])
            places.append(group.nodes[group.real])
        out: Tensor = self.last_norm(torch.cat(states)[torch.cat(places).argsort()])
        return out

    def embed(self, graphs: GraphSource, max_nodes: int | None = None, progress: bool = True) -> Float32Array:
        """Embeddings as float32 (G, dim), in evaluation mode and without gradients; see `Encoder.embed`, of whose
        engines this one has "plain" only.
        """
        if isinstance(graphs, GraphTensors) and graphs.engine != "plain":
            graphs = graphs.batch
        return embed(self, graphs, self.config.layers, max_nodes, "plain", progress).reshape(-1, self.dim)


def padded(sizes: Tensor, reads: Segments, dtype: torch.dtype) -> Iterator[Padded]:
    """Graphs of `sizes` (G,) nodes that follow each other, and what each node reads -> all graphs, in groups of similar
    size.
    """
    starts = sizes.cumsum(0) - sizes
    graph = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    readers, read = reads.pattern.rows.long(), reads.pattern.columns.long()
    edge_graph = graph[readers]
    for members in groups(sizes.tolist()):
        chosen = torch.tensor(members, device=sizes.device)
        begins, width = starts[chosen], int(sizes[chosen].max())
        columns = torch.arange(width, device=sizes.device)
        real = columns < sizes[chosen].unsqueeze(1)
        slot = torch.full_like(starts, -1).index_copy(0, chosen, torch.arange(len(chosen), device=sizes.device))
        edges = slot[edge_graph] >= 0
        at, shift = slot[edge_graph[edges]], starts[edge_graph[edges]]
        matrix = torch.zeros(len(chosen), width, width, dtype=dtype, device=sizes.device)
        matrix.index_put_((at, readers[edges] - shift, read[edges] - shift), matrix.new_ones(len(at)), accumulate=True)
        # what padding holds is read by nobody
        nodes = torch.where(real, begins.unsqueeze(1) + columns, begins.unsqueeze(1))
        yield Padded(nodes, real, matrix, relations(matrix))


def groups(sizes: list[int]) -> Iterator[list[int]]:
    """Graphs by number, of `sizes` nodes: groups of similar size, largest first, with graphs x largest^2 at most PAIRS,
    or of one graph.
    """
    order = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)
    while order:
        largest = sizes[order[0]]
        count = next(
            (place for place, graph in enumerate(order) if largest - sizes[graph] > max(16, largest // 4)), len(order)
        )
        count = max(1, min(count, PAIRS // largest**2))
        yield order[:count]
        order = order[count:]


def relations(reads: Tensor) -> Tensor:
    """(g, V, V), with entries above 0 where the row's node reads the column's -> (g, HEADS, V, V): whether it is looked
    at by each head.
    """
    turned = reads.transpose(1, 2)
    itself = torch.eye(reads.shape[1], dtype=torch.bool, device=reads.device)
    return torch.stack([(related > 0) | itself for related in (turned, reads, reads @ turned, turned @ reads)], dim=1)
