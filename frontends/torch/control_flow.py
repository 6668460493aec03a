"""Control flow that PyTorch keeps as higher-order operators (`torch.cond`, `while_loop`, `scan`, `map`, checkpoints).

The nodes of the bodies come first, then one If or Loop node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from cgir import TraceError
from frontends.common.tape import OpCall, Operand

from .recorder import Recorder
from .tensor_values import tensors_in
from .typing import Args, Function, Kwargs, Number


def record_control_flow(recorder: Recorder, name: str, args: Args, kwargs: Kwargs) -> Any:
    """Record a higher-order operator; its functions run under the recorder.

    Args:
        recorder: of the trace.
        name: of the operator.
        args: positional arguments.
        kwargs: keyword arguments.

    Raises:
        TraceError: the operator is unknown.
    """
    if name not in HIGHER_ORDER_OPS:
        supported = ", ".join(sorted(HIGHER_ORDER_OPS))
        raise TraceError(f"the higher-order operator {name} cannot be followed; supported are {supported}")
    return HIGHER_ORDER_OPS[name](recorder, *args, **kwargs)


def _run_body(recorder: Recorder, scope: str, function: Function, args: Sequence[object], trips: int = 1) -> Any:
    """The result of a body that runs `trips` times, its nodes under the module path `scope`."""
    start = len(recorder.tape.nodes)
    with recorder.tape.child_scope(scope), recorder:
        result = function(*args)
    if trips != 1:
        recorder.tape.scale_trips(start, trips)
    return result


def _join(
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
        _meta_like(source, (num_steps,) * stacked) if isinstance(source, Tensor) else source
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


def _meta_like(tensor: Tensor, leading: tuple[int, ...]) -> Tensor:
    return torch.empty((*leading, *tensor.shape), dtype=tensor.dtype, device="meta")


def _first_elements(recorder: Recorder, tensors: Sequence[Tensor]) -> list[Tensor]:
    with recorder:
        return [tensor.select(0, 0) for tensor in tensors]


# --- branches and loops


def _cond(
    recorder: Recorder, pred: Tensor | Number, true_fn: Function, false_fn: Function, operands: Sequence[object] = ()
) -> Any:
    if not isinstance(pred, Tensor):
        return _run_body(recorder, "then" if pred else "else", true_fn if pred else false_fn, operands)
    then_results, structure = tree_flatten(_run_body(recorder, "then", true_fn, operands))
    else_results, _ = tree_flatten(_run_body(recorder, "else", false_fn, operands))
    joined = _join(recorder, "If", "cond", [pred, *then_results, *else_results], then_results)
    return tree_unflatten(joined, structure)


def _while_loop(
    recorder: Recorder,
    cond_fn: Function,
    body_fn: Function,
    carried: Sequence[object],
    additional: Sequence[object] = (),
) -> Any:
    """The number of iterations depends on values, so the nodes of the body count once."""
    start = len(recorder.tape.nodes)
    pred = _run_body(recorder, "cond", cond_fn, [*carried, *additional])
    results, _ = tree_flatten(_run_body(recorder, "body", body_fn, [*carried, *additional]))
    recorder.tape.unknown_trips(start, "while_loop")
    return tuple(_join(recorder, "Loop", "while_loop", [*carried, pred, *results], list(carried)))


def _scan(
    recorder: Recorder,
    combine_fn: Function,
    init: Sequence[Tensor],
    xs: Sequence[Tensor],
    additional: Sequence[object] = (),
) -> Any:
    num_steps = xs[0].shape[0]
    args = [*init, *_first_elements(recorder, xs), *additional]
    results, structure = tree_flatten(_run_body(recorder, "body", combine_fn, args, num_steps))
    carried, steps = results[: len(init)], results[len(init) :]
    joined = _join(recorder, "Loop", "scan", [*init, *carried, *steps], list(init), steps, num_steps)
    return tree_unflatten(joined, structure)


def _map(recorder: Recorder, function: Function, xs: Sequence[Tensor], additional: Sequence[object] = ()) -> list[Any]:
    num_steps = xs[0].shape[0]
    args = [*_first_elements(recorder, xs), *additional]
    results, _ = tree_flatten(_run_body(recorder, "body", function, args, num_steps))
    return _join(recorder, "Loop", "map", results, [], results, num_steps)


def _associative_scan(
    recorder: Recorder, combine_fn: Function, xs: Sequence[Tensor], additional: Sequence[object] = ()
) -> Any:
    num_steps = xs[0].shape[0]
    first = _first_elements(recorder, xs)
    args = [*first, *first, *additional]
    results, _ = tree_flatten(_run_body(recorder, "body", combine_fn, args, max(num_steps - 1, 1)))
    return _join(recorder, "Loop", "associative_scan", results, [], results, num_steps)


# --- operators that run one function as it is


def _inlined(position: int) -> Function:
    """Operators that run one function (no-grad, autocast, checkpoints), the argument at `position`, on those behind."""

    def run(recorder: Recorder, *args: Any, **_: object) -> Any:
        with recorder:
            return args[position](*args[position + 1 :])

    return run


def _strict_mode(recorder: Recorder, function: Function, args: Sequence[object]) -> Any:
    with recorder:
        return function(*args)


def _hints_wrapper(
    recorder: Recorder, function: Function, args: Sequence[object], kwargs: Kwargs, hints: object = None
) -> Any:
    with recorder:
        return function(*args, **kwargs)


def _invoke_subgraph(recorder: Recorder, function: Function, identifier: object, *args: object) -> Any:
    with recorder:
        return function(*args)


def _flex_attention(
    recorder: Recorder, query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention whose mask and score changes are functions; the two further results are statistics."""
    grouped = query.shape[1] != key.shape[1]
    with recorder:
        output = torch.nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=grouped)
    statistics = torch.empty(query.shape[:-1], dtype=torch.float32, device="meta")
    return output, statistics, statistics.clone()


HIGHER_ORDER_OPS: dict[str, Function] = {
    "cond": _cond,
    "while_loop": _while_loop,
    "scan": _scan,
    "map_impl": _map,
    "associative_scan": _associative_scan,
    "wrap_with_set_grad_enabled": _inlined(1),
    "wrap_with_autocast": _inlined(4),
    "tag_activation_checkpoint": _inlined(0),
    "wrap_activation_checkpoint": _inlined(0),
    "wrap": _inlined(0),
    "strict_mode": _strict_mode,
    "hints_wrapper": _hints_wrapper,
    "invoke_subgraph": _invoke_subgraph,
    "flex_attention": _flex_attention,
}
