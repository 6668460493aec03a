"""Accounting: the parameters and FLOPs of a canonical graph are those of the graph that was recorded.

Canonicalisation removes what lies on no path from an input to an output. What of it has parameters or costs is kept
beside the graph (`Graph.detached`). Any other difference is a `Gap` of the graph: a pass lost or invented something.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from cgir.cost import has_unknown_cost, node_flops
from cgir.graph import Gap, Graph, Node

from .constants import is_zero
from .dead import needed_by_outputs

LISTED = 5  # parameters named in a gap


def account(recorded: Graph, canonical: Graph) -> Graph:
    """The canonical graph with what `recorded` has on no path from an input to an output, and with gaps.

    Args:
        recorded: the graph before canonicalisation.
        canonical: the same graph after it.
    """
    graph = replace(canonical, detached=recorded.detached + _detached(recorded))
    return replace(graph, known_gaps=recorded.known_gaps + unconnected(recorded) + _differences(recorded, graph))


def _detached(graph: Graph) -> tuple[Node, ...]:
    """Nodes with parameters or costs, known or not, outside every path from an input to an output.

    Parameters that operators on such a path read, if through others computed from parameters alone, belong to these.
    """
    live = _live(graph)
    read = set(live)  # by operators on a path, if through others that depend on no input
    for index in range(len(graph) - 1, -1, -1):
        if index in read and not is_zero(graph.nodes[index]) and graph.nodes[index].op != "Output":
            read.update(graph.nodes[index].inputs)
    attached = {param.id for index in read for param in graph.nodes[index].params}
    detached = []
    for index, node in enumerate(graph.nodes):
        costs = node_flops(node) or has_unknown_cost(node)
        if index not in live and (costs or any(param.id not in attached for param in node.params)):
            detached.append(replace(node, inputs=()))
            attached.update(param.id for param in node.params)
    return tuple(detached)


def _live(graph: Graph) -> set[int]:
    """The nodes on a path from an input to an output; behind a product with zero nothing depends on the input."""
    reached: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if node.op == "Input" or not (is_zero(node) or reached.isdisjoint(node.inputs)):
            reached.add(index)
    return needed_by_outputs(graph, reached)


def unconnected(recorded: Graph) -> tuple[Gap, ...]:
    """Gaps where no output of a recorded graph depends on an input: the network computes it in ways nobody saw."""
    inputs = any(node.op == "Input" for node in recorded.nodes)
    outputs = {index for index, node in enumerate(recorded.nodes) if node.op == "Output"}
    if recorded.level != "raw" or not inputs or outputs & recorded.reached:
        return ()
    return tuple(Gap(quantity, "no output depends on an input") for quantity in ("parameters", "FLOPs"))


def _differences(recorded: Graph, canonical: Graph) -> tuple[Gap, ...]:
    """What the canonical graph has fewer or more of than the recorded one, its detached nodes included."""
    gaps = []
    if recorded.num_params != canonical.num_params:
        before, after = _params(recorded), _params(canonical)
        changed = [f"{name} ({prod(shape):,})" for name, shape in {**before, **after}.items() if name not in before
                   or name not in after]  # fmt: skip
        named = ", ".join(changed[:LISTED]) + (", ..." if len(changed) > LISTED else "")
        difference = f"{canonical.num_params:,} parameters instead of the {recorded.num_params:,} recorded"
        gaps.append(Gap("parameters", f"the canonical form has {difference}: {named or 'their shapes differ'}"))
    if recorded.flops != canonical.flops:
        difference = f"{canonical.flops:,} FLOPs instead of the {recorded.flops:,} recorded"
        gaps.append(Gap("FLOPs", f"the canonical form has {difference}"))
    return tuple(gaps)


def _params(graph: Graph) -> dict[str, tuple[int, ...]]:
    nodes = (*graph.nodes, *graph.detached)
    return {param.id: param.shape for node in nodes for param in node.params}
