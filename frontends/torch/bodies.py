"""Bodies of PyTorch's control flow: their nodes, the node that reads their results, and what loops carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frontends.common.axis_layout import NO_LAYOUT, AxisLayout, stored_shape
from frontends.common.tape import OpCall, Operand

from .recorder import Recorder
from .tensor_values import tensors_in
from .typing import Function

Body = Callable[[Sequence[Any]], Sequence[Any]]  # what an iteration starts with -> what it ends with
MAX_LISTED_ROUNDS = 1 << 10  # rounds of a counting loop whose condition is evaluated one by one
MAX_ROUNDS = 1 << 40


def run_body(recorder: Recorder, scope: str, function: Function, args: Sequence[object], trips: int = 1) -> Any:
    """The result of a body that runs `trips` times, its nodes under the module path `scope`.

    Args:
        recorder: of the trace.
        scope: name of the body in the module path of its nodes.
        function: the body.
        args: of the body.
        trips: how often it runs.
    """
    start = len(recorder.tape.nodes)
    with recorder.tape.child_scope(scope), recorder:
        result = function(*args)
    if trips != 1:
        recorder.tape.scale_trips(start, trips)
    return result


def join(
    recorder: Recorder,
    op: str,
    name: str,
    inputs: Sequence[object],
    results: Sequence[Any],
    step_results: Sequence[Tensor] = (),
    num_steps: int = 0,
) -> list[Any]:
    """Emit the node that reads what the bodies computed.

    Args:
        recorder: of the trace.
        op: If or Loop.
        name: of the node.
        inputs: what it reads; items that are no tensors are left out.
        results: examples of its results.
        step_results: of one step of a loop, which it stacks.
        num_steps: of the loop.

    Returns:
        New tensors like `results`, then like `step_results` stacked `num_steps` times.
    """
    values = recorder.values
    operands = [
        Operand(values.read(values.as_traced(tensor)), tuple(tensor.shape)) for tensor in tensors_in(list(inputs))
    ]
    sources = [(result, 0) for result in results] + [(result, 1) for result in step_results]
    joined = [
        meta_like(source, (num_steps,) * stacked) if isinstance(source, Tensor) else source
        for source, stacked in sources
    ]
    outputs = tensors_in(joined)
    if not outputs:
        return joined
    node, _, static = recorder.tape.emit(OpCall(op, name, operands), [tuple(tensor.shape) for tensor in outputs])
    for (source, stacked), tensor in zip(sources, joined, strict=True):
        if isinstance(tensor, Tensor):
            layout = values.read(values.as_traced(source)).layout
            channel, batch = (None if axis is None else axis + stacked for axis in (layout.channel, layout.batch))
            values.bind(tensor, node, layout._replace(channel=channel, batch=batch), static)
    return joined


def meta_like(tensor: Tensor, leading: tuple[int, ...] = ()) -> Tensor:
    """A new tensor on the meta device, with further axes in front."""
    return torch.empty((*leading, *tensor.shape), dtype=tensor.dtype, device="meta")


@contextmanager
def scratch(recorder: Recorder) -> Iterator[None]:
    """What is recorded inside is forgotten: bodies are tried out on a copy of the tape."""
    tape, values = recorder.tape, recorder.values
    recorder.tape = tape.copy()
    recorder.values = values.copy(recorder.tape)
    try:
        yield
    finally:
        recorder.tape, recorder.values = tape, values


# --- what a loop carries from one iteration to the next


class Carry(NamedTuple):
    """Which of the tensors that a loop carries its body changes.

    Attributes:
        variables: slots whose contents are unknown inside the body -> layout of the result.
        counters: slots of integers that are computed from constants alone -> their values after one iteration.
    """

    variables: dict[int, AxisLayout]
    counters: dict[int, Tensor]


def analyse(recorder: Recorder, carried: Sequence[Any], body: Body, witness: Tensor | None) -> Carry:
    """Try a body out until what it changes no longer grows: what enters as a constant need not stay one.

    Args:
        recorder: of the trace.
        carried: what enters the first iteration.
        body: of the loop.
        witness: a tensor that enters the loop and depends on a graph input, if there is one.
    """
    carry = Carry({}, {})
    while True:
        changed, counters = {}, {}
        with scratch(recorder):
            start = loop_variables(recorder, carried, carry._replace(counters={}), witness)
            for slot, (before, after) in enumerate(zip(start, body(start), strict=False)):
                if slot in carry.variables or not isinstance(after, Tensor) or _is_same(recorder, before, after):
                    continue
                if _is_integer(before) and _is_integer(after):
                    counters[slot] = after
                else:
                    changed[slot] = recorder.values.read(recorder.values.as_traced(after)).layout
        if not changed:
            return carry._replace(counters=counters)
        carry = Carry(carry.variables | changed, {})


def _is_integer(tensor: object) -> bool:
    return isinstance(tensor, Tensor) and not tensor.is_meta and not (tensor.is_floating_point() or tensor.is_complex())


def _is_same(recorder: Recorder, before: Any, after: Tensor) -> bool:
    """Whether an iteration returns a tensor as it got it."""
    if before is after:
        return True
    values, nodes = recorder.values, recorder.tape.nodes
    if not isinstance(before, Tensor) or before.shape != after.shape:
        return False
    if not values.is_traced(before) and not values.is_traced(after):
        return torch.equal(before, after)
    origin = values.read(values.as_traced(after)).node
    while nodes[origin].op == "Identity" and len(nodes[origin].inputs) == 1:  # copies
        origin = nodes[origin].inputs[0]
    return origin == values.read(values.as_traced(before)).node


def loop_variables(recorder: Recorder, carried: Sequence[Any], carry: Carry, witness: Tensor | None) -> list[Any]:
    """What enters a body as any iteration sees it.

    Args:
        recorder: of the trace.
        carried: what enters the first iteration.
        carry: what the body changes.
        witness: a tensor that enters the loop and depends on a graph input, if there is one.
    """
    variables = list(carried)
    for slot in carry.counters:
        variables[slot] = unknown_constant(recorder, carried[slot])
    for slot, layout in carry.variables.items():
        if carried[slot].dim() == 0 and not recorder.values.is_traced(carried[slot]) and layout == NO_LAYOUT:
            variables[slot] = unknown_constant(recorder, carried[slot])
        else:
            variables[slot] = _state(recorder, carried[slot], layout, witness)
    return variables


def unknown_constant(recorder: Recorder, tensor: Tensor) -> Tensor:
    """A tensor that depends on no graph input, and has different contents in each iteration."""
    unknown = meta_like(tensor)
    node = recorder.tape.add("Constant", "constant", shape=tuple(tensor.shape))
    recorder.values.bind(unknown, node, NO_LAYOUT, True)
    return unknown


def _state(recorder: Recorder, tensor: Tensor, layout: AxisLayout, witness: Tensor | None) -> Tensor:
    """A tensor that depends on the graph's inputs from the second iteration on."""
    tape, values = recorder.tape, recorder.values
    before = values.read(values.as_traced(tensor))
    if tape.nodes[before.node].op == "Input":  # its first reader decides where its channels are
        return tensor
    size = tuple(tensor.shape)
    layout = layout if before.static else before.layout
    if layout.batch is None and size[:1] == (tape.batch,) and layout.channel != 0:
        layout = layout._replace(batch=0)
    if witness is None:
        source = next((index for index, node in enumerate(tape.nodes) if node.op == "Input"), before.node)
    else:
        source = values.read(witness).node
    shape = stored_shape(size, layout, tape.batch)
    node = tape.add("Identity", "state", (before.node, source), (shape, tape.nodes[source].shape), shape)
    state = meta_like(tensor)
    values.bind(state, node, layout, False)
    return state


