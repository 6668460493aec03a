"""The encoder in plain PyTorch Geometric, which computes every node of every graph: peer of `benchmarks.encoding`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cgir.graph_batch import GraphBatch
from cgir.node_features import categories, node_features
from encoders import Encoder
from encoders.models.node_embedding import NodeEmbedding

from .paired_timing import in_turns

with warnings.catch_warnings():  # it calls torch.jit.script, which is deprecated
    warnings.simplefilter("ignore")
    from torch_geometric import EdgeIndex
    from torch_geometric.data import Batch, Data
    from torch_geometric.nn import GraphConv, global_mean_pool

GATHER, CSR = "edge_index", "EdgeIndex in CSR form"
PATHS = (GATHER, CSR)


class Stream(nn.Module):
    """h <- h + relu(norm(GraphConv(h))), and the mean over each graph's nodes."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(GraphConv(width, width, aggr="mean") for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))

    def forward(self, x: Tensor, edges: Tensor, data: Any) -> Tensor:
        """(N, width) -> (G, width).

        Args:
            x: (N, width) node states.
            edges: (2, E), in the form of the encoder's `path`.
            data: the collated batch.
        """
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + norm(conv(x, edges)).relu()
        pooled: Tensor = global_mean_pool(x, data.batch, data.num_graphs)
        return pooled


class PygEncoder(nn.Module):
    """Two streams of GraphConv over a collated batch -> (G, 2 x width).

    `path`: how layers get their edges, as `edge_index` (gather and scatter) or as `EdgeIndex`, PyTorch Geometric's own
    sorted form, whose layers are products with a CSR matrix. The CSR form is made once a batch and shared by all
    layers.
    """

    def __init__(self, width: int, layers: int, path: str = GATHER) -> None:
        super().__init__()
        self.path = path
        self.embedding = NodeEmbedding(width)
        self.forward_stream = Stream(width, layers)
        self.backward_stream = Stream(width, layers)

    def forward(self, data: Any) -> Tensor:
        """A collated batch -> (G, 2 x width)."""
        x = self.embedding(data.op, data.x)
        along, against = self._edges(data.edge_index, len(x)), self._edges(data.edge_index.flip(0), len(x))
        return torch.cat([self.forward_stream(x, along, data), self.backward_stream(x, against, data)], dim=1)

    def _edges(self, edge_index: Tensor, nodes: int) -> Tensor:
        if self.path == GATHER:
            return edge_index
        edges: Tensor = EdgeIndex(edge_index, sparse_size=(nodes, nodes)).sort_by("col").values
        return edges


def peer_of(encoder: Encoder, path: str = GATHER) -> PygEncoder:
    """The same network with the same weights."""
    peer = PygEncoder(encoder.config.width, encoder.config.layers, path)
    peer.embedding.load_state_dict(encoder.embedding.state_dict())
    theirs = dict(peer.named_parameters())
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            theirs[peers_name(name)].copy_(parameter)
    return peer


def peers_name(name: str) -> str:
    """What a parameter of `Encoder` is called in `PygEncoder`."""
    names = {
        ".layers.": ".convs.",
        ".self_linear.weight": ".lin_root.weight",
        ".self_linear.bias": ".lin_rel.bias",
        ".neighbour_linear.weight": ".lin_rel.weight",
    }
    for ours, theirs in names.items():
        name = name.replace(ours, theirs)
    return name


def gradients(ours: Encoder, theirs: PygEncoder) -> list[tuple[Tensor, Tensor]]:
    """Pairs of gradients of corresponding parameters."""
    found = dict(theirs.named_parameters())
    pairs = [(parameter.grad, found[peers_name(name)].grad) for name, parameter in ours.named_parameters()]
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def as_data(batch: GraphBatch, extra: Sequence[dict[str, Tensor]] | None = None) -> list[Any]:
    """A `Data` for every graph, with the operator and the features of each node; `extra` fields of each graph."""
    kind = torch.from_numpy(batch.kind)
    ops, features = torch.from_numpy(categories(batch.kinds))[kind], torch.from_numpy(node_features(batch.kinds))[kind]
    edges, ends = torch.from_numpy(np.stack([batch.src, batch.dst])), batch.edge_ptr
    data = []
    for g, (start, stop) in enumerate(zip(batch.ptr[:-1].tolist(), batch.ptr[1:].tolist(), strict=True)):
        part = edges[:, ends[g] : ends[g + 1]] - start
        data.append(Data(op=ops[start:stop], x=features[start:stop], edge_index=part, **(extra[g] if extra else {})))
    return data


def collated(data: Sequence[Any]) -> Any:
    """One batch, made as PyTorch Geometric's DataLoader makes it."""
    return Batch.from_data_list(list(data))


def embedded(peer: PygEncoder, data: Sequence[Any], size: int) -> tuple[Tensor, float]:
    """Embeddings of all graphs by PyTorch Geometric in batches of `size`, and the seconds spent on collating.

    Args:
        peer: with the encoder's weights.
        data: a `Data` for each graph.
        size: graphs in a batch.
    """
    parts, collating = [], 0.0
    with torch.inference_mode():
        for start in range(0, len(data), size):
            before = perf_counter()
            batch = collated(data[start : start + size])
            collating += perf_counter() - before
            parts.append(peer(batch))
    return torch.cat(parts), collating


def best_way(encoder: Encoder, data: Sequence[Any]) -> tuple[PygEncoder, int]:
    """The peer and the batch size that are fastest on a few graphs."""
    few = [data[g] for g in np.random.default_rng(0).permutation(len(data))[:256]]
    ways = {f"{path} {size}": (peer_of(encoder, path), size) for path in PATHS for size in (16, 32, 64, 256)}
    spent = in_turns({name: partial(embedded, peer, few, size) for name, (peer, size) in ways.items()}, 1)
    return ways[min(ways, key=spent.__getitem__)]
