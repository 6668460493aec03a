"""Gradients of the two levels of DARTS (Liu et al. 2019, section 2.3): weights on one half, architecture on the other.

theta are the supernet's weights, `logits` the architecture parameters (alpha there).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from .network import Supernet

Batch = tuple[Tensor, Tensor]  # images (B, C, H, W), labels (B,)


class Unrolled(NamedTuple):
    """The step of SGD that the second order looks ahead.

    Attributes:
        batch: training images of the step.
        lr: its learning rate (xi there).
        momentum: decay of `buffers`.
        weight_decay: of SGD.
        buffers: momentum of each weight; empty before the first step.
    """

    batch: Batch
    lr: float
    momentum: float
    weight_decay: float
    buffers: Sequence[Tensor]


class LossGradient(NamedTuple):
    """A loss, its gradient, and the network's answers (B, classes)."""

    loss: float
    gradient: tuple[Tensor, ...]
    answers: Tensor


def weight_gradient(supernet: Supernet, logits: Tensor, batch: Batch) -> LossGradient:
    """Gradient of the training loss in theta.

    Args:
        supernet: with its present weights.
        logits: (A,) architecture parameters.
        batch: training images.
    """
    answers = supernet(batch[0], supernet.mix(logits.detach()))
    loss = cross_entropy(answers, batch[1])
    return LossGradient(float(loss.detach()), torch.autograd.grad(loss, list(supernet.parameters())), answers.detach())


def architecture_gradient(
    supernet: Supernet, logits: Tensor, batch: Batch, unrolled: Unrolled | None = None
) -> LossGradient:
    """Gradient of the validation loss in the logits: eq. 6 with xi = 0, or through one step of SGD (eq. 7, exact).

    Args:
        supernet: with its present weights, which stay.
        logits: (A,), a leaf that requires gradients.
        batch: validation images.
        unrolled: the step to look ahead; None is the first order.
    """
    mixture = supernet.mix(logits)
    if unrolled is None:
        answers = supernet(batch[0], mixture)
    else:
        answers = functional_call(supernet, _stepped(supernet, mixture, unrolled), (batch[0], mixture))
    loss = cross_entropy(answers, batch[1])
    return LossGradient(float(loss.detach()), torch.autograd.grad(loss, [logits]), answers.detach())


def _stepped(supernet: Supernet, mixture: Tensor, unrolled: Unrolled) -> dict[str, Tensor]:
    """The weights after one step of SGD, as functions of the mixture."""
    names, weights = zip(*supernet.named_parameters(), strict=True)
    loss = cross_entropy(supernet(unrolled.batch[0], mixture), unrolled.batch[1])
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    buffers = unrolled.buffers or [torch.zeros_like(weight) for weight in weights]
    steps = [
        unrolled.momentum * buffer + gradient + unrolled.weight_decay * weight
        for weight, gradient, buffer in zip(weights, gradients, buffers, strict=True)
    ]
    return {name: weight - unrolled.lr * step for name, weight, step in zip(names, weights, steps, strict=True)}
