"""Auxiliary loss: operators and attributes of masked nodes are predicted from their neighbourhood.

Attribute masking of Hu et al., "Strategies for Pre-training Graph Neural Networks", ICLR 2020,
https://arxiv.org/abs/1905.12265, section 3.1.2.

Nodes are masked independently, so batches are plain. The compressed engine computes equal nodes once, and could only
mask a node kind in all graphs of a batch at a time: the batch then shows nowhere what such a node is, few kinds hold
most nodes, and the number of masked nodes varies from a hundred to ten thousand. A plain pass costs several times a
compressed one where networks repeat themselves, so only every `MASKED_GRAPH_STRIDE`-th graph of a batch is masked,
which still gives hundreds of masked nodes a step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from cgir.graph_batch import GraphBatch
from cgir.node_features import FEATURE_NAMES
from cgir.ops import INDEX
from cgir.ragged import ranges
from cgir.typing import BoolArray, IntArray
from contrastive.pretraining_set import Pool
from encoders.engine.batching import GraphTensors, StreamBlocks, TensorBatch
from encoders.engine.devices import CPU, in_bfloat16
from encoders.engine.message_blocks import MessageBlock
from encoders.engine.segments import Segments
from encoders.models.encoder import Encoder

from .step_context import StepContext, mlp

MASK_RATE = 0.15  # fraction of nodes, as in Hu et al.
MASKED_GRAPH_STRIDE = 4


class MaskedNodes(NamedTuple):
    """This process's share of the masked nodes of a batch.

    graphs: (M,) indices of the graphs, which have N nodes together.
    masked: (N,) which of these are masked.
    total: number of masked nodes of the whole batch.
    """

    graphs: IntArray
    masked: BoolArray
    total: int


class MaskedNodePrediction(nn.Module):
    """A learned embedding that replaces a masked node's, and an MLP that predicts operator and attributes."""

    def __init__(
        self, pool: Pool, encoder: Encoder, seed: int, device: torch.device = CPU, autocast: bool = False
    ) -> None:
        """Create mask token and head.

        Args:
            pool: the graphs that batches are sampled from.
            encoder: decides widths and depth.
            seed: of the masks.
            device: where the encoder computes.
            autocast: whether it does so in bfloat16.
        """
        super().__init__()
        self.graphs, self.seed = GraphTensors(pool.batch, encoder.config.layers, "plain"), seed
        self.device, self.autocast = device, autocast
        self.ops = self.graphs.ops[:, 0].to(device)
        self.attributes = _standardised(self.graphs.features, pool.batch).to(device)
        self.mask_token = nn.Parameter(torch.randn(encoder.config.width))
        self.head = mlp(encoder.dim, len(INDEX) + len(FEATURE_NAMES))

    def forward(self, context: StepContext) -> Tensor:
        """This process's share of the mean, over the masked nodes of the batch, of two errors.

        They are the cross-entropy of the operator and the mean squared error of the standardised attributes.
        """
        nodes = self.draw(context)
        if not nodes.masked.any():
            return context.embeddings.new_zeros(())
        kinds, places, masked = (
            torch.from_numpy(array).to(self.device)
            for array in (
                self.graphs.batch.kind[self._nodes(nodes.graphs)][nodes.masked],
                np.flatnonzero(nodes.masked),
                nodes.masked,
            )
        )
        with in_bfloat16(self.device, self.autocast):
            states = self.states(context.encoder, self.graphs.minibatch(nodes.graphs, self.device), masked)
        predicted = self.head(states.index_select(0, places))
        op_logits, attributes = predicted.split([len(INDEX), len(FEATURE_NAMES)], dim=1)
        targets = self.attributes.index_select(0, kinds).to(predicted.dtype)
        error = cross_entropy(op_logits, self.ops.index_select(0, kinds)) + mse_loss(attributes, targets)
        return error * (len(kinds) / nodes.total)

    def draw(self, context: StepContext) -> MaskedNodes:
        """Sample the masked nodes of a step, at least one in a batch.

        They depend on (seed, step) alone, not on the number of processes.
        """
        indices = context.pairs.indices
        positions = np.arange(0, len(indices), MASKED_GRAPH_STRIDE)
        sizes = np.diff(self.graphs.batch.ptr)[indices[positions]]
        uniform = np.random.default_rng([self.seed, 3, context.step]).random(int(sizes.sum()))
        masked = uniform < max(MASK_RATE, np.nextafter(uniform.min(), 1))
        start, stop, _ = context.rows.indices(len(indices))
        local = (start <= positions) & (positions < stop)
        return MaskedNodes(indices[positions[local]], masked[np.repeat(local, sizes)], int(masked.sum()))

    def states(self, encoder: Encoder, batch: TensorBatch, masked: Tensor) -> Tensor:
        """Node states in which kinds of masked nodes are visible to no node.

        Args:
            encoder: whose two streams are computed.
            batch: a plain batch of N nodes.
            masked: (N,) bool.

        Returns:
            (N, dim), both streams side by side.
        """
        assert batch.in_neighbours is not None
        embedded = encoder.embedding(batch.ops, batch.features)
        x = torch.where(masked.unsqueeze(1), self.mask_token, batch.forward_stream.blocks[0].self_rows(embedded))
        in_edges = batch.in_neighbours.pattern
        streams = []
        for stream, pattern in (
            (encoder.forward_stream, in_edges),
            (encoder.backward_stream, in_edges.transpose()),
        ):
            blocks = [MessageBlock(None, Segments(pattern))] * encoder.config.layers
            streams.append(stream.states(x, StreamBlocks(blocks, batch.forward_stream.node_rows)))
        return torch.cat(streams, dim=1)

    def _nodes(self, graphs: IntArray) -> IntArray:
        """Indices of the nodes of these graphs in the pool."""
        ptr = self.graphs.batch.ptr
        return ranges(ptr[graphs], np.diff(ptr)[graphs])


def _standardised(features: Tensor, batch: GraphBatch) -> Tensor:
    """Features (K, F) of the kinds with mean 0 and variance 1 over all nodes of the pool; 0 where all are equal."""
    frequency = torch.from_numpy(np.bincount(batch.kind, minlength=len(batch.kinds)) / batch.num_nodes).unsqueeze(0)
    centred = features.double() - frequency @ features.double()
    std = (frequency @ centred.square()).sqrt()
    return torch.where(std > 1e-6, centred / std, 0.0).float()
