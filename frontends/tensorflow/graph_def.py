"""Data model of the TensorFlow frontend: programs of GraphDef nodes, their attributes, and symbolic tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from tensorflow.core.framework import attr_value_pb2, function_pb2, graph_pb2, node_def_pb2, op_def_pb2, types_pb2
from tensorflow.python.framework import op_def_registry

from cgir import TraceError
from cgir.typing import AnyArray
from frontends.common.tape import ProvenanceHint, Size, Value

NodeDef: TypeAlias = node_def_pb2.NodeDef
ResultSpecs: TypeAlias = list[tuple[str, int]]  # name and type of every result of an operator
FLOATING = frozenset((types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16))
LIBRARY = attrgetter("library.function")
RESOURCE, VARIANT, STRING, INT32 = types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT, types_pb2.DT_STRING, types_pb2.DT_INT32

MAX_RESULTS = 100_000  # of one operator

VARIABLE_OPS = ("VarHandleOp", "Variable", "VariableV2")


class Variable(NamedTuple):
    """A variable of the model; `dtype` is TensorFlow's number of its type."""

    id: str
    size: Size
    dtype: int
    trainable: bool


class GraphInput(NamedTuple):
    """A graph input: its name, its placeholder, its declared size, None where an axis or the rank is open, its type."""

    name: str
    node: str
    size: tuple[int | None, ...] | None
    dtype: int


@dataclass
class Program:
    """A TensorFlow model: its graph, functions, inputs, outputs and variables.

    Attributes:
        nodes: of the main graph.
        functions: by name.
        inputs: of the main graph.
        outputs: name -> reference to the tensor.
        captures: name of a node -> the tensor that it stands for: the handle of a variable, a constant made outside.
        frozen: whether constants hold the weights.
        name: of the model.
    """

    nodes: Sequence[NodeDef]
    functions: Mapping[str, function_pb2.FunctionDef]
    inputs: list[GraphInput]
    outputs: list[tuple[str, str]]
    captures: dict[str, TFTensor] = field(default_factory=dict)
    frozen: bool = False
    name: str = ""


@dataclass(slots=True)
class TFTensor:
    """A symbolic tensor; its node on the tape is made when it is first read, so that sizes and settings have none.

    Attributes:
        size: its shape.
        dtype: TensorFlow's number of its type.
        data: its contents, where it is a small constant.
        value: its value on the tape, once it was read.
        deferred_value: computes the value, for tensors whose node is appended only if they are read.
        variable: the variable that it is the contents of, or a handle to.
        provenance: hint of operators that TensorFlow writes for parts of a layer, for later converters.
        is_default: whether its contents follow from the default of an input, which may be given another value.
        example: its contents for the example inputs, where it is small; they decide what runs.
        unsized: why its size is not known, which is an error once the tensor is read.
    """

    size: Size
    dtype: int
    data: AnyArray | None = None
    value: Value | None = None
    deferred_value: Callable[[], Value] | None = None
    variable: Variable | None = None
    provenance: ProvenanceHint | None = None
    is_default: bool = False
    example: AnyArray | None = None
    unsized: str = ""

    @property
    def contents(self) -> AnyArray | None:
        """What is known to decide which branch runs, and how often a loop does: no defaults."""
        return self.example if self.data is None or self.is_default else self.data


def handle_of(variable: Variable) -> TFTensor:
    """The handle of a variable."""
    return TFTensor((), RESOURCE, variable=variable)


def contents_of(variable: Variable) -> TFTensor:
    """The contents of a variable."""
    return TFTensor(variable.size, variable.dtype, variable=variable)


def functions_of(definition: graph_pb2.GraphDef) -> dict[str, function_pb2.FunctionDef]:
    """The functions in the library of a GraphDef, by name."""
    return {function.signature.name: function for function in LIBRARY(definition)}


def op_def_of(node: NodeDef) -> op_def_pb2.OpDef | None:
    """The definition of a node's operator; None for operators of libraries that are not loaded."""
    return op_def_registry.get(node.op)


def result_specs(node: NodeDef, definition: op_def_pb2.OpDef) -> ResultSpecs:
    """Names and types of a node's results, lists spelled out."""
    specs: ResultSpecs = []
    for arg in definition.output_arg:
        if arg.type_list_attr:
            specs += [(arg.name, dtype) for dtype in get_attribute(node, arg.type_list_attr)]
        else:
            dtype = get_attribute(node, arg.type_attr) if arg.type_attr else arg.type
            count = get_attribute(node, arg.number_attr) if arg.number_attr else 1
            if not 0 <= count <= MAX_RESULTS:
                raise TraceError(f"node {node.name!r} ({node.op}) has {count} results, more than can be followed")
            specs += [(arg.name, dtype)] * count
    return specs


def get_attribute(node: NodeDef, name: str) -> Any:
    """An attribute as a Python value; its default where files leave it out."""
    if name in node.attr:
        return attr_value(node.attr[name])
    definition = op_def_of(node)
    for attribute in definition.attr if definition is not None else ():
        if attribute.name == name and attribute.HasField("default_value"):
            return attr_value(attribute.default_value)
    raise TraceError(f"node {node.name!r} ({node.op}) has no attribute {name!r}; the graph is damaged")


def attr_value(value: attr_value_pb2.AttrValue) -> Any:
    """An attribute as a Python value: number, string, list of them, number of a type.

    Shapes, tensors and functions stay messages.
    """
    kind = value.WhichOneof("value")
    if kind == "list":
        values = next((list(items) for _, items in value.list.ListFields()), [])
        return [item.decode() if isinstance(item, bytes) else item for item in values]
    if kind == "s":
        return value.s.decode(errors="replace")
    return getattr(value, kind) if kind else None


def data_inputs(node: NodeDef) -> list[str]:
    """References to the tensors a node reads; control edges order execution and carry no data."""
    return [ref for ref in node.input if not ref.startswith("^")]


def source_of(ref: str) -> str:
    """The node that a reference names."""
    return ref.partition(":")[0]
