"""Constants in place of numbers: PyTorch takes a tensor of one element wherever a parameter is a number."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .call_arguments import map_tensors
from .typing import Args, Function, Kwargs, Number


class TensorSlots(NamedTuple):
    """Which parameters of a function may be tensors, by position and by name; `rest`: positions beyond, as in `view`.

    What is unknown may be a tensor.
    """

    positions: tuple[bool, ...]
    names: dict[str, bool]
    rest: bool


def with_numbers(
    func: Function, args: Args, kwargs: Kwargs, as_number: Callable[[Tensor], Tensor | Number]
) -> tuple[Args, Kwargs]:
    """The arguments of a call, with constants replaced by the numbers they hold where no tensor is expected.

    Args:
        func: that is called.
        args: positional arguments.
        kwargs: keyword arguments.
        as_number: returns the number that a tensor holds, or the tensor itself if it is no constant of one element.
    """
    slots = _tensor_slots(func)
    known = len(slots.positions)
    args = tuple(
        arg if (slots.positions[place] if place < known else slots.rest) else map_tensors(arg, as_number)
        for place, arg in enumerate(args)
    )
    return args, {
        name: value if slots.names.get(name, True) else map_tensors(value, as_number) for name, value in kwargs.items()
    }


@cache
def _tensor_slots(func: Function) -> TensorSlots:
    """From the annotations of a Python function, else from the schemas of the operator and all its overloads."""
    parameters = _annotated(func)
    schemas = _schemas(func)
    if parameters and (not schemas or None not in parameters.values()):
        names = {name: takes_tensor is not False for name, takes_tensor in parameters.items()}
        return TensorSlots(tuple(names.values()), names, True)
    takes_sizes = any(len(s.arguments) > 1 and "List[int]" in str(s.arguments[1].type) for s in schemas)
    by_position = zip_longest(*([_is_tensor(a) for a in s.arguments if not a.kwarg_only] for s in schemas))
    by_name = {argument.name: False for schema in schemas for argument in schema.arguments}
    for schema in schemas:
        by_name |= {argument.name: True for argument in schema.arguments if _is_tensor(argument)}
    return TensorSlots(tuple(True in slot for slot in by_position), by_name, not takes_sizes)


def _annotated(func: Function) -> dict[str, bool | None]:
    """Whether the parameters of a Python function are tensors, None where it does not say so."""
    try:
        parameters = inspect.signature(func).parameters if inspect.isfunction(func) else {}
    except ValueError:  # a wrapped function that is compiled
        return {}
    return {
        name: None if parameter.annotation is parameter.empty else "Tensor" in str(parameter.annotation)
        for name, parameter in parameters.items()
    }


def _schemas(func: Function) -> list[Any]:
    if isinstance(func, torch._ops.OpOverload):
        return [func._schema]
    name = getattr(func, "__name__", "").removeprefix("special_").removeprefix("linalg_")
    found: list[Any] = torch._C._jit_get_schemas_for_operator(f"aten::{getattr(func, '__name__', '')}")
    return found or (torch._C._jit_get_schemas_for_operator(f"aten::{name}") if name else [])


def _is_tensor(argument: Any) -> bool:
    return "Tensor" in str(argument.type)
