"""Walk a TensorFlow graph in the order it runs, and write every operator on the tape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

import numpy as np
from tensorflow.core.framework import op_def_pb2

from cgir import CgirError, Graph, Param, TraceError, UnsupportedOpError
from cgir.errors import one_line
from cgir.graph import Attr
from cgir.ops import TF_NAMES
from frontends.common.tape import CallFields, LayoutFields, Size, Tape, Value

from .frozen_graph import weights
from .graph_def import (
    FLOATING,
    RESOURCE,
    Item,
    NodeDef,
    Outputs,
    Program,
    Variable,
    attr,
    data_inputs,
    op_def_of,
    ordered,
    outputs_of,
    source_of,
)
from .shape_inference import Shapes, evaluated, foldable

# nodes walked in one graph, functions counted at every call: files can ask for more than any machine has time for
LIMIT = 300_000
SILENT = frozenset(
    [
        "NoOp",
        "Assert",
        "Print",
        "PrintV2",
        "ControlTrigger",
        "AssignVariableOp",
        "AssignAddVariableOp",
        "AssignSubVariableOp",
        "MergeSummary",
    ]
)


@dataclass
class Frame:
    """The tensors of one graph or function body: results by node, where named results of functions' nodes begin, and,
    in frozen graphs, constants that are weights and nodes by their name.
    """

    results: dict[str, list[Item]]
    offsets: dict[str, dict[str, int]]
    weights: set[str] = field(default_factory=set)
    nodes: dict[str, NodeDef] = field(default_factory=dict)

    def read(self, ref: str) -> Item:
        """The tensor that "node", "node:1" (graphs) or "node:result:1" (functions) names.

        Raises:
            TraceError: there is no such result.
        """
        name, *rest = ref.split(":")
        try:
            place = int(rest[-1]) if rest else 0
            if len(rest) == 2:
                place += self.offsets[name][rest[0]]
            return self.results[name][place]
        except (KeyError, IndexError, ValueError) as error:
            raise TraceError(f"tensor {ref!r} is read but nothing computes it; the graph is damaged") from error


@dataclass
class Call:
    """One operator that becomes nodes: its operands, and the sizes of its results."""

    walk: Walk
    node: NodeDef
    items: list[Item]
    outputs: Outputs
    sizes: list[Size]

    @property
    def name(self) -> str:
        """The last part of the node's name."""
        return self.node.name.rpartition("/")[2] or self.node.op

    @property
    def size(self) -> Size:
        """Size of the first result."""
        return self.sizes[0]

    def attr(self, name: str) -> Any:
        """An attribute of the node."""
        return attr(self.node, name)

    def value(self, slot: int) -> Value:
        """The operand as the tape knows it."""
        return self.walk.value(self.items[slot])

    def emit(self, op: str, inputs: Sequence[Value], **fields: Unpack[CallFields]) -> list[Value]:
        """Write the operator as one node."""
        return self.walk.tape.apply(op, self.name, inputs, self.sizes, **{"channels_last": self.walk.last} | fields)

    def later(self, make: Callable[[], Value]) -> Callable[[], Value]:
        """`make`, to be called when the value is needed, with this call's module path."""
        tape, path = self.walk.tape, self.walk.tape.path[-1]

        def made() -> Value:
            with tape.module_scope(path):
                return make()

        return made

    def plain(
        self, op: str, *slots: int, attrs: Mapping[str, Attr] | None = None, **fields: Unpack[LayoutFields]
    ) -> list[Value]:
        """`emit` with some of the operands (all that carry numbers unless given)."""
        chosen = slots or tuple(range(len(self.items)))
        return self.emit(op, [self.value(slot) for slot in chosen], attrs=attrs or {}, **fields)


Converter = Callable[[Call], "Sequence[Value | Item]"]
Control = Callable[["Walk", NodeDef, list[Item], Frame], list[Item]]


