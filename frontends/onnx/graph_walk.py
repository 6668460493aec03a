"""Import of an ONNX graph: its nodes are visited once in topological order, and every call is written on the tape.

A node becomes, in this order: control flow, a constant of the file, other operators that it is expanded to, a constant
that can be folded, an alias, or what its converter emits. Converters, control flow and expanders are handed in, so that
they may use the importer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, Unpack

import onnx

from cgir import CgirError, TraceError
from cgir.errors import one_line
from frontends.common.tape import CallFields, Size, Tape, Value
from frontends.common.trace_request import TraceRequest

from .batch_checks import check_batch_axis
from .calls import OnnxCall, OnnxConverter
from .constant_folding import fold_call
from .expansion import Expander, Expansion, matched, named_results
from .module_paths import module_path, node_label
from .parameters import constant_tensor, has_constant_weights, without_coordinates
from .shape_inference import LATEST_OPSET, ShapeInference
from .tensors import WEIGHT_TYPES, OnnxTensor, Scope
from .topological_order import topological_order

ControlFlow: TypeAlias = "Callable[[OnnxImporter, onnx.NodeProto, Scope], None]"
STANDARD_DOMAINS = ("", "ai.onnx")


class OnnxImporter:
    """The state of one import.

    Attributes:
        tape: where nodes are appended.
        scope: the tensors of the main graph by name.
        inference: element types and sizes of results.
        limits: of what the file may take.
        depth: how many subgraphs the import is in.
        measured: nodes on the tape whose sizes other nodes read.
    """

    def __init__(
        self,
        tape: Tape,
        model: onnx.ModelProto,
        request: TraceRequest,
        converter_of: Callable[[onnx.NodeProto], OnnxConverter],
        control_flow: Mapping[str, ControlFlow],
        expanders: Mapping[str, Mapping[str, Expander]],
    ) -> None:
        """An importer before the first node.

        Args:
            tape: where nodes are appended.
            model: the model without its weights.
            request: sizes of named dimensions, which are 1 otherwise, and limits.
            converter_of: the converter of a node's operator.
            control_flow: standard operators with subgraphs or sequences -> what imports them.
            expanders: domain -> operator -> what writes it as operators of the default domain.
        """
        opsets = {
            "" if entry.domain == "ai.onnx" else entry.domain: min(entry.version, LATEST_OPSET)
            for entry in model.opset_import
        }
        declared = {info.name: info.type for info in (*model.graph.value_info, *model.graph.output)}
        named_dims = _input_dims(model.graph) | dict(request.dims)
        self.tape = tape
        self.scope: Scope = {}
        self.limits = request.limits
        self.inference = ShapeInference(opsets or {"": 1}, model.ir_version, declared, named_dims, self.limits)
        self.depth = 0
        self.measured: set[int] = set()
        self._weight_names: set[str] = set()
        self._num_nodes = 0
        self._converter_of, self._control_flow, self._expanders = converter_of, control_flow, expanders
        self._constant_weights = has_constant_weights(model)

    def import_nodes(self, nodes: Iterable[onnx.NodeProto], scope: Scope, nested: bool = False) -> None:
        """Import the nodes of one graph, each behind those that it reads.

        Args:
            nodes: in any order.
            scope: the tensors available so far; results are added.
            nested: whether the graph is a subgraph, whose names may hide those outside.

        Raises:
            TraceError: they form a cycle, read what no node computes, or compute something twice.
        """
        listed = list(nodes)
        self._num_nodes += len(listed)
        self.limits.check("nodes", self._num_nodes, "the model")
        for index, node in topological_order(listed, scope, nested):
            with self.tape.module_scope(module_path(node) or self.tape.path[-1]):
                try:
                    self._import_node(node, scope)
                except CgirError as error:
                    raise type(error)(f"{node_label(node, index)}: {error}") from error
                except Exception as error:  # attributes and operands of a shape that no valid model has
                    raise TraceError(
                        f"{node_label(node, index)}: it is not what its operator allows: "
                        f"{one_line(error, 200, named=True)}"
                    ) from error

    def lookup(self, name: str, scope: Scope, role: str) -> OnnxTensor:
        """A tensor by name.

        Args:
            name: of the tensor.
            scope: the tensors available.
            role: what it is to the reader, for the message.

        Raises:
            TraceError: no node computes it.
        """
        if name not in scope:
            raise TraceError(f"{role} {name!r} is made by no node")
        return scope[name]

    def emit(
        self,
        op: str,
        name: str,
        tensors: Sequence[OnnxTensor],
        sizes: Sequence[Size],
        **fields: Unpack[CallFields],
    ) -> list[Value]:
        """Append a node that reads tensors as data.

        Args:
            op: name of the operator in `cgir.ops`.
            name: of the node.
            tensors: that it reads.
            sizes: of its results.
            fields: further fields of `OpCall`.
        """
        return self.tape.apply(op, name, [tensor.to_value(self.tape) for tensor in tensors], sizes, **fields)

    def fold_node(self, node: onnx.NodeProto, scope: Scope) -> Scope | None:
        """The results of a node by name, computed from the contents of its operands; None where these are not known.

        Args:
            node: the node.
            scope: the tensors available.
        """
        if node.domain not in STANDARD_DOMAINS or node.op_type in self._control_flow:
            return None
        constant = constant_tensor(node, True) if node.op_type == "Constant" else None
        if constant is not None:
            return {node.output[0]: constant}
        call = self._typed_call(node, [scope[name] if name else None for name in node.input], self.inference)
        arrays = fold_call(call, all_known=True)
        if arrays is None:
            return None
        named = zip(node.output, call.elem_types, arrays, strict=False)
        return {name: OnnxTensor(name, elem_type, tuple(data.shape), data) for name, elem_type, data in named if name}

    def name_weights(self, tensors: Iterable[OnnxTensor]) -> None:
        """Give weights of one graph names that no other graph has: those of two subgraphs may be called the same."""
        for tensor in tensors:
            name, count = tensor.name, 1
            while tensor.name in self._weight_names:
                count += 1
                tensor.name = f"{name}#{count}"
            self._weight_names.add(tensor.name)

    # --- one node

    def _import_node(self, node: onnx.NodeProto, scope: Scope) -> None:
        standard = node.domain in STANDARD_DOMAINS
        if standard and node.op_type in self._control_flow:
            self._control_flow[node.op_type](self, node, scope)
            return
        is_constant = standard and node.op_type == "Constant"
        constant = constant_tensor(node, self._constant_weights) if is_constant else None
        if constant is not None:
            if constant.name == node.output[0]:  # those of functions are named already
                self.name_weights([constant])
            scope[node.output[0]] = constant
            return
        inputs = [scope[name] if name else None for name in node.input]
        expanded = self._expanded(node, inputs)
        if expanded is not None:
            scope.update(expanded)
            return
        results = self._results(node, inputs, self.inference)
        scope.update((name, tensor) for name, tensor in zip(node.output, results, strict=False) if name)

    def _expanded(self, node: onnx.NodeProto, inputs: list[OnnxTensor | None]) -> Scope | None:
        """The results of a fused or quantised node, written as operators of the default domain; None of others."""
        expand = matched(self._expanders, node)
        if expand is None:
            return None
        results = expand(Expansion(self.tape, node, inputs, self.inference.ir_version, self._results))
        return None if results is None else named_results(node, results)

    def _results(
        self, node: onnx.NodeProto, inputs: list[OnnxTensor | None], inference: ShapeInference
    ) -> list[OnnxTensor]:
        """The results of a node: a constant that can be folded, an alias, or what its converter emits."""
        standard = node.domain in STANDARD_DOMAINS
        call = self._typed_call(node, without_coordinates(node.op_type, inputs) if standard else inputs, inference)
        if standard and call.op_type in ("Shape", "Size") and (value := call.require_input(0).value) is not None:
            self.measured.add(value.node)
        results = _folded(call) if standard else None
        if results is None and standard:
            results = _alias(call)
        return self._converted(call, standard) if results is None else results

    def _typed_call(self, node: onnx.NodeProto, inputs: list[OnnxTensor | None], inference: ShapeInference) -> OnnxCall:
        """The node with element types and sizes of its results."""
        schema = inference.schema(node)
        types = inference.result_types(node, schema, inputs)
        sizes = inference.result_sizes(node, types, inputs)
        default = next((tensor.elem_type for tensor in inputs if tensor is not None), onnx.TensorProto.FLOAT)
        elem_types = [kind.elem_type or default for kind in types]
        since_version = schema.since_version if schema else LATEST_OPSET
        return OnnxCall(self.tape, node, inputs, sizes, elem_types, since_version)

    def _converted(self, call: OnnxCall, standard: bool) -> list[OnnxTensor]:
        """The results of the operator's converter, with contents that example inputs and parameters determine."""
        check_batch_axis(call)
        values = self._converter_of(call.node)(call)
        has_contents = standard and any(tensor.has_unfolded_contents for tensor in call.present_inputs)
        contents = fold_call(call, all_known=True) if has_contents else None
        results = []
        for slot, (name, elem_type, value) in enumerate(zip(call.node.output, call.elem_types, values, strict=False)):
            known = contents[slot] if name and contents is not None and contents[slot].shape == value.size else None
            if value.static and elem_type not in WEIGHT_TYPES:  # sizes, indices or conditions, whatever they come from
                results.append(OnnxTensor(name, elem_type, value.size, known))
                results[-1].is_weight = any(tensor.is_weight for tensor in call.present_inputs)
                continue
            results.append(OnnxTensor(name, elem_type, value.size, value=value))
            results[-1].example_value = known
        return results


def _folded(call: OnnxCall) -> list[OnnxTensor] | None:
    """The results as constants where they can be computed; they stay weights if an operand was one."""
    arrays = fold_call(call)
    if arrays is None:
        return None
    is_weight = any(tensor.is_weight for tensor in call.present_inputs)
    results = []
    for name, elem_type, data in zip(call.node.output, call.elem_types, arrays, strict=False):
        tensor = OnnxTensor(name, elem_type, tuple(data.shape), data)
        tensor.is_weight = data.ndim > 0 and is_weight
        results.append(tensor)
    return results


def _alias(call: OnnxCall) -> list[OnnxTensor] | None:
    """The operand of an Identity that is not on the tape yet, so that weights and constants stay what they are."""
    if call.op_type != "Identity" or call.require_input(0).value is not None:
        return None
    return [call.require_input(0)]


def _input_dims(graph: onnx.GraphProto) -> dict[str, int]:
    """Named dimensions of the inputs, 1 unless the caller says otherwise."""
    return {dim.dim_param: 1 for info in graph.input for dim in info.type.tensor_type.shape.dim if dim.dim_param}
