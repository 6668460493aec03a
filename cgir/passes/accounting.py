"""Accounting: the parameters and FLOPs of a canonical graph are those of the graph that was recorded.

Canonicalisation removes what lies on no path from an input to an output. What of it has parameters or costs is kept
beside the graph (`Graph.detached`). Any other difference is a `Gap` of the graph: a pass lost or invented something.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from cgir.cost import node_flops
from cgir.graph import Gap, Graph, Node

from .constants import is_zero

LISTED = 5  # parameters named in a gap


def account(recorded: Graph, canonical: Graph) -> Graph:
    """The canonical graph with what `recorded` has on no path from an input to an output, and with gaps.

    Args:
        recorded: the graph before canonicalisation.
        canonical: the same graph after it.
    """
    graph = replace(canonical, detached=recorded.detached + _detached(recorded))
    return replace(graph, known_gaps=recorded.known_gaps + _unconnected(recorded) + _differences(recorded, graph))


def _detached(graph: Graph) -> tuple[Node, ...]:
    """Nodes with parameters or costs outside every path from an input to an output.

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
        if index not in live and (node_flops(node) or any(param.id not in attached for param in node.params)):
            detached.append(replace(node, inputs=()))
            attached.update(param.id for param in node.params)
    return tuple(detached)


def _live(graph: Graph) -> set[int]:
    """The nodes on a path from an input to an output."""
    reached: set[int] = set()
    for index, node in enumerate(graph.nodes):
        if node.op == "Input" or (not is_zero(node) and any(source in reached for source in node.inputs)):
            reached.add(index)
    live = {index for index in reached if graph.nodes[index].op == "Output"}
    for index in range(len(graph) - 1, -1, -1):
        if index in live:
            live.update(source for source in graph.nodes[index].inputs if source in reached)
    return live


def _unconnected(recorded: Graph) -> tuple[Gap, ...]:
    """Gaps where no output of a recorded graph depends on an input: the network computes it in ways nobody saw."""
    reached: set[int] = set()
    for index, node in enumerate(recorded.nodes):
        if node.op == "Input" or any(source in reached for source in node.inputs):
            reached.add(index)
    outputs = {index for index, node in enumerate(recorded.nodes) if node.op == "Output"}
    if recorded.level != "raw" or not reached or outputs & reached:
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
