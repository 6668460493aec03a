"""PyTorch modules: run the forward once on the meta device and record what it calls.

Nothing about the module changes: no weight is read, copied or moved, and buffers, attributes, hooks and random number
generators are afterwards as they were. One path is followed, the one taken for these inputs' shapes.
"""

from __future__ import annotations

import inspect
import os
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import chain
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.tape import Tape
from frontends.common.trace_request import TraceRequest, shapes_from

from .recorder import Recorder
from .tensor_values import Values, tensors_in

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
CONTAINERS = (list, dict, set)


def trace(model: nn.Module, request: TraceRequest) -> Graph:
    """The raw graph of a module.

    Raises:
        TraceError: the module or its inputs are not what tracing needs, the forward reads tensor values, or it fails.
    """
    modules = dict(model.named_modules())
    _check(modules)
    try:
        return _follow(model, modules, request)
    except TraceError as error:
        if not type(error.__cause__).__module__.startswith("torch._dynamo"):
            raise
    with torch.compiler.set_stance("force_eager"):  # torch.cond and its like compile their bodies, which hides them
        return _follow(model, modules, request)


def _follow(model: nn.Module, modules: Mapping[str, nn.Module], request: TraceRequest) -> Graph:
    name = request.name or type(model).__name__
    args, kwargs = _arguments(model, request.inputs, request.input_shape)
    device = next((t.device for t in chain(model.parameters(), model.buffers()) if not t.is_meta), torch.device("cpu"))
    tape = Tape(strict=request.strict)
    values = Values(tape, {id(param): key for key, param in model.named_parameters()}, _own_tensors(modules.values()))
    recorder = Recorder(tape, values, device)
    args, kwargs = _module_inputs(model, recorder, args, kwargs, _sequence_first(modules.values()))
    with _untouched(modules.values(), device), _paths(modules, tape), torch.no_grad():
        try:
            with recorder:
                result = model(*args, **kwargs)
        except Exception as error:
            raise _located(error, name, tape.path[-1]) from error
        graph_outputs(recorder, result)
    unused = sum(param.numel() for key, param in model.named_parameters() if key not in values.used)
    return Graph(tuple(tape.nodes), name, notes=(("unused parameters", unused),) if unused else ())


def _check(modules: Mapping[str, nn.Module]) -> None:
    for path, module in modules.items():
        where = f"module {path!r}" if path else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise TraceError(
                f"{where} is a TorchScript module ({type(module).__name__}), which cannot be followed; trace the nn.Module it was made from"
            )
        if type(module).__name__ == "OptimizedModule":
            raise TraceError(
                f"{where} was made by torch.compile, which cannot be followed; trace the module it was given (module._orig_mod)"
            )
        if any(isinstance(param, nn.parameter.UninitializedParameter) for param in module._parameters.values()):
            raise TraceError(
                f"{where} ({type(module).__name__}) is lazy and has no shapes yet; run it once on example inputs before tracing"
            )


def _own_tensors(modules: Iterable[nn.Module]) -> set[int]:
    """Identities of the buffers and of tensors that modules keep as plain attributes."""
    attributes = ([*module.__dict__.values(), *module._buffers.values()] for module in modules)
    return {
        id(tensor)
        for values in attributes
        for tensor in tensors_in([v for v in values if isinstance(v, Tensor | list | tuple)])
    }


# --- inputs and outputs


def _arguments(model: nn.Module, inputs: Any, input_shape: Any) -> Arguments:
    if (inputs is None) == (input_shape is None):
        given = "neither" if inputs is None else "both"
        raise TraceError(
            f"trace needs example inputs or input_shape=, found {given}; for instance input_shape=(1, 3, 224, 224)"
        )
    if input_shape is not None:
        inputs = _from_shapes(model, input_shape)
    args, kwargs = (
        ((), dict(inputs))
        if type(inputs) is dict
        else (tuple(inputs) if type(inputs) in (tuple, list) else (inputs,), {})
    )
    if not leaves_of((args, kwargs)):
        raise TraceError(
            f"the inputs hold no tensor, found {type(inputs).__name__}; pass a tensor, a tuple of positional or a dict of keyword arguments"
        )
    try:
        inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise TraceError(
            f"the inputs do not fit {type(model).__name__}.forward{inspect.signature(model.forward)}: {error}"
        ) from error
    return args, kwargs


