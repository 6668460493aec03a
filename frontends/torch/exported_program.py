"""`torch.export`: programs in memory and `.pt2` files give the graph that tracing their module gives.

The program's calls are made again on the meta device under the recorder of `torch_record`, each under the path of the
module it came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import _pop_mode_temporarily

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.tape import Tape
from frontends.common.trace_request import TraceRequest, shapes_from

from . import pt2_archive as torch_archive
from .call_arguments import mapped
from .module_tracer import graph_inputs, graph_outputs, leaves_of
from .program import Body, Entry, Line, Program, Ref, Size, from_exported
from .recorder import Recorder
from .tensor_values import Values, tensors_in

LARGE = 1 << 24  # elements: constants that a program makes beyond this have no contents
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
ORDERED = {"MultiheadAttention", "LSTM", "GRU", "RNN"}  # modules with `batch_first`


def trace(model: Any, request: TraceRequest) -> Graph:
    """The raw graph of an `ExportedProgram` or of a `.pt2` file.

    Raises:
        TraceError: the file is no exported program, or the program cannot be followed with these input shapes.
    """
    program = torch_archive.read(Path(model)) if isinstance(model, str | os.PathLike) else from_exported(model)
    name = request.name or program.name
    line: list[Line | None] = [None]  # the call at work, for messages
    try:
        with torch.no_grad():
            walk = _Walk(program, request, line)
            walk.run(program.body, walk.values_of(program.entries))
            outputs = [walk.load(output, walk.results) for output in program.outputs]
            graph_outputs(walk.recorder, outputs[0] if len(outputs) == 1 else outputs)
    except Exception as error:
        raise _located(error, name, line[0]) from error
    used = walk.recorder.values.used
    unused = sum(param.numel() for key, param in walk.params.items() if key not in used)
    return Graph(tuple(walk.recorder.tape.nodes), name, notes=(("unused parameters", unused),) if unused else ())


class _Walk:
    """Makes the calls of a program one by one. `line[0]` is the one at work, `results` the values of the last body that
    ended.
    """

    def __init__(self, program: Program, request: TraceRequest, line: list[Line | None]) -> None:
        tape = Tape(strict=request.strict)
        self.line = line
        self.results: dict[str, Any] = {}
        self.twins: list[Tensor] = []
        self.params = {
            entry.key: nn.Parameter(_empty(entry.value), requires_grad=False)
            for entry in program.entries
            if entry.kind == "parameter"
        }
        constants = (entry for entry in program.entries if entry.kind == "constant")
        self.constants = {
            entry.name: entry.value if isinstance(entry.value, Tensor) else _empty(entry.value) for entry in constants
        }
        names = {id(param): key for key, param in self.params.items()}
        self.recorder = Recorder(
            tape, Values(tape, names, {id(tensor) for tensor in self.constants.values()}), torch.device("cpu")
        )
        self.inputs = _inputs(program, self.recorder, request)

    def values_of(self, entries: Sequence[Entry]) -> list[Any]:
        """What stands behind the inputs of the program, in order."""
        found: dict[str, Any] = {entry.name: entry.value for entry in entries} | self.constants | self.inputs
        return [self.params[entry.key] if entry.kind == "parameter" else found[entry.name] for entry in entries]

    def run(self, body: Body, args: Sequence[Any]) -> Any:
        """The outputs of a body."""
        known = dict(zip(body.inputs, args, strict=True))
        for line in body.lines:
            self.line[0] = line
            result = self._call(
                line,
                tuple(self.load(arg, known) for arg in line.args),
                {key: self.load(arg, known) for key, arg in line.kwargs.items()},
            )
            _bind(line.results, result, known)
        self.results = known
        return self.load(body.outputs, known)

    def _inside(self, body: Body, args: Sequence[Any]) -> Any:
        """A body of control flow, which is entered under the recorder; its calls are handed to the recorder one by one
        all the same.
        """
        with _pop_mode_temporarily():
            return self.run(body, args)

    def load(self, item: Any, known: Mapping[str, Any]) -> Any:
        """Arguments with their `Ref`s looked up, and their bodies as functions."""
        if type(item) is Ref:
            return known[item.name]
        if type(item) is Body:
            return lambda *args: self._inside(item, args)
        if isinstance(item, list | tuple):
            return type(item)([self.load(part, known) for part in item])
        if isinstance(item, slice):
            return slice(*(self.load(part, known) for part in (item.start, item.stop, item.step)))
        return {key: self.load(part, known) for key, part in item.items()} if isinstance(item, dict) else item

    def _call(self, line: Line, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(line.target, "__name__", "")
        if name.startswith(SILENT):
            return None
        if name.startswith("sym_") or not isinstance(
            line.target, torch._ops.OpOverload | torch._ops.HigherOrderOperator
        ):
            return line.target(*args, **kwargs)
        target = line.target
        # strides of the exporter's device may have been others
        if target is torch.ops.aten.view.default and not args[0].is_contiguous():
            target = torch.ops.aten.reshape.default
        args, kwargs = self._bounded(target, args, kwargs)
        base = self.recorder.tape.path[-1]
        with self.recorder.tape.module_scope(line.path or base):
            return self.recorder.__torch_function__(target, (), args, kwargs)

    def _bounded(
        self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, on the meta device if the call would make a large constant: programs from outside may ask for
        any size.
        """
        is_live = self.recorder.values.is_live
        if not isinstance(target, torch._ops.OpOverload) or any(map(is_live, tensors_in((args, kwargs)))):
            return args, kwargs
        there = mapped(args, _twin), {key: mapped(value, _twin) for key, value in kwargs.items()}
        if any(arg.name == "device" for arg in target._schema.arguments):
            there[1]["device"] = torch.device("meta")
        try:
            large = any(tensor.numel() > LARGE for tensor in tensors_in(target(*there[0], **there[1])))
        except (RuntimeError, TypeError):  # no meta kernel; the call itself will say what is wrong
            return args, kwargs
        if not large:
            return args, kwargs
        self.twins += tensors_in(there)
        self.recorder.values.known.update(map(id, self.twins))
        return there


