"""Loops of ONNX: the body of a Loop or Scan once, with the number of its rounds where it is known.

A variable that every round changes depends on what enters the loop, also where it starts from a constant; one that no
round changes is the tensor outside, so that weights stay weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from cgir import TraceError
from cgir.graph import Gap
from frontends.common.loop_state import changing_state
from frontends.common.tape import Size, Value

from .batch_checks import check_steps
from .graph_walk import OnnxImporter
from .loop_analysis import count_rounds, invariant_states
from .parameters import as_initial_state
from .subgraphs import import_body
from .tensors import BOOL, INT64, OnnxTensor, Scope, get_attribute
from .topological_order import read_names


@dataclass(frozen=True, slots=True)
class _Rounds:
    """The rounds of a loop.

    Attributes:
        trips: their number, None where it is unknown.
        states: the variables as they enter the loop.
        invariant: indices of those that no round changes.
        axes: of the results that a body returns for each round, where these are stacked.
        lead: axes before all others in results, of the batch of old Scans.
    """

    trips: int | None
    states: list[OnnxTensor]
    invariant: set[int]
    axes: list[int]
    lead: Size = ()


def import_loop(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
    """A Loop: its body once; the results of all rounds are stacked.

    Args:
        importer: of the model.
        node: the loop.
        scope: tensors outside; the results are added.
    """
    names = (*node.input, *[""] * (2 - len(node.input)))
    max_trips, condition, *carried = (scope[name] if name else None for name in names)
    states = [as_initial_state(tensor) for tensor in carried if tensor is not None]
    body = get_attribute(node, "body")
    invariant = invariant_states(body, 2, len(states))
    trips = count_rounds(importer, node, scope, (max_trips, condition), states)
    num_stacked = len(body.output) - 1 - len(states)
    rounds = _Rounds(trips, states, invariant, [0] * num_stacked)
    if trips == 0:
        _bind_unchanged(importer, node, scope, rounds)
        return
    outside = _entering(node, scope, states)
    arguments = [
        OnnxTensor("iteration", INT64, ()),
        OnnxTensor("condition", BOOL, (), np.array(True)),
        *(_variable(importer, tensor, outside, slot in invariant) for slot, tensor in enumerate(states)),
    ]
    start = len(importer.tape.nodes)
    results = import_body(importer, node, "body", scope, arguments, "body")[1:]
    unknown = [
        tensor for tensor in (max_trips, condition) if trips is None and tensor is not None and not tensor.static
    ]
    _finish(importer, node, scope, rounds, start, unknown, results)


def import_scan(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope) -> None:
    """A Scan: its body once, for a slice of every sequence.

    Args:
        importer: of the model.
        node: the loop.
        scope: tensors outside; the results are added.
    """
    num_sequences = get_attribute(node, "num_scan_inputs")
    batched = importer.inference.opsets.get("", 9) < 9
    body = get_attribute(node, "body")
    inputs = [scope[name] for name in node.input if name]
    inputs = inputs[1:] if batched and len(node.input) == len(body.input) + 1 and node.input[0] else inputs
    if not 0 < num_sequences <= len(inputs):
        raise TraceError(f"num_scan_inputs is {num_sequences}, expected 1 to {len(inputs)}, the number of its inputs")
    states = [as_initial_state(tensor) for tensor in inputs[: len(inputs) - num_sequences]]
    sequences = inputs[len(inputs) - num_sequences :]
    axes = get_attribute(node, "scan_input_axes") or [0] * num_sequences
    axes = [1 if batched else axis % len(tensor.size) for axis, tensor in zip(axes, sequences, strict=True)]
    num_stacked = len(body.output) - len(states)
    out_axes = get_attribute(node, "scan_output_axes") or [0] * num_stacked
    invariant = set() if batched else invariant_states(body, 0, len(states))
    lead = (inputs[0].size[0],) if batched else ()
    rounds = _Rounds(sequences[0].size[axes[0]], states, invariant, out_axes, lead)
    if rounds.trips == 0:
        _bind_unchanged(importer, node, scope, rounds)
        return
    entering = _entering(node, scope, [*states, *sequences])
    variables = [
        _slice(importer, tensor, (0,)) if batched else _variable(importer, tensor, entering, slot in invariant)
        for slot, tensor in enumerate(states)
    ]
    start = len(importer.tape.nodes)
    slices = [
        _slice(importer, tensor, (0, 1) if batched else (axis,)) for tensor, axis in zip(sequences, axes, strict=True)
    ]
    if len(rounds.invariant) < len(states) or not states:
        check_steps(importer.tape, node.name or "scan", list(zip(sequences, axes, strict=True)))
    results = import_body(importer, node, "body", scope, [*variables, *slices], "body")
    _finish(importer, node, scope, rounds, start, (), results)


# --- variables


def _variable(
    importer: OnnxImporter, tensor: OnnxTensor, entering: OnnxTensor | None, is_invariant: bool
) -> OnnxTensor:
    """A variable as a loop's body sees it.

    Args:
        importer: of the model.
        tensor: as it enters the loop.
        entering: a tensor that enters the loop and depends on a graph input, if there is one.
        is_invariant: whether no round changes it.
    """
    if is_invariant:
        return tensor
    variable = OnnxTensor(tensor.name, tensor.elem_type, tensor.size, None, tensor.value)
    variable.is_sequence, variable.elements = tensor.is_sequence, tensor.elements
    if tensor.static and not tensor.is_sequence and entering is not None and (tensor.is_floating or tensor.size):
        initial, before = tensor.to_value(importer.tape), entering.to_value(importer.tape)
        variable.value = changing_state(importer.tape, initial, before, tensor.is_floating)
    return variable


def _entering(node: onnx.NodeProto, scope: Scope, tensors: Sequence[OnnxTensor]) -> OnnxTensor | None:
    """A tensor that depends on a graph input and is read by a loop: of its operands, or what its body captures."""
    captured = (scope[name] for name in read_names(node) if name in scope)
    return next((tensor for tensor in (*tensors, *captured) if not tensor.static and not tensor.is_sequence), None)


def _slice(importer: OnnxImporter, tensor: OnnxTensor, dropped_axes: Sequence[int]) -> OnnxTensor:
    """One element of a tensor along some axes, which disappear."""
    kept_axes = [axis for axis in range(len(tensor.size)) if axis not in dropped_axes]
    size = tuple(tensor.size[axis] for axis in kept_axes)
    axis_map = {old: new for new, old in enumerate(kept_axes)}
    [value] = importer.emit("Slice", "slice", [tensor], [size], axis_map=axis_map)
    return OnnxTensor(f"{tensor.name}.element", tensor.elem_type, size, value=value)


# --- results


def _finish(
    importer: OnnxImporter,
    node: onnx.NodeProto,
    scope: Scope,
    rounds: _Rounds,
    start: int,
    entering: Sequence[OnnxTensor],
    results: Sequence[OnnxTensor],
) -> None:
    """Append the Loop node of a loop whose body is on the tape, and bind its results.

    Args:
        importer: of the model.
        node: the loop.
        scope: where the results are bound.
        rounds: of the loop.
        start: index of the first node of the body.
        entering: what enters the loop beside its variables.
        results: of the body: the variables after a round, and what is stacked.
    """
    if rounds.trips is None:
        importer.tape.unknown_trips(start, node.name or node.output[0])
    else:
        importer.tape.scale_trips(start, rounds.trips)
    last, stacked = list(results[: len(rounds.states)]), results[len(rounds.states) :]
    changed = [slot for slot in range(len(last)) if slot not in rounds.invariant]
    parts = [tensor for slot in changed for tensor in _new_elements(rounds.states[slot], last[slot])]
    sizes = [_final_size(importer, rounds, slot, last[slot]) for slot in changed]
    sizes += [_stacked_size(rounds, tensor, axis) for tensor, axis in zip(stacked, rounds.axes, strict=True)]
    states = [rounds.states[slot] for slot in changed if not _is_constant(rounds.states[slot])]
    operands = [*entering, *states, *(last[slot] for slot in changed), *stacked, *parts]
    bodies = [last[slot] for slot in changed] + list(stacked)
    values = importer.emit("Loop", "loop", operands, [*sizes, *(part.size for part in parts)]) if sizes else []
    tensors = [_result(tensor, value) for tensor, value in zip(bodies, values, strict=False)]
    _bind_elements(importer, rounds, changed, last, tensors, values[len(bodies) :])
    after = list(rounds.states)
    for slot, tensor in zip(changed, tensors, strict=False):
        after[slot] = tensor
    _bind(node, scope, [*after, *tensors[len(changed) :]])


def _is_constant(tensor: OnnxTensor) -> bool:
    return tensor.static and tensor.value is None and not tensor.is_param


def _result(tensor: OnnxTensor, value: Value) -> OnnxTensor:
    """A result of a loop, of the type that its body returns."""
    result = OnnxTensor(tensor.name, tensor.elem_type, value.size, value=value)
    result.is_sequence = tensor.is_sequence
    return result


def _final_size(importer: OnnxImporter, rounds: _Rounds, slot: int, after: OnnxTensor) -> Size:
    """The size of a variable after all rounds, if each lets it grow like the first one."""
    before = rounds.states[slot].size
    if before == after.size or rounds.lead or after.is_sequence:
        return (*rounds.lead, *after.size)
    reason = f"the variable {after.name!r} of a loop changes its size; all rounds are counted like the first one"
    importer.tape.gaps.append(Gap("FLOPs", reason))
    if rounds.trips is None or len(before) != len(after.size):
        return after.size
    return tuple(max(a + rounds.trips * (b - a), 0) for a, b in zip(before, after.size, strict=True))


def _stacked_size(rounds: _Rounds, tensor: OnnxTensor, axis: int) -> Size:
    """The size of the results of all rounds, stacked on a new axis; of one round where their number is unknown."""
    place = axis % (len(tensor.size) + 1)
    return (*rounds.lead, *tensor.size[:place], 1 if rounds.trips is None else rounds.trips, *tensor.size[place:])


def _bind(node: onnx.NodeProto, scope: Scope, tensors: Sequence[OnnxTensor]) -> None:
    scope.update((name, tensor) for name, tensor in zip(node.output, tensors, strict=False) if name)


def _bind_unchanged(importer: OnnxImporter, node: onnx.NodeProto, scope: Scope, rounds: _Rounds) -> None:
    """The results of a loop of no rounds: the variables as they are, and nothing stacked."""
    stacked = []
    for info, axis in zip(get_attribute(node, "body").output[-len(rounds.axes) :], rounds.axes, strict=False):
        proto = info.type.tensor_type
        size = [dim.dim_value if dim.dim_value > 0 else 1 for dim in proto.shape.dim]
        size.insert(axis % (len(size) + 1), 0)
        stacked.append(OnnxTensor(info.name, proto.elem_type or 1, (*rounds.lead, *size)))
    _bind(node, scope, [*rounds.states, *stacked])


# --- sequences that grow


def _new_elements(before: OnnxTensor, after: OnnxTensor) -> list[OnnxTensor]:
    """The elements that a round appends to a sequence, where these are known."""
    old, new = before.elements, after.elements
    if not after.is_sequence or old is None or new is None or new[: len(old)] != old:
        return []
    return new[len(old) :]


def _bind_elements(
    importer: OnnxImporter,
    rounds: _Rounds,
    changed: Sequence[int],
    last: Sequence[OnnxTensor],
    tensors: Sequence[OnnxTensor],
    values: Sequence[Value],
) -> None:
    """Give sequences that every round appends to the elements of all rounds.

    Args:
        importer: of the model.
        rounds: of the loop.
        changed: indices of the variables that change.
        last: the variables after a round.
        tensors: those that change, after the loop.
        values: of the elements that a round appends, after the loop, for all sequences in turn.
    """
    queue = list(values)
    for slot, tensor in zip(changed, tensors, strict=False):
        new = _new_elements(rounds.states[slot], last[slot])
        of_round = [_result(part, queue.pop(0)) for part in new]
        before = rounds.states[slot].elements
        if tensor.is_sequence and rounds.trips is not None and before is not None and new:
            importer.limits.check("nodes", len(before) + len(of_round) * rounds.trips, "a sequence in a loop")
            tensor.elements = before + of_round * rounds.trips
            tensor.size = new[0].size
