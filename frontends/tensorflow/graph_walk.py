"""Import of a TensorFlow graph: nodes are visited in the order they run, and every operator is written on the tape.

A node becomes, in this order: a call that is inlined, control flow, a constant that can be folded, or what its
converter emits. Converters and control flow are handed in, so that both may use the importer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, Unpack

from tensorflow.core.framework import op_def_pb2

from cgir import CgirError, Graph, TraceError, UnsupportedOpError
from cgir.errors import one_line
from cgir.graph import Attr
from cgir.limits import DEFAULT, Limits
from cgir.ops import TF_NAMES
from cgir.passes.rewrite import rebuild
from cgir.typing import AnyArray
from frontends.common.kernel_shapes import permute_params
from frontends.common.tape import CallFields, LayoutFields, Size, Tape, Value

from .constant_folding import evaluate, is_foldable
from .frozen_weights import weight_names
from .graph_def import (
    FLOATING,
    RESOURCE,
    VARIABLE_OPS,
    NodeDef,
    Program,
    ResultSpecs,
    TFTensor,
    data_inputs,
    get_attribute,
    op_def_of,
    result_specs,
    source_of,
)
from .operator_groups import PASSING_OPS, SIZE_OPS, WITHOUT_PRODUCTS, WRITING_OPS
from .shape_inference import ShapeInference
from .topological_order import topological_order

Results: TypeAlias = "Sequence[Value | TFTensor]"
TFConverter: TypeAlias = "Callable[[TFCall], Results]"
ControlFlow: TypeAlias = "Callable[[TensorFlowImporter, NodeDef, list[TFTensor], GraphScope], list[TFTensor]]"


@dataclass
class GraphScope:
    """The tensors of one graph or function body.

    Attributes:
        results: of the nodes by name.
        offsets: node -> name of a result -> index of its first tensor.
        weights: names of the constants that are weights, in frozen graphs.
    """

    results: dict[str, list[TFTensor]]
    offsets: dict[str, dict[str, int]] = field(default_factory=dict)
    weights: set[str] = field(default_factory=set)

    def read(self, ref: str) -> TFTensor:
        """The tensor that "node", "node:1" (graphs) or "node:result:1" (functions) names, for a node that reads it.

        Raises:
            TraceError: there is no such result, or its size is not known.
        """
        tensor = self.result(ref)
        if tensor.unsized:
            raise TraceError(tensor.unsized)
        return tensor

    def result(self, ref: str) -> TFTensor:
        """The tensor that a reference names, which may be of unknown size.

        Raises:
            TraceError: there is no such result.
        """
        name, *position = ref.split(":")
        try:
            index = int(position[-1]) if position else 0
            if len(position) == 2:
                index += self.offsets[name][position[0]]
            return self.results[name][index]
        except (KeyError, IndexError, ValueError) as error:
            raise TraceError(f"tensor {ref!r} is read but nothing computes it; the graph is damaged") from error


@dataclass
class TFCall:
    """One operator that a converter turns into nodes.

    Attributes:
        importer: of the model.
        node: in the graph.
        inputs: its operands.
        results: names and types of its results.
        sizes: of its results.
    """

    importer: TensorFlowImporter
    node: NodeDef
    inputs: list[TFTensor]
    results: ResultSpecs
    sizes: list[Size]

    @property
    def name(self) -> str:
        """The last part of the node's name."""
        return node_name(self.node) or self.node.op

    @property
    def size(self) -> Size:
        """Size of the first result."""
        return self.sizes[0]

    @property
    def dtype(self) -> int:
        """TensorFlow's number of the type of the first result."""
        return self.results[0][1]

    @property
    def tape(self) -> Tape:
        """Where nodes are appended."""
        return self.importer.tape

    def attr(self, name: str) -> Any:
        """An attribute of the node."""
        return get_attribute(self.node, name)

    def value(self, slot: int) -> Value:
        """The value of an operand on the tape."""
        return self.importer.to_value(self.inputs[slot])

    def emit(self, op: str, values: Sequence[Value], **fields: Unpack[CallFields]) -> list[Value]:
        """Append a node with the results of this call.

        Args:
            op: name of the operator in `cgir.ops`.
            values: that it reads.
            fields: further fields of `OpCall`.
        """
        fields = {"channels_last": self.importer.channels_last, **fields}
        return self.tape.apply(op, self.name, values, self.sizes, **fields)

    def emit_inputs(
        self, op: str, *slots: int, attrs: Mapping[str, Attr] | None = None, **fields: Unpack[LayoutFields]
    ) -> list[Value]:
        """Append a node that reads operands of this call and has its results.

        Args:
            op: name of the operator in `cgir.ops`.
            slots: of the operands; all if empty.
            attrs: of the node.
            fields: further fields of `OpCall`.
        """
        values = [self.value(slot) for slot in slots or range(len(self.inputs))]
        return self.emit(op, values, attrs=attrs or {}, **fields)

    def deferred(self, emit: Callable[[], Value]) -> Callable[[], Value]:
        """`emit`, to be called when the value is first read, in this call's module scope."""
        path = self.tape.path[-1]

        def emit_in_scope() -> Value:
            with self.tape.module_scope(path):
                return emit()

        return emit_in_scope