def _twin(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def _empty(size: Size) -> Tensor:
    return torch.empty(size.shape, dtype=size.dtype, device="meta")


def _bind(names: Any, value: Any, known: dict[str, Any]) -> None:
    """Give a call's result, or the parts of it, their names."""
    if isinstance(names, str):
        known[names] = value
    elif value is not None:
        for name, part in zip(names, value, strict=False):  # what nobody reads may be left out at the end
            _bind(name, part, known)


# --- inputs


def _inputs(program: Program, recorder: Recorder, request: TraceRequest) -> dict[str, Tensor]:
    """A fresh meta tensor for every tensor that the program's caller passes."""
    entries = [entry for entry in program.entries if entry.kind == "input"]
    shapes = _asked(entries, request)
    for entry, shape in zip(entries, shapes, strict=True):
        _check(entry, shape)
    tensors = [
        (entry.name, torch.empty(shape, dtype=entry.value.dtype, device="meta"))
        for entry, shape in zip(entries, shapes, strict=True)
    ]
    fresh = graph_inputs(recorder, tensors, _sequence_first(program.body))
    return {name: fresh[id(tensor)] for name, tensor in tensors}


def _asked(entries: Sequence[Entry], request: TraceRequest) -> list[tuple[int, ...]]:
    """The shapes of the inputs: those the caller of `trace` gives, else those of the export, with open dimensions as in
    `dims`.
    """
    if request.input_shape is not None:
        shapes = list(shapes_from(request.input_shape))
    elif request.inputs is not None:
        shapes = [tuple(tensor.shape) for _, tensor in leaves_of(request.inputs)]
    else:
        return [
            tuple(request.dims.get(s or "", n) for n, s in zip(entry.value.shape, entry.value.symbols, strict=True))
            for entry in entries
        ]
    if len(shapes) != len(entries):
        names = ", ".join(entry.name for entry in entries)
        raise TraceError(
            f"the program takes {len(entries)} tensors ({names}), found {len(shapes)}; leave inputs out to use those it was exported with"
        )
    return shapes


def _check(entry: Entry, shape: tuple[int, ...]) -> None:
    size: Size = entry.value
    fits = len(shape) == len(size.shape) and all(
        s or n == m for n, m, s in zip(shape, size.shape, size.symbols, strict=True)
    )
    if not fits:
        expected = ", ".join(s or str(n) for n, s in zip(size.shape, size.symbols, strict=True))
        raise TraceError(
            f"input {entry.name!r} was exported with shape ({expected}), found {shape}; export again with dynamic_shapes for other sizes"
        )


def _sequence_first(body: Body) -> bool:
    """Whether recurrent and attention modules of the program have the batch on the second axis: they say so, or begin
    by moving it there.
    """
    seen: dict[str, bool] = {}
    for line in body.lines:
        if line.layer not in ORDERED:
            continue
        name = getattr(line.target, "__name__", "")
        if name.partition(".")[0] in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
            seen[line.path] = line.args[-1] is True
        elif line.layer == "MultiheadAttention" and line.path not in seen:
            seen[line.path] = name.startswith("transpose")
    return bool(seen) and not any(seen.values())


# --- errors


def _located(error: Exception, name: str, line: Line | None) -> TraceError:
    """The error with the program's call in front."""
    call = f", {line.target}" + (f" in module {line.path!r}" if line.path else "") if line is not None else ""
    if isinstance(error, CgirError):
        kind = type(error) if isinstance(error, TraceError) else TraceError
        return kind(f"{name}{call}: {error}")
    return TraceError(f"{name}{call}: the program cannot be followed: {one_line(error, 400, named=True)}")
