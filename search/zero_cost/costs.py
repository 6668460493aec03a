"""FLOPs and parameters, beside which every proxy has to be seen: both rank many spaces about as well."""

from __future__ import annotations

from .probe import Probe


def params(probe: Probe) -> float | None:
    """Weights, biases and scales of the canonical graph, so without dead ends; None where the graph has gaps."""
    return float(probe.graph.num_params) if probe.graph.complete else None


def flops(probe: Probe) -> float | None:
    """FLOPs for one example of the canonical graph, a multiply-add as two; None where the graph has gaps."""
    return float(probe.graph.flops) if probe.graph.complete else None
