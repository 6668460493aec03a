"""ZiCo: the inverse coefficient of variation of gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from cgir.errors import CgirError

from .probe import Probe


def zico(probe: Probe) -> float | None:
    """Sum over layers of log(sum over weights of mean |g| / standard deviation of |g|), over the batch's two halves.

    Li et al. 2023, "ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients", section 3
    (https://arxiv.org/abs/2301.11300), with two batches as the authors; standard deviations without Bessel's
    correction. Layers are weights of two axes or more. Weights whose gradient does not vary, and layers without any
    that does, add nothing; None where that is all.

    Raises:
        CgirError: the batch has one image only, its targets have no halves, or what `Probe.loss_of` raises.
    """
    weights = list(probe.weights.values())
    batch = len(probe.inputs[0])
    if batch < 2:
        raise CgirError(f"zico: a batch of {batch}; it compares the gradients of two halves, so give 2 images or more")
    half = batch // 2
    first, second = (_gradients(probe, weights, part) for part in (slice(0, half), slice(half, None)))
    return inverse_variation([(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None])


def _gradients(probe: Probe, weights: list[nn.Parameter], part: slice) -> tuple[Tensor | None, ...]:
    targets: Any = probe.targets
    if isinstance(targets, Tensor | list | tuple):
        targets = targets[part]
    elif targets is not None:
        raise CgirError(f"zico: targets are a {type(targets).__name__}, which has no halves; give a tensor or a list")
    inputs = tuple(x[part] if probe.has_batch(x) else x for x in probe.inputs)
    loss = probe.loss_of(probe.call(probe.module, inputs), targets)
    return torch.autograd.grad(loss, weights, allow_unused=True) if loss.requires_grad else (None,) * len(weights)


def inverse_variation(gradients: list[tuple[Tensor, Tensor]]) -> float | None:
    """Of layers' gradients in two batches: of two numbers, mean / deviation is their sum / difference."""
    terms = []
    for a, b in gradients:
        a, b = a.abs(), b.abs()
        difference = (a - b).abs_()
        ratios = torch.where(difference > 0, (a + b) / difference, 0.0)
        if (total := float(ratios.sum(dtype=torch.float64))) > 0:
            terms.append(math.log(total))
    return math.fsum(terms) if terms else None
