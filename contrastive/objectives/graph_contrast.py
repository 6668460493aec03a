"""Contrastive loss term: projections of graphs are the more similar, the nearer the graphs are within a family.

Equations are those of "A General-Purpose Transferable Predictor for Neural Architecture Search", section 4. The paper
measures nearness by Laplacian spectra, which see the wiring alone: networks of conv1x1 and of conv3x3 are equal.
Distances of Weisfeiler-Lehman subtrees (`cgir.wl_distance`) also see operators and shapes. They grow with the size of
graphs, so each anchor's distances are divided by their mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from cgir.analysis.wl_kernel import wl_distance
from contrastive.config import PretrainConfig
from contrastive.distributed import all_gather
from contrastive.pair_sampler import Pairs
from contrastive.pretraining_set import Pool
from encoders.engine.devices import CPU

from .contrastive_losses import (
    distance_weights,
    family_weights,
    partner_weights,
    relative_distance,
    spectral_weights,
    weighted_log_similarity,
)
from .step_context import StepContext, mlp

WL_SPREAD = 0.1  # temperature of eq. 4.5 for distances relative to their mean

# a batch and R anchors of it -> alpha (R, B) of eq. 4.5, on the device that was named when it was made
PairWeights = Callable[[Pairs, slice], Tensor]


class GraphContrast(nn.Module):
    """A projection head and the contrastive loss of eq. 4.5, with pair weights as `config.contrast` selects."""

    def __init__(self, config: PretrainConfig, pool: Pool, dim: int, device: torch.device = CPU) -> None:
        """Create the projection head.

        Args:
            config: `contrast`, `sign`, `temperature` and `projection` are read.
            pool: the graphs that batches are sampled from.
            dim: of the embeddings.
            device: where they are.
        """
        super().__init__()
        self.temperature = config.temperature
        self.projection = mlp(dim, config.projection)
        self.pair_weights = PAIR_WEIGHTS[config.contrast](pool, config.sign, device)

    def forward(self, context: StepContext) -> Tensor:
        """This process's share of the loss: its anchors against the projections of all processes."""
        rows = context.rows
        z = all_gather(normalize(self.projection(context.embeddings)), rows, len(context.pairs.indices))
        alpha = self.pair_weights(context.pairs, rows).to(z.dtype)
        return weighted_log_similarity(alpha, z, self.temperature, rows)


def _spectral(pool: Pool, sign: int, device: torch.device) -> PairWeights:
    """Weights of eq. 4.5 from distances of spectra, as in the paper."""
    spectra, families = torch.from_numpy(pool.spectra).to(device), torch.from_numpy(pool.families).to(device)

    def pair_weights(pairs: Pairs, rows: slice) -> Tensor:
        chosen = torch.from_numpy(pairs.indices).to(device)
        return spectral_weights(families.index_select(0, chosen), spectra.index_select(0, chosen), sign, rows=rows)

    return pair_weights


def _wl(pool: Pool, sign: int, device: torch.device, normalized: bool) -> PairWeights:
    """Weights of eq. 4.5 from distances of subtree counts; counts are kept, distances computed for each batch."""
    features = pool.subtrees

    def pair_weights(pairs: Pairs, rows: slice) -> Tensor:
        distance = wl_distance(features[pairs.indices[rows]], features[pairs.indices], normalized)
        families = _families(pool, pairs, device)
        relative = relative_distance(families, torch.from_numpy(distance).to(device), rows)
        return distance_weights(families, relative, sign, WL_SPREAD, rows)

    return pair_weights


def _supcon(pool: Pool, sign: int, device: torch.device) -> PairWeights:
    return lambda pairs, rows: family_weights(_families(pool, pairs, device), rows)


def _simclr(pool: Pool, sign: int, device: torch.device) -> PairWeights:
    return lambda pairs, rows: partner_weights(torch.from_numpy(pairs.partners).to(device), rows)


def _families(pool: Pool, pairs: Pairs, device: torch.device) -> Tensor:
    return torch.from_numpy(pool.families[pairs.indices]).to(device)


PAIR_WEIGHTS: dict[str, Callable[[Pool, int, torch.device], PairWeights]] = {
    "spectral": _spectral,
    "wl": partial(_wl, normalized=False),
    "wl_shares": partial(_wl, normalized=True),
    "supcon": _supcon,
    "simclr": _simclr,
}
