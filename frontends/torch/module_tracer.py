"""Tracer of PyTorch modules: runs the forward once on the meta device and records what it calls.

The module is not changed: no weight is read, copied or moved, a shadow of the module runs (`module_shadow`), and random
numbers come from generators of the trace (`private_draws`), so that other threads may call the module or draw. One
execution path is followed, the one taken for these inputs' shapes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from cgir import CgirError, Graph, TraceError
from cgir.errors import one_line
from frontends.common.batch_axis import BatchPlan, graph_of_one_example, plan_batch
from frontends.common.tape import Tape
from frontends.common.trace_request import InputShape, TraceRequest, shapes_from

from .call_arguments import ValueDependenceError
from .control_flow import record_control_flow
from .error_location import located
from .graph_io import graph_inputs, graph_outputs, tensor_leaves, with_tensors
from .module_scopes import ModuleScopes
from .module_shadow import named_modules, named_tensors, shadow_of
from .private_draws import GeneratorMode, Generators, private_generators
from .recorder import Recorder
from .script_functions import compiled_code_recorded
from .surroundings import plain_surroundings
from .tensor_values import TensorValues
from .tested_version import warn_of_untested
from .tracing_settings import tracing_settings
from .typing import Args, Kwargs


def trace(model: nn.Module, request: TraceRequest) -> Graph:
    """The raw graph of a module.

    Raises:
        TraceError: the module or its inputs are not what tracing needs, the forward reads tensor values, or it fails.
    """
    warn_of_untested()
    try:
        with plain_surroundings():
            return _trace(model, request)
    except CgirError:
        raise
    except RecursionError as error:
        raise TraceError(
            f"{type(model).__name__}: modules, inputs or results are nested deeper than Python's recursion limit "
            f"({sys.getrecursionlimit()}) lets tracing follow; raise it by sys.setrecursionlimit, or nest less"
        ) from error
    except Exception as error:
        raise TraceError(
            f"{type(model).__name__} or its inputs cannot be read: {one_line(error, named=True)}; "
            "make the module run on these inputs first"
        ) from error


def _trace(model: nn.Module, request: TraceRequest) -> Graph:
    """The raw graph of a module that can be traced."""
    _check_traceable(named_modules(model))
    try:
        return _trace_uncompiled(model, request)
    except ValueDependenceError as error:
        eager_error = error
    try:  # once more, and libraries that look at values unless they are exported do not look
        return _trace_uncompiled(model, request, exporting=True)
    except TraceError as error:
        if type(error) is TraceError:
            raise eager_error from eager_error.__cause__
        raise


def _trace_uncompiled(model: nn.Module, request: TraceRequest, exporting: bool = False) -> Graph:
    """The graph of a forward that may call `torch.compile`: only when it is imported it can be switched off."""
    try:
        return _trace_forward(model, request, exporting)
    except TraceError as error:
        if not type(error.__cause__).__module__.startswith("torch._dynamo"):
            raise
    return _trace_forward(model, request, exporting)


def _trace_forward(model: nn.Module, request: TraceRequest, exporting: bool) -> Graph:
    """The graph of one example, on libraries told that `torch.export` is running or not."""
    args, kwargs = example_arguments(model, request.inputs, request.input_shape)
    leaves = tensor_leaves(inspect.signature(model.forward).bind(*args, **kwargs).arguments)
    plan = plan_batch(request.batch, [(path, tuple(tensor.shape)) for path, tensor in leaves])
    record = partial(_record_forward, model, request, exporting, args, kwargs, leaves)
    return graph_of_one_example(plan, request.batch, record)


def _record_forward(
    original: nn.Module,
    request: TraceRequest,
    exporting: bool,
    args: Args,
    kwargs: Kwargs,
    leaves: Sequence[tuple[str, Tensor]],
    plan: BatchPlan,
) -> tuple[Tape, Graph]:
    """The tape and the graph of one run of the forward of a new shadow, on its inputs' `leaves` as planned."""
    model = shadow_of(original)
    modules = named_modules(model)
    params = dict(named_tensors(modules, "_parameters"))
    name = request.name or type(model).__name__
    weights = chain(params.values(), (buffer for _, buffer in named_tensors(modules, "_buffers")))
    device = next((tensor.device for tensor in weights if not tensor.is_meta), torch.device("cpu"))
    tape = plan.tape(request.strict)
    generators = Generators()
    values = TensorValues(tape, {id(param): key for key, param in params.items()}, _own_tensors(modules.values()))
    recorder = Recorder(tape, values, device, record_control_flow, GeneratorMode(generators.torch))
    meta_tensors = graph_inputs(recorder, leaves, plan)
    args = tuple(with_tensors(arg, meta_tensors) for arg in args)
    kwargs = {key: with_tensors(value, meta_tensors) for key, value in kwargs.items()}
    with private_generators(generators), tracing_settings(exporting), ModuleScopes(modules, tape) as scopes:
        try:
            with recorder, compiled_code_recorded(recorder):
                result = model(*args, **kwargs)
            graph_outputs(recorder, result)
        except Exception as error:
            raise located(error, model, name, scopes.path_of(error)) from error
    unused = sum(param.numel() for key, param in params.items() if key not in values.used_params)
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
    """Identities of the buffers and of tensors that modules keep as plain attributes, alone or in lists."""
    found: set[int] = set()
    attributes = (value for module in modules for value in (*vars(module).values(), *module._buffers.values()))
    waiting = [value for value in attributes if isinstance(value, Tensor | list | tuple)]
    seen: set[int] = set()  # lists may hold themselves
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            found.add(id(value))
        elif isinstance(value, list | tuple | dict) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return found


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
