"""Tracer of PyTorch modules: runs the forward once on the meta device and records what it calls.

The module is not changed: no weight is read, copied or moved, and buffers, attributes, hooks and random number
generators are restored. One execution path is followed, the one taken for these inputs' shapes.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cgir import Graph, TraceError
from frontends.common.batch_axis import BatchPlan, graph_of_one_example, plan_batch
from frontends.common.tape import Tape
from frontends.common.trace_request import InputShape, TraceRequest, shapes_from

from .call_arguments import ValueDependenceError
from .control_flow import record_control_flow
from .error_location import located
from .graph_io import graph_inputs, graph_outputs, tensor_leaves, with_tensors
from .recorder import Recorder
from .script_functions import compiled_code_recorded
from .tensor_values import TensorValues, tensors_in
from .tracing_settings import tracing_settings
from .typing import Args, Kwargs

CONTAINERS = (list, dict, set)


def trace(model: nn.Module, request: TraceRequest) -> Graph:
    """The raw graph of a module.

    Raises:
        TraceError: the module or its inputs are not what tracing needs, the forward reads tensor values, or it fails.
    """
    modules = dict(model.named_modules())
    _check_traceable(modules)
    try:
        return _trace_uncompiled(model, modules, request)
    except ValueDependenceError as error:
        eager_error = error
    try:  # once more, and libraries that look at values unless they are exported do not look
        return _trace_uncompiled(model, modules, request, exporting=True)
    except TraceError as error:
        if type(error) is TraceError:
            raise eager_error from eager_error.__cause__
        raise


def _trace_uncompiled(
    model: nn.Module, modules: Mapping[str, nn.Module], request: TraceRequest, exporting: bool = False
) -> Graph:
    """The graph of a forward that may call `torch.compile`: only when it is imported it can be switched off."""
    try:
        return _trace_forward(model, modules, request, exporting)
    except TraceError as error:
        if not type(error.__cause__).__module__.startswith("torch._dynamo"):
            raise
    return _trace_forward(model, modules, request, exporting)


def _trace_forward(model: nn.Module, modules: Mapping[str, nn.Module], request: TraceRequest, exporting: bool) -> Graph:
    """The graph of one example, on libraries told that `torch.export` is running or not."""
    args, kwargs = example_arguments(model, request.inputs, request.input_shape)
    leaves = tensor_leaves(inspect.signature(model.forward).bind(*args, **kwargs).arguments)
    plan = plan_batch(request.batch, [(path, tuple(tensor.shape)) for path, tensor in leaves])
    record = partial(_record_forward, model, modules, request, exporting, args, kwargs, leaves)
    return graph_of_one_example(plan, request.batch, record)


def _record_forward(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    request: TraceRequest,
    exporting: bool,
    args: Args,
    kwargs: Kwargs,
    leaves: Sequence[tuple[str, Tensor]],
    plan: BatchPlan,
) -> tuple[Tape, Graph]:
    """The tape and the graph of one run of the forward, on its inputs' `leaves` as planned."""
    name = request.name or type(model).__name__
    device = next((t.device for t in chain(model.parameters(), model.buffers()) if not t.is_meta), torch.device("cpu"))
    tape = plan.tape(request.strict)
    param_names = {id(param): key for key, param in model.named_parameters()}
    values = TensorValues(tape, param_names, _own_tensors(modules.values()))
    recorder = Recorder(tape, values, device, record_control_flow)
    meta_tensors = graph_inputs(recorder, leaves, plan)
    args = tuple(with_tensors(arg, meta_tensors) for arg in args)
    kwargs = {key: with_tensors(value, meta_tensors) for key, value in kwargs.items()}
    with (
        restored(modules.values(), device),
        _module_scopes(modules, tape),
        tracing_settings(exporting),
        torch.no_grad(),
    ):
        try:
            with recorder, compiled_code_recorded(recorder):
                result = model(*args, **kwargs)
            graph_outputs(recorder, result)
        except Exception as error:
            raise located(error, model, name, tape.path[-1]) from error
    unused = sum(param.numel() for key, param in model.named_parameters() if key not in values.used_params)
    tape.gaps.extend(values.gaps())
    return tape, tape.graph(name, unused)


