"""Outputs of graphs that do not name them, as frozen graphs do not: what no other node reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .graph_def import NodeDef, data_inputs, get_attribute, op_def_of, source_of

_NO_OUTPUT = (
    "Const Placeholder VarHandleOp Switch Merge AudioSummary AudioSummaryV2 HistogramSummary ImageSummary MergeSummary "
    "ScalarSummary TensorSummary TensorSummaryV2"
)
NO_OUTPUT_OPS = frozenset(_NO_OUTPUT.split())


def unread_nodes(nodes: Sequence[NodeDef], loop_results: Iterable[str]) -> list[str]:
    """Names of the nodes that no other reads.

    Nodes that depend on no placeholder are left out where others do, such as reads of weights; so is what branches of
    TensorFlow 1 compute and do not return. What a loop returns comes last: its counters are read by nobody.

    Args:
        nodes: of the graph.
        loop_results: names of the nodes that hand on what loops return.
    """
    read_names = {source_of(ref) for node in nodes for ref in data_inputs(node)}
    unread = [node.name for node in nodes if node.name not in read_names and _has_output(node)]
    computed = computed_from(nodes, (node.name for node in nodes if node.op.startswith("Placeholder")))
    branches = [node.name for node in nodes if node.op.removeprefix("Ref") == "Switch"]
    computed -= computed_from(nodes, branches, ("Merge", "RefMerge"))
    for candidates in (computed.difference(loop_results), computed):
        outputs = [name for name in unread if name in candidates]
        if outputs:
            return outputs
    return unread


def _has_output(node: NodeDef) -> bool:
    """Whether a node returns what may be an output: assignments, writes to tables and files ... return nothing."""
    definition = op_def_of(node)
    return node.op not in NO_OUTPUT_OPS and (
        definition is None
        or any(not arg.type_list_attr or get_attribute(node, arg.type_list_attr) for arg in definition.output_arg)
    )


def computed_from(nodes: Iterable[NodeDef], sources: Iterable[str], end_ops: Sequence[str] = ()) -> set[str]:
    """The nodes that some nodes are, or whose tensors are computed from theirs.

    Args:
        nodes: of the graph.
        sources: names of nodes.
        end_ops: operators that are left out, with what only they lead to.
    """
    readers: dict[str, list[str]] = {}
    for node in nodes:
        if node.op not in end_ops:
            for ref in data_inputs(node):
                readers.setdefault(source_of(ref), []).append(node.name)
    stack = list(sources)
    reached = set(stack)
    while stack:
        for reader in readers.get(stack.pop(), ()):
            if reader not in reached:
                reached.add(reader)
                stack.append(reader)
    return reached
