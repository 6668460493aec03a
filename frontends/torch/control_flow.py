"""Control flow that PyTorch keeps as higher-order operators (`torch.cond`, `while_loop`, `scan`, `map`, checkpoints).

The nodes of the bodies come first, then one If or Loop node; loops are in `loops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from cgir import TraceError

from .bodies import join, run_body
from .flex_attention import flex_attention
from .loops import associative_scan, map_impl, scan, while_loop
from .recorder import Recorder
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


# --- branches


def _cond(
    recorder: Recorder, pred: Tensor | Number, true_fn: Function, false_fn: Function, operands: Sequence[object] = ()
) -> Any:
    if not isinstance(pred, Tensor) or not recorder.values.is_traced(pred):
        return run_body(recorder, "then" if pred else "else", true_fn if pred else false_fn, operands)
    then_results, structure = tree_flatten(run_body(recorder, "then", true_fn, operands))
    else_results, _ = tree_flatten(run_body(recorder, "else", false_fn, operands))
    joined = join(recorder, "If", "cond", [pred, *then_results, *else_results], then_results)
    return tree_unflatten(joined, structure)


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


def _flat_apply(recorder: Recorder, function: object, structure: object, name: str, *args: Any) -> Any:
    """Functions that programs cannot hold otherwise; of these only the index of a tensor inside of `torch.vmap`."""
    if not str(name).endswith(".ModIndex"):
        raise TraceError(f"the higher-order operator flat_apply of {name} cannot be followed")
    return recorder.__torch_function__(torch.ops.aten.index.Tensor, (), (args[0], list(args[1:])))


HIGHER_ORDER_OPS: dict[str, Function] = {
    "cond": _cond,
    "while_loop": while_loop,
    "scan": scan,
    "map_impl": map_impl,
    "associative_scan": associative_scan,
    "wrap_with_set_grad_enabled": _inlined(1),
    "wrap_with_autocast": _inlined(4),
    "tag_activation_checkpoint": _inlined(0),
    "wrap_activation_checkpoint": _inlined(0),
    "wrap": _inlined(0),
    "strict_mode": _strict_mode,
    "hints_wrapper": _hints_wrapper,
    "invoke_subgraph": _invoke_subgraph,
    "flex_attention": flex_attention,
    "flat_apply": _flat_apply,
}
