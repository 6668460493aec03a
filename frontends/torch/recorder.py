"""The recorder: a `TorchFunctionMode` that runs every call on the meta device and appends a node for it to the tape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor
from torch._C._functorch import maybe_current_level
from torch.compiler import is_dynamo_compiling
from torch.overrides import TorchFunctionMode

from cgir import TraceError
from cgir.ops import OPS
from frontends.common.axis_layout import NO_LAYOUT
from frontends.common.importer import split_weights
from frontends.common.tape import OpCall, Operand, Size, Tape

from .aliasing import geometry
from .batch_checks import CHECKED, LAYERS, check_batch_axis
from .call_arguments import (
    ValueDependenceError,
    axis_map_of,
    convert_call,
    device_property,
    has_dynamic_size,
    indexed_axes,
    is_argument_check,
    is_large,
    is_primitive,
    map_tensors,
    refuse_hidden_code,
    target_dtype,
    value_dependence,
    with_nonzeros,
)
from .call_kinds import PYTHON_MODULES, CallKind, classify, is_decomposed
from .conversion import Conversion
from .decompositions import transparent
from .filled_tensors import COPIED, FILLED, empty_result, stacked, value_arguments
from .known_numbers import with_numbers
from .operator_mode import OperatorMode, known_cost
from .private_draws import DRAWING, GeneratorMode
from .sparse_tensors import DENSE_FORMS, NUM_INDICES, result_elements, sparse_arguments
from .tensor_values import TensorValues, storage_id, tensors_in
from .typing import Args, Function, Kwargs, Number

ControlFlow: TypeAlias = "Callable[[Recorder, str, Args, Kwargs], Any]"

# factories whose contents follow from their arguments
KNOWN_CONTENTS = frozenset(("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "new_tensor"))
MAX_KNOWN_CONTENTS = 1 << 14  # elements of such a tensor that are kept, because shapes may depend on them
# constant indices of these keep their values, because results depend on them
INDEXING = frozenset(("masked_select", "getitem", "setitem", "repeat_interleave", "index", "index_put"))

# the operator of a function's second result, which is a node of its own
SECOND_RESULTS = {"max": "ArgMax", "min": "ArgMax", "aminmax": "ReduceMax", "var_mean": "Mean", "std_mean": "Mean"}


class NonzeroIndices(tuple[Tensor, ...]):
    """The result of `torch.where(mask)`, valid in `x[indices] = value` only, which is `x[mask] = value`.

    How many indices there are depends on values.

    Raises:
        TraceError: it is used in any other way.
    """

    mask: Tensor

    def __new__(cls, mask: Tensor) -> NonzeroIndices:
        """An empty tuple that keeps the mask."""
        indices = super().__new__(cls)
        indices.mask = mask
        return indices

    def _refuse(self, *_: object) -> NoReturn:
        raise ValueDependenceError(value_dependence(classify(torch.where)))

    __iter__ = __getitem__ = __len__ = _refuse


class Recorder(TorchFunctionMode):
    """Records calls as nodes of a tape while a module's forward runs.

    Args:
        tape: that nodes are appended to.
        values: what the tensors of the trace hold.
        device: of the module's weights, where constants are computed.
        control_flow: records the higher-order operators; it is called with the recorder, the operator's name and the
            arguments.
        draws: lets constants be drawn from another generator than the global one.
    """

    def __init__(
        self,
        tape: Tape,
        values: TensorValues,
        device: torch.device,
        control_flow: ControlFlow,
        draws: GeneratorMode | None = None,
    ) -> None:
        super().__init__()
        self.tape, self.values, self.device, self._draws = tape, values, device, draws
        self._control_flow = control_flow
        self._opened: list[Function] = []  # Python functions whose body runs; a few dispatch to each other
        self.operator: Function | None = None  # the one that `OperatorMode` has just handed over

    def __torch_function__(self, func: Function, types: object, args: Args = (), kwargs: Kwargs | None = None) -> Any:
        if is_dynamo_compiling():
            # torch.cond and others: `trace` tries again without compilation
            raise TraceError("compiled code cannot be recorded")
        call = classify(func)
        kwargs = kwargs or {}
        if call.action == "query":
            return func(*args, **kwargs)
        # in torch.vmap, torch.func.grad ...
        if maybe_current_level() is not None and (call.action != "control" or call.name == "custom_function_call"):
            return self._record_operators(func, args, kwargs)
        if call.action == "autograd":
            raise TraceError(
                f"the forward differentiates ({call.display_name}), and tracing runs without gradients; "
                "trace the part that is differentiated, or write the derivative with torch.func.grad, jvp or vjp"
            )
        if call.action == "device":
            self._refuse_hidden_code()
            return device_property(call.name, self.device)
        if call.action == "control":
            return self._control_flow(self, call.name, args, kwargs)
        if call.name in CHECKED and (self.tape.batch > 1 or self.tape.sliced or call.name in LAYERS):
            check_batch_axis(self.values, call, args, kwargs)
        if is_decomposed(call, args):
            assert call.decomposition is not None
            with self:
                return call.decomposition(*args, **kwargs)
        if call.action == "setitem" and isinstance(args[1], NonzeroIndices):
            args = (args[0], args[1].mask, args[2])
        tensors = tensors_in((args, kwargs))
        if not any(map(self.values.is_traced, tensors)) and not is_large(call, args, kwargs):
            return self._evaluate(func, call, args, kwargs)
        if any(tensor.dim() == 0 for tensor in tensors):
            args, kwargs = with_numbers(func, args, kwargs, self.values.known_number)
        change = self._as_size if call.takes_sizes else self.values.as_traced
        kwargs = {name: map_tensors(value, change) for name, value in kwargs.items()}
        if call.name in INDEXING:
            args = (self.values.as_traced(args[0]), *map_tensors(args[1:], self._as_index))
        else:
            args = map_tensors(args, change)
        return self._trace(func, call, args, kwargs)

    def _as_size(self, tensor: Tensor) -> Tensor | Number:
        """Sizes may be integer tensors; those that are constant are the numbers they hold."""
        size = tensor if tensor.is_floating_point() else self.values.known_number(tensor)
        return self.values.as_traced(size) if isinstance(size, Tensor) else size

    def _as_index(self, tensor: Tensor) -> Tensor:
        traced = self.values.is_traced(tensor) or tensor.is_floating_point()
        return self.values.as_traced(tensor) if traced else self.values.constant(tensor)

    def input(self, tensor: Tensor, name: str, batch_axis: int | None) -> None:
        """Make a meta tensor a graph input.

        Args:
            tensor: on the meta device.
            name: of the input.
            batch_axis: None if it has none.
        """
        floating = tensor.is_floating_point() or tensor.is_complex()
        value = self.tape.input(name, tuple(tensor.shape), batch_axis, floating)
        self.values.bind(tensor, value.node, value.layout, False)

    def output(self, tensor: Tensor, name: str) -> None:
        """Make the current value of a tensor of the trace a graph output."""
        self.tape.output(self.values.read(tensor), tuple(tensor.shape), name)

    # --- calls on constants

    def _evaluate(self, func: Function, call: CallKind, args: Args, kwargs: Kwargs) -> Any:
        """Run a call whose arguments are constants, on copies of the module's own tensors if it may write to them."""
        constant = partial(self.values.constant, written=not call.only_reads or "out" in kwargs)
        args = map_tensors(args, constant)
        kwargs = {name: map_tensors(value, constant) for name, value in kwargs.items()}
        if call.action == "move" and isinstance(args[0], Tensor):
            dtype = target_dtype(args, kwargs)
            return args[0] if dtype is None else args[0].to(dtype)
        if kwargs.get("device") is not None:
            if torch.device(kwargs["device"]).type == "meta":
                self._refuse_hidden_code()
            else:
                kwargs["device"] = self.device
        if self._draws is not None and call.name.rstrip("_") in DRAWING:
            with self._draws:
                result = func(*args, **kwargs)
        else:
            result = func(*args, **kwargs)
        for tensor in tensors_in(result):
            self.values.register_constant(tensor)
            if tensor.is_meta and self.values.state_of(tensor) is None:
                self._refuse_hidden_code()
                self._constant(tensor, call)
        if call.op is not None and OPS[call.op].cost is not None:
            self._add_constant_product(call, args, kwargs, tensors_in(result))
        return result

    def _add_constant_product(self, call: CallKind, args: Args, kwargs: Kwargs, results: Sequence[Tensor]) -> None:
        """A node for a product of constants, which costs something; its result stays known, and nothing reads it."""
        if not any(tensor.is_floating_point() or tensor.is_complex() for tensor in results):
            return  # indices
        args = map_tensors(args, self.values.as_traced)
        kwargs = {name: map_tensors(value, self.values.as_traced) for name, value in kwargs.items()}
        tensors = tensors_in((args, {name: value for name, value in kwargs.items() if name != "out"}))
        sizes = {id(tensor): tuple(tensor.shape) for tensor in tensors}
        op_call = self._op_call(call, convert_call(call, args, kwargs, tensors), sizes, None)
        self.tape.emit(op_call, [tuple(tensor.shape) for tensor in results])

    def _refuse_hidden_code(self) -> None:
        if self.operator is None:  # within an operator that PyTorch runs as Python, all its calls are seen
            refuse_hidden_code()

    def _constant(self, tensor: Tensor, call: CallKind, written: bool = False) -> None:
        node = self.tape.add("Constant", call.name, shape=tuple(tensor.shape))
        (self.values.write if written else self.values.bind)(tensor, node, NO_LAYOUT, True)

    # --- calls on traced tensors

    def _trace(self, func: Function, call: CallKind, args: Args, kwargs: Kwargs) -> Any:
        """A call with a traced argument, by its action."""
        if call.name == "masked_select" and not args[1].is_meta:
            return self._masked_select(args[0], args[1])
        if call.name == "where" and len(args) == 1 and not kwargs:
            return NonzeroIndices(args[0])
        if call.name in ("bool", "item") and is_argument_check():
            return True
        if call.name in NUM_INDICES:
            return self._sparse(call, args, kwargs)
        if call.name == "to_dense" and id(args[0]) in self.values.nonzeros:
            with self:
                result = args[0].clone()
            del self.values.nonzeros[id(result)]
            return result
        if call.name in DENSE_FORMS and id(args[0]) in self.values.nonzeros:
            with self:
                return DENSE_FORMS[call.name](*args[:2])
        if call.action == "values" or has_dynamic_size(call, args, kwargs):
            raise ValueDependenceError(value_dependence(call))
        match call.action:
            case "move":
                dtype = target_dtype(args, kwargs)
                if dtype is None or dtype == args[0].dtype:
                    return args[0]
                return self._record(torch.Tensor.to, call, (args[0], dtype), {})
            case "setitem":
                return self._set_item(func, call, args)
            case "setdata":
                func(*args)
                source = self.values.read(args[1])
                self.values.bind(args[0], source.node, source.layout, source.static)
                return None
            case "factory" | "fill":
                return self._make(func, call, args, kwargs)
        return self._record(func, call, args, kwargs)

    def _sparse(self, call: CallKind, args: Args, kwargs: Kwargs) -> Tensor:
        """A sparse tensor with computed values, as a dense one of which the number of elements is known."""
        indices, values, size = sparse_arguments(call.name, args, kwargs)
        result = torch.empty(tuple(size), dtype=values.dtype, device="meta")
        conversion = Conversion((values, *indices), op="Scatter")
        sizes = {id(tensor): tuple(tensor.shape) for tensor in conversion.inputs}
        self._emit(self._op_call(call, conversion, sizes, None), [result], [False])
        self.values.nonzeros[id(result)] = values.shape[0]
        return result

    def _masked_select(self, tensor: Tensor, mask: Tensor) -> Tensor:
        """`masked_select` with a constant mask, which is indexing."""
        shape: Size = torch.broadcast_shapes(tensor.shape, mask.shape)  # type: ignore[no-untyped-call]
        with self:
            return tensor.expand(shape)[mask.expand(shape)]

    def _make(self, func: Function, call: CallKind, args: Args, kwargs: Kwargs) -> Any:
        """A call that creates or overwrites a tensor with contents that depend on no other, except for its size."""
        self._refuse_hidden_code()
        sources = value_arguments(call, args, kwargs)
        if sources:
            return self._make_of(func, call, args, kwargs, sources)
        result = func(*args, **{name: value for name, value in kwargs.items() if name != "device"})
        small = call.name in KNOWN_CONTENTS and result.numel() <= MAX_KNOWN_CONTENTS
        # PyTorch's own code relies on the device of what its operators return
        if small and self.operator is None and len(tensors_in((args, kwargs))) == 1:
            return self._evaluate(func, call, args, kwargs | {"device": self.device})
        self._constant(result, call, written=call.action == "fill")
        return result

    def _make_of(self, func: Function, call: CallKind, args: Args, kwargs: Kwargs, sources: Sequence[Tensor]) -> Any:
        """A factory or fill with contents that depend on traced tensors, such as a random draw."""
        if call.name in COPIED:
            with self:
                result = stacked(kwargs["data"] if "data" in kwargs else args[-1])
                return result if kwargs.get("dtype") is None else result.to(kwargs["dtype"])
        sizes = {id(tensor): tuple(tensor.shape) for tensor in sources}
        if call.name in FILLED:
            conversion = Conversion((sources[-1],), op="Expand")
            result = empty_result(func, call, args, kwargs)
        else:
            conversion = Conversion(tuple(sources), {"flops": 0}, op=call.op or "Opaque")
            result = _run(func, call, args, {name: arg for name, arg in kwargs.items() if name != "device"}, sizes)
        op_call = replace(self._op_call(call, conversion, sizes, None), display_name=f"torch.{call.name}")
        self._emit(op_call, [result], [call.in_place or "out" in kwargs])
        return result

    def _record(self, func: Function, call: CallKind, args: Args, kwargs: Kwargs) -> Any:
        """A call as one node."""
        tensors = tensors_in((args, {name: value for name, value in kwargs.items() if name != "out"}))
        conversion = convert_call(call, args, kwargs, tensors)
        if self.operator is not func and not is_primitive(conversion):
            self._refuse_hidden_code()
            return self._record_operators(func, args, kwargs)
        sizes = {id(tensor): tuple(tensor.shape) for tensor in tensors}
        result = _run(func, call, args, kwargs, sizes)
        if self.values.nonzeros and conversion.op == "MatMul":
            conversion = with_nonzeros(conversion, self.values.nonzeros)
        if conversion.op in ("", "Opaque"):
            conversion = conversion._replace(attrs=known_cost(func, args, kwargs, result, self._examples(tensors)))
        outputs = tensors_in(result)
        overwritten = set(sizes) | {id(tensor) for tensor in tensors_in(kwargs.get("out"))}
        moves = call.category in ("identity", "movement")
        if not moves:
            self.values.note_ignored(call.display_name, tensors, (*conversion.inputs, *conversion.weights))
        if not outputs or (moves and call.op != "Dropout" and not call.in_place and id(outputs[0]) in overwritten):
            return result
        axis_map = axis_map_of(func, call, conversion, args, kwargs, outputs[0])
        op_call = self._op_call(call, conversion, sizes, axis_map)
        if looked_up := indexed_axes(call, conversion, args, kwargs, outputs[0]):
            op_call.axis_map, op_call.index_axis = looked_up
        written = [id(tensor) in overwritten and not moves for tensor in outputs]
        self._emit_results(op_call, SECOND_RESULTS.get(call.name), outputs, written)
        if self.values.nonzeros:
            elements = result_elements(op_call.op, conversion.inputs, outputs[0], self.values.nonzeros)
            if elements is not None:
                self.values.nonzeros[id(outputs[0])] = elements
        return result

    def _examples(self, tensors: Sequence[Tensor]) -> int:
        """The number of examples that a call on these tensors computes."""
        states = map(self.values.state_of, tensors)
        return self.tape.batch if any(state and state.layout.batch is not None for state in states) else 1

    def _record_operators(self, func: Function, args: Args, kwargs: Kwargs) -> Any:
        """A call as the calls in its body or the operators that PyTorch executes, as exported programs have them."""
        is_python = isinstance(func, FunctionType) and func.__module__ in PYTHON_MODULES
        if is_python and func not in self._opened and maybe_current_level() is None:
            self._opened.append(func)
            try:
                with self:
                    return transparent(func)(*args, **kwargs)
            finally:
                self._opened.pop()
        operator, self.operator = self.operator, None
        try:
            with OperatorMode(self):
                if func is torch.autograd.grad:
                    kwargs = map_tensors(kwargs, _on_meta)
                return func(*args, **kwargs)
        finally:
            self.operator = operator

    def _set_item(self, func: Function, call: CallKind, args: Args) -> None:
        """`target[index] = value`."""
        target, index, value = args
        index_tensors = tensors_in(index)
        is_plain = isinstance(value, Tensor) and not index_tensors
        if is_plain and storage_id(value) == storage_id(target) and geometry(target[index]) == geometry(value):
            return  # the second half of `x[i] += y`: the view was already changed in place
        if not any(tensor.is_meta and tensor.dtype == torch.bool for tensor in index_tensors):
            func(*args)  # on meta: only to let PyTorch check index and shapes
        if is_plain and value is not target and geometry(target[index]) == geometry(target):  # the whole target
            conversion = Conversion((value,), op="Identity" if value.shape == target.shape else "Expand")
        else:
            inputs = [tensor for tensor in tensors_in((value, index)) if tensor is not target]
            if self.values.state_of(target) and self.tape.nodes[self.values.read(target).node].op != "Constant":
                inputs.insert(0, target)
            conversion = Conversion(tuple(inputs), op="Scatter")
        sizes = {id(tensor): tuple(tensor.shape) for tensor in conversion.inputs}
        self._emit(self._op_call(call, conversion, sizes, None), [target], [True])

    def _op_call(
        self, call: CallKind, conversion: Conversion, sizes: dict[int, Size], axis_map: dict[int, int] | None
    ) -> OpCall:
        op = conversion.op or "Opaque"
        weights = [tensor for tensor in conversion.weights if tensor is not None]
        params, computed = split_weights(weights, [self.values.as_param(tensor) for tensor in weights])
        inputs = [tensor for tensor in conversion.inputs if tensor is not None]
        operands = [Operand(self.values.read(tensor), sizes[id(tensor)]) for tensor in inputs]
        operands += [Operand(self.values.read(tensor), tuple(tensor.shape), is_weight=True) for tensor in computed]
        layout_op = op
        if conversion.like_linear and len(operands) == 2 and operands[1].value.static:
            layout_op, operands[1].is_weight = "Linear", True
        elif conversion.attrs.get("dims", 1) > 1 and op in ("LayerNorm", "RMSNorm"):
            layout_op = ""  # a norm over several axes does not determine which one holds the channels
        return OpCall(
            op,
            call.name,
            operands,
            conversion.attrs,
            params,
            layout_op,
            axis_map,
            conversion.reduced_axes,
            call.num_spatial_dims,
            display_name=call.display_name,
        )

    def _emit_results(
        self, op_call: OpCall, second: str | None, outputs: Sequence[Tensor], written: Sequence[bool]
    ) -> None:
        """`_emit`, with a node for every result where these are different operators, or those of an unknown one."""
        if len(outputs) == 1 or (second is None and op_call.op != "Opaque"):
            self._emit(op_call, outputs, written)
            return
        for slot, (tensor, was_written) in enumerate(zip(outputs, written, strict=True)):
            node = op_call
            if slot:
                node = replace(op_call, op=second or op_call.op, display_name=f"{op_call.display_name}[{slot}]")
            self._emit(node, [tensor], [was_written])

    def _emit(self, op_call: OpCall, outputs: Sequence[Tensor], written: Sequence[bool]) -> None:
        """Append the node and bind the results to it.

        Results beyond the first share the node, but parts of a tensor have one each. `written` are those that the call
        wrote to.
        """
        if op_call.op == "Slice" and len(outputs) > 1:
            for tensor, was_written in zip(outputs, written, strict=True):
                self._emit(op_call, [tensor], [was_written])
            return
        if op_call.op == "Slice":
            op_call = replace(op_call, attrs={"part": True})
        node, layouts, static = self.tape.emit(op_call, [tuple(tensor.shape) for tensor in outputs])
        for tensor, layout, was_written in zip(outputs, layouts, written, strict=True):
            (self.values.write if was_written else self.values.bind)(tensor, node, layout, static)


def _on_meta(tensor: Tensor) -> Tensor:
    """A constant gradient of a result, on the device of the result."""
    return tensor if tensor.is_meta else torch.empty_like(tensor, device="meta")


def _run(func: Function, call: CallKind, args: Args, kwargs: Kwargs, sizes: dict[int, Size]) -> Any:
    """The result of a call on meta tensors, by rule where there is one."""
    result = call.shape_rule(*args, **kwargs) if call.shape_rule and "out" not in kwargs else None
    if result is not None:
        return result
    try:
        return func(*args, **kwargs)
    except NotImplementedError as error:  # what PyTorch raises where an operator has no meta kernel
        if "Meta" not in str(error) and "fake impl" not in str(error):
            raise
        quantized = call.display_name.startswith("quantized::") or "quantize" in call.name
        advice = "trace the float model that was quantized" if quantized else "register a fake implementation of it"
        raise TraceError(
            f"PyTorch has no meta kernel for {call.display_name}, which would say what shape its result has; {advice}"
        ) from error
    except Exception as error:
        shapes = ", ".join("x".join(map(str, size)) or "a scalar" for size in sizes.values())
        error.add_note(f"in {call.name} of {shapes}")
        raise
