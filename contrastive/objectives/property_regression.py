"""Auxiliary loss: regression of properties that are computed from the graphs, so that embeddings represent them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from cgir.typing import FloatArray
from encoders.engine.devices import CPU
from encoders.features.scalers import Scaler

from .step_context import StepContext, mlp


class PropertyRegression(nn.Module):
    """Predicts standardised properties of graphs from their embeddings.

    Args:
        values: (G, D) properties of the pool's graphs.
        dim: of the embeddings.
        device: where they are.
    """

    def __init__(self, values: FloatArray, dim: int, device: torch.device = CPU) -> None:
        super().__init__()
        self.targets = torch.from_numpy(Scaler.fit(values)(values)).float().to(device)
        self.head = mlp(dim, values.shape[1])

    def forward(self, context: StepContext) -> Tensor:
        """This process's share of the mean squared error over the batch and all D properties."""
        targets = self.targets.index_select(0, context.chosen).to(context.embeddings.dtype)
        return mse_loss(self.head(context.embeddings), targets) * (len(targets) / len(context.pairs.indices))
