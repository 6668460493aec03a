"""Losses of predicted scores (n,) against labels (n,): one regression loss and two on pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, softplus

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error."""
    return mse_loss(scores, labels)


def hinge(scores: Tensor, labels: Tensor, margin: float = 0.1) -> Tensor:
    """Mean over all ordered pairs y_i > y_j of max(0, margin - (s_i - s_j)) (GATES, Ning et al. 2020, https://arxiv.org/abs/2004.01899, eq. 3).

    Pairs with equal labels do not count; without any other pair the loss is 0.
    """
    return _mean_over_pairs((margin - _differences(scores)).relu(), labels)


def logistic(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over all ordered pairs y_i > y_j of log(1 + exp(-(s_i - s_j))) (BPR, Rendle et al. 2009, https://arxiv.org/abs/1205.2618)."""
    return _mean_over_pairs(softplus(-_differences(scores)), labels)


def _differences(values: Tensor) -> Tensor:
    return values.unsqueeze(1) - values.unsqueeze(0)


def _mean_over_pairs(costs: Tensor, labels: Tensor) -> Tensor:
    better = _differences(labels) > 0
    return torch.where(better, costs, 0).sum() / better.sum().clamp(min=1)


LOSSES: dict[str, Loss] = {"rank": hinge, "mse": mse}
