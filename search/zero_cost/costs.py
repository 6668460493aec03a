"""FLOPs and parameters, beside which every proxy has to be seen: both rank many spaces about as well."""

from __future__ import annotations

from dataclasses import replace

import frontends

from .isolation import guarded
from .live_graph import leaves_of, live_nodes
from .probe import Probe


def params(probe: Probe) -> float | None:
    """Number of weights, biases and scales that the output depends on; those of dead ends are not among them.

    None where a network with parameters has no gradient at all, which then says nothing.
    """
    nodes = live_nodes(probe.forward_pass.output)
    live = {id(leaf) for leaf in leaves_of(nodes)}
    parameters = list(probe.module.parameters())
    return float(sum(p.numel() for p in parameters if id(p) in live)) if nodes or not parameters else None


def flops(probe: Probe) -> float | None:
    """FLOPs of one example between input and output, a multiply-add as two, read from the network's canonical graph.

    Dead ends are not among them, nor is what is computed from parameters alone. None where the cost of
    an operator is unknown.

    Raises:
        TraceError: the network cannot be traced.
    """
    with guarded(probe.original):
        graph = frontends.trace(probe.fresh(), probe.inputs, limits=probe.limits)
    known = all(gap.quantity != "FLOPs" for gap in graph.gaps)
    return float(replace(graph, detached=()).flops) if known else None
