"""Regression and ranking losses of predicted scores against labels: one pointwise, two pairwise, two listwise.

All ranking losses treat ties in the same way: graphs with equal labels are never compared. Where there is nothing to
compare, as for a single graph or equal labels, loss and gradient are 0. All but `mse` depend on differences of
scores only; time and memory are O(n^2).

Notation:
    n: graphs.
    s_i, y_i: score and label of graph i; higher is better.
"""

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
    """Mean over all ordered pairs y_i > y_j of max(0, margin - (s_i - s_j)).

    GATES (Ning et al. 2020, https://arxiv.org/abs/2004.01899, eq. 3).

    Args:
        scores: (n,).
        labels: (n,).
        margin: difference of scores from which a pair costs nothing.
    """
    worse = _worse(labels)
    return _mean_over((margin - _differences(scores)).relu() * worse, worse)


def logistic(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over all ordered pairs y_i > y_j of log(1 + exp(-(s_i - s_j))).

    BPR (Rendle et al. 2009, https://arxiv.org/abs/1205.2618).
    """
    worse = _worse(labels)
    return _mean_over(softplus(-_differences(scores)) * worse, worse)


def listmle(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean over graphs i of -log(exp s_i / (exp s_i + sum_{j: y_j < y_i} exp s_j)).

    Graphs with no worse one, whose term is 0, do not count. This is the likelihood loss of Xia et al. 2008 ("Listwise
    approach to learning to rank: theory and algorithm", ICML): of drawing graphs in the order of their labels, one
    after the other, with probabilities proportional to exp s. Without ties it is theirs over n - 1; they leave ties to
    an arbitrary order, here a graph competes only with those worse than itself.
    """
    worse = _worse(labels)
    rivals = worse | torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    terms = torch.where(rivals, -_differences(scores), -torch.inf).logsumexp(1)
    return _mean_over(terms, worse.any(1))


def warp(scores: Tensor, labels: Tensor, margin: float = 0.1) -> Tensor:
    """Mean over graphs i of L(r_i) / r_i * sum_{j: y_j < y_i} max(0, margin - (s_i - s_j)), L(r) = 1 + 1/2 + ... + 1/r.

    Graphs with no worse one do not count. r_i is how many of the worse graphs come within the margin of i or above it,
    and is taken as a constant; 0 / 0 is 0. This is the loss of WSABIE (Weston et al. 2011, "Scaling up to large
    vocabulary image annotation", IJCAI, section 3) with every graph as the positive of a query whose negatives are
    those worse than it, and without its sampling: in a batch r_i is counted, where the authors estimate it by how many
    draws they need to find a violation, and all violations replace the one drawn. Its use for predictors: Ji et
    al. 2025 (https://arxiv.org/abs/2506.05869).

    Args:
        scores: (n,).
        labels: (n,).
        margin: difference of scores from which a pair costs nothing.
    """
    worse = _worse(labels)
    costs = (margin - _differences(scores)).relu() * worse
    violations = (costs > 0).sum(1)
    harmonic = torch.cat(
        [costs.new_zeros(1), 1 / torch.arange(1, len(labels) + 1, device=costs.device, dtype=costs.dtype)]
    ).cumsum(0)
    return _mean_over(harmonic[violations] / violations.clamp(min=1) * costs.sum(1), worse.any(1))


def _differences(values: Tensor) -> Tensor:
    """(n,) -> (n, n): row less column."""
    return values.unsqueeze(1) - values.unsqueeze(0)


def _worse(labels: Tensor) -> Tensor:
    """(n,) -> (n, n): whether the column's label is lower than the row's."""
    return labels.unsqueeze(1) > labels.unsqueeze(0)


def _mean_over(costs: Tensor, counted: Tensor) -> Tensor:
    """Sum of costs over the number of those counted; 0 if none is."""
    return costs.sum() / counted.sum().clamp(min=1)


LOSSES: dict[str, Loss] = {"hinge": hinge, "logistic": logistic, "listmle": listmle, "warp": warp, "mse": mse}
