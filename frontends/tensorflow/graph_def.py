"""What the TensorFlow frontend reads: nodes of GraphDefs and functions in the order they run, their attributes, and the
tensors between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from tensorflow.core.framework import attr_value_pb2, function_pb2, op_def_pb2, types_pb2
from tensorflow.python.framework import dtypes, op_def_registry

from cgir import TraceError
from cgir.typing import AnyArray
from frontends.common.tape import ProvenanceHint, Size, Value

NodeDef: TypeAlias = Any  # TensorFlow's messages have no types
Outputs = list[tuple[str, int]]  # name and type of every result of an operator
FLOATING = frozenset((types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16))
LIBRARY = attrgetter("library.function")
RESOURCE, VARIANT, STRING, INT32 = types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT, types_pb2.DT_STRING, types_pb2.DT_INT32


class Variable(NamedTuple):
    """A variable of the model; `dtype` is TensorFlow's number of its type."""

    id: str
    size: Size
    dtype: int
    trainable: bool


class Entry(NamedTuple):
    """A graph input: its name, the placeholder, and the sizes it declares, None where they are open (or its rank is)."""

    name: str
    node: str
    size: tuple[int | None, ...] | None
    dtype: int


@dataclass
class Program:
    """A model as TensorFlow writes it down. `handles` are nodes that stand for variables; in `frozen` ones constants
    hold the weights.
    """

    nodes: Sequence[NodeDef]
    functions: Mapping[str, function_pb2.FunctionDef]
    inputs: list[Entry]
    outputs: list[tuple[str, str]]
    handles: dict[str, Variable] = field(default_factory=dict)
    frozen: bool = False
    name: str = ""


@dataclass(slots=True)
class Item:
    """A tensor while the graph is walked. Its node on the tape is made when somebody reads it, so that sizes and
    settings leave none.

    `data` holds small constants and sizes; `variable` says that it is that variable, or its handle; `provenance` is
    what layers that TensorFlow writes as several operators leave for the one behind them.
    """

    size: Size
    dtype: int
    data: AnyArray | None = None
    value: Value | None = None
    make: Callable[[], Value] | None = None
    variable: Variable | None = None
    provenance: ProvenanceHint | None = None


def functions_of(definition: Any) -> dict[str, function_pb2.FunctionDef]:
    """The functions that a GraphDef brings along, by name."""
    return {function.signature.name: function for function in LIBRARY(definition)}


def op_def_of(node: NodeDef) -> op_def_pb2.OpDef | None:
    """The definition of a node's operator; None for operators of libraries that are not loaded."""
    return op_def_registry.get(node.op)


def outputs_of(node: NodeDef, definition: op_def_pb2.OpDef) -> Outputs:
    """Names and types of a node's results, lists spelled out."""
    found: Outputs = []
    for arg in definition.output_arg:
        if arg.type_list_attr:
            found += [(arg.name, kind) for kind in attr(node, arg.type_list_attr)]
        else:
            kind = attr(node, arg.type_attr) if arg.type_attr else arg.type
            found += [(arg.name, kind)] * (attr(node, arg.number_attr) if arg.number_attr else 1)
    return found


def attr(node: NodeDef, name: str) -> Any:
    """An attribute as a Python value; its default where files leave it out."""
    if name in node.attr:
        return plain(node.attr[name])
    definition = op_def_of(node)
    for known in definition.attr if definition is not None else ():
        if known.name == name and known.HasField("default_value"):
            return plain(known.default_value)
    raise TraceError(f"node {node.name!r} ({node.op}) has no attribute {name!r}; the graph is damaged")


def plain(value: attr_value_pb2.AttrValue) -> Any:
    """An attribute's value: number, string, list of them, TensorFlow's number of a type; shapes, tensors and functions
    stay messages.
    """
    kind = value.WhichOneof("value")
    if kind == "list":
        values = next((list(items) for _, items in value.list.ListFields()), [])
        return [item.decode() if isinstance(item, bytes) else item for item in values]
    if kind == "s":
        return value.s.decode(errors="replace")
    return getattr(value, kind) if kind else None


def name_of_type(dtype: int) -> str:
    """TensorFlow's name of a type."""
    return str(dtypes.as_dtype(dtype).name)


def data_inputs(node: NodeDef) -> list[str]:
    """References to the tensors a node reads; control edges order execution and carry nothing."""
    return [ref for ref in node.input if not ref.startswith("^")]


def source_of(ref: str) -> str:
    """The node that a reference names."""
    return ref.partition(":")[0]


def ordered(nodes: Iterable[NodeDef], wanted: Iterable[str], known: Iterable[str], where: str) -> list[NodeDef]:
    """The nodes that the wanted ones need, each after what it reads; `known` are the arguments of a function.

    Loops of TensorFlow 1 run backwards at their NextIteration; any other cycle is an error.

    Raises:
        TraceError: a node reads one that is not there, two nodes have one name, or nodes wait for each other.
    """
    by_name: dict[str, NodeDef] = {}
    for node in nodes:
        if node.name in by_name:
            raise TraceError(f"{where}: two nodes are called {node.name!r}")
        by_name[node.name] = node
    done = set(known)
    open_nodes: set[str] = set()
    order: list[NodeDef] = []
    stack = [(source_of(ref), False) for ref in reversed(list(wanted))]
    while stack:
        name, finished = stack.pop()
        if finished:
            open_nodes.discard(name)
            done.add(name)
            order.append(by_name[name])
        elif name not in done:
            if name in open_nodes:
                raise TraceError(
                    f"{where}: node {name!r} waits for itself; a graph with cycles (other than the loops of TensorFlow 1) cannot run"
                )
            if name not in by_name:
                raise TraceError(f"{where}: node {name!r} is read but not there; the graph is cut off or damaged")
            open_nodes.add(name)
            stack.append((name, True))
            stack += [(source, False) for source in _sources(by_name[name], by_name) if source not in done]
    return order


def round_after(node: NodeDef, by_name: Mapping[str, NodeDef]) -> str:
    """What the loop that an Exit leaves hands to its next round: the Exit reads a Switch, that a Merge, that the
    NextIteration.
    """
    for op in ("Switch", "Merge"):
        sources = [source_of(ref) for ref in data_inputs(node)]
        node = next(
            (by_name[name] for name in sources if name in by_name and by_name[name].op.removeprefix("Ref") == op), node
        )
    return next(
        (source_of(ref) for ref in data_inputs(node) if by_name[source_of(ref)].op.endswith("NextIteration")), ""
    )


def _sources(node: NodeDef, by_name: Mapping[str, NodeDef]) -> list[str]:
    sources = [source_of(ref) for ref in reversed(data_inputs(node))]
    if node.op in ("Exit", "RefExit"):
        later = round_after(node, by_name)
        return sources + ([later] if later else [])
    if node.op in ("Merge", "RefMerge"):
        return [name for name in sources if name not in by_name or not by_name[name].op.endswith("NextIteration")]
    return sources