# --- how often a loop runs


def trip_count(
    recorder: Recorder, condition: Body, body: Body, carried: Sequence[Any], carry: Carry, witness: Tensor | None
) -> int | None:
    """The number of iterations of a loop whose condition reads nothing but counters that grow by a constant.

    Args:
        recorder: of the trace.
        condition: whether an iteration starts with these tensors.
        body: of the loop.
        carried: what enters the first iteration.
        carry: what the body changes.
        witness: a tensor that enters the loop and depends on a graph input, if there is one.

    Returns:
        None where it is unknown.
    """

    def values_at(rounds: int) -> list[Any]:
        start = loop_variables(recorder, carried, carry._replace(counters={}), witness)
        for slot, after in carry.counters.items():
            start[slot] = carried[slot] + (after - carried[slot]) * rounds
        return start

    def goes_on(rounds: int) -> bool | None:
        [answer] = condition(values_at(rounds))
        if isinstance(answer, Tensor):
            return None if recorder.values.is_traced(answer) else bool(answer)
        return bool(answer)

    if any(tensor.dtype == torch.bool for tensor in carry.counters.values()):
        return None
    with scratch(recorder):  # one for all rounds: it copies the tape
        trips = _first_false(goes_on) if goes_on(0) is not None else None
    if trips is None or trips < 2:
        return trips
    for rounds in (1, trips - 1):  # the step is the same in the second and in the last iteration
        with scratch(recorder):
            start = values_at(rounds)
            results = body(start)
            expected = values_at(rounds + 1)
            if not all(torch.equal(results[slot], expected[slot]) for slot in carry.counters):
                return None
    return trips


def _first_false(goes_on: Callable[[int], bool | None]) -> int | None:
    """The first round that does not start, None if none is found."""
    for rounds in range(MAX_LISTED_ROUNDS):
        if not goes_on(rounds):
            return rounds
    low, high = MAX_LISTED_ROUNDS - 1, MAX_LISTED_ROUNDS
    while goes_on(high):
        low, high = high, 2 * high
        if high > MAX_ROUNDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if goes_on(middle) else (low, middle)
    return high