class TensorFlowImporter:
    """The state of one import.

    Attributes:
        program: the model.
        tape: where nodes are appended.
        channels_last: whether operators that do not say have their channels on the last axis.
        call_stack: names of the functions that are being inlined.
    """

    def __init__(
        self,
        program: Program,
        tape: Tape,
        converters: Mapping[str, TFConverter],
        control_flow: Mapping[str, ControlFlow],
        limits: Limits = DEFAULT,
    ) -> None:
        """An importer before the first node.

        Args:
            program: the model.
            tape: where nodes are appended.
            converters: operator -> what it becomes.
            control_flow: sources, calls, branches and loops -> what imports them.
            limits: of the number of nodes, those of functions counted at every call.
        """
        self.program, self.tape, self.limits = program, tape, limits
        bodies = (program.nodes, *(function.node_def for function in program.functions.values()))
        self.channels_last = not any(
            node.op == "Conv2D" and get_attribute(node, "data_format") == "NCHW" for nodes in bodies for node in nodes
        )
        self.call_stack: list[str] = []
        self._converters, self._control_flow = converters, control_flow
        self._inference = ShapeInference(limits)
        self._num_nodes = 0
        # of the bodies of control flow around the import: module path, and path of the operator that the body is of
        self._body_paths = [("", "")]
        self._states: set[str] = set()  # ids of variables that the model writes to

    # --- graphs and functions

    def import_graph(
        self, sizes: Sequence[Size], batch_axes: Sequence[int | None], examples: Sequence[AnyArray | None]
    ) -> Graph:
        """The raw graph of the program.

        Args:
            sizes: of the inputs.
            batch_axes: of the inputs, None for those without a batch.
            examples: contents of inputs of one element, None where they are not given.
        """
        program = self.program
        scope = GraphScope({})
        for graph_input, size, batch_axis, example in zip(program.inputs, sizes, batch_axes, examples, strict=True):
            value = self.tape.input(graph_input.name, size, batch_axis, graph_input.dtype in FLOATING)
            scope.results[graph_input.node] = [TFTensor(size, graph_input.dtype, value=value, example=example)]
        # copies: they get their nodes on this tape
        scope.results.update({name: [replace(tensor)] for name, tensor in program.captures.items()})
        self._import_nodes(program.nodes, [ref for _, ref in program.outputs], scope, program.name)
        self._unify_kernel_shapes()
        self._states_to_constants()
        for name, ref in program.outputs:
            tensor = scope.read(ref)
            self.tape.output(self.to_value(tensor), tensor.size, name)
        return _without_unread(self.tape.graph(program.name))

    def inline_function(self, name: str, arguments: Sequence[TFTensor], caller: NodeDef) -> list[TFTensor]:
        """The results of a function, whose nodes become part of the graph.

        Args:
            name: of the function.
            arguments: that it is called with.
            caller: the node that calls it.

        Raises:
            TraceError: it is not there, calls itself, or takes another number of arguments.
        """
        definition = self.program.functions.get(name)
        where = f"node {caller.name!r} ({caller.op})"
        if definition is None:
            raise TraceError(f"{where}: function {name!r} is not in the model's library")
        if name in self.call_stack:
            raise TraceError(
                f"{where}: function {name!r} calls itself ({' -> '.join(self.call_stack)}), "
                "which cannot be followed without data"
            )
        parameters = definition.signature.input_arg
        if len(parameters) != len(arguments):
            raise TraceError(f"{where}: function {name!r} takes {len(parameters)} arguments, found {len(arguments)}")
        scope = GraphScope({parameter.name: [tensor] for parameter, tensor in zip(parameters, arguments, strict=True)})
        self.call_stack.append(name)
        results = [definition.ret.get(arg.name, arg.name) for arg in definition.signature.output_arg]
        self._import_nodes(definition.node_def, results, scope, f"function {name!r}")
        self.call_stack.pop()
        return [scope.result(ref) for ref in results]

    @contextmanager
    def body_scope(self, node: NodeDef, label: str) -> Iterator[None]:
        """Nodes emitted inside belong to the body `label` of a control flow operator."""
        scope, name = self.tape.path[-1], node_name(node)
        operator = f"{scope}.{name}" if scope else name
        self._body_paths.append((f"{operator}.{label}", operator))
        try:
            with self.tape.module_scope(f"{operator}.{label}"):
                yield
        finally:
            self._body_paths.pop()

    # --- nodes

    def _import_nodes(self, nodes: Sequence[NodeDef], refs: Sequence[str], scope: GraphScope, label: str) -> None:
        """Import the nodes that the tensors `refs` depend on; messages refer to the graph by `label`."""
        if self.program.frozen:
            scope.weights = weight_names(nodes, self.program.functions)
        self._note_states(nodes, scope)
        for node in topological_order(nodes, refs, scope.results, label):
            self._num_nodes += 1
            self.limits.check("nodes", self._num_nodes, label)
            with self.tape.module_scope(self._module_path(node.name)):
                scope.results[node.name] = self._import_node(node, scope)

    def _import_node(self, node: NodeDef, scope: GraphScope) -> list[TFTensor]:
        """The results of a node."""
        definition = op_def_of(node)
        read = scope.result if node.op in PASSING_OPS else scope.read
        inputs = [read(ref) for ref in data_inputs(node)]
        if definition is None and node.op not in self.program.functions:
            return self._unregistered(node, inputs)
        specs = result_specs(node, definition) if definition is not None else []
        offsets = scope.offsets[node.name] = {}
        for index, (name, _) in enumerate(specs):
            offsets.setdefault(name, index)
        if node.op == "Identity" and inputs[0].unsized:
            return inputs
        try:
            if node.op in self.program.functions:
                return self.inline_function(node.op, inputs, node)
            if node.op in self._control_flow:
                return self._control_flow[node.op](self, node, inputs, scope)
            assert definition is not None
            return self._folded_or_converted(node, definition, inputs, specs)
        except CgirError:
            raise
        except Exception as error:
            raise TraceError(
                f"node {node.name!r} ({node.op}) cannot be read: {one_line(error, 300, named=True)}"
            ) from error

    def _folded_or_converted(
        self, node: NodeDef, definition: op_def_pb2.OpDef, inputs: list[TFTensor], specs: ResultSpecs
    ) -> list[TFTensor]:
        """The results of an operator: constants where it folds, else what its converter emits."""
        sizes, unsized = self._inference.result_sizes(node, definition, inputs, specs)
        if is_foldable(definition, inputs, specs):
            constants = evaluate(node, definition, inputs, specs, sizes)
            if constants is not None:
                return self._with_examples(node, definition, inputs, specs, sizes, constants)
        call = TFCall(self, node, inputs, specs, sizes)
        results = [
            result if isinstance(result, TFTensor) else TFTensor(result.size, dtype, value=result)
            for result, (_, dtype) in zip(self._converters.get(node.op, _default)(call), specs, strict=True)
        ]
        results = self._with_examples(node, definition, inputs, specs, sizes, results)
        return [replace(tensor, unsized=why) if why else tensor for tensor, why in zip(results, unsized, strict=True)]

    def _with_examples(
        self,
        node: NodeDef,
        definition: op_def_pb2.OpDef,
        inputs: list[TFTensor],
        specs: ResultSpecs,
        sizes: list[Size],
        results: list[TFTensor],
    ) -> list[TFTensor]:
        """The results with what follows from example inputs and from defaults of inputs.

        Args:
            node: the node.
            definition: of its operator.
            inputs: its operands.
            specs: names and types of its results.
            sizes: of its results.
            results: its results.
        """
        if node.op == "PlaceholderWithDefault":
            return [replace(results[0], is_default=True)]
        if node.op in SIZE_OPS or all(not tensor.is_default and tensor.example is None for tensor in inputs):
            return results
        examples: list[TFTensor] | None = None
        known = [replace(tensor, data=tensor.contents) for tensor in inputs]
        if is_foldable(definition, known, specs):
            examples = evaluate(node, definition, known, specs, sizes)
        is_default = any(tensor.is_default for tensor in inputs)
        contents = [None] * len(results) if examples is None else [tensor.data for tensor in examples]
        return [
            replace(tensor, is_default=is_default, example=data) for tensor, data in zip(results, contents, strict=True)
        ]

    def _unregistered(self, node: NodeDef, inputs: list[TFTensor]) -> list[TFTensor]:
        """An operator of a library that is not loaded: opaque if the file says the sizes of its results."""
        shapes = node.attr["_output_shapes"].list.shape if "_output_shapes" in node.attr else ()
        sizes = [tuple(dim.size for dim in shape.dim) for shape in shapes]
        if not sizes or any(shape.unknown_rank for shape in shapes):
            raise UnsupportedOpError(
                f"node {node.name!r}: operator {node.op!r} is not one of TensorFlow's, and the graph does not say what "
                "sizes come out; load the library that defines it (tf.load_op_library) before tracing"
            )
        sizes = [tuple(self.tape.batch if n < 0 else n for n in size) for size in sizes]
        operands = [self.to_value(tensor) for tensor in inputs if tensor.dtype != RESOURCE]
        values = self.tape.apply("Opaque", node_name(node), operands, sizes, display_name=f"tf.{node.op}")
        return [TFTensor(value.size, 1, value=value) for value in values]

    def _note_states(self, nodes: Sequence[NodeDef], scope: GraphScope) -> None:
        """Variables from outside that a function writes to at inference, as layers do that keep their state.

        A graph of TensorFlow 1 writes to the variables that it makes, to initialise them.
        """
        own = {node.name for node in nodes if node.op in VARIABLE_OPS}
        for node in nodes:
            if node.op in WRITING_OPS and source_of(data_inputs(node)[0]) not in own:
                [tensor] = scope.results.get(source_of(data_inputs(node)[0]), [None])
                self._states |= {tensor.variable.id} if tensor is not None and tensor.variable is not None else set()

    def _states_to_constants(self) -> None:
        """Make constants of the states that layers keep between calls."""
        nodes = self.tape.nodes
        for index, node in enumerate(nodes):
            if node.op == "Param" and node.params[0].id in self._states:
                nodes[index] = replace(node, op="Constant", params=())

    def _module_path(self, name: str) -> str:
        """The scopes of a node's name as a module path; in control flow, behind the path of the body."""
        scopes = ".".join(part for part in name.split("/")[:-1] if part)
        path, operator = self._body_paths[-1]
        if not path:
            return scopes
        if scopes == operator or scopes.startswith(f"{operator}."):
            scopes = scopes.removeprefix(operator).strip(".")
        return f"{path}.{scopes}" if scopes else path

    # --- tensors

    def to_value(self, tensor: TFTensor) -> Value:
        """The value of a tensor on the tape; sizes, settings and weights get their node here."""
        if tensor.value is None:
            if tensor.deferred_value is not None:
                tensor.value = tensor.deferred_value()
            elif tensor.variable is not None and tensor.variable.trainable:
                tensor.value = self.tape.param(tensor.variable.id, tensor.variable.size)
            else:
                is_number = tensor.data is not None and tensor.size == () and tensor.data.dtype.kind in "biuf"
                tensor.value = self.tape.constant("constant", tensor.size, tensor.data if is_number else None)
        return tensor.value

    def _unify_kernel_shapes(self) -> None:
        """Give the parameters that are kernels of layers PyTorch's shape wherever else they are used."""
        nodes = self.tape.nodes
        for node in list(nodes):
            if node.op == "MatMul" and len(node.inputs) == 2 and nodes[node.inputs[1]].op == "Param":
                permute_params(self.tape, node.inputs[1], (1, 0))
        kernels = {
            param.id: param for node in nodes if node.op in ("Conv", "ConvTranspose") for param in node.params[:1]
        }
        for index, node in enumerate(nodes):
            if node.op == "Param" and node.params[0].id in kernels:
                nodes[index] = replace(node, params=(kernels[node.params[0].id],))


def _without_unread(graph: Graph) -> Graph:
    """A graph without the nodes that no output depends on: those of which only the sizes were read never run."""
    read = {index for index, node in enumerate(graph.nodes) if node.op == "Output"}
    for index in range(len(graph) - 1, -1, -1):
        if index in read:
            read.update(graph.nodes[index].inputs)
    return rebuild(graph, [node if i in read or node.op == "Input" else None for i, node in enumerate(graph.nodes)])


def node_name(node: NodeDef) -> str:
    """The last part of a node's name."""
    return str(node.name.rpartition("/")[2])


def _default(call: TFCall) -> Results:
    """Operators without a converter take all operands as data; those outside the vocabulary are opaque."""
    op = TF_NAMES.get(call.node.op, "Opaque")
    slots = [slot for slot, tensor in enumerate(call.inputs) if tensor.dtype != RESOURCE or tensor.value is not None]
    attrs: dict[str, Attr] = {"flops": 0} if call.node.op in WITHOUT_PRODUCTS else {}
    return call.emit(op, [call.value(slot) for slot in slots], attrs=attrs, display_name=f"tf.{call.node.op}")