class Walk:
    """One trace: the tape, the program's functions, and the functions being inlined."""

    def __init__(
        self, program: Program, tape: Tape, converters: Mapping[str, Converter], controls: Mapping[str, Control]
    ) -> None:
        self.program, self.tape, self.converters, self.controls = program, tape, converters, controls
        self.shapes = Shapes()
        bodies = (program.nodes, *(function.node_def for function in program.functions.values()))
        self.last = not any(
            node.op == "Conv2D" and attr(node, "data_format") == "NCHW" for nodes in bodies for node in nodes
        )
        self.inlined: list[str] = []
        # of the control flow bodies around the walk: their path, and that of the operator they belong to
        self.bodies = [("", "")]
        self.count = 0
        self.first: Item | None = None  # of the graph's inputs

    def graph(self, sizes: Sequence[Size]) -> Graph:
        """The raw graph of the program for inputs of these sizes."""
        program = self.program
        frame = Frame({}, {})
        for entry, size in zip(program.inputs, sizes, strict=True):
            place = 0 if size and size[0] == self.tape.batch else None
            value = self.tape.input(entry.name, size, place, entry.dtype in FLOATING)
            frame.results[entry.node] = [Item(size, entry.dtype, value=value)]
            self.first = self.first or frame.results[entry.node][0]
        for name, variable in program.handles.items():
            frame.results[name] = [Item((), RESOURCE, variable=variable)]
        self.run(program.nodes, [ref for _, ref in program.outputs], frame, program.name)
        self._unify_params()
        for name, ref in program.outputs:
            item = frame.read(ref)
            self.tape.output(self.value(item), item.size, name)
        return Graph(tuple(self.tape.nodes), program.name)

    def _unify_params(self) -> None:
        """Kernels of layers have PyTorch's layout wherever else they are used."""
        for node in list(self.tape.nodes):
            if node.op == "MatMul" and len(node.inputs) == 2 and self.tape.nodes[node.inputs[1]].op == "Param":
                self.turn_params(Value(node.inputs[1], ()), (1, 0))
        shapes = {
            param.id: param
            for node in self.tape.nodes
            if node.op in ("Conv", "ConvTranspose")
            for param in node.params[:1]
        }
        for index, node in enumerate(self.tape.nodes):
            if node.op == "Param" and node.params[0].id in shapes:
                self.tape.nodes[index] = replace(node, params=(shapes[node.params[0].id],))

    def function(self, name: str, items: Sequence[Item], caller: NodeDef) -> list[Item]:
        """Inline a function: its results for these arguments.

        Raises:
            TraceError: it is not there, calls itself, or takes another number of arguments.
        """
        definition = self.program.functions.get(name)
        where = f"node {caller.name!r} ({caller.op})"
        if definition is None:
            raise TraceError(f"{where}: function {name!r} is not in the model's library")
        if name in self.inlined:
            raise TraceError(
                f"{where}: function {name!r} calls itself ({' -> '.join(self.inlined)}), which cannot be followed without data"
            )
        arguments = definition.signature.input_arg
        if len(arguments) != len(items):
            raise TraceError(f"{where}: function {name!r} takes {len(arguments)} arguments, found {len(items)}")
        frame = Frame({arg.name: [item] for arg, item in zip(arguments, items, strict=True)}, {})
        self.inlined.append(name)
        results = [definition.ret.get(arg.name, arg.name) for arg in definition.signature.output_arg]
        self.run(definition.node_def, results, frame, f"function {name!r}")
        self.inlined.pop()
        return [frame.read(ref) for ref in results]

    def run(self, nodes: Sequence[NodeDef], wanted: Sequence[str], frame: Frame, where: str) -> None:
        """Walk the nodes that the wanted tensors need."""
        if self.program.frozen:
            frame.weights = weights(nodes)
            frame.nodes = {node.name: node for node in nodes}
        for node in ordered(nodes, wanted, frame.results, where):
            self.count += 1
            if self.count > LIMIT:
                raise TraceError(
                    f"{where}: more than {LIMIT} operators after its functions are inlined; trace a part of the model"
                )
            with self.tape.module_scope(self._path(node.name)):
                self._node(node, frame)

    def _node(self, node: NodeDef, frame: Frame) -> None:
        if node.op in SILENT:
            frame.results[node.name] = []
            return
        definition = op_def_of(node)
        later = node.op in ("Merge", "RefMerge")  # one operand may come from the next round of a loop
        items = [frame.read(ref) for ref in data_inputs(node) if not later or source_of(ref) in frame.results]
        if definition is None and node.op not in self.program.functions:
            frame.results[node.name] = self._unknown(node, items)
            return
        outputs = outputs_of(node, definition) if definition is not None else []
        starts = frame.offsets[node.name] = {}
        for place, (name, _) in enumerate(outputs):
            starts.setdefault(name, place)
        try:
            frame.results[node.name] = self._results(node, definition, items, outputs, frame)
        except CgirError:
            raise
        except Exception as error:
            raise TraceError(
                f"node {node.name!r} ({node.op}) cannot be read: {one_line(error, 300, named=True)}"
            ) from error

    def _results(
        self, node: NodeDef, definition: op_def_pb2.OpDef | None, items: list[Item], outputs: Outputs, frame: Frame
    ) -> list[Item]:
        if node.op in self.program.functions:
            return self.function(node.op, items, node)
        if node.op in self.controls:
            return self.controls[node.op](self, node, items, frame)
        assert definition is not None
        sizes = self.shapes.sizes(node, definition, items, outputs)
        if foldable(definition, items, outputs):
            known = evaluated(node, definition, items, outputs, sizes)
            if known is not None:
                return known
        call = Call(self, node, items, outputs, sizes)
        converter = self.converters.get(node.op)
        results = converter(call) if converter is not None else _by_name(call)
        return [
            found if isinstance(found, Item) else Item(found.size, kind, value=found)
            for found, (_, kind) in zip(results, outputs, strict=True)
        ]

    def _unknown(self, node: NodeDef, items: list[Item]) -> list[Item]:
        """An operator of a library that is not loaded: kept if the file says what sizes come out."""
        shapes = node.attr["_output_shapes"].list.shape if "_output_shapes" in node.attr else ()
        sizes = [tuple(dim.size for dim in shape.dim) for shape in shapes]
        if not sizes or any(shape.unknown_rank for shape in shapes):
            raise UnsupportedOpError(
                f"node {node.name!r}: operator {node.op!r} is not one of TensorFlow's, and the graph does not say what sizes come out; "
                "load the library that defines it (tf.load_op_library) before tracing"
            )
        sizes = [tuple(self.tape.batch if n < 0 else n for n in size) for size in sizes]
        live = [item for item in items if item.dtype != RESOURCE]
        values = self.tape.apply(
            "Opaque",
            node.name.rpartition("/")[2],
            [self.value(item) for item in live],
            sizes,
            display_name=f"tf.{node.op}",
        )
        return [Item(value.size, 1, value=value) for value in values]

    def _path(self, name: str) -> str:
        """The scopes of a node's name as a module path; in control flow, behind the path of the body."""
        scopes = ".".join(part for part in name.split("/")[:-1] if part)
        path, operator = self.bodies[-1]
        if not path:
            return scopes
        inner = (
            scopes.removeprefix(operator).strip(".")
            if scopes == operator or scopes.startswith(f"{operator}.")
            else scopes
        )
        return f"{path}.{inner}" if inner else path

    # --- tensors

    def value(self, item: Item) -> Value:
        """The tensor as the tape knows it; sizes, settings and weights get their node here."""
        if item.value is None:
            if item.make is not None:
                item.value = item.make()
            elif item.variable is not None and item.variable.trainable:
                item.value = self.tape.param(item.variable.id, item.variable.size)
            else:
                scalar = item.data is not None and item.size == () and item.data.dtype.kind in "biuf"
                item.value = self.tape.constant("constant", item.size, item.data if scalar else None)
        return item.value

    def turn_params(self, value: Value, order: Sequence[int]) -> None:
        """Give the parameters that a computed kernel is made of PyTorch's layout too, so that every use of one says the
        same shape.
        """
        stack, seen = [value.node], {value.node}
        while stack:
            index = stack.pop()
            node = self.tape.nodes[index]
            if node.op == "Param" and len(node.shape) == len(order):
                self.tape.nodes[index] = replace(
                    node, params=(Param(node.params[0].id, tuple(node.shape[old] for old in order)),)
                )
            fresh = [source for source in node.inputs if source not in seen]
            seen.update(fresh)
            stack += fresh

    def read(self, variable: Variable) -> Item:
        """The contents of a variable."""
        return Item(variable.size, variable.dtype, variable=variable)


def _by_name(call: Call) -> Sequence[Value | Item]:
    """Operators without a converter take all operands as data; those outside the table are opaque."""
    op = TF_NAMES.get(call.node.op, "Opaque")
    slots = [slot for slot, item in enumerate(call.items) if item.dtype != RESOURCE or item.value is not None]
    return call.emit(op, [call.value(slot) for slot in slots], display_name=f"tf.{call.node.op}")


def single(value: float) -> np.ndarray[Any, Any]:
    """A scalar's data."""
    return np.asarray(value)
