"""Control flow of ONNX: the bodies of If, Loop, Scan and SequenceMap become part of the graph.

The nodes of a body come first, then one node "If" or "Loop" that reads the condition or the initial values, and the
results of the bodies. Nodes of a body that runs a known number of times have that number as `trips`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx

from cgir import TraceError
from frontends.common.tape import Size

from .graph_walk import ControlFlow, OnnxImporter
from .parameters import initializer_tensors
from .sequences import SEQUENCES
from .tensors import BOOL, INT64, OnnxTensor, Scope, get_attribute

MAX_DEPTH = 16  # nesting of subgraphs that is followed


def _import_body(
    importer: OnnxImporter,
    node: onnx.NodeProto,
    graph_name: str,
    scope: Scope,
    arguments: Sequence[OnnxTensor],
    label: str,
) -> list[OnnxTensor]:
    """The results of the subgraph in an attribute of a node.

    Args:
        importer: of the model.
        node: that has the subgraph.
        graph_name: of the attribute.
        scope: tensors outside, which the subgraph may read.
        arguments: its inputs.
        label: of the subgraph in the module path of its nodes.
    """
    graph = get_attribute(node, graph_name)
    if importer.depth >= MAX_DEPTH:
        raise TraceError(f"subgraphs are nested more than {MAX_DEPTH} deep")
    if len(graph.input) > len(arguments):
        raise TraceError(f"its subgraph has {len(graph.input)} inputs, but gets {len(arguments)}")
    inner: Scope = dict(scope)
    inner.update(initializer_tensors(graph, "a subgraph"))
    inner.update((info.name, tensor) for info, tensor in zip(graph.input, arguments, strict=False))
    node_name = f"{node.name or node.op_type.lower()}".rpartition("/")[2]
    importer.depth += 1
    try:
        with importer.tape.child_scope(".".join(part for part in (node_name, label) if part)):
            importer.import_nodes(graph.node, inner, nested=True)
    finally:
        importer.depth -= 1
    return [importer.lookup(info.name, inner, "the subgraph's result") for info in graph.output]


# --- branches


def _if(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
    """Both branches, or the one that a known condition takes."""
    condition = importer.lookup(node.input[0], scope, "the condition")
    if condition.data is not None:
        branch = "then" if bool(np.asarray(condition.data).reshape(-1)[0]) else "else"
        results = _import_body(importer, node, f"{branch}_branch", scope, (), branch)
        scope.update(zip(node.output, results, strict=False))
        return
    branches = [_import_body(importer, node, f"{label}_branch", scope, (), label) for label in ("then", "else")]
    for slot, name in enumerate(node.output):
        options = [results[slot] for results in branches]
        size = _larger_size(*(tensor.size for tensor in options))
        [value] = importer.emit("If", "if", [condition, *options], [size])
        scope[name] = OnnxTensor(name, options[0].elem_type, size, value=value)
        scope[name].is_sequence = options[0].is_sequence


def _larger_size(a: Size, b: Size) -> Size:
    """The size that holds either tensor; that of more elements where the ranks differ."""
    if len(a) != len(b):
        return a if prod(a) >= prod(b) else b
    return tuple(max(pair) for pair in zip(a, b, strict=True))


# --- loops


def _loop(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
    """The body once, with its trip count where it is known; scan outputs of all iterations are stacked."""
    names = (*node.input, *[""] * (2 - len(node.input)))
    max_trips, condition, *carried = (scope[name] if name else None for name in names)
    trips = int(max_trips.ints()[0]) if max_trips is not None and max_trips.known_value is not None else None
    states = [tensor for tensor in carried if tensor is not None]
    iteration = OnnxTensor("iteration", INT64, ())
    keep_going = condition if condition is not None else OnnxTensor("condition", BOOL, (), np.array(True))
    start = len(importer.tape.nodes)
    arguments = [iteration, keep_going, *map(_loop_variable, states)]
    results = _import_body(importer, node, "body", scope, arguments, "body")
    if trips is not None:
        importer.tape.scale_trips(start, trips)
    else:
        importer.tape.unknown_trips(start, node.name or node.op_type)
    last_states, scan_outputs = results[1 : 1 + len(states)], results[1 + len(states) :]
    num_stacked = trips if trips is not None else 1
    sizes = [tensor.size for tensor in last_states] + [(num_stacked, *tensor.size) for tensor in scan_outputs]
    operands = [
        *([max_trips] if trips is None and max_trips is not None else []),
        *([condition] if condition is not None and condition.data is None else []),
        *states,
        *results[1:],
    ]
    _finish_loop(importer, node, scope, operands, sizes, [*last_states, *scan_outputs])


def _scan(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
    """The body once, for a slice of every sequence."""
    num_sequences = get_attribute(node, "num_scan_inputs")
    batched = importer.inference.opsets.get("", 9) < 9
    inputs = [scope[name] for name in node.input if name]
    num_arguments = len(get_attribute(node, "body").input)
    inputs = inputs[1:] if batched and len(node.input) == num_arguments + 1 and node.input[0] else inputs
    states, sequences = inputs[: len(inputs) - num_sequences], inputs[len(inputs) - num_sequences :]
    axes = get_attribute(node, "scan_input_axes") or [0] * num_sequences
    axes = [1 if batched else axis % len(tensor.size) for axis, tensor in zip(axes, sequences, strict=True)]
    trips = sequences[0].size[axes[0]]
    start = len(importer.tape.nodes)
    slices = [
        _slice(importer, tensor, (0, 1) if batched else (axis,)) for tensor, axis in zip(sequences, axes, strict=True)
    ]
    variables = [_slice(importer, tensor, (0,)) if batched else _loop_variable(tensor) for tensor in states]
    results = _import_body(importer, node, "body", scope, [*variables, *slices], "body")
    importer.tape.scale_trips(start, trips)
    last_states, scan_outputs = results[: len(states)], results[len(states) :]
    out_axes = get_attribute(node, "scan_output_axes") or [0] * len(scan_outputs)
    batch_size = (inputs[0].size[0],) if batched else ()
    sizes = [(*batch_size, *tensor.size) for tensor in last_states]
    for tensor, axis in zip(scan_outputs, out_axes, strict=True):
        stacked_axis = axis % (len(tensor.size) + 1)
        sizes.append((*batch_size, *tensor.size[:stacked_axis], trips, *tensor.size[stacked_axis:]))
    _finish_loop(importer, node, scope, [*states, *sequences, *results], sizes, [*last_states, *scan_outputs])


def _slice(importer: OnnxImporter, tensor: OnnxTensor, dropped_axes: Sequence[int]) -> OnnxTensor:
    """One element of a tensor along some axes, which disappear."""
    kept_axes = [axis for axis in range(len(tensor.size)) if axis not in dropped_axes]
    size = tuple(tensor.size[axis] for axis in kept_axes)
    axis_map = {old: new for new, old in enumerate(kept_axes)}
    [value] = importer.emit("Slice", "slice", [tensor], [size], axis_map=axis_map)
    return OnnxTensor(f"{tensor.name}.element", tensor.elem_type, size, value=value)


def _loop_variable(tensor: OnnxTensor) -> OnnxTensor:
    """A tensor as a loop's body sees it: its contents change from iteration to iteration."""
    variable = OnnxTensor(tensor.name, tensor.elem_type, tensor.size, None, tensor.value, tensor.is_param)
    variable.is_weight, variable.is_sequence = False, tensor.is_sequence
    return variable


