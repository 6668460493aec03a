"""What a call's arguments say: which tensors are data, where axes go, which type is meant, whether values are needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cgir import TraceError

from .call_kinds import Call
from .layer_converters import Conversion
from .tensor_values import ATOMS, tensors_in
from .view_axes import indexed_axes, view_axes

ROOT = os.path.dirname(torch.__file__)
LARGE = 1 << 20  # elements of a constant
COMPILED = tuple(
    os.path.join(ROOT, part)
    for part in ("_refs", "_prims", "_decomp", "_meta_registrations", "_inductor", "_subclasses")
)


def mapped(item: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested arguments with every tensor replaced."""
    kind = type(item)
    if kind in ATOMS:
        return item
    if isinstance(item, Tensor):
        return change(item)
    if kind is tuple or kind is list:
        return kind([mapped(part, change) for part in item])
    if isinstance(item, tuple):  # named tuples and PyTorch's result types
        parts = [mapped(part, change) for part in item]
        return kind(*parts) if hasattr(item, "_fields") else kind(parts)
    if kind is slice:
        return slice(*(mapped(part, change) for part in (item.start, item.stop, item.step)))
    return {key: mapped(part, change) for key, part in item.items()} if kind is dict else item


def conversion_of(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], given: Sequence[Tensor]) -> Conversion:
    """The call's conversion with its operator filled in; operators without one take all tensors as data."""
    if call.name == "getitem":
        picks = [
            item for item in (args[1] if isinstance(args[1], tuple) else args[1:]) if isinstance(item, Tensor | list)
        ]
        return Conversion((args[0], *tensors_in(picks)), op="Gather" if picks else "Slice")
    if call.converter is None:
        return Conversion(tuple(given), op=call.op or "Opaque")
    try:
        conversion = call.converter(*args, **{name: value for name, value in kwargs.items() if name != "out"})
    except (
        TypeError,
        ValueError,
        IndexError,
        KeyError,
    ):  # PyTorch itself judges the arguments; if it takes them, the form is one we do not know
        return Conversion(tuple(given))
    inputs = tuple(tensor for tensor in conversion.inputs if isinstance(tensor, Tensor))
    return conversion._replace(inputs=inputs, op=conversion.op or call.op or "Opaque")


def axes_of(
    func: Callable[..., Any],
    call: Call,
    conversion: Conversion,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Tensor,
) -> dict[int, int] | None:
    """Where the axes go, for calls that move them; None where they stay."""
    if conversion.op in ("Slice", "Transpose") or call.name in ("squeeze", "unsqueeze"):
        return (
            view_axes(func, args, kwargs, conversion.inputs[0]) if call.name != "einsum" and not call.in_place else {}
        )
    if conversion.op == "Gather" and call.name == "getitem":
        return indexed_axes(args[1], args[0].dim(), output.dim())
    if conversion.op == "Gather" and call.name == "index":
        return indexed_axes(
            tuple(slice(None) if item is None else item for item in args[1]), args[0].dim(), output.dim()
        )
    return None


def target_dtype(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.dtype | None:
    """The type that `tensor.to(...)` asks for; where to put the tensor does not matter here."""
    for value in (*args[1:], *kwargs.values()):
        if isinstance(value, torch.dtype):
            return value
        if isinstance(value, Tensor):
            return value.dtype
    return None


def picks_by_value(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Calls whose result's size depends on values: indexing with a mask, one-hot without a number of classes ..."""
    if call.name in ("getitem", "index"):
        return any(tensor.is_meta and tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors_in(args[1]))
    if call.name == "one_hot":
        return (args[1] if len(args) > 1 else kwargs.get("num_classes", -1)) == -1
    if call.name == "repeat_interleave":
        return any(tensor.is_meta for tensor in tensors_in((args[1:], kwargs))) and kwargs.get("output_size") is None
    return call.name == "where" and len(args) + len(kwargs) == 1


def is_large(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Calls on constants whose result is too large to compute: one-hot vectors of many classes."""
    classes = (args[1] if len(args) > 1 else kwargs.get("num_classes", -1)) if call.name == "one_hot" else 0
    return isinstance(classes, int) and classes * args[0].numel() > LARGE if classes else False


def reads_values(call: Call) -> str:
    """Why a call that needs values cannot be traced, and what to do."""
    if call.name == "_pack_padded_sequence":
        return "a packed sequence depends on the values of the lengths; trace the model on padded sequences"
    return (
        f"{call.label} needs the values of a tensor, and tracing knows shapes only, so what follows cannot be decided; use torch.where instead of "
        "a Python branch, or decide on shapes or on the module's own attributes"
    )


def refuse_hidden_code() -> None:
    """Stop where compiled code runs as Python decompositions of PyTorch: what it makes would look like constants.

    Raises:
        TraceError: one of the callers belongs to PyTorch's decompositions.
    """
    frame = sys._getframe(1)
    for _ in range(8):
        if frame.f_back is None:
            return
        frame = frame.f_back
        if frame.f_code.co_filename.startswith(COMPILED):
            raise TraceError(
                "the forward runs compiled (TorchScript or C++) code, which the recorder cannot see into; trace the Python version of it"
            )
