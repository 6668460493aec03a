"""Control flow that PyTorch keeps as operators (`torch.cond`, `while_loop`, `scan`, `map`, checkpoints): bodies inline,
then one If or Loop node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from cgir import TraceError
from frontends.common.tape import OpCall, Operand

from .tensor_values import tensors_in

if TYPE_CHECKING:
    from .recorder import Recorder

Function = Callable[..., Any]


def control(recorder: Recorder, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Record a higher-order operator; its functions run under the recorder.

    Raises:
        TraceError: it is none of the table.
    """
    if name not in OPERATORS:
        raise TraceError(
            f"the higher-order operator {name} cannot be followed; supported are {', '.join(sorted(OPERATORS))}"
        )
    return OPERATORS[name](recorder, *args, **kwargs)


def _run(recorder: Recorder, part: str, function: Function, args: Sequence[Any], trips: int = 1) -> Any:
    """The result of a body, its nodes under the module path `part`; in a loop, they say how often they run."""
    tape = recorder.tape
    start = len(tape.nodes)
    with tape.child_scope(part), recorder:
        result = function(*args)
    if trips != 1:
        tape.scale_trips(start, trips)
    return result


def _join(
    recorder: Recorder,
    op: str,
    name: str,
    inputs: Sequence[Any],
    results: Sequence[Any],
    steps: Sequence[Tensor] = (),
    count: int = 0,
) -> list[Any]:
    """The node that reads what the bodies computed. Its results are new tensors like `results`, then `steps` stacked
    `count` times.
    """
    values = recorder.values
    operands = [Operand(values.read(values.traced(tensor)), tuple(tensor.shape)) for tensor in tensors_in(list(inputs))]
    sources = [(result, 0) for result in results] + [(step, 1) for step in steps]
    fresh = [_like(result, (count,) * stacked) if isinstance(result, Tensor) else result for result, stacked in sources]
    outputs = tensors_in(fresh)
    if not outputs:
        return fresh
    node, _, static = recorder.tape.emit(OpCall(op, name, operands), [tuple(tensor.shape) for tensor in outputs])
    for (source, stacked), tensor in zip(sources, fresh, strict=True):
        if isinstance(tensor, Tensor):
            layout = values.read(values.traced(source)).layout
            channel, batch = (None if axis is None else axis + stacked for axis in (layout.channel, layout.batch))
            values.bind(tensor, node, layout._replace(channel=channel, batch=batch), static)
    return fresh


def _like(tensor: Tensor, ahead: tuple[int, ...]) -> Tensor:
    return torch.empty((*ahead, *tensor.shape), dtype=tensor.dtype, device="meta")


def _cond(recorder: Recorder, pred: Any, true_fn: Function, false_fn: Function, operands: Sequence[Any] = ()) -> Any:
    if not isinstance(pred, Tensor):
        return _run(recorder, "then" if pred else "else", true_fn if pred else false_fn, operands)
    then, form = tree_flatten(_run(recorder, "then", true_fn, operands))
    other, _ = tree_flatten(_run(recorder, "else", false_fn, operands))
    return tree_unflatten(_join(recorder, "If", "cond", [pred, *then, *other], then), form)


def _while(
    recorder: Recorder, cond_fn: Function, body_fn: Function, carried: Sequence[Any], additional: Sequence[Any] = ()
) -> Any:
    """How often the body runs depends on values, so its nodes count once."""
    pred = _run(recorder, "cond", cond_fn, [*carried, *additional])
    results, _ = tree_flatten(_run(recorder, "body", body_fn, [*carried, *additional]))
    return tuple(_join(recorder, "Loop", "while_loop", [*carried, pred, *results], list(carried)))


def _first(recorder: Recorder, tensors: Sequence[Tensor]) -> list[Tensor]:
    with recorder:
        return [tensor.select(0, 0) for tensor in tensors]


def _scan(
    recorder: Recorder,
    combine_fn: Function,
    init: Sequence[Tensor],
    xs: Sequence[Tensor],
    additional: Sequence[Any] = (),
) -> Any:
    count = xs[0].shape[0]
    flat, form = tree_flatten(_run(recorder, "body", combine_fn, [*init, *_first(recorder, xs), *additional], count))
    carry, steps = flat[: len(init)], flat[len(init) :]
    return tree_unflatten(_join(recorder, "Loop", "scan", [*init, *carry, *steps], list(init), steps, count), form)


def _map(recorder: Recorder, function: Function, xs: Sequence[Tensor], additional: Sequence[Any] = ()) -> Any:
    count = xs[0].shape[0]
    flat, _ = tree_flatten(_run(recorder, "body", function, [*_first(recorder, xs), *additional], count))
    return _join(recorder, "Loop", "map", flat, [], flat, count)


def _associative_scan(
    recorder: Recorder, combine_fn: Function, xs: Sequence[Tensor], additional: Sequence[Any] = ()
) -> Any:
    count = xs[0].shape[0]
    first = _first(recorder, xs)
    flat, _ = tree_flatten(_run(recorder, "body", combine_fn, [*first, *first, *additional], max(count - 1, 1)))
    return _join(recorder, "Loop", "associative_scan", flat, [], flat, count)


def _wrapped(place: int) -> Callable[..., Any]:
    """Operators that run one function as it is (no-grad, autocast, checkpoints), which stands at `place` among the
    arguments.
    """

    def run(recorder: Recorder, *args: Any, **_: Any) -> Any:
        with recorder:
            return args[place](*args[place + 1 :])

    return run


def _hinted(
    recorder: Recorder, function: Function, args: Sequence[Any], kwargs: dict[str, Any], hints: Any = None
) -> Any:
    with recorder:
        return function(*args, **kwargs)


def _subgraph(recorder: Recorder, function: Function, identifier: Any, *args: Any) -> Any:
    with recorder:
        return function(*args)


def _flex_attention(recorder: Recorder, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Any:
    """Attention whose mask and score changes are functions; the two further results are statistics."""
    with recorder:
        output = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, enable_gqa=query.shape[1] != key.shape[1]
        )
    statistics = torch.empty(query.shape[:-1], dtype=torch.float32, device="meta")
    return output, statistics, statistics.clone()


OPERATORS: dict[str, Callable[..., Any]] = {
    "cond": _cond, "while_loop": _while, "scan": _scan, "map_impl": _map, "associative_scan": _associative_scan,
    "wrap_with_set_grad_enabled": _wrapped(1), "wrap_with_autocast": _wrapped(4), "tag_activation_checkpoint": _wrapped(0),
    "wrap_activation_checkpoint": _wrapped(0), "wrap": _wrapped(0), "strict_mode": lambda recorder, function, args: _wrapped(0)(recorder, function, *args),
    "hints_wrapper": _hinted, "invoke_subgraph": _subgraph, "flex_attention": _flex_attention,
}  # fmt: skip
