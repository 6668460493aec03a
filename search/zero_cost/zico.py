"""ZiCo: the inverse coefficient of variation of gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from cgir.errors import CgirError

from .probe import Probe


def zico(probe: Probe) -> float | None:
    """Sum over layers of log(sum over weights of mean |g| / standard deviation of |g|), over the batch's two halves.

    Li et al. 2023, "ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients", section 3
    (https://arxiv.org/abs/2301.11300), with two batches as the authors; standard deviations without Bessel's
    correction. Layers are weights of two axes or more. Weights whose gradient does not vary, and layers without any
    that does, add nothing; None where that is all, or a gradient is not finite.

    Raises:
        CgirError: the batch has one image only, its targets have no halves, or what `Probe.loss_of` raises.
    """
    batch = len(probe.inputs[0])
    if batch < 2:
        raise CgirError(f"zico: a batch of {batch}; it compares the gradients of two halves, so give 2 images or more")
    half = batch // 2
    first, second = (_gradients(probe, part) for part in (slice(0, half), slice(half, None)))
    return inverse_variation([(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None])


def _gradients(probe: Probe, part: slice) -> tuple[Tensor | None, ...]:
    network = probe.fresh()
    weights = [network.get_parameter(name) for name in probe.weights]
    inputs = tuple(x[part] if probe.has_batch(x) else x for x in probe.inputs)
    loss = probe.loss_of(probe.call(network, inputs), _part_of(probe.targets, part, len(probe.inputs[0])))
    return torch.autograd.grad(loss, weights, allow_unused=True) if loss.requires_grad else (None,) * len(weights)


def _part_of(targets: Any, part: slice, batch: int) -> Any:
    """Of a tensor, of nested tensors that all have the axis of the batch, or of a list with one for each example."""
    leaves = tree_leaves(targets)
    if targets is None or (leaves and all(isinstance(t, Tensor) and t.dim() and len(t) == batch for t in leaves)):
        return tree_map_only(Tensor, lambda t: t[part], targets)
    if isinstance(targets, list | tuple) and len(targets) == batch:
        return targets[part]
    raise CgirError(
        f"zico: targets are a {type(targets).__name__} of which there is not one for each of {batch} inputs, so they "
        "have no halves; give a tensor, several tensors as a tuple, or a list"
    )


def inverse_variation(gradients: list[tuple[Tensor, Tensor]]) -> float | None:
    """Of layers' gradients in two batches: of two numbers, mean / deviation is their sum / difference."""
    terms = []
    for a, b in gradients:
        if not bool(a.isfinite().all() & b.isfinite().all()):
            return None
        a, b = a.abs(), b.abs()
        difference = (a - b).abs_()
        ratios = torch.where(difference > 0, (a + b) / difference, 0.0)
        if (total := float(ratios.sum(dtype=torch.float64))) > 0:
            terms.append(math.log(total))
    return math.fsum(terms) if terms else None