def _from_shapes(model: nn.Module, input_shape: Any) -> tuple[Tensor, ...]:
    dtype = next((param.dtype for param in model.parameters() if param.is_floating_point()), torch.get_default_dtype())
    return tuple(torch.empty(shape, dtype=dtype, device="meta") for shape in shapes_from(input_shape))


def _module_inputs(
    model: nn.Module, recorder: Recorder, args: tuple[Any, ...], kwargs: dict[str, Any], sequence_first: bool
) -> Arguments:
    """The arguments with their tensors exchanged for graph inputs."""
    bound = inspect.signature(model.forward).bind(*args, **kwargs).arguments
    fresh = graph_inputs(recorder, leaves_of(bound), sequence_first)
    return tuple(_replaced(arg, fresh) for arg in args), {key: _replaced(value, fresh) for key, value in kwargs.items()}


def graph_inputs(recorder: Recorder, leaves: list[tuple[str, Tensor]], sequence_first: bool) -> dict[int, Tensor]:
    """Fresh meta tensors in the place of these, each a graph input; `sequence_first` says that the batch of sequences
    is their second axis.
    """
    places = [_batch_axis(tensor, sequence_first) for _, tensor in leaves]
    first = next(
        ((tensor, place) for (_, tensor), place in zip(leaves, places, strict=True) if place is not None), None
    )
    recorder.tape.batch = max(first[0].shape[first[1]], 1) if first is not None and first[1] is not None else 1
    fresh: dict[int, Tensor] = {}
    for (path, tensor), place in zip(leaves, places, strict=True):
        if id(tensor) not in fresh:
            fresh[id(tensor)] = meta = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
            fits = place is not None and tensor.shape[place] == recorder.tape.batch
            recorder.input(meta, path, place if fits else None)
    return fresh


def _sequence_first(modules: Iterable[nn.Module]) -> bool:
    """Whether recurrent and attention modules say that the batch is the second axis."""
    orders = [module.batch_first for module in modules if isinstance(module.__dict__.get("batch_first"), bool)]
    return bool(orders) and not any(orders)


def _batch_axis(tensor: Tensor, sequence_first: bool) -> int | None:
    """The first axis; the second one of tokens (T, B) and features (T, B, C) where modules expect sequences first."""
    rank_of_sequence = 3 if tensor.is_floating_point() else 2
    if sequence_first and tensor.dim() == rank_of_sequence:
        return 1
    return 0 if tensor.dim() else None


def leaves_of(item: Any, path: str = "") -> list[tuple[str, Tensor]]:
    """Tensors in nested containers and dataclasses, each with a readable path, in order."""
    if isinstance(item, Tensor):
        return [(path or "input", item)]
    if isinstance(item, Mapping):
        parts = [(str(key), value) for key, value in item.items()]
    elif isinstance(item, tuple | list):
        names = getattr(item, "_fields", range(len(item)))
        parts = [(str(key), value) for key, value in zip(names, item, strict=True)]
    elif is_dataclass(item) and not isinstance(item, type):
        parts = [(field.name, getattr(item, field.name)) for field in fields(item)]
    else:
        return []
    return [leaf for key, value in parts for leaf in leaves_of(value, f"{path}.{key}" if path else key)]


