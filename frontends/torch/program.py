"""What an exported program says, without its weights: calls on named values. Both `ExportedProgram` objects and `.pt2`
files are read into this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, InputSpec, OutputKind

from cgir import TraceError


class Ref(NamedTuple):
    """The value of this name."""

    name: str


class Size(NamedTuple):
    """A tensor's shape and type; `symbols` are the names of its open dimensions, None for fixed ones."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    symbols: tuple[str | None, ...] = ()


class Line(NamedTuple):
    """One call. Arguments hold `Ref`s and, for control flow, `Body`s; `results` are names nested as the call's result
    is.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: Any
    path: str = ""
    layer: str = ""


class Body(NamedTuple):
    """A function of named values: the whole program, or a branch or body of control flow."""

    inputs: tuple[str, ...]
    lines: tuple[Line, ...]
    outputs: Any


class Entry(NamedTuple):
    """What stands behind an input of the program: `kind` is "parameter", "constant" (buffers too), "input" or "value".

    `key` is the parameter's name, one for all that share it. `value` is a `Size`, for constants also a tensor with
    contents, for values the value.
    """

    name: str
    kind: str
    key: str
    value: Any


class Program(NamedTuple):
    """A program with its inputs in order; `outputs` are what the user's forward returned, in order."""

    name: str
    body: Body
    entries: tuple[Entry, ...]
    outputs: tuple[Any, ...]


def from_exported(program: ExportedProgram) -> Program:
    """Read a program in memory; constants keep their contents, parameters do not.

    Raises:
        TraceError: it takes objects that are neither tensors nor numbers.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    shared = _shared(program)
    entries = tuple(_entry(program, spec, nodes, shared) for spec in program.graph_signature.input_specs)
    results = (
        spec.arg
        for spec in program.graph_signature.output_specs
        if spec.kind in (OutputKind.USER_OUTPUT, OutputKind.LOSS_OUTPUT)
    )
    outputs = tuple(arg.value if isinstance(arg, ConstantArgument) else Ref(arg.name) for arg in results)
    body = _body(program.graph_module)
    stacks = (node.meta.get("nn_module_stack") or {} for node in program.graph.nodes)
    root = next((kind for stack in stacks for path, kind in stack.values() if not path), "ExportedProgram")
    return Program(str(getattr(root, "__name__", root)).rpartition(".")[2], body, entries, outputs)


def _shared(program: ExportedProgram) -> dict[str, str]:
    """Parameter -> the first name of the same tensor."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in program.state_dict.items()}


def _entry(program: ExportedProgram, spec: InputSpec, nodes: Mapping[str, fx.Node], shared: Mapping[str, str]) -> Entry:
    name, target = getattr(spec.arg, "name", ""), spec.target or ""
    if isinstance(spec.arg, ConstantArgument):
        return Entry(name, "value", name, spec.arg.value)
    if spec.kind is InputKind.TOKEN:
        return Entry(name, "value", name, None)
    value = nodes[name].meta.get("val")
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return Entry(name, "value", name, value.node.hint)
    if not isinstance(value, Tensor):
        raise TraceError(
            f"input {name!r} of the program is a {type(value).__name__}; programs take tensors and numbers"
        )
    size = size_of(value)
    if spec.kind is InputKind.PARAMETER:
        return Entry(name, "parameter", shared.get(target, target), size)
    if spec.kind is InputKind.USER_INPUT:
        return Entry(name, "input", name, size)
    found = program.constants.get(target, program.state_dict.get(target))
    return Entry(
        name,
        "constant",
        target,
        found if isinstance(found, Tensor) and type(found) in (Tensor, torch.nn.Parameter) else size,
    )


def size_of(tensor: Tensor) -> Size:
    """Shape and type, with hints in the place of symbols."""
    symbols = tuple(str(n) if isinstance(n, torch.SymInt) else None for n in tensor.shape)
    return Size(tuple(n.node.hint if isinstance(n, torch.SymInt) else n for n in tensor.shape), tensor.dtype, symbols)


def _body(module: fx.GraphModule) -> Body:
    bodies: dict[str, Any] = {}
    inputs, lines, outputs = [], [], ()
    for node in module.graph.nodes:
        if node.op == "placeholder":
            inputs.append(node.name)
        elif node.op == "get_attr":
            part = getattr(module, str(node.target))
            bodies[node.name] = _body(part) if isinstance(part, fx.GraphModule) else part
        elif node.op == "call_function":
            path, layer = _module(node)
            args, kwargs = (
                _loaded(node.args, bodies),
                {key: _loaded(value, bodies) for key, value in node.kwargs.items()},
            )
            lines.append(Line(node.target, args, kwargs, node.name, path, layer))
        else:
            outputs = _loaded(node.args[0], bodies)
    return Body(tuple(inputs), tuple(lines), outputs)


def _loaded(item: Any, bodies: Mapping[str, Any]) -> Any:
    """Arguments of an fx node as plain containers of `Ref`s and bodies."""
    if isinstance(item, fx.Node):
        return bodies[item.name] if item.name in bodies else Ref(item.name)
    if isinstance(item, tuple):
        return tuple(_loaded(part, bodies) for part in item)
    if isinstance(item, list):
        return [_loaded(part, bodies) for part in item]
    if isinstance(item, slice):
        return slice(*(_loaded(part, bodies) for part in (item.start, item.stop, item.step)))
    return {key: _loaded(part, bodies) for key, part in item.items()} if isinstance(item, dict) else item


def _module(node: fx.Node) -> tuple[str, str]:
    """Path and class of the module that made a call."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    return plain_path(path), str(getattr(kind, "__name__", kind)).rpartition(".")[2]


def plain_path(path: str) -> str:
    """A module's path without the mark of a repeated call (`conv@1`), of the exporter's own root, or of there being no
    module.
    """
    if path.startswith("_empty_nn_module_stack"):
        return ""
    return path.partition("@")[0].removeprefix("_export_root").removeprefix(".")
