"""The contrast of graphs: projections agree the more, the nearer two graphs of a family are.

Equations are those of "A General-Purpose Transferable Predictor for Neural Architecture Search", section 4. Its
distance is that of Laplacian spectra, which see wiring alone: conv1x1 is conv3x3 to them. That of Weisfeiler-Lehman
subtrees (`cgir.wl_distance`) sees operators and shapes. It has no natural unit, as it grows with graphs, so it is taken
relative to an anchor's mean distance.
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

from .contrastive_losses import (
    distance_weights,
    family_weights,
    partner_weights,
    relative_distance,
    spectral_weights,
    weighted_log_similarity,
)
from .step_context import StepContext, mlp

WL_SPREAD = 0.1  # of the mean distance

PairWeights = Callable[[Pairs, slice], Tensor]  # a batch and R anchors of it -> alpha (R, B) of eq. 4.5


class GraphContrast(nn.Module):
    """A projection, and the agreement of projections (eq. 4.1) weighted as `config.contrast` says."""

    def __init__(self, config: PretrainConfig, pool: Pool, dim: int) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.projection = mlp(dim, config.projection)
        self.pair_weights = PAIR_WEIGHTS[config.contrast](pool, config.sign)

    def forward(self, view: StepContext) -> Tensor:
        """This process's anchors against the projections of all processes."""
        z = all_gather(normalize(self.projection(view.vectors)), view.rows, len(view.pairs.indices))
        return weighted_log_similarity(
            self.pair_weights(view.pairs, view.rows).to(z.dtype), z, self.temperature, view.rows
        )


def _spectral(pool: Pool, sign: int) -> PairWeights:
    """Eq. 4.5 as in the paper."""
    spectra = torch.from_numpy(pool.spectra)
    return lambda pairs, rows: spectral_weights(
        _families(pool, pairs), spectra.index_select(0, torch.from_numpy(pairs.indices)), sign, rows=rows
    )


def _wl(pool: Pool, sign: int, normalized: bool) -> PairWeights:
    """Eq. 4.5 with the distance of subtrees; what is kept are counts, some kilobytes a graph, distances are those of a
    batch.
    """
    features = pool.subtrees

    def weigh(pairs: Pairs, rows: slice) -> Tensor:
        distance = torch.from_numpy(wl_distance(features[pairs.indices[rows]], features[pairs.indices], normalized))
        families = _families(pool, pairs)
        return distance_weights(families, relative_distance(families, distance, rows), sign, WL_SPREAD, rows)

    return weigh


def _families(pool: Pool, pairs: Pairs) -> Tensor:
    return torch.from_numpy(pool.families[pairs.indices])


PAIR_WEIGHTS: dict[str, Callable[[Pool, int], PairWeights]] = {
    "spectral": _spectral,
    "wl": partial(_wl, normalized=False),
    "wl_shares": partial(_wl, normalized=True),
    "supcon": lambda pool, sign: lambda pairs, rows: family_weights(_families(pool, pairs), rows),
    "simclr": lambda pool, sign: lambda pairs, rows: partner_weights(torch.from_numpy(pairs.partners), rows),
}
