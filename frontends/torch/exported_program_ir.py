"""Intermediate form of exported programs, without their weights: calls on named values.

Both `ExportedProgram` objects (`ir_from_program`) and `.pt2` files (`pt2_archive.read`) are read into a `ProgramIR`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, InputSpec, OutputKind

from cgir import TraceError

from .typing import Function

Argument: TypeAlias = Any  # plain data, with `ValueRef`s and, for control flow, `Subgraph`s nested in it
Names: TypeAlias = "str | Sequence[Names]"  # of a call's results, nested as these are; unused ones are empty


class ValueRef(NamedTuple):
    """The value of this name."""

    name: str


class TensorMeta(NamedTuple):
    """A tensor's shape and type; `symbols` are the names of its open dimensions, None for fixed ones."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    symbols: tuple[str | None, ...] = ()


class CallNode(NamedTuple):
    """One call.

    Attributes:
        target: the function that is called.
        args: positional arguments, with `ValueRef`s and, for control flow, `Subgraph`s in them.
        kwargs: keyword arguments, likewise.
        results: names, nested as the call's result is.
        path: of the module that made the call.
        layer: class of that module.
    """

    target: Function
    args: tuple[Argument, ...]
    kwargs: dict[str, Argument]
    results: Names
    path: str = ""
    layer: str = ""


class Subgraph(NamedTuple):
    """A function of named values: the whole program, or a branch or body of control flow."""

    inputs: tuple[str, ...]
    calls: tuple[CallNode, ...]
    outputs: Argument


class ProgramInput(NamedTuple):
    """An input of the program: its kind and value.

    Attributes:
        name: of the input.
        kind: buffers are constants too; a "value" is not a tensor.
        key: the parameter's name, the same for all inputs that share one.
        value: a `TensorMeta`, for constants also a tensor with contents, for a "value" the value itself.
    """

    name: str
    kind: Literal["parameter", "constant", "input", "value"]
    key: str
    value: Any


class ProgramIR(NamedTuple):
    """A program with its inputs in order; `outputs` are what the user's forward returned, in order."""

    name: str
    body: Subgraph
    inputs: tuple[ProgramInput, ...]
    outputs: tuple[Argument, ...]


def ir_from_program(program: ExportedProgram) -> ProgramIR:
    """Read a program in memory; constants keep their contents, parameters do not.

    Raises:
        TraceError: it takes objects that are neither tensors nor numbers.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    shared = _shared_params(program)
    inputs = tuple(_program_input(program, spec, nodes, shared) for spec in program.graph_signature.input_specs)
    results = (
        spec.arg
        for spec in program.graph_signature.output_specs
        if spec.kind in (OutputKind.USER_OUTPUT, OutputKind.LOSS_OUTPUT)
    )
    outputs = tuple(arg.value if isinstance(arg, ConstantArgument) else ValueRef(arg.name) for arg in results)
    body = _subgraph(program.graph_module)
    stacks = (node.meta.get("nn_module_stack") or {} for node in program.graph.nodes)
    root = next((kind for stack in stacks for path, kind in stack.values() if not path), "ExportedProgram")
    return ProgramIR(str(getattr(root, "__name__", root)).rpartition(".")[2], body, inputs, outputs)


def _shared_params(program: ExportedProgram) -> dict[str, str]:
    """Parameter -> the first name of the same tensor."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in program.state_dict.items()}


def _program_input(
    program: ExportedProgram, spec: InputSpec, nodes: Mapping[str, fx.Node], shared: Mapping[str, str]
) -> ProgramInput:
    name, target = getattr(spec.arg, "name", ""), spec.target or ""
    if isinstance(spec.arg, ConstantArgument):
        return ProgramInput(name, "value", name, spec.arg.value)
    if spec.kind is InputKind.TOKEN:
        return ProgramInput(name, "value", name, None)
    value = nodes[name].meta.get("val")
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return ProgramInput(name, "value", name, value.node.hint)
    if not isinstance(value, Tensor):
        raise TraceError(
            f"input {name!r} of the program is a {type(value).__name__}; programs take tensors and numbers"
        )
    meta = tensor_meta(value)
    if spec.kind is InputKind.PARAMETER:
        return ProgramInput(name, "parameter", shared.get(target, target), meta)
    if spec.kind is InputKind.USER_INPUT:
        return ProgramInput(name, "input", name, meta)
    constant = program.constants.get(target, program.state_dict.get(target))
    is_plain = isinstance(constant, Tensor) and type(constant) in (Tensor, torch.nn.Parameter)
    return ProgramInput(name, "constant", target, constant if is_plain else meta)


def tensor_meta(tensor: Tensor) -> TensorMeta:
    """Shape and type; open dimensions have the size of the exporter's example."""
    symbols = tuple(str(n) if isinstance(n, torch.SymInt) else None for n in tensor.shape)
    shape = tuple(n.node.hint if isinstance(n, torch.SymInt) else n for n in tensor.shape)
    return TensorMeta(shape, tensor.dtype, symbols)


def _subgraph(module: fx.GraphModule) -> Subgraph:
    attributes: dict[str, object] = {}
    inputs, calls, outputs = [], [], ()
    for node in module.graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "get_attr":
            attribute = getattr(module, str(node.target))
            attributes[node.name] = _subgraph(attribute) if isinstance(attribute, fx.GraphModule) else attribute
        elif node.op == "call_function":
            path, layer = _calling_module(node)
            args = _argument(node.args, attributes)
            kwargs = {key: _argument(value, attributes) for key, value in node.kwargs.items()}
            calls.append(CallNode(node.target, args, kwargs, node.name, path, layer))
        else:
            outputs = _argument(node.args[0], attributes)
    return Subgraph(tuple(inputs), tuple(calls), outputs)


def _argument(item: fx.node.Argument, attributes: Mapping[str, object]) -> Argument:
    """Arguments of an fx node as plain containers of `ValueRef`s and `Subgraph`s."""
    if isinstance(item, fx.Node):
        return attributes[item.name] if item.name in attributes else ValueRef(item.name)
    if isinstance(item, tuple):
        return tuple(_argument(part, attributes) for part in item)
    if isinstance(item, list):
        return [_argument(part, attributes) for part in item]
    if isinstance(item, slice):
        return slice(*(_argument(part, attributes) for part in (item.start, item.stop, item.step)))
    return {key: _argument(part, attributes) for key, part in item.items()} if isinstance(item, dict) else item


def _calling_module(node: fx.Node) -> tuple[str, str]:
    """Path and class of the module that made a call."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    return module_path(path), str(getattr(kind, "__name__", kind)).rpartition(".")[2]


def module_path(path: str) -> str:
    """A module's path without the exporter's marks of a repeated call (`conv@1`), of its own root, or of no module."""
    if path.startswith("_empty_nn_module_stack"):
        return ""
    return path.partition("@")[0].removeprefix("_export_root").removeprefix(".")
