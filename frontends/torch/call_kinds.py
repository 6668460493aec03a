"""Classification of PyTorch functions: their name, their operator, and what the recorder does with a call."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import torch

from cgir.ops import OPS, TORCH_NAMES
from frontends.common.einsum import parse_equation
from frontends.common.importer import Converter

from .conversion import Conversion
from .converters import CONVERTERS
from .decompositions import DECOMPOSITIONS, listed_tensors
from .function_names import ATEN_ALIASES, DEVICE_QUERIES, FACTORIES, FILLS, QUERIES, VALUE_READERS
from .meta_shapes import SHAPE_RULES, ShapeRule
from .typing import Args, Function

Action = Literal[
    "record",
    "control",
    "query",
    "device",
    "values",
    "factory",
    "fill",
    "setitem",
    "setdata",
    "move",
    "decompose",
    "autograd",
]
PYTHON_MODULES = ("torch.nn.functional", "torch.functional", "torch._tensor")
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


@dataclass(frozen=True)
class CallKind:
    """A PyTorch function, classified once.

    Attributes:
        name: without underscores and prefixes, the same for all spellings of one function.
        display_name: shown to users.
        op: name of the operator in `cgir.ops`, None if there is none.
        action: what the recorder does with a call.
        in_place: whether it overwrites its first argument.
        converter: returns the call's `Conversion`.
        shape_rule: returns results of the right shape faster than PyTorch's meta kernel.
        decomposition: runs the calls inside it.
        num_spatial_dims: number of window dimensions where the name has it (conv2d: 2).
        category: of the operator in `cgir.ops`.
    """

    name: str
    display_name: str
    op: str | None
    action: Action
    in_place: bool = False
    converter: Converter[Conversion] | None = None
    shape_rule: ShapeRule | None = None
    decomposition: Function | None = None
    num_spatial_dims: int | None = None
    category: str = "opaque"

    @cached_property
    def takes_sizes(self) -> bool:
        """Whether arguments besides the first may be sizes."""
        return self.category in ("movement", "resample") or self.action == "factory"

    @cached_property
    def only_reads(self) -> bool:
        """Whether a call without `out` is known to write to none of its arguments."""
        writes = self.in_place or self.display_name.startswith("Tensor.__i")  # x.add_(y), x += y
        return (
            self.action == "record"
            and not writes
            and (self.name == "getitem" or self.category in ("movement", "arithmetic", "reduction"))
        )


def classify(func: Function) -> CallKind:
    """The kind of a function that a `TorchFunctionMode` has intercepted."""
    if isinstance(func, types.MethodWrapperType):  # a property of Tensor, read or written
        attribute = getattr(func.__self__, "__name__", "")
        return _classify_property(attribute, func.__name__)
    return _classify_function(func)


@cache
def _classify_property(attribute: str, access: str) -> CallKind:
    display_name = f"Tensor.{attribute}"
    if access == "__set__":
        return CallKind(attribute, display_name, "Identity", "setdata" if attribute == "data" else "query")
    if attribute in DEVICE_QUERIES:
        return CallKind(attribute, display_name, None, "device")
    op = TORCH_NAMES.get(attribute)
    action: Action = "query" if attribute in QUERIES else "record"
    return CallKind(attribute, display_name, op, action, category=OPS[op].category if op else "opaque")


@cache
def _classify_function(func: Function) -> CallKind:
    full_name = getattr(func, "__name__", type(func).__name__).split(".")[0]
    module = getattr(func, "__module__", None) or "torch"
    dunder = full_name.startswith("__") and full_name.endswith("__")
    plain_name = _plain_name(full_name, dunder)
    if module == "torch.ops.higher_order":
        return CallKind(plain_name, plain_name, None, "control")
    if module == "torch.autograd" or plain_name == "backward":
        return CallKind(plain_name, f"torch.autograd.{plain_name}", None, "autograd")
    name = ATEN_ALIASES.get(plain_name, plain_name)
    if module.startswith("torch._ops.") and not module.endswith("aten"):
        return CallKind(name, f"{module.removeprefix('torch._ops.')}::{name}", None, "record")
    in_place = full_name.endswith("_") and not dunder
    scoped_name = f"F.{name}" if module in PYTHON_MODULES else name
    op = _operator(name, dunder)
    window = re.search(r"([123])d$", name)
    return CallKind(
        name,
        _display_name(func, name if plain_name in ATEN_ALIASES else full_name, module),
        op,
        _action(full_name, name, scoped_name, dunder),
        in_place,
        CONVERTERS.get(scoped_name) or CONVERTERS.get(name),
        None if in_place or _returns_more(func, name, plain_name) else _shape_rule(scoped_name, name),
        DECOMPOSITIONS.get(scoped_name) or DECOMPOSITIONS.get(name),
        int(window[1]) if window else None,
        OPS[op].category if op else "opaque",
    )


def _plain_name(full_name: str, dunder: bool) -> str:
    if dunder:
        return full_name.strip("_")
    return full_name.rstrip("_").removeprefix("special_").removesuffix("_with_indices")


def _display_name(func: Function, full_name: str, module: str) -> str:
    if isinstance(func, torch._ops.OpOverload):
        return "torch." + re.sub("^_?(linalg|special|fft)_", r"\1.", full_name.rstrip("_") or full_name)
    if module == "torch._tensor" or isinstance(func, types.MethodDescriptorType | types.WrapperDescriptorType):
        return f"Tensor.{full_name}"
    return f"torch.nn.functional.{full_name}" if module == "torch.nn.functional" else f"torch.{full_name}"


def _returns_more(func: Function, name: str, plain_name: str) -> bool:
    """Whether an ATen operator has results that the public function leaves out, as the backward pass needs them."""
    if plain_name in ATEN_ALIASES:
        return True
    return isinstance(func, torch._ops.OpOverload) and len(func._schema.returns) != 1 and name not in RECURRENT


def _shape_rule(scoped_name: str, name: str) -> ShapeRule | None:
    return SHAPE_RULES.get(scoped_name) or SHAPE_RULES.get(name)


def _operator(name: str, dunder: bool) -> str | None:
    op = TORCH_NAMES.get(name)
    if op is None and dunder and name[:1] in "ir":  # __iand__, __rmul__ ...
        op = TORCH_NAMES.get(name[1:])
    return op


def _action(full_name: str, name: str, scoped_name: str, dunder: bool) -> Action:
    if full_name in QUERIES:
        return "query"
    if full_name in DEVICE_QUERIES:
        return "device"
    if full_name in VALUE_READERS:
        return "values"
    if full_name in FACTORIES and not dunder:
        return "factory"
    if full_name in FILLS:
        return "fill"
    if full_name == "__setitem__":
        return "setitem"
    if name in ("to", "cpu", "cuda", "xpu", "mps"):
        return "move"
    return "decompose" if name in DECOMPOSITIONS or scoped_name in DECOMPOSITIONS else "record"


def is_decomposed(call: CallKind, args: Args) -> bool:
    """Whether this call is recorded as the calls inside it; of einsums, those that take no diagonal."""
    if call.name != "einsum" or call.action != "decompose":
        return call.action == "decompose"
    try:
        parse_equation(args[0], [tensor.dim() for tensor in listed_tensors(args[1:])])
    except (ValueError, AttributeError):  # a diagonal, or operands interleaved with lists of axes
        return False
    return True
