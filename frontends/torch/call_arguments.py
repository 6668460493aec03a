"""Arguments of calls: data tensors, axis maps, requested types, and whether the values of tensors are needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from cgir import TraceError

from .call_kinds import CallKind
from .conversion import Conversion
from .tensor_values import ATOMS, tensors_in
from .typing import Args, Function, Kwargs
from .view_axes import index_axis_map, view_axis_map

MAX_CONSTANT = 1 << 20  # elements of a constant that is computed
TORCH_ROOT = os.path.dirname(torch.__file__)
# where PyTorch runs compiled operators as Python
DECOMPOSITION_FOLDERS = tuple(
    os.path.join(TORCH_ROOT, part)
    for part in ("_refs", "_prims", "_decomp", "_meta_registrations", "_inductor", "_subclasses")
)
HERE = os.path.dirname(os.path.abspath(__file__))
_DISTRIBUTION = os.path.join(TORCH_ROOT, "distributions", "distribution.py")
# where PyTorch looks at values only to see that they are valid
CHECKS = frozenset(
    [
        (_DISTRIBUTION, "__init__"),
        (_DISTRIBUTION, "_validate_sample"),
        (torch.__file__, "_assert"),
        (torch.__file__, "_check_tensor_all_with"),
    ]
)
WHAT_TO_DO = (
    "use torch.where instead of a Python branch, decide on shapes or on the module's own attributes, or make what is "
    "known beforehand (a mask, the edge_index of a graph) a buffer or a constant of the module instead of an input"
)
MAX_FRAMES = 8  # callers that are inspected


class ValueDependenceError(TraceError):
    """What follows depends on the values of a tensor that is not known before the network runs."""


def map_tensors(item: Any, change: Callable[[Tensor], Any]) -> Any:
    """Nested arguments with every tensor replaced by the result of `change`."""
    kind = type(item)
    if kind in ATOMS:
        return item
    if isinstance(item, Tensor):
        return change(item)
    if kind is tuple or kind is list:
        return kind([map_tensors(part, change) for part in item])
    if isinstance(item, tuple):  # named tuples and PyTorch's result types
        parts = [map_tensors(part, change) for part in item]
        return kind(*parts) if hasattr(item, "_fields") else kind(parts)
    if kind is slice:
        return slice(*(map_tensors(part, change) for part in (item.start, item.stop, item.step)))
    return {key: map_tensors(part, change) for key, part in item.items()} if kind is dict else item


def convert_call(call: CallKind, args: Args, kwargs: Kwargs, tensors: Sequence[Tensor]) -> Conversion:
    """The call's conversion with its operator filled in; operators without a converter take all tensors as data.

    Args:
        call: what is called.
        args: positional arguments.
        kwargs: keyword arguments.
        tensors: all tensors among the arguments but `out`.
    """
    if call.name == "getitem":
        index = args[1] if isinstance(args[1], tuple) else args[1:]
        advanced = [item for item in index if isinstance(item, Tensor | list)]
        return Conversion((args[0], *tensors_in(advanced)), op="Gather" if advanced else "Slice")
    if call.converter is None:
        return Conversion(tuple(tensors), op=call.op or "Opaque")
    try:
        conversion = call.converter(*args, **{name: value for name, value in kwargs.items() if name != "out"})
    except (TypeError, ValueError, IndexError, KeyError):
        return Conversion(tuple(tensors))  # PyTorch checks the arguments; if it accepts them, this form is unknown here
    inputs = tuple(tensor for tensor in conversion.inputs if isinstance(tensor, Tensor))
    return conversion._replace(inputs=inputs, op=conversion.op or call.op or "Opaque")


def with_nonzeros(conversion: Conversion, nonzeros: Mapping[int, int]) -> Conversion:
    """A product of a sparse matrix costs by its elements: they are noted with the size of the axis that it keeps.

    Args:
        conversion: of a matrix product.
        nonzeros: identity of a tensor that stands for a sparse one -> number of its elements.
    """
    for tensor, kept in zip(conversion.inputs[:2], (-2, -1), strict=True):
        if id(tensor) in nonzeros and tensor.dim() == 2:
            return conversion._replace(
                attrs={**conversion.attrs, "sparse": (nonzeros[id(tensor)], tensor.shape[kept])}, like_linear=False
            )
    return conversion


def is_primitive(conversion: Conversion) -> bool:
    """Whether a call is one operator of `cgir.ops`, rather than several that PyTorch executes for it."""
    if conversion.op in ("", "Opaque"):
        return False
    # complex convolutions are three real ones
    return conversion.op not in ("Conv", "ConvTranspose") or not conversion.inputs[0].is_complex()


def axis_map_of(
    func: Function, call: CallKind, conversion: Conversion, args: Args, kwargs: Kwargs, output: Tensor
) -> dict[int, int] | None:
    """Old axis -> new axis, for calls that move axes; None for others.

    Args:
        func: the function that is called.
        call: its kind.
        conversion: of the call.
        args: positional arguments.
        kwargs: keyword arguments.
        output: the first result.
    """
    if conversion.op in ("Slice", "Transpose") or call.name in ("squeeze", "unsqueeze"):
        if call.name == "einsum" or call.in_place:
            return {}
        return view_axis_map(func, args, kwargs, conversion.inputs[0])
    return None


def indexed_axes(
    call: CallKind, conversion: Conversion, args: Args, kwargs: Kwargs, output: Tensor
) -> tuple[dict[int, int], int] | None:
    """For calls that look up elements: the axis map of what they look into, and the first axis that is their indices'.

    Args:
        call: its kind.
        conversion: of the call.
        args: positional arguments.
        kwargs: keyword arguments.
        output: the result.
    """
    if conversion.op != "Gather":
        return None
    source = conversion.inputs[0]
    if call.name == "getitem":
        return index_axis_map(args[1], source.dim(), output.dim())
    if call.name == "index":
        index = tuple(slice(None) if item is None else item for item in args[1])
        return index_axis_map(index, source.dim(), output.dim())
    if call.name == "index_select" and source.dim():
        axes = range(source.dim())
        return dict(zip(axes, axes, strict=True)), (args[1] if len(args) > 1 else kwargs["dim"]) % source.dim()
    return None


def target_dtype(args: Args, kwargs: Kwargs) -> torch.dtype | None:
    """The type that `tensor.to(...)` asks for; the device does not matter here."""
    for value in (*args[1:], *kwargs.values()):
        if isinstance(value, torch.dtype):
            return value
        if isinstance(value, Tensor):
            return value.dtype
    return None


def has_dynamic_size(call: CallKind, args: Args, kwargs: Kwargs) -> bool:
    """Whether the size of the result depends on values: of masks, of one-hot vectors without a number of classes ...

    Args:
        call: what is called.
        args: positional arguments.
        kwargs: keyword arguments.
    """
    if call.name in ("getitem", "index"):
        return any(tensor.is_meta and tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors_in(args[1]))
    if call.name == "one_hot":
        return bool(_num_classes(args, kwargs) == -1)
    if call.name == "repeat_interleave":
        return any(tensor.is_meta for tensor in tensors_in((args[1:], kwargs))) and kwargs.get("output_size") is None
    return call.name == "where" and len(args) + len(kwargs) == 1


def is_large(call: CallKind, args: Args, kwargs: Kwargs) -> bool:
    """Whether a call on constants has a result too large to compute: one-hot vectors of many classes.

    Args:
        call: what is called.
        args: positional arguments.
        kwargs: keyword arguments.
    """
    if call.name != "one_hot":
        return False
    classes = _num_classes(args, kwargs)
    return isinstance(classes, int) and bool(classes) and classes * args[0].numel() > MAX_CONSTANT


def _num_classes(args: Args, kwargs: Kwargs) -> int | Tensor:
    num_classes: int | Tensor = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
    return num_classes


def value_dependence(call: CallKind) -> str:
    """Why a call that needs values cannot be traced, and what to do."""
    if call.name == "_pack_padded_sequence":
        return "a packed sequence depends on the values of the lengths; trace the model on padded sequences"
    return (
        f"{call.display_name} needs the values of a tensor, and tracing knows shapes only, so what follows cannot be "
        f"decided; {WHAT_TO_DO}"
    )


def is_argument_check() -> bool:
    """Whether PyTorch asks for values only to see that they are valid: distributions, `torch._assert`."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    return frame is not None and (frame.f_code.co_filename, frame.f_code.co_name) in CHECKS


def device_property(name: str, device: torch.device) -> torch.device | bool | int:
    """What a tensor on `device` answers: `device`, `get_device`, or one of `is_cpu`, `is_meta` ...

    Tensors of the trace answer as the module's weights would, so that constants of the forward have values.

    Args:
        name: of the property.
        device: of the module's weights.
    """
    if name == "device":
        return device
    if name == "get_device":
        return -1 if device.type == "cpu" else device.index or 0
    return device.type == name.removeprefix("is_")


def refuse_hidden_code() -> None:
    """Stop where PyTorch runs compiled operators as Python: tensors that they create would look like constants.

    Raises:
        TraceError: one of the callers belongs to PyTorch's decompositions.
    """
    frame = sys._getframe(1)
    for _ in range(MAX_FRAMES):
        if frame.f_back is None:
            return
        frame = frame.f_back
        if frame.f_code.co_filename.startswith(DECOMPOSITION_FOLDERS):
            raise TraceError(
                "the forward runs compiled (TorchScript or C++) code, which the recorder cannot see into; "
                "trace the Python version of it"
            )