def _replaced(item: Any, fresh: Mapping[int, Tensor]) -> Any:
    """A copy of nested containers and dataclasses with their tensors exchanged."""
    if isinstance(item, Tensor):
        return fresh[id(item)]
    if isinstance(item, tuple | list):
        parts = [_replaced(part, fresh) for part in item]
        return type(item)(*parts) if hasattr(item, "_fields") else type(item)(parts)
    if type(item) is dict:
        return {key: _replaced(value, fresh) for key, value in item.items()}
    if isinstance(item, Mapping) or (is_dataclass(item) and not isinstance(item, type)):
        twin = item.__class__.__new__(item.__class__)
        if isinstance(item, dict):
            dict.update(twin, {key: _replaced(value, fresh) for key, value in item.items()})  # type: ignore[arg-type]
        for key, value in vars(item).items():
            object.__setattr__(twin, key, _replaced(value, fresh))
        return twin
    return item


def graph_outputs(recorder: Recorder, result: Any) -> None:
    """Make the tensors in a forward's result graph outputs.

    Raises:
        TraceError: there are none.
    """
    leaves = {id(tensor): (path, tensor) for path, tensor in reversed(leaves_of(result))}
    if not leaves:
        raise TraceError(
            f"the forward returned no tensor, found {type(result).__name__}; a graph needs at least one output"
        )
    for path, tensor in reversed(leaves.values()):
        recorder.output(recorder.values.traced(tensor), "output" if path == "input" else f"output.{path}")


# --- leaving no trace


@contextmanager
def _paths(modules: Mapping[str, nn.Module], tape: Tape) -> Iterator[None]:
    """Keep `tape.path` at the submodule whose forward runs, by hooks that go away again."""
    handles = []
    for path, module in modules.items():
        if not path:
            continue

        def enter(module: nn.Module, args: Any, path: str = path) -> None:
            tape.path.append(path)

        def leave(module: nn.Module, args: Any, result: Any, path: str = path) -> None:
            while tape.path.pop() != path:  # an exception caught inside the forward skips the hooks of inner modules
                pass

        handles.append(module.register_forward_pre_hook(enter, prepend=True))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _untouched(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Put back the random number generators, and the attributes of all modules, with the contents of their lists and
    dictionaries.
    """
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if device.type == "cuda" else None
    before = [(module.__dict__, dict(module.__dict__)) for module in modules]
    contents = [
        (value, value.copy())
        for _, attributes in before
        for value in attributes.values()
        if isinstance(value, CONTAINERS)
    ]
    try:
        yield
    finally:
        for live, saved in chain(before, contents):
            if isinstance(live, list):
                live[:] = saved
            elif not isinstance(live, dict) or not _same(live, saved):
                live.clear()
                live.update(saved)
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def _same(live: Mapping[Any, Any], saved: Any) -> bool:
    return len(live) == len(saved) and all(a is b and live[a] is saved[b] for a, b in zip(live, saved, strict=True))


# --- errors


def _located(error: Exception, model: str, path: str) -> TraceError:
    """The error with the module and the user's own line in front."""
    line = _user_line(error.__traceback__)
    where = f"{model}{f' ({line})' if line else ''}{f', module {path!r}' if path else ''}"
    if isinstance(error, CgirError):
        kind = type(error) if isinstance(error, TraceError) else TraceError
        return kind(f"{where}: {error}")
    text = one_line(error)
    if "TraceError: " in text:  # compiled code reports the refusal as its own failure
        return TraceError(f"{where}: {text.partition('TraceError: ')[2].partition(' At: ')[0]}")
    if "meta tensor" in text and "item()" in text:
        text = "the forward needs the value of a tensor, and tracing knows shapes only; decide on shapes or on the module's own attributes"
        return TraceError(f"{where}: {text}")
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ())[:1])
    return TraceError(f"{where}: the forward failed: {one_line(error, named=True)}{notes}")


def _user_line(traceback: TracebackType | None) -> str:
    """file:line of the innermost frame that is neither PyTorch's nor ours."""
    found = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith((HERE, TORCH, "<")):
            found = f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found