def _check_traceable(modules: Mapping[str, nn.Module]) -> None:
    for path, module in modules.items():
        described = f"module {path!r}" if path else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise TraceError(
                f"{described} is a TorchScript module ({type(module).__name__}), which cannot be followed; "
                "trace the nn.Module it was made from"
            )
        if type(module).__name__ == "OptimizedModule":
            raise TraceError(
                f"{described} was made by torch.compile, which cannot be followed; "
                "trace the module it was given (module._orig_mod)"
            )
        if any(isinstance(param, nn.parameter.UninitializedParameter) for param in module._parameters.values()):
            raise TraceError(
                f"{described} ({type(module).__name__}) is lazy and has no shapes yet; "
                "run it once on example inputs before tracing"
            )


def _own_tensors(modules: Iterable[nn.Module]) -> set[int]:
    """Identities of the buffers and of tensors that modules keep as plain attributes."""
    attributes = ([*module.__dict__.values(), *module._buffers.values()] for module in modules)
    return {
        id(tensor)
        for values in attributes
        for tensor in tensors_in([v for v in values if isinstance(v, Tensor | list | tuple)])
    }


# --- inputs


def example_arguments(model: nn.Module, inputs: Any, input_shape: InputShape | None) -> tuple[Args, Kwargs]:
    """The arguments of the forward.

    Args:
        model: the module.
        inputs: as of `trace`.
        input_shape: instead, as of `trace`; tensors are then on the meta device, of the parameters' type.

    Raises:
        TraceError: both or neither is given, or they are no arguments of the forward.
    """
    if (inputs is None) == (input_shape is None):
        passed = "neither" if inputs is None else "both"
        raise TraceError(
            f"trace needs example inputs or input_shape=, found {passed}; for instance input_shape=(1, 3, 224, 224)"
        )
    if input_shape is not None:
        inputs = _from_shapes(model, input_shape)
    args: Args = ()
    kwargs: Kwargs = {}
    if type(inputs) is dict:
        kwargs = dict(inputs)
    else:
        args = tuple(inputs) if type(inputs) in (tuple, list) else (inputs,)
    if not tensor_leaves((args, kwargs)):
        raise TraceError(
            f"the inputs hold no tensor, found {type(inputs).__name__}; "
            "pass a tensor, a tuple of positional or a dict of keyword arguments"
        )
    for path, tensor in tensor_leaves((args, kwargs)):
        if tensor.is_nested:
            raise TraceError(
                f"input {path!r} is a nested tensor, whose examples have different sizes; graphs have one size, "
                "so trace the model on a padded tensor"
            )
    signature = inspect.signature(model.forward)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TraceError(f"the inputs do not fit {type(model).__name__}.forward{signature}: {error}") from error
    return args, kwargs


def _from_shapes(model: nn.Module, input_shape: InputShape) -> tuple[Tensor, ...]:
    dtype = next((param.dtype for param in model.parameters() if param.is_floating_point()), torch.get_default_dtype())
    return tuple(torch.empty(shape, dtype=dtype, device="meta") for shape in shapes_from(input_shape))


# --- restoring the module


@contextmanager
def _module_scopes(modules: Mapping[str, nn.Module], tape: Tape) -> Iterator[None]:
    """Keep `tape.path` at the submodule whose forward runs, by temporary hooks."""
    handles = []
    for path, module in modules.items():
        if not path:
            continue

        def enter(module: nn.Module, args: object, path: str = path) -> None:
            tape.path.append(path)

        def leave(module: nn.Module, args: object, result: object, path: str = path) -> None:
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
def restored(modules: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Restore the random number generators, and all modules' attributes with the contents of lists and dicts."""
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
    if not live or not saved:
        return len(live) == len(saved)  # most are empty: hooks that nobody registered
    return len(live) == len(saved) and all(a is b and live[a] is saved[b] for a, b in zip(live, saved, strict=True))
