"""Proxies from the gradient of the loss in the weights of an untrained network.

As collected by Abdelfattah et al. 2021, "Zero-cost proxies for lightweight NAS", https://arxiv.org/abs/2101.08134,
section 3. w runs over the network's kernels and matrices (`Probe.weights`), L is the loss of the whole batch.
"""

from __future__ import annotations

from .probe import MissingLayerError, Probe


def grad_norm(probe: Probe) -> float | None:
    """Sum over weights of the Euclidean norm of dL/dw; None where no weight has a gradient."""
    _check_weights(probe)
    found = [g for g in probe.gradients.weights.values() if g is not None]
    return sum(float(g.norm()) for g in found) if found else None


def _check_weights(probe: Probe) -> None:
    if not probe.weights:
        raise MissingLayerError("a weight with two axes or more")
