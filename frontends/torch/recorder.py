"""The recorder: a `TorchFunctionMode` that runs every call on the meta device and writes down a node for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.compiler import is_dynamo_compiling
from torch.overrides import TorchFunctionMode

from cgir import Param, TraceError
from frontends.common.axis_layout import NO_LAYOUT
from frontends.common.importer import split_weights
from frontends.common.tape import OpCall, Operand, Tape

from .aliasing import geometry
from .call_arguments import (
    axes_of,
    conversion_of,
    is_large,
    mapped,
    picks_by_value,
    reads_values,
    refuse_hidden_code,
    target_dtype,
)
from .call_kinds import Call, describe, hides_calls
from .control_flow import control
from .layer_converters import Conversion
from .tensor_values import Values, storage_of, tensors_in

# the call says what they hold
FILLED = frozenset(("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "new_tensor"))
SMALL = 1 << 14  # elements of such a tensor that are kept, because shapes may come to depend on them


class Chosen(tuple[Tensor, ...]):
    """What `torch.where(mask)` returns: good for `x[indices] = value`, which is `x[mask] = value`. How many indices
    there are depends on values.

    Raises:
        TraceError: anything else is done with it.
    """

    mask: Tensor

    def __new__(cls, mask: Tensor) -> Chosen:
        """An empty tuple that keeps the mask."""
        chosen = super().__new__(cls)
        chosen.mask = mask
        return chosen

    def _refuse(self, *_: object) -> NoReturn:
        raise TraceError(reads_values(describe(torch.where)))

    __iter__ = __getitem__ = __len__ = _refuse


class Recorder(TorchFunctionMode):
    """Records calls as nodes of `tape` while a module's forward runs."""

    def __init__(self, tape: Tape, values: Values, device: torch.device) -> None:
        super().__init__()
        self.tape, self.values, self.device = tape, values, device

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if is_dynamo_compiling():
            # torch.cond and its like: `trace` tries again without compilation
            raise TraceError("compiled code cannot be recorded")
        call = describe(func)
        kwargs = kwargs or {}
        if call.kind == "query":
            return func(*args, **kwargs)
        if call.kind == "device":
            refuse_hidden_code()
            return self.device  # that of the module's weights, so that constants the forward makes are real
        if call.kind == "control":
            return control(self, call.name, args, kwargs)
        if hides_calls(call, args):
            assert call.expansion is not None
            with self:
                return call.expansion(*args, **kwargs)
        if call.kind == "setitem" and isinstance(args[1], Chosen):
            args = (args[0], args[1].mask, args[2])
        if not any(map(self.values.is_live, tensors_in((args, kwargs)))) and not is_large(call, args, kwargs):
            return self._evaluate(func, call, args, kwargs)
        change = self._size if call.sized else self.values.traced
        named = {name: mapped(value, change) for name, value in kwargs.items()}
        if call.name in (
            "masked_select",
            "getitem",
            "setitem",
            "repeat_interleave",
            "index",
            "index_put",
        ):  # constant indices keep their values: results depend on them
            return self._trace(func, call, (self.values.traced(args[0]), *mapped(args[1:], self._index)), named)
        return self._trace(func, call, mapped(args, change), named)

    def _size(self, tensor: Tensor) -> Any:
        """Sizes may be integer tensors; those that are known are the numbers they hold."""
        plain = tensor.dim() == 0 and not tensor.is_floating_point() and not self.values.is_live(tensor)
        return tensor.item() if plain else self.values.traced(tensor)

    def _index(self, tensor: Tensor) -> Tensor:
        return self.values.traced(tensor) if self.values.is_live(tensor) or tensor.is_floating_point() else tensor

    def input(self, tensor: Tensor, name: str, batch_axis: int | None) -> None:
        """Make a meta tensor a graph input; `batch_axis` is None if it has none."""
        value = self.tape.input(
            name, tuple(tensor.shape), batch_axis, tensor.is_floating_point() or tensor.is_complex()
        )
        self.values.bind(tensor, value.node, value.layout, False)

    def output(self, tensor: Tensor, name: str) -> None:
        """Make what a tensor of the trace holds now a graph output."""
        self.tape.output(self.values.read(tensor), tuple(tensor.shape), name)

    # --- calls on constants

    def _evaluate(self, func: Callable[..., Any], call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call on constants alone runs for real, on copies of what the module owns."""
        if any(map(is_functorch_wrapped_tensor, tensors_in((args, kwargs)))):
            return func(*args, **kwargs)  # inside of torch.vmap; what comes out of it is a tensor like any other
        args, kwargs = (
            mapped(args, self.values.copy),
            {name: mapped(value, self.values.copy) for name, value in kwargs.items()},
        )
        if call.kind == "move":
            dtype = target_dtype(args, kwargs)
            return args[0] if dtype is None else args[0].to(dtype)
        if kwargs.get("device") is not None:
            if torch.device(kwargs["device"]).type == "meta":
                refuse_hidden_code()
            else:
                kwargs["device"] = self.device
        result = func(*args, **kwargs)
        for tensor in tensors_in(result):
            self.values.made(tensor)
            if tensor.is_meta and self.values.known_here(tensor) is None:
                self._constant(tensor, call)
        return result

    def _constant(self, tensor: Tensor, call: Call, written: bool = False) -> None:
        node = self.tape.add("Constant", call.name, shape=tuple(tensor.shape))
        (self.values.write if written else self.values.bind)(tensor, node, NO_LAYOUT, True)

    # --- calls on traced tensors

    def _trace(self, func: Callable[..., Any], call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if call.name == "masked_select" and not args[1].is_meta:
            shape = torch.broadcast_shapes(args[0].shape, args[1].shape)
            with self:
                return args[0].expand(shape)[args[1].expand(shape)]
        if call.name == "where" and len(args) == 1 and not kwargs:
            return Chosen(args[0])
        if call.kind == "values" or picks_by_value(call, args, kwargs):
            raise TraceError(reads_values(call))
        if call.kind == "move":
            dtype = target_dtype(args, kwargs)
            if dtype is None or dtype == args[0].dtype:
                return args[0]
            func, args, kwargs = torch.Tensor.to, (args[0], dtype), {}
        if call.kind == "setitem":
            return self._set_item(func, call, args)
        if call.kind == "setdata":
            func(*args)
            source = self.values.read(args[1])
            self.values.bind(args[0], source.node, source.layout, source.static)
            return None
        if call.kind in ("factory", "fill"):
            result = func(*args, **{name: value for name, value in kwargs.items() if name != "device"})
            if call.name in FILLED and result.numel() <= SMALL and len(tensors_in((args, kwargs))) == 1:
                return self._evaluate(func, call, args, kwargs | {"device": self.device})
            self._constant(result, call, written=call.kind == "fill")
            return result
        return self._record(func, call, args, kwargs)

    def _record(self, func: Callable[..., Any], call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = tensors_in((args, {name: value for name, value in kwargs.items() if name != "out"}))
        conversion = conversion_of(call, args, kwargs, given)
        sizes = {id(tensor): tuple(tensor.shape) for tensor in given}
        result = call.rule(*args, **kwargs) if call.rule and "out" not in kwargs else None
        if result is None:
            try:
                result = func(*args, **kwargs)
            except Exception as error:
                error.add_note(
                    f"in {call.name} of {', '.join('x'.join(map(str, size)) or 'a scalar' for size in sizes.values())}"
                )
                raise
        outputs = tensors_in(result)
        changed = set(sizes) | {id(tensor) for tensor in tensors_in(kwargs.get("out"))}
        if not outputs or (
            call.category in ("identity", "movement")
            and call.op != "Dropout"
            and not call.in_place
            and id(outputs[0]) in changed
        ):
            return result
        op_call = self._op_call(call, conversion, sizes, axes_of(func, call, conversion, args, kwargs, outputs[0]))
        self._emit(
            op_call,
            outputs,
            [id(tensor) in changed and call.category not in ("movement", "identity") for tensor in outputs],
        )
        return result

    def _set_item(self, func: Callable[..., Any], call: Call, args: tuple[Any, ...]) -> None:
        target, index, value = args
        picks = tensors_in(index)
        if (
            isinstance(value, Tensor)
            and not picks
            and storage_of(value) == storage_of(target)
            and geometry(target[index]) == geometry(value)
        ):
            return  # the second half of `x[i] += y`: the view was already changed in place
        if not any(tensor.is_meta and tensor.dtype == torch.bool for tensor in picks):
            func(*args)  # on meta: only to let PyTorch check index and shapes
        # `x[:] = y`: all of it
        if (
            isinstance(value, Tensor)
            and value is not target
            and not picks
            and geometry(target[index]) == geometry(target)
        ):
            conversion = Conversion((value,), op="Identity" if value.shape == target.shape else "Expand")
            self._emit(self._op_call(call, conversion, {id(value): tuple(value.shape)}, None), [target], [True])
            return
        inputs = [tensor for tensor in tensors_in((value, index)) if tensor is not target]
        if self.values.known_here(target) and self.tape.nodes[self.values.read(target).node].op != "Constant":
            inputs.insert(0, target)
        op_call = self._op_call(
            call, Conversion(tuple(inputs), op="Scatter"), {id(tensor): tuple(tensor.shape) for tensor in inputs}, None
        )
        self._emit(op_call, [target], [True])

    def _op_call(
        self, call: Call, conversion: Conversion, sizes: dict[int, tuple[int, ...]], axes: dict[int, int] | None
    ) -> OpCall:
        op = conversion.op or "Opaque"
        params, computed = self._weights(conversion)
        operands = [
            Operand(self.values.read(tensor), sizes[id(tensor)]) for tensor in conversion.inputs if tensor is not None
        ]
        operands += [Operand(self.values.read(tensor), tuple(tensor.shape), is_weight=True) for tensor in computed]
        layout_op = op
        if conversion.like_linear and len(operands) == 2 and operands[1].value.static:
            layout_op, operands[1].is_weight = "Linear", True
        elif conversion.attrs.get("dims", 1) > 1 and op in ("LayerNorm", "RMSNorm"):
            layout_op = ""  # a norm over several axes does not say which one holds the channels
        return OpCall(
            op,
            call.name,
            operands,
            conversion.attrs,
            params,
            layout_op,
            axes,
            conversion.dims,
            call.spatial,
            display_name=call.label,
        )

    def _weights(self, conversion: Conversion) -> tuple[tuple[Param, ...], Sequence[Tensor]]:
        """Weights that are parameters, and the computed ones, which become inputs together with all before them to keep
        their order.
        """
        weights = [tensor for tensor in conversion.weights if tensor is not None]
        return split_weights(weights, [self.values.param(tensor) for tensor in weights])

    def _emit(self, op_call: OpCall, outputs: list[Tensor], written: list[bool]) -> None:
        """Append the node and say which tensors hold it; outputs beyond the first share the node, but parts of a tensor
        have one each.
        """
        if op_call.op == "Slice" and len(outputs) > 1:
            for tensor, changed in zip(outputs, written, strict=True):
                self._emit(op_call, [tensor], [changed])
            return
        if op_call.op == "Slice":
            op_call = replace(op_call, attrs={"part": True})
        node, layouts, static = self.tape.emit(op_call, [tuple(tensor.shape) for tensor in outputs])
        for tensor, layout, changed in zip(outputs, layouts, written, strict=True):
            (self.values.write if changed else self.values.bind)(tensor, node, layout, static)
