"""Factories and fills that are functions of a tensor's values: random draws with traced probabilities, traced fills."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .call_kinds import CallKind
from .tensor_values import tensors_in
from .typing import Args, Function, Kwargs

# forms without side effects of methods that overwrite a tensor, of which only size and type are read
_SIZED_BY_FIRST = frozenset(
    ("zero", "fill", "uniform", "exponential", "cauchy", "geometric", "log_normal", "normal_functional", "random")
)
# one number, or one-element tensor, in every place of the result
FILLED = frozenset(("full", "full_like", "new_full", "fill"))
COPIED = frozenset(("tensor", "new_tensor"))


def value_arguments(call: CallKind, args: Args, kwargs: Kwargs) -> list[Tensor]:
    """Tensors among the arguments of a factory or a fill whose values, not only their sizes, reach the result.

    Args:
        call: a factory or a fill.
        args: positional arguments.
        kwargs: keyword arguments.
    """
    tensors = tensors_in((args, {name: value for name, value in kwargs.items() if name != "out"}))
    sized_by_first = (
        call.in_place
        or call.name.endswith("_like")
        or call.name.startswith("new")
        or call.name in _SIZED_BY_FIRST
        # with a probability of its own
        or (call.name == "bernoulli" and len(args) + len(kwargs.keys() - {"generator", "out"}) > 1)
    )
    return tensors[1:] if sized_by_first else tensors


def empty_result(func: Function, call: CallKind, args: Args, kwargs: Kwargs) -> Tensor:
    """The result of one of `FILLED` without its contents, which its size does not depend on.

    Args:
        func: that is called.
        call: its kind.
        args: positional arguments.
        kwargs: keyword arguments.
    """
    if call.name == "fill":
        target: Tensor = args[0]
        return target if call.in_place else torch.empty_like(target)
    position = () if "fill_value" in kwargs else (0,)
    named = kwargs | ({"fill_value": 0} if "fill_value" in kwargs else {}) | {"device": "meta"}
    result: Tensor = func(*args[: len(args) - len(position)], *position, **named)
    return result


def stacked(data: Any) -> Tensor:
    """What `torch.tensor(data)` returns for nested lists with tensors of one element among the numbers."""
    if isinstance(data, list | tuple):
        return torch.stack([stacked(part) for part in data])
    return data.clone() if isinstance(data, Tensor) else torch.tensor(data)
