"""Loss term: regression of what networks do, which their graphs do not show, as zero-cost scores or losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from cgir.errors import CgirError
from cgir.typing import FloatArray
from contrastive.pretraining_set import Pool
from encoders.engine.devices import CPU
from encoders.features.label_transforms import normal_scores
from encoders.features.scalers import Scaler

from .step_context import StepContext, mlp


class BehaviourRegression(nn.Module):
    """Predicts behaviours from embeddings, each twice: among all graphs, and among those of the family.

    Args:
        pool: graphs with behaviours.
        dim: of the embeddings.
        device: where they are.

    Raises:
        CgirError: the pool has no behaviours.
    """

    def __init__(self, pool: Pool, dim: int, device: torch.device = CPU) -> None:
        super().__init__()
        if pool.behaviours is None:
            raise CgirError("pretrain: behaviour_weight is set and the pool has no behaviours; give them to as_pool")
        targets = behaviour_targets(pool.behaviours, pool.families)
        self.known = torch.from_numpy(~np.isnan(targets)).to(device)
        self.targets = torch.from_numpy(np.nan_to_num(targets)).float().to(device)
        self.share = max(float(self.known.float().mean()), 1e-6)
        self.head = mlp(dim, targets.shape[1])

    def forward(self, context: StepContext) -> Tensor:
        """This process's share of the squared error over the batch, a mean over the known numbers that it expects."""
        rows = context.chosen
        targets, known = self.targets.index_select(0, rows), self.known.index_select(0, rows)
        errors = (self.head(context.embeddings) - targets.to(context.embeddings.dtype)).square()
        loss: Tensor = (errors * known).sum() / (len(context.pairs.indices) * targets.shape[1] * self.share)
        return loss


def behaviour_targets(behaviours: FloatArray, families: np.ndarray) -> FloatArray:
    """What is learned, NaN where unknown.

    Sizes of behaviours differ by orders of magnitude between families, and the best of a family may be the worst of
    another one: the first columns are logarithms with a sign, standardised over all graphs, the others normal scores of
    ranks inside families.

    Args:
        behaviours: (G, B), NaN where unknown.
        families: (G,) family of each graph.

    Returns:
        (G, 2 B).
    """
    logs = np.sign(behaviours) * np.log1p(np.abs(behaviours))
    ranks = np.full_like(behaviours, np.nan)
    for column in range(behaviours.shape[1]):
        known = ~np.isnan(behaviours[:, column])
        if known.any():
            logs[known, column] = Scaler.fit(logs[known, column, None])(logs[known, column, None])[:, 0]
        for family in np.unique(families[known]):
            rows = np.flatnonzero(known & (families == family))
            scores = normal_scores(behaviours[rows, column])
            ranks[rows, column] = scores / max(scores.std(), 1e-6)
    return np.concatenate([logs, ranks], axis=1)
