"""Regression of what graphs show for free: the better an embedding knows it, the fewer labels it needs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from cgir.typing import FloatArray
from encoders.features.graph_features import Scaler

from .step_context import StepContext, mlp


class PropertyRegression(nn.Module):
    """An MLP that tells the standardised `values` (G, D) of the pool's graphs from their embeddings."""

    def __init__(self, values: FloatArray, dim: int) -> None:
        super().__init__()
        self.targets = torch.from_numpy(Scaler.fit(values)(values)).float()
        self.head = mlp(dim, values.shape[1])

    def forward(self, view: StepContext) -> Tensor:
        """Mean squared error over the batch and all D values, this process's share."""
        indices = view.pairs.indices
        targets = self.targets.index_select(0, torch.from_numpy(indices[view.rows])).to(view.vectors.dtype)
        return mse_loss(self.head(view.vectors), targets) * (len(targets) / len(indices))