def _finish_loop(
    importer: OnnxImporter,
    node: onnx.NodeProto,
    scope: Scope,
    operands: Sequence[OnnxTensor],
    sizes: Sequence[Size],
    results: Sequence[OnnxTensor],
) -> None:
    """Append the Loop node of a loop and bind its results.

    Args:
        importer: of the model.
        node: the loop.
        scope: where the results are bound.
        operands: what the Loop node reads.
        sizes: of the results.
        results: of the body, in the order of the loop's.
    """
    values = importer.emit("Loop", "loop", operands, sizes) if sizes else []
    for name, tensor, value in zip(node.output, results, values, strict=False):
        if name:
            scope[name] = OnnxTensor(name, tensor.elem_type, value.size, value=value)
            scope[name].is_sequence = tensor.is_sequence


def _sequence_map(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
    """The body once, for one element of every sequence; each result represents all elements of its sequence."""
    arguments = [_loop_variable(scope[name]) for name in node.input if name]
    for tensor in arguments:
        tensor.is_sequence = False
        tensor.to_value(importer.tape)
    results = _import_body(importer, node, "body", scope, arguments, "body")
    for name, tensor in zip(node.output, results, strict=False):
        scope[name] = OnnxTensor(name, tensor.elem_type, tensor.size, value=tensor.to_value(importer.tape))
        scope[name].is_sequence = True


CONTROL_FLOW: dict[str, ControlFlow] = {
    "If": _if,
    "Loop": _loop,
    "Scan": _scan,
    "SequenceMap": _sequence_map,
    **SEQUENCES,
}
