"""Text report of a graph: sizes, operators, costs, and everything that the costs do not cover."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from .cost import activation_bytes, node_flops, tensor_of
from .graph import Graph, Node
from .node_text import heading, op_name, shape_text

# notes that are no pass's name, and count no node that it removed
UNUSED = "unused parameters"  # of frontends
COMPUTED = "nodes that read computed parameters"  # of `cgir.passes.fold_constants`
LISTED = 10  # nodes listed of each sort


def report(graph: Graph) -> str:
    """A page of text on a graph.

    Sizes, count and cost of every operator, why numbers are not exact, opaque operators, detached ones, unused
    parameters, and what each pass of the canonicalisation removed.
    """
    params, products = total_texts(graph)
    lines = [
        heading(graph), "",
        f"{'parameters':<12}{params:>20}", f"{'FLOPs':<12}{products:>20}  (1 multiply-add = 2)",
        f"{'activations':<12}{activation_bytes(graph):>20,}  bytes in float32", "", *_operators(graph),
    ]  # fmt: skip
    lines += _gaps(graph)
    opaque = [_describe_node(index, node) for index, node in enumerate(graph.nodes) if node.op == "Opaque"]
    lines += _listing("opaque operators, kept with name and shapes", opaque)
    lines += _listing("outputs that depend on no input", list(_constant_outputs(graph)))
    lines += _detached(graph) + _notes(graph)
    return "\n".join(lines)


def total_texts(graph: Graph, flops_text: Callable[[int], str] = "{:,}".format) -> tuple[str, str]:
    """Parameters and FLOPs of a graph as texts, with "at least" or "uncertain" in front of what is not exact."""
    inexact = {gap.quantity for gap in graph.gaps}
    params, products = f"{graph.num_params:,}", flops_text(graph.flops)
    bound = "uncertain " if "batch" in inexact else "at least " if "FLOPs" in inexact else ""
    return f"at least {params}" if "parameters" in inexact else params, bound + products


def caveats(graph: Graph) -> list[str]:
    """Lines on what a list of nodes or blocks does not show: why totals are not exact, and detached operators."""
    return _gaps(graph) + _detached(graph)


def costs(graph: Graph) -> list[tuple[int, int]]:
    """Parameters and FLOPs of each node; a shared parameter is charged to its first user, so that both add up."""
    counted: set[tuple[str, int]] = set()
    result = []
    for node in graph.nodes:
        new_params = {tensor_of(param) for param in node.params} - counted
        counted.update(new_params)
        result.append((sum(size for _, size in new_params), node_flops(node)))
    return result


def _operators(graph: Graph) -> Iterator[str]:
    counts = graph.op_counts()
    params, flops = dict.fromkeys(counts, 0), dict.fromkeys(counts, 0)
    for node, (weights, products) in zip(graph.nodes, costs(graph), strict=True):
        name = f"Opaque:{node.attr('name')}" if node.op == "Opaque" else node.op
        params[name] += weights
        flops[name] += products
    width = max(map(len, (*counts, "operator")))
    yield f"{'operator':<{width}} {'count':>7} {'parameters':>15} {'FLOPs':>20} {'share':>7}"
    for name, count in counts.items():
        share = flops[name] / graph.flops if graph.flops else 0.0
        yield f"{name:<{width}} {count:>7,} {params[name]:>15,} {flops[name]:>20,} {share:>7.1%}"


def _describe_node(index: int, node: Node) -> str:
    return f"{op_name(node)} -> {shape_text(node.shape)}, node {index}" + (f" in {node.module}" if node.module else "")


def _constant_outputs(graph: Graph) -> Iterator[str]:
    """Names of outputs that depend on no input."""
    for index, node in enumerate(graph.nodes):
        if node.op == "Output" and index not in graph.reached:
            yield node.name or f"node {index}"


def _gaps(graph: Graph) -> list[str]:
    """Lines on why numbers are not exact."""
    reasons = dict.fromkeys(f"{gap.quantity}: {gap.reason}" for gap in graph.gaps)
    return _listing("not exact, because something could not be counted, or divided by the batch", list(reasons))


def _detached(graph: Graph) -> list[str]:
    """Lines on what is counted although no path from an input to an output has it."""
    attached = {tensor_of(param) for node in graph.nodes for param in node.params}
    lines = []
    for node in graph.detached:
        new_params = {tensor_of(param) for param in node.params} - attached
        weights = sum(size for _, size in new_params)
        attached.update(new_params)
        figures = f"{weights:,} parameters, {node_flops(node):,} FLOPs"
        lines.append(f"{node.name or op_name(node)} ({op_name(node)}): {figures}")
    return _listing("counted, but on no path from an input to an output", lines)


def _listing(caption: str, lines: Sequence[str]) -> list[str]:
    more = [f"  ... and {len(lines) - LISTED:,} more"] if len(lines) > LISTED else []
    return ["", f"{caption}: {len(lines):,}", *(f"  {line}" for line in lines[:LISTED]), *more] if lines else []


def _notes(graph: Graph) -> list[str]:
    """Lines on parameters that no operator reads, and on the nodes that each pass of the canonicalisation removed."""
    unused = dict(graph.notes).get(UNUSED, 0)
    removed = sorted((-count, name) for name, count in graph.notes if name not in (UNUSED, COMPUTED))
    lines = ["", f"parameters that no operator reads, not counted above: {unused:,}"] if unused else []
    if removed:
        lines += ["", f"nodes contracted, folded, merged or removed, by pass: {-sum(count for count, _ in removed):,}"]
        width = max(len(name) for _, name in removed)
        lines += [f"  {name:<{width}} {-count:>7,}" for count, name in removed]
    return lines
