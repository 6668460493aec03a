"""Control flow and sequences of ONNX.

Bodies of `If`, `Loop` and `Scan` are followed where they stand: their nodes come first, then one node "If" or "Loop"
that reads the condition or the initial values, and the results of the bodies. Nodes of a body that runs a known number
of times carry it as `trips`.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from cgir import TraceError
from frontends.common.tape import Size

from .graph_inputs import initializers
from .sequences import SEQUENCES
from .tensors import Call, Tensor, attribute

if TYPE_CHECKING:
    from .importer import Walk

Scope = MutableMapping[str, Tensor]
DEPTH = 16  # nesting of subgraphs that is followed


def _body(
    walk: Walk, node: onnx.NodeProto, graph: onnx.GraphProto, scope: Scope, given: Sequence[Tensor], place: str
) -> list[Tensor]:
    """Follow a subgraph whose inputs are `given`; returns its results. What it reads from outside is found in `scope`."""
    if walk.depth >= DEPTH:
        raise TraceError(f"subgraphs are nested more than {DEPTH} deep")
    if len(graph.input) > len(given):
        raise TraceError(f"its subgraph has {len(graph.input)} inputs, but gets {len(given)}")
    inner: Scope = dict(scope)
    for name, tensor in initializers(graph, "a subgraph").items():
        inner[name] = tensor
    for info, tensor in zip(graph.input, given, strict=False):
        inner[info.name] = tensor
    path = walk.tape.path[-1]
    label = f"{node.name or node.op_type.lower()}".rpartition("/")[2]
    walk.depth += 1
    try:
        with walk.tape.module_scope(".".join(part for part in (path, label, place) if part)):
            walk.run(graph.node, inner, nested=True)
    finally:
        walk.depth -= 1
    return [walk.lookup(info.name, inner, "the subgraph's result") for info in graph.output]


def _if(walk: Walk, node: onnx.NodeProto, scope: Scope) -> None:
    """Both branches, or the one that a known condition takes."""
    condition = walk.lookup(node.input[0], scope, "the condition")
    branches = {place: attribute(node, f"{place}_branch") for place in ("then", "else")}
    if condition.data is not None:
        taken = "then" if bool(np.asarray(condition.data).reshape(-1)[0]) else "else"
        for name, tensor in zip(node.output, _body(walk, node, branches[taken], scope, (), taken), strict=False):
            scope[name] = tensor
        return
    results = [_body(walk, node, branches[place], scope, (), place) for place in ("then", "else")]
    for slot, name in enumerate(node.output):
        pair = [result[slot] for result in results]
        size = _wider(*(tensor.size for tensor in pair))
        value = Call(walk.tape, node, [condition, *pair], [size], [pair[0].elem], 1, "if").emit(
            "If", [condition, *pair]
        )[0]
        scope[name] = Tensor(name, pair[0].elem, size, value=value)
        scope[name].sequence = pair[0].sequence


def _wider(a: Size, b: Size) -> Size:
    """The size of a tensor that is one of two; branches of other ranks have the larger one's."""
    if len(a) != len(b):
        return a if prod(a) >= prod(b) else b
    return tuple(max(pair) for pair in zip(a, b, strict=True))


def _loop(walk: Walk, node: onnx.NodeProto, scope: Scope) -> None:
    """The body once, with the number of rounds where it is known; results of all rounds are stacked."""
    graph = attribute(node, "body")
    most, condition, *carried = (scope[name] if name else None for name in (*node.input, *[""] * (2 - len(node.input))))
    trips = int(most.ints()[0]) if most is not None and most.known is not None else None
    start = len(walk.tape.nodes)
    tensors = [tensor for tensor in carried if tensor is not None]
    count = Tensor("iteration", 7, ())
    go_on = condition if condition is not None else Tensor("condition", 9, (), np.array(True))
    results = _body(walk, node, graph, scope, [count, go_on, *map(_unknown, tensors)], "body")
    most_read = [most] if trips is None and most is not None else []
    kept, scanned = results[1 : 1 + len(tensors)], results[1 + len(tensors) :]
    if trips is not None:
        walk.tape.scale_trips(start, trips)
    rounds = trips if trips is not None else 1
    sizes = [tensor.size for tensor in kept] + [(rounds, *tensor.size) for tensor in scanned]
    operands = [
        *most_read,
        *([condition] if condition is not None and condition.data is None else []),
        *tensors,
        *results[1:],
    ]
    _results(walk, node, scope, operands, sizes, [*kept, *scanned])


