"""Importer of exported programs (`torch.export`), in memory or `.pt2` files.

Their graph equals the graph of tracing the module. The program's calls are executed again on the meta device under the
`Recorder`, each in the scope of the module that it came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.overrides import _pop_mode_temporarily

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.batch_axis import BatchPlan, graph_of_one_example, plan_batch
from frontends.common.tape import Tape
from frontends.common.trace_request import TraceRequest, shapes_from

from . import pt2_archive
from .batch_checks import check_expected_axis
from .call_arguments import map_tensors
from .control_flow import record_control_flow
from .exported_program_ir import (
    Argument,
    CallNode,
    Names,
    ProgramInput,
    ProgramIR,
    Subgraph,
    TensorMeta,
    ValueRef,
    ir_from_program,
)
from .graph_io import graph_inputs, graph_outputs, tensor_leaves
from .recorder import Recorder
from .tensor_values import TensorValues, tensors_in
from .tested_version import warn_of_untested
from .typing import Args, Function, Kwargs

LARGE = 1 << 24  # elements: constants that a program makes beyond this have no contents
SMALL = 1 << 14  # elements: those of operators that take more than a few steps for an element
_COSTLY = "mm bmm addmm baddbmm matmul linear einsum convolution conv1d conv2d conv3d linalg_inv linalg_eigh linalg_qr"
COSTLY = frozenset(f"aten::{name}" for name in _COSTLY.split())
# Checks of what the exporter assumed, and switches of the autograd engine: nothing is computed.
SILENT = (
    "_assert_",
    "_functional_assert_",
    "sym_constrain_",
    "_functional_sym_constrain_",
    "_linalg_check_errors",
    "_make_dep_token",
    "_set_grad_enabled",
)


def trace(model: ExportedProgram | str | os.PathLike[str], request: TraceRequest) -> Graph:
    """The raw graph of an `ExportedProgram` or of a `.pt2` file.

    Raises:
        TraceError: the file is no exported program, or the program cannot be followed with these input shapes.
    """
    warn_of_untested()
    program = (
        pt2_archive.read(Path(model), request.limits)
        if isinstance(model, str | os.PathLike)
        else ir_from_program(model)
    )
    name = request.name or program.name
    try:
        inputs = _example_inputs(program, request)
        plan = plan_batch(request.batch, [(spec, tuple(tensor.shape)) for spec, tensor in inputs])
    except CgirError as error:
        raise _with_location(error, name, None) from error
    # the sizes in a program's calls are those of the batch that it was exported with
    return graph_of_one_example(plan, request.batch, partial(_import_program, program, request, inputs), can_cut=False)


def _import_program(
    program: ProgramIR, request: TraceRequest, inputs: Sequence[tuple[str, Tensor]], plan: BatchPlan
) -> tuple[Tape, Graph]:
    """The tape and the graph of a program, its inputs with batch axes as planned."""
    name = request.name or program.name
    with torch.no_grad():
        try:
            importer = ExportedProgramImporter(program, request, inputs, plan)
        except Exception as error:
            raise _with_location(error, name, None) from error
        try:
            importer.run_program()
        except Exception as error:
            raise _with_location(error, name, importer.current) from error
    values = importer.recorder.values
    used = values.used_params
    unused = sum(param.numel() for key, param in importer.params.items() if key not in used)
    values.tape.gaps.extend(values.gaps())
    return values.tape, values.tape.graph(name, unused)


ENUMERATIONS: dict[str, type] = {
    "ScalarType": torch.dtype, "Layout": torch.layout, "MemoryFormat": torch.memory_format,
}  # fmt: skip


def _check_enumerations(target: Any, args: Args, kwargs: Kwargs) -> None:
    """Refuse plain numbers for types of elements and memory formats: PyTorch's operators do not check their range."""
    named = {argument.name: argument for argument in getattr(target, "_schema", ()) and target._schema.arguments}
    for argument, value in [*zip(named.values(), args, strict=False), *((named.get(k), v) for k, v in kwargs.items())]:
        text = str(argument.real_type) if argument is not None else ""
        kind = next((name for name in ENUMERATIONS if name in text), None)
        if kind and value is not None and not isinstance(value, ENUMERATIONS[kind]):
            raise TraceError(
                f"its argument {argument.name} is {value!r:.60}, expected a torch.{ENUMERATIONS[kind].__name__}"
            )


