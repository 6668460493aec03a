"""Loops that PyTorch keeps as higher-order operators: the nodes of the body once, then one Loop node.

The body is recorded with what any iteration sees: tensors that it changes are unknown, whatever they start with. Nodes
of a body that runs a known number of times have that number as `trips`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from .batch_checks import check_steps
from .bodies import Carry, analyse, join, loop_variables, run_body, trip_count, unknown_constant
from .recorder import Recorder
from .typing import Function


def while_loop(
    recorder: Recorder,
    cond_fn: Function,
    body_fn: Function,
    carried: Sequence[Any],
    additional: Sequence[object] = (),
) -> Any:
    """The body with its number of iterations where a counter decides; otherwise its nodes count once.

    Args:
        recorder: of the trace.
        cond_fn: whether another iteration starts.
        body_fn: the body.
        carried: what enters the first iteration.
        additional: tensors that every iteration reads.
    """

    def condition(start: Sequence[Any]) -> Sequence[Any]:
        return [run_body(recorder, "cond", cond_fn, [*start, *additional])]

    def body(start: Sequence[Any]) -> Sequence[Any]:
        return tree_flatten(run_body(recorder, "body", body_fn, [*start, *additional]))[0]

    witness = _dynamic(recorder, carried)
    carry = analyse(recorder, carried, body, witness)
    trips = trip_count(recorder, condition, body, carried, carry, witness)
    if trips == 0:
        return tuple(carried)
    if trips == 1:
        return tuple(body(carried))
    variables = loop_variables(recorder, carried, carry, witness)
    start = len(recorder.tape.nodes)
    pred = condition(variables) if trips is None else []
    results = body(variables)
    if trips is None:
        recorder.tape.unknown_trips(start, "while_loop")
    else:
        recorder.tape.scale_trips(start, trips)
    joined = join(recorder, "Loop", "while_loop", [*carried, *pred, *results], variables)
    return tuple(_final(slot, carried, carry, trips, result) for slot, result in enumerate(joined))


def _final(slot: int, carried: Sequence[Any], carry: Carry, trips: int | None, result: Any) -> Any:
    """What a loop returns: tensors that it leaves alone, and counters after a known number of rounds, are known."""
    if slot in carry.variables:
        return result
    if slot not in carry.counters:
        return carried[slot]
    return result if trips is None else carried[slot] + (carry.counters[slot] - carried[slot]) * trips


def scan(
    recorder: Recorder,
    combine_fn: Function,
    init: Sequence[Tensor],
    xs: Sequence[Tensor],
    additional: Sequence[object] = (),
) -> Any:
    """A step for every element of `xs`, which reads what the step before carried on.

    Args:
        recorder: of the trace.
        combine_fn: the step.
        init: what enters the first step.
        xs: sequences along their first axis.
        additional: tensors that every step reads.
    """
    num_steps = xs[0].shape[0]
    check_steps(recorder.values, "scan", xs)
    elements = _elements(recorder, xs)

    def body(start: Sequence[Any]) -> Any:
        return run_body(recorder, "body", combine_fn, [*start, *elements, *additional], num_steps)

    witness = _dynamic(recorder, elements)
    carry = analyse(recorder, init, lambda start: tree_flatten(body(start))[0], witness)
    variables = loop_variables(recorder, init, carry, witness)
    results, structure = tree_flatten(body(variables))
    carried, steps = results[: len(init)], results[len(init) :]
    joined = join(recorder, "Loop", "scan", [*init, *carried, *steps], variables, steps, num_steps)
    for slot in range(len(init)):
        joined[slot] = _final(slot, init, carry, num_steps, joined[slot])
    return tree_unflatten(joined, structure)


def map_impl(
    recorder: Recorder, function: Function, xs: Sequence[Tensor], additional: Sequence[object] = ()
) -> list[Any]:
    """A function of every element of `xs`.

    Args:
        recorder: of the trace.
        function: of one element.
        xs: sequences along their first axis.
        additional: tensors that every call reads.
    """
    num_steps = xs[0].shape[0]
    args = [*_elements(recorder, xs), *additional]
    results, _ = tree_flatten(run_body(recorder, "body", function, args, num_steps))
    return join(recorder, "Loop", "map", results, [], results, num_steps)


def associative_scan(
    recorder: Recorder, combine_fn: Function, xs: Sequence[Tensor], additional: Sequence[object] = ()
) -> Any:
    """Prefixes of `xs` under an operation that combines two elements, as often as a loop would call it.

    Args:
        recorder: of the trace.
        combine_fn: the operation.
        xs: sequences along their first axis.
        additional: tensors that every call reads.
    """
    num_steps = xs[0].shape[0]
    check_steps(recorder.values, "associative_scan", xs)
    first = _elements(recorder, xs)

    def body(start: Sequence[Any]) -> Sequence[Any]:
        args = [*start, *first, *additional]
        return tree_flatten(run_body(recorder, "body", combine_fn, args, max(num_steps - 1, 1)))[0]

    witness = _dynamic(recorder, first)
    carry = analyse(recorder, first, body, witness)
    results = body(loop_variables(recorder, first, carry, witness))
    return join(recorder, "Loop", "associative_scan", results, [], results, num_steps)


def _elements(recorder: Recorder, xs: Sequence[Tensor]) -> list[Tensor]:
    """One element of every tensor; those of constants differ from iteration to iteration."""
    with recorder:
        elements = [tensor.select(0, 0) for tensor in xs]
    return [
        element if recorder.values.is_traced(element) else unknown_constant(recorder, element) for element in elements
    ]


def _dynamic(recorder: Recorder, tensors: Sequence[Any]) -> Tensor | None:
    """The first tensor that depends on a graph input."""
    values = recorder.values
    traced = (tensor for tensor in tensors if isinstance(tensor, Tensor) and values.is_traced(tensor))
    return next((tensor for tensor in map(values.as_traced, traced) if not values.read(tensor).static), None)