def _scan(walk: Walk, node: onnx.NodeProto, scope: Scope) -> None:
    """The body once for a slice of every sequence."""
    graph, sequences = attribute(node, "body"), attribute(node, "num_scan_inputs")
    batched = walk.inference.opsets.get("", 9) < 9
    given = [scope[name] for name in node.input if name]
    given = given[1:] if batched and len(node.input) == len(graph.input) + 1 and node.input[0] else given
    states, sequences_in = given[: len(given) - sequences], given[len(given) - sequences :]
    axes = attribute(node, "scan_input_axes") or [0] * sequences
    first = 1 if batched else 0
    axes = [first if batched else axis % len(tensor.size) for axis, tensor in zip(axes, sequences_in, strict=True)]
    trips = sequences_in[0].size[axes[0]]
    start = len(walk.tape.nodes)
    slices = [_slice(walk, node, tensor, axis, batched) for tensor, axis in zip(sequences_in, axes, strict=True)]
    begun = [_without_batch(walk, node, tensor) if batched else _unknown(tensor) for tensor in states]
    results = _body(walk, node, graph, scope, [*begun, *slices], "body")
    walk.tape.scale_trips(start, trips)
    kept, scanned = results[: len(states)], results[len(states) :]
    out = attribute(node, "scan_output_axes") or [0] * len(scanned)
    lead = (given[0].size[0],) if batched else ()
    sizes = [(*lead, *tensor.size) for tensor in kept]
    for tensor, axis in zip(scanned, out, strict=True):
        place = axis % (len(tensor.size) + 1)
        sizes.append((*lead, *tensor.size[:place], trips, *tensor.size[place:]))
    _results(walk, node, scope, [*states, *sequences_in, *results], sizes, [*kept, *scanned])


def _slice(walk: Walk, node: onnx.NodeProto, tensor: Tensor, axis: int, batched: bool) -> Tensor:
    """One element of a sequence."""
    gone = {0, 1} if batched else {axis}
    size = tuple(n for place, n in enumerate(tensor.size) if place not in gone)
    axes = {old: new for new, old in enumerate(place for place in range(len(tensor.size)) if place not in gone)}
    value = Call(walk.tape, node, [tensor], [size], [tensor.elem], 1, "slice").emit("Slice", [tensor], axis_map=axes)[0]
    return Tensor(f"{tensor.name}.element", tensor.elem, size, value=value)


def _without_batch(walk: Walk, node: onnx.NodeProto, tensor: Tensor) -> Tensor:
    value = Call(walk.tape, node, [tensor], [tensor.size[1:]], [tensor.elem], 1, "slice").emit(
        "Slice", [tensor], axis_map={axis: axis - 1 for axis in range(1, len(tensor.size))}
    )[0]
    return Tensor(f"{tensor.name}.element", tensor.elem, value.size, value=value)


def _unknown(tensor: Tensor) -> Tensor:
    """A tensor that goes round a loop: its values change."""
    copy = Tensor(tensor.name, tensor.elem, tensor.size, None, tensor.value, tensor.param)
    copy.weight, copy.sequence, copy.elements = False, tensor.sequence, None
    return copy


def _results(
    walk: Walk,
    node: onnx.NodeProto,
    scope: Scope,
    operands: Sequence[Tensor],
    sizes: list[Size],
    like: Sequence[Tensor],
) -> None:
    call = Call(walk.tape, node, list(operands), sizes, [], 1, "loop")
    values = call.emit("Loop", operands, sizes=sizes) if sizes else []
    for name, tensor, value in zip(node.output, like, values, strict=False):
        if name:
            scope[name] = Tensor(name, tensor.elem, value.size, value=value)
            scope[name].sequence = tensor.sequence


def _sequence_map(walk: Walk, node: onnx.NodeProto, scope: Scope) -> None:
    """The body once for an element: sequences of results stand for all of theirs."""
    given = [_unknown(scope[name]) for name in node.input if name]
    for tensor in given:
        tensor.sequence = False
        tensor.read(walk.tape)
    for name, tensor in zip(
        node.output, _body(walk, node, attribute(node, "body"), scope, given, "body"), strict=False
    ):
        scope[name] = Tensor(name, tensor.elem, tensor.size, value=tensor.read(walk.tape))
        scope[name].sequence = True


CONTROL: dict[str, Callable[[Any, onnx.NodeProto, Scope], None]] = {
    "If": _if,
    "Loop": _loop,
    "Scan": _scan,
    "SequenceMap": _sequence_map,
    **SEQUENCES,
}
