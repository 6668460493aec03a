"""Loops of TensorFlow 1, made of Enter, Merge, Switch, NextIteration and Exit nodes, as While nodes with functions.

Frozen graphs hold them, because freezing lowers control flow, and so does all that TensorFlow 1 wrote. A loop is a
frame: the Enter nodes of one frame name. A loop variable is an Enter, a Merge of it with a NextIteration, and a Switch
on the LoopCond: its second result goes into the body, its first one to an Exit. Constant Enters stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tensorflow.core.framework import function_pb2, node_def_pb2, op_def_pb2

from cgir import TraceError

from .graph_def import NodeDef, data_inputs, get_attribute, source_of
from .graph_outputs import computed_from

Nodes = dict[str, NodeDef]
Functions = dict[str, function_pb2.FunctionDef]


@dataclass
class _Frame:
    """A loop of TensorFlow 1.

    Attributes:
        name: of the loop.
        enters: one for each loop variable, constant ones included.
        following: for each, the reference to its value after a round.
        members: nodes of the loop itself that stand for a variable (Enter, Merge, Switch) -> the variable's index.
        exits: nodes that return a variable -> the variable's index.
        condition: reference to what the LoopCond reads.
    """

    name: str
    enters: list[NodeDef] = field(default_factory=list)
    following: list[str] = field(default_factory=list)
    members: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    condition: str = ""


def raise_loops(
    nodes: Iterable[NodeDef], functions: Mapping[str, function_pb2.FunctionDef]
) -> tuple[list[NodeDef], Functions]:
    """A graph and its functions with While nodes in the place of the loops of TensorFlow 1.

    Args:
        nodes: of the graph.
        functions: of the model.

    Returns:
        The nodes, and all functions, those of the loops included.

    Raises:
        TraceError: a loop is not complete, or two loops are in each other.
    """
    library = dict(functions)
    for name, function in functions.items():
        if any(_op(node) == "Enter" for node in function.node_def):
            raised = function_pb2.FunctionDef(
                signature=function.signature, node_def=_without_frames(function.node_def, library, f"{name}/")
            )
            raised.ret.update(function.ret)
            library[name] = raised
    if any(_op(node) == "Enter" for node in nodes):
        nodes = _without_frames(nodes, library, "")
    return list(nodes), library


def _without_frames(nodes: Iterable[NodeDef], library: Functions, prefix: str) -> list[NodeDef]:
    """The nodes of one graph without frames, inner ones raised first; functions of the loops go into the library."""
    by_name = {node.name: node for node in nodes}
    frames = _frames(by_name)
    removed: set[str] = set()
    while frames:
        done = [frame for frame in frames if _raise(frame, by_name, library, prefix)]
        if not done:
            raise TraceError(f"the loops {[frame.name for frame in frames]} are in each other; the graph is damaged")
        removed.update(name for frame in done for name in frame.members)
        frames = [frame for frame in frames if frame not in done]
    removed = computed_from(by_name.values(), removed)
    return [node for node in by_name.values() if node.name not in removed]


def _op(node: NodeDef) -> str:
    """The operator of a node; those on references are the same."""
    return str(node.op.removeprefix("Ref"))


def _frames(by_name: Nodes) -> list[_Frame]:
    """The loops of a graph.

    Raises:
        TraceError: one has no condition.
    """
    frames: dict[str, _Frame] = {}
    of_member: dict[str, _Frame] = {}
    for node in by_name.values():
        if _op(node) == "Enter":
            name = str(get_attribute(node, "frame_name"))
            frame = frames.setdefault(name, _Frame(name.removesuffix("/while_context")))
            frame.members[node.name] = len(frame.enters)
            frame.enters.append(node)
            frame.following.append(node.name)
            of_member[node.name] = frame
    for op in ("Merge", "Switch", "Exit"):
        for node in by_name.values():
            source = next((source_of(ref) for ref in data_inputs(node) if source_of(ref) in of_member), None)
            if _op(node) == op and source is not None:
                _add_member(of_member[source], node, of_member[source].members[source], by_name)
                if node.name in of_member[source].members:
                    of_member[node.name] = of_member[source]
    for frame in frames.values():
        if not frame.condition:
            raise TraceError(f"the loop {frame.name!r} has no condition; the graph is cut off or damaged")
    return list(frames.values())


def _add_member(frame: _Frame, node: NodeDef, index: int, by_name: Nodes) -> None:
    """Add a Merge, a Switch or an Exit of a loop variable to its frame, unless it is one of a branch in the body."""
    other = next((by_name.get(source_of(ref)) for ref in data_inputs(node)[1:2]), None)
    if _op(node) == "Exit":
        frame.exits[node.name] = index
    elif _op(node) == "Merge" and other is not None and _op(other) == "NextIteration":
        frame.members[node.name] = index
        frame.following[index] = data_inputs(other)[0]
    elif _op(node) == "Switch" and other is not None and _op(other) == "LoopCond":
        frame.members[node.name] = index
        frame.condition = data_inputs(other)[0]


def _raise(frame: _Frame, by_name: Nodes, library: Functions, prefix: str) -> bool:
    """Replace a frame by a While node and Identities for its Exits, unless it has another one in it.

    Args:
        frame: the loop.
        by_name: the nodes of its graph, which change.
        library: where its functions go.
        prefix: of their names.

    Returns:
        Whether the frame is replaced.
    """
    bodies = {"cond": [frame.condition], "body": frame.following}
    inside = {role: _closure(refs, frame.members, by_name) for role, refs in bodies.items()}
    if any(_op(node) in ("Enter", "Exit", "NextIteration") for nodes in inside.values() for node in nodes):
        return False
    name = frame.name
    while name in by_name:
        name += "_"
    loop = node_def_pb2.NodeDef(name=name, op="While", input=[data_inputs(node)[0] for node in frame.enters])
    dtypes = [int(get_attribute(node, "T")) for node in frame.enters]
    loop.attr["T"].list.type.extend(dtypes)
    for role, refs in bodies.items():
        function = _loop_function(f"{prefix}{name}/{role}", frame, inside[role], refs)
        library[function.signature.name] = function
        loop.attr[role].func.name = function.signature.name
    by_name[name] = loop
    for exit_name, index in frame.exits.items():
        identity = node_def_pb2.NodeDef(name=exit_name, op="Identity", input=[f"{name}:{index}"])
        identity.attr["T"].type = dtypes[index]
        by_name[exit_name] = identity
    return True


def _closure(refs: Iterable[str], members: Mapping[str, int], by_name: Nodes) -> list[NodeDef]:
    """The nodes that tensors are computed from in a round, in which the loop variables are given."""
    stack = [source_of(ref) for ref in refs]
    visited: dict[str, NodeDef] = {}
    while stack:
        name = stack.pop()
        if name in by_name and name not in visited and name not in members:
            visited[name] = by_name[name]
            stack += [source_of(ref) for ref in data_inputs(by_name[name])]
    return list(visited.values())


def _loop_function(name: str, frame: _Frame, nodes: Iterable[NodeDef], refs: Iterable[str]) -> function_pb2.FunctionDef:
    """The condition or the body of a loop, a function of all loop variables.

    Args:
        name: of the function.
        frame: the loop.
        nodes: of the function, as they are in the graph.
        refs: its results.
    """

    def inner(ref: str) -> str:
        """A reference in the function: what stands for a loop variable is its argument."""
        index = frame.members.get(source_of(ref))
        return ref if index is None else f"variable_{index}"

    function = function_pb2.FunctionDef(signature=op_def_pb2.OpDef(name=name))
    for index in range(len(frame.enters)):
        function.signature.input_arg.add(name=f"variable_{index}")
    for index, ref in enumerate(refs):
        function.signature.output_arg.add(name=f"result_{index}")
        function.ret[f"result_{index}"] = inner(ref)
    for node in nodes:
        copy = function.node_def.add()
        copy.CopyFrom(node)
        copy.input[:] = [inner(ref) for ref in data_inputs(node)]
    return function
