"""Masked nodes: what stands in a gap is told from what is around it (Hu et al., "Strategies for Pre-training Graph
Neural Networks", ICLR 2020, https://arxiv.org/abs/1905.12265, section 3.1.2, attribute masking).

Nodes are masked one by one, and so in plain batches. The compressed engine computes equal nodes once, and could mask
only a whole kind, in all graphs of a batch at a time: the batch then shows nowhere what such a node is, few kinds hold
most nodes, and whether a step masks a hundred nodes or ten thousand is chance. A plain pass costs several times a
compressed one where networks repeat themselves, so masks go over every `MASKED_GRAPH_STRIDE`th graph of a batch alone, which still
masks hundreds of nodes at a step.
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
from encoders.engine.message_blocks import MessageBlock
from encoders.engine.segments import Segments
from encoders.models.encoder import Encoder

from .step_context import StepContext, mlp

MASK_RATE = 0.15  # of nodes, as in Hu et al.
MASKED_GRAPH_STRIDE = 4


class MaskedNodes(NamedTuple):
    """This process's graphs to mask (M,), which of their N nodes are masked (N,), and how many nodes of the whole batch
    are.
    """

    graphs: IntArray
    masked: BoolArray
    total: int


class MaskedNodePrediction(nn.Module):
    """A vector that stands for a masked node's kind, and an MLP that tells operator and attributes from its
    state.
    """

    def __init__(self, pool: Pool, encoder: Encoder, seed: int) -> None:
        super().__init__()
        self.graphs, self.seed = GraphTensors(pool.batch, encoder.config.layers, "plain"), seed
        self.attributes = _standardised(self.graphs.features, pool.batch)
        self.gap = nn.Parameter(torch.randn(encoder.config.width))
        self.head = mlp(encoder.dim, len(INDEX) + len(FEATURE_NAMES))

    def forward(self, view: StepContext) -> Tensor:
        """Cross-entropy of the operator plus mean squared error of the standardised attributes, means over the batch's
        masked nodes, this process's share.
        """
        gaps = self.draw(view)
        if not gaps.masked.any():
            return view.vectors.new_zeros(())
        states = self.states(view.encoder, self.graphs.minibatch(gaps.graphs), torch.from_numpy(gaps.masked))
        kinds = torch.from_numpy(self.graphs.batch.kind[self._nodes(gaps.graphs)][gaps.masked])
        told = self.head(states[torch.from_numpy(np.flatnonzero(gaps.masked))])
        ops, attributes = told.split([len(INDEX), len(FEATURE_NAMES)], dim=1)
        wanted = self.attributes.index_select(0, kinds).to(told.dtype)
        return (cross_entropy(ops, self.graphs.ops[kinds, 0]) + mse_loss(attributes, wanted)) * (
            len(kinds) / gaps.total
        )

    def draw(self, view: StepContext) -> MaskedNodes:
        """What is masked depends on (seed, step) alone, not on how many processes share the batch; of a batch at least
        one node is.
        """
        indices = view.pairs.indices
        places = np.arange(0, len(indices), MASKED_GRAPH_STRIDE)
        sizes = np.diff(self.graphs.batch.ptr)[indices[places]]
        drawn = np.random.default_rng([self.seed, 3, view.step]).random(int(sizes.sum()))
        masked = drawn < max(MASK_RATE, np.nextafter(drawn.min(), 1))
        start, stop, _ = view.rows.indices(len(indices))
        own = (start <= places) & (places < stop)
        return MaskedNodes(indices[places[own]], masked[np.repeat(own, sizes)], int(masked.sum()))

    def states(self, encoder: Encoder, arrays: TensorBatch, masked: Tensor) -> Tensor:
        """States (N, dim) of the nodes of a plain batch, where nobody sees the kinds of masked ones (N,)."""
        assert arrays.in_neighbours is not None
        kinds = encoder.embedding(arrays.ops, arrays.features)
        x = torch.where(masked.unsqueeze(1), self.gap, arrays.forward_stream.blocks[0].self_rows(kinds))
        along = arrays.in_neighbours.pattern
        result = []
        for stream, pattern in ((encoder.forward_stream, along), (encoder.backward_stream, along.transpose())):
            levels = [MessageBlock(None, Segments(pattern))] * encoder.config.layers
            result.append(stream.states(x, StreamBlocks(levels, arrays.forward_stream.node_rows)))
        return torch.cat(result, dim=1)

    def _nodes(self, graphs: IntArray) -> IntArray:
        ptr = self.graphs.batch.ptr
        return ranges(ptr[graphs], np.diff(ptr)[graphs])


def _standardised(features: Tensor, batch: GraphBatch) -> Tensor:
    """Features (K, F) of the kinds with mean 0 and variance 1 over all nodes of the pool; 0 where all are equal."""
    share = torch.from_numpy(np.bincount(batch.kind, minlength=len(batch.kinds)) / batch.num_nodes).unsqueeze(0)
    centred = features.double() - share @ features.double()
    deviation = (share @ centred.square()).sqrt()
    return torch.where(deviation > 1e-6, centred / deviation, 0.0).float()
