"""Control flow of TensorFlow: calls are inlined, branches and loops become the nodes of their bodies and one node more.

The nodes of the bodies come first, then one node "If" or "Loop" for the operator. Nodes of a body that runs a known
number of times have that number as `trips`. Sources (constants, placeholders, variables) are here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cgir import TraceError
from cgir.graph import Attr
from frontends.common.loop_state import changing_state
from frontends.common.tape import OpCall, Operand, Value

from .constant_folding import constant_tensor
from .graph_def import (
    FLOATING,
    INT32,
    RESOURCE,
    VARIABLE_OPS,
    VARIANT,
    NodeDef,
    TFTensor,
    Variable,
    contents_of,
    get_attribute,
    handle_of,
)
from .graph_walk import ControlFlow, GraphScope, TensorFlowImporter, node_name
from .loop_analysis import invariant_variables, trip_count
from .tensor_lists import TENSOR_LISTS

Tensors = list[TFTensor]


def _function_name(node: NodeDef, name: str) -> str:
    """The name of the function in an attribute."""
    return str(get_attribute(node, name).name)


# --- sources


def _const(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    """A constant; in frozen graphs floating-point ones with axes are the weights."""
    tensor = constant_tensor(node)
    if node.name not in scope.weights:
        return [tensor]
    function = f"{importer.call_stack[-1]}/" if importer.call_stack else ""
    variable = Variable(function + node.name, tensor.size, tensor.dtype, True)
    return [contents_of(variable)]


def _placeholder(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    raise TraceError(f"node {node.name!r} ({node.op}) is an input that the signature does not name")


def _variable(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    """A variable of a graph without a list of them (TensorFlow 1)."""
    size = tuple(int(dim.size) for dim in get_attribute(node, "shape").dim)
    dtype = int(get_attribute(node, "dtype"))
    variable = Variable(node.name, size, dtype, dtype in FLOATING)
    return [handle_of(variable) if node.op == "VarHandleOp" else contents_of(variable)]


def _read_variable(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    """The contents of the variable of a handle."""
    if inputs[0].variable is None and inputs[0].dtype == RESOURCE:
        raise TraceError(
            f"node {node.name!r} reads a variable that the graph does not have; trace the function, the SavedModel or "
            "a frozen graph instead"
        )
    return [contents_of(inputs[0].variable) if inputs[0].variable is not None else inputs[0]]


# --- calls and branches


def _call(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    return importer.inline_function(_function_name(node, "f"), inputs, node)


def _if(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    functions = {"then": _function_name(node, "then_branch"), "else": _function_name(node, "else_branch")}
    return _branches(importer, node, inputs, functions, (1, 0))


def _case(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    functions = {f"branch{index}": function.name for index, function in enumerate(get_attribute(node, "branches"))}
    return _branches(importer, node, inputs, functions, tuple(range(len(functions))))


def _branches(
    importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, functions: Mapping[str, str], codes: Sequence[int]
) -> Tensors:
    """The nodes of all branches and an If node; only those of one branch where the condition is known.

    Args:
        importer: of the model.
        node: the operator.
        inputs: the condition, and the arguments of the branches.
        functions: label of a branch -> its function.
        codes: values of the condition that select them; any other selects the last one.
    """
    condition = inputs[0].contents
    if condition is not None:
        code = int(np.any(condition)) if 0 in codes[1:] else int(np.asarray(condition).ravel()[0])
        selected = codes.index(code) if code in codes else len(codes) - 1
        return importer.inline_function(list(functions.values())[selected], inputs[1:], node)
    results = []
    for label, function in functions.items():
        with importer.body_scope(node, label):
            results.append(importer.inline_function(function, inputs[1:], node))
    return _join(importer, node, "If", inputs[:1], results)


def _join(
    importer: TensorFlowImporter,
    node: NodeDef,
    op: str,
    inputs: Tensors,
    bodies: list[Tensors],
    attrs: Mapping[str, Attr] | None = None,
) -> Tensors:
    """Append one node for all results of a control flow operator.

    Args:
        importer: of the model.
        node: the operator.
        op: name of the operator in `cgir.ops`.
        inputs: the condition, or the tensors that enter the loop.
        bodies: results of each body.
        attrs: of the node.

    Returns:
        The results; handles of variables bypass the node.
    """
    operands = [tensor for tensor in (*inputs, *(tensor for body in bodies for tensor in body)) if _has_value(tensor)]
    values = [importer.to_value(tensor) for tensor in operands]
    first = bodies[0]
    dynamic = [tensor for body in bodies for tensor in body if _has_value(tensor) and not _is_static(importer, tensor)]
    sizes = [tensor.size for tensor in (*dynamic, *first) if _has_value(tensor)] or [()]
    op_call = OpCall(op, node_name(node), [Operand(value, value.size) for value in values], attrs or {})
    index, _, static = importer.tape.emit(op_call, sizes[:1])
    joined = []
    for slot, tensor in enumerate(first):
        unknown = next((body[slot] for body in bodies if not _has_value(body[slot])), None)
        if unknown is not None:
            joined.append(unknown)
            continue
        options = [importer.to_value(body[slot]) for body in bodies]
        layout = next((value.layout for value in options if not value.static), options[0].layout)
        joined.append(TFTensor(tensor.size, tensor.dtype, value=Value(index, tensor.size, layout, static)))
    return joined


def _is_handle(tensor: TFTensor) -> bool:
    """Whether a tensor is a handle of a variable, without a value."""
    return bool(tensor.dtype == RESOURCE)


def _has_value(tensor: TFTensor) -> bool:
    """Whether a tensor can be read: it is no handle, and its size is known."""
    return not _is_handle(tensor) and not tensor.unsized


def _is_static(importer: TensorFlowImporter, tensor: TFTensor) -> bool:
    """Whether a tensor depends on no graph input."""
    return importer.to_value(tensor).static


# --- loops


def _while(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    """The nodes of the body once, with its trip count where it is known, then one Loop node."""
    condition, body = _function_name(node, "cond"), _function_name(node, "body")
    invariant = invariant_variables(importer.program.functions, body)
    known = [replace(tensor, data=tensor.example) if tensor.data is None else tensor for tensor in inputs]
    trips = trip_count(importer.program.functions, condition, body, known)
    if trips == 0:
        return inputs
    dynamic = next((tensor for tensor in inputs if not _is_handle(tensor) and not _is_static(importer, tensor)), None)
    variables = [
        tensor if slot in invariant else _loop_variable(importer, tensor, dynamic) for slot, tensor in enumerate(inputs)
    ]
    start = len(importer.tape.nodes)
    with importer.body_scope(node, "body"):
        results = importer.inline_function(body, variables, node)
    if trips is not None:
        importer.tape.scale_trips(start, trips)
    else:
        importer.tape.unknown_trips(start, node.name)
    changing = [slot for slot in range(len(inputs)) if slot not in invariant]
    entering = [inputs[slot] for slot in changing if not _is_static(importer, inputs[slot])]
    attrs: dict[str, Attr] = {} if trips is None else {"trips": trips}
    joined = _join(importer, node, "Loop", entering, [[results[slot] for slot in changing]], attrs)
    after = list(inputs)
    for slot, tensor in zip(changing, joined, strict=True):
        value = importer.to_value(results[slot])
        after[slot] = TFTensor(tensor.size, tensor.dtype, value=value) if value.static else tensor
    return after


def _loop_variable(importer: TensorFlowImporter, tensor: TFTensor, dynamic: TFTensor | None) -> TFTensor:
    """A tensor that changes from iteration to iteration, as the body sees it: unknown, and dependent on what enters.

    Args:
        importer: of the model.
        tensor: as it enters the loop.
        dynamic: a tensor that enters the loop and depends on a graph input, if there is one.
    """
    if _is_handle(tensor):
        return tensor
    value = importer.to_value(tensor)
    depends = tensor.dtype in FLOATING or tensor.dtype == VARIANT or bool(tensor.size)
    if value.static and dynamic is not None and depends:
        value = changing_state(importer.tape, value, importer.to_value(dynamic), tensor.dtype in FLOATING)
    return TFTensor(tensor.size, tensor.dtype, value=value)


# --- branches of TensorFlow 1


def _switch(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    """A Switch hands the tensor itself to both branches."""
    return [inputs[0], inputs[0]]


def _merge(importer: TensorFlowImporter, node: NodeDef, inputs: Tensors, scope: GraphScope) -> Tensors:
    """The end of two branches."""
    return [*_join(importer, node, "If", [], [[tensor] for tensor in inputs]), TFTensor((), INT32)]


CONTROL_FLOW: dict[str, ControlFlow] = {
    "Const": _const,
    "Placeholder": _placeholder,
    **dict.fromkeys(VARIABLE_OPS, _variable),
    "ReadVariableOp": _read_variable,
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall", "RemoteCall"), _call),
    **dict.fromkeys(("If", "StatelessIf"), _if),
    **dict.fromkeys(("Case", "StatelessCase"), _case),
    **dict.fromkeys(("While", "StatelessWhile"), _while),
    **TENSOR_LISTS,
    **dict.fromkeys(("Switch", "RefSwitch"), _switch),
    **dict.fromkeys(("Merge", "RefMerge"), _merge),
}