class ExportedProgramImporter:
    """Executes the calls of a program one by one under a recorder; `current` is the call being executed.

    Args:
        program: to execute.
        request: of the trace.
        inputs: name and an example of every tensor that the program's caller passes.
        plan: their batch axes.
    """

    def __init__(
        self, program: ProgramIR, request: TraceRequest, inputs: Sequence[tuple[str, Tensor]], plan: BatchPlan
    ) -> None:
        self.program, self.limits = program, request.limits
        self._num_made = 0  # elements of the constants that the program makes
        self.current: CallNode | None = None
        self.params = {
            spec.key: nn.Parameter(_meta_tensor(spec.value), requires_grad=spec.value.dtype.is_floating_point)
            for spec in program.inputs
            if spec.kind == "parameter"
        }
        self.constants = {
            spec.name: spec.value if isinstance(spec.value, Tensor) else _meta_tensor(spec.value)
            for spec in program.inputs
            if spec.kind == "constant"
        }
        tape = plan.tape(request.strict)
        param_names = {id(param): key for key, param in self.params.items()}
        values = TensorValues(tape, param_names, {id(tensor) for tensor in self.constants.values()})
        self.recorder = Recorder(tape, values, torch.device("cpu"), record_control_flow)
        meta_tensors = graph_inputs(self.recorder, inputs, plan)
        self.inputs = {name: meta_tensors[id(tensor)] for name, tensor in inputs}
        self._attention_layers: set[str] = set()  # paths of those whose first call was seen
        self._meta_args: list[Tensor] = []  # kept alive, because `values` refers to them by identity

    def run_program(self) -> None:
        """Execute all calls, and make the results of the user's forward graph outputs."""
        body = self.program.body
        named = self._run_calls(body, [self._input_value(spec) for spec in self.program.inputs])
        outputs = [self._argument(output, named) for output in self.program.outputs]
        graph_outputs(self.recorder, outputs[0] if len(outputs) == 1 else outputs)

    def _input_value(self, spec: ProgramInput) -> Any:
        if spec.kind == "parameter":
            return self.params[spec.key]
        return {"constant": self.constants, "input": self.inputs}.get(spec.kind, {}).get(spec.name, spec.value)

    def _run_calls(self, body: Subgraph, args: Sequence[Any]) -> dict[str, Any]:
        """The named values of a subgraph after its calls."""
        named = dict(zip(body.inputs, args, strict=True))
        for call in body.calls:
            self.current = call
            call_args = tuple(self._argument(arg, named) for arg in call.args)
            call_kwargs = {key: self._argument(arg, named) for key, arg in call.kwargs.items()}
            _bind(call.results, self._call(call, call_args, call_kwargs), named)
        return named

    def _run_subgraph(self, body: Subgraph, args: Sequence[Any]) -> Any:
        """The outputs of a body of control flow.

        It is called while the recorder is active, which is suspended: each call is passed to the recorder explicitly.
        """
        with _pop_mode_temporarily():
            return self._argument(body.outputs, self._run_calls(body, args))

    def _argument(self, item: Argument, named: Mapping[str, Any]) -> Any:
        """An argument with its `ValueRef`s looked up, and its `Subgraph`s as functions."""
        if type(item) is ValueRef:
            return named[item.name]
        if type(item) is Subgraph:
            return lambda *args: self._run_subgraph(item, args)
        if isinstance(item, list | tuple):
            return type(item)([self._argument(part, named) for part in item])
        if isinstance(item, slice):
            return slice(*(self._argument(part, named) for part in (item.start, item.stop, item.step)))
        return {key: self._argument(part, named) for key, part in item.items()} if isinstance(item, dict) else item

    def _call(self, call: CallNode, args: Args, kwargs: Kwargs) -> Any:
        target, name = call.target, getattr(call.target, "__name__", "")
        if name.startswith(SILENT):
            return None
        if call.layer == "MultiheadAttention" and call.path not in self._attention_layers:
            self._attention_layers.add(call.path)
            if not name.startswith(("transpose", "permute")):  # one with `batch_first` begins by moving the batch
                check_expected_axis(self.recorder.values, "MultiheadAttention", args[0], 1)
        if name.startswith(("split", "unbind", "unsafe_split", "chunk", "tensor_split")):
            self._check_pieces(name, args, kwargs)
        is_operator = isinstance(target, torch._ops.OpOverload | torch._ops.HigherOrderOperator)
        if name.startswith("sym_") or not is_operator:
            return target(*args, **kwargs)
        _check_enumerations(target, args, kwargs)
        # strides on the exporter's device may have differed
        if target is torch.ops.aten.view.default and not args[0].is_contiguous():
            target = torch.ops.aten.reshape.default
        args, kwargs = self._without_large_constants(target, args, kwargs)
        with self.recorder.tape.module_scope(call.path or self.recorder.tape.path[-1]):
            return self.recorder.__torch_function__(target, (), args, kwargs)

    def _check_pieces(self, name: str, args: Args, kwargs: Kwargs) -> None:
        """Refuse to cut a tensor into more pieces than a graph may have nodes; files name any size."""
        positions = ("self", "dim") if name.startswith("unbind") else ("self", "size", "dim")
        named = dict(zip(positions, args, strict=False)) | kwargs
        tensor, dim, size = named.get("self"), named.get("dim", 0), named.get("size", 1)
        if isinstance(tensor, Tensor) and isinstance(dim, int) and -tensor.dim() <= dim < tensor.dim():
            pieces = tensor.shape[dim]
            if isinstance(size, int) and size > 0 and "split" in name and "tensor_split" not in name:
                pieces //= size
            elif isinstance(size, int) and not name.startswith("unbind"):
                pieces = min(pieces, size)
            self.limits.check("nodes", len(size) if isinstance(size, list | tuple) else pieces, "pieces of a tensor")

    def _without_large_constants(self, target: Function, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        """The arguments, on the meta device if the call would make a large constant.

        Programs of unknown origin may make constants of any size.
        """
        is_traced = self.recorder.values.is_traced
        if not isinstance(target, torch._ops.OpOverload) or any(map(is_traced, tensors_in((args, kwargs)))):
            return args, kwargs
        meta_args = map_tensors(args, _meta_like)
        meta_kwargs = {key: map_tensors(value, _meta_like) for key, value in kwargs.items()}
        if any(arg.name == "device" for arg in target._schema.arguments):
            meta_kwargs["device"] = torch.device("meta")
        try:
            made = [tensor.numel() for tensor in tensors_in(target(*meta_args, **meta_kwargs))]
        except (RuntimeError, TypeError):  # no meta kernel; the call itself will raise the error
            return args, kwargs
        self._num_made += sum(made)
        is_costly = target._schema.name in COSTLY and sum(made) > SMALL
        if max(made, default=0) <= LARGE and 8 * self._num_made <= self.limits.bytes and not is_costly:
            return args, kwargs
        self._meta_args += tensors_in((meta_args, meta_kwargs))
        self.recorder.values.own_tensors.update(map(id, self._meta_args))
        return meta_args, meta_kwargs


def _meta_like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def _meta_tensor(meta: TensorMeta) -> Tensor:
    return torch.empty(meta.shape, dtype=meta.dtype, device="meta")


def _bind(names: Names, value: Any, named: dict[str, Any]) -> None:
    """Give a call's result, or the parts of it, their names."""
    if isinstance(names, str):
        named[names] = value
    elif value is not None:
        for name, part in zip(names, value, strict=False):  # unused parts may be missing at the end
            _bind(name, part, named)


# --- inputs


def _example_inputs(program: ProgramIR, request: TraceRequest) -> list[tuple[str, Tensor]]:
    """Name and a meta tensor for every tensor that the program's caller passes."""
    specs = [spec for spec in program.inputs if spec.kind == "input"]
    shapes = _input_shapes(specs, request)
    for spec, shape in zip(specs, shapes, strict=True):
        _check_shape(spec, shape)
    return [
        (spec.name, torch.empty(shape, dtype=spec.value.dtype, device="meta"))
        for spec, shape in zip(specs, shapes, strict=True)
    ]


def _input_shapes(specs: Sequence[ProgramInput], request: TraceRequest) -> list[tuple[int, ...]]:
    """The shapes that the request has, else those of the export, with open dimensions as in `dims`."""
    if request.input_shape is not None:
        shapes = list(shapes_from(request.input_shape))
    elif request.inputs is not None:
        shapes = [tuple(tensor.shape) for _, tensor in tensor_leaves(request.inputs)]
    else:
        return [
            tuple(
                request.dims.get(symbol or "", n)
                for n, symbol in zip(spec.value.shape, spec.value.symbols, strict=True)
            )
            for spec in specs
        ]
    if len(shapes) != len(specs):
        names = ", ".join(spec.name for spec in specs)
        raise TraceError(
            f"the program takes {len(specs)} tensors ({names}), found {len(shapes)}; "
            "leave inputs out to use those it was exported with"
        )
    return shapes


def _check_shape(spec: ProgramInput, shape: tuple[int, ...]) -> None:
    meta: TensorMeta = spec.value
    fits = len(shape) == len(meta.shape) and all(
        symbol or n == m for n, m, symbol in zip(shape, meta.shape, meta.symbols, strict=True)
    )
    if not fits:
        expected = ", ".join(symbol or str(n) for n, symbol in zip(meta.shape, meta.symbols, strict=True))
        raise TraceError(
            f"input {spec.name!r} was exported with shape ({expected}), found {shape}; "
            "export again with dynamic_shapes for other sizes"
        )


# --- errors


def _with_location(error: Exception, name: str, call: CallNode | None) -> TraceError:
    """The error with the program's call in front."""
    location = name
    if call is not None:
        location += f", {call.target}" + (f" in module {call.path!r}" if call.path else "")
    if isinstance(error, CgirError):
        kind = type(error) if isinstance(error, TraceError) else TraceError
        return kind(f"{location}: {error}")
    return TraceError(f"{location}: the program cannot be followed: {one_line(error, 400, named=True)}")
