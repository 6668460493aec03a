"""Control flow of ONNX: the bodies of If, Loop, Scan and SequenceMap become part of the graph.

The nodes of a body come first, then one node "If" or "Loop" that reads the condition or the initial values, and the
results of the bodies. Nodes of a body that runs a known number of times have that number as `trips`.
Loops are in `loops`.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx

from frontends.common.tape import Size

from .graph_walk import ControlFlow, OnnxImporter
from .loops import import_loop, import_scan
from .sequences import SEQUENCES
from .subgraphs import import_body
from .tensors import OnnxTensor, Scope

# --- branches


def _if(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
    """Both branches, or the one that a condition takes which is constant or decided by the example inputs."""
    condition = importer.lookup(node.input[0], scope, "the condition")
    if condition.known_value is not None:
        branch = "then" if bool(np.asarray(condition.known_value).reshape(-1)[0]) else "else"
        results = import_body(importer, node, f"{branch}_branch", scope, (), branch)
        scope.update(zip(node.output, results, strict=False))
        return
    branches = [import_body(importer, node, f"{label}_branch", scope, (), label) for label in ("then", "else")]
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


def _sequence_map(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
    """The body once, for one element of every sequence, as often as there are elements."""
    operands = [scope[name] for name in node.input if name]
    elements = operands[0].elements
    arguments = [_element(tensor) for tensor in operands]
    for tensor in arguments:
        tensor.to_value(importer.tape)
    start = len(importer.tape.nodes)
    results = import_body(importer, node, "body", scope, arguments, "body")
    if elements is None or len({element.size for element in elements}) > 1:
        importer.tape.unknown_trips(start, node.name or node.output[0])
    else:
        importer.tape.scale_trips(start, len(elements))
    for name, tensor in zip(node.output, results, strict=False):
        value = tensor.to_value(importer.tape)
        scope[name] = OnnxTensor(name, tensor.elem_type, tensor.size, value=value)
        scope[name].is_sequence = True
        if elements is not None:
            scope[name].elements = [OnnxTensor(name, tensor.elem_type, tensor.size, value=value) for _ in elements]


def _element(tensor: OnnxTensor) -> OnnxTensor:
    """One element of a sequence, which stands for all of them; a tensor that is no sequence as it is."""
    if not tensor.is_sequence:
        return tensor
    first = tensor.elements[0] if tensor.elements else tensor
    return OnnxTensor(tensor.name, first.elem_type, first.size, value=first.value)


CONTROL_FLOW: dict[str, ControlFlow] = {
    "If": _if,
    "Loop": import_loop,
    "Scan": import_scan,
    "SequenceMap": _sequence_map,
    **SEQUENCES,
}
