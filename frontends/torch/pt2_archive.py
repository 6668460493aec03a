"""Reader of `.pt2` archives (torch.export's, schema 8).

PyTorch's loader is not used: it unpickles inputs and constants and evaluates expressions. Only the model's JSON and the
raw bytes of small constants are read; parameters are not read.
"""

from __future__ import annotations

import json
import math
import operator
import re
import zipfile
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from cgir import TraceError
from cgir.errors import one_line
from cgir.limits import DEFAULT, Limits
from frontends.common.archives import read_json, read_member

from .exported_program_ir import (
    Argument,
    CallNode,
    Names,
    ProgramInput,
    ProgramIR,
    Subgraph,
    TensorMeta,
    ValueRef,
    module_path,
)
from .typing import Function, Number

JsonObject: TypeAlias = Mapping[str, Any]

# torch/_export/serde/schema.py: ScalarType, MemoryFormat
_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu",
    34: "uint32", 35: "uint64",
}  # fmt: skip
_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
MAX_CONSTANT = 1 << 20  # bytes: constants up to this size keep their contents
MAX_BYTES = 2**63 - 1  # of a tensor
SCHEMA_MAJOR = 8
# Operators and namespaces that reach outside the process: files, other processes, the terminal.
FORBIDDEN_OPS = frozenset(("from_file", "save", "_print", "warn"))
_OPERATORS = "add sub mul truediv floordiv mod pow neg pos eq ne lt le gt ge and_ or_ not_ getitem"
ARITHMETIC: dict[str, Function] = {name: getattr(operator, name) for name in _OPERATORS.split()}
ARITHMETIC |= {name: getattr(math, name) for name in ("ceil", "floor", "trunc", "sqrt", "log2", "prod")}
FORBIDDEN_NAMESPACES = frozenset(
    ("c10d", "_c10d_functional", "_c10d_functional_autograd", "symm_mem", "profiler", "prim", "inductor")
)


def read(path: Path, limits: Limits = DEFAULT) -> ProgramIR:
    """The program in a `.pt2` file.

    Args:
        path: of the file.
        limits: of what it may take.

    Raises:
        TraceError: the file is damaged, is no exported program, or names operators that do not exist here.
        LimitError: it unpacks to more, or has more calls, than the limits allow.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _program(path, archive, limits)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise TraceError(f"{path}: not a .pt2 archive ({error}); write one with torch.export.save") from error
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        OverflowError,
        RuntimeError,
    ) as error:
        if isinstance(error, TraceError):
            raise
        raise TraceError(
            f"{path}: the model in the archive is not what torch.export.save writes "
            f"({one_line(error, 200, named=True)}); save the program again"
        ) from error


def _program(path: Path, archive: zipfile.ZipFile, limits: Limits) -> ProgramIR:
    names = [name for name in archive.namelist() if re.fullmatch(r"[^/]*/models/[^/]*\.json", name)]
    if len(names) != 1:
        models = "several models, " + ", ".join(names) if names else "none"
        raise TraceError(
            f"{path}: a .pt2 archive holds one models/NAME.json, found {models}; "
            "save one program with torch.export.save"
        )
    root, _, file = names[0].partition("/models/")
    model = _json(path, archive, names[0], limits)
    version = model["schema_version"]["major"]
    if version != SCHEMA_MAJOR:
        raise TraceError(
            f"{path}: written in schema {version} of torch.export, this reads {SCHEMA_MAJOR}; "
            f"save the program again with torch {torch.__version__}"
        )
    stem = file.removesuffix(".json")
    graph = model["graph_module"]["graph"]
    specs = model["graph_module"]["signature"]["input_specs"]
    constants = _Constants(path, archive, root, stem, limits)
    _check_calls(path, graph, limits)
    inputs = tuple(_program_input(graph, spec, constants) for spec in specs)
    results = (
        spec["user_output"]["arg"]
        for spec in model["graph_module"]["signature"]["output_specs"]
        if "user_output" in spec
    )
    body = _subgraph(path, graph)._replace(inputs=tuple(item.name for item in inputs))
    return ProgramIR(path.stem, body, inputs, tuple(_argument(path, arg) for arg in results))


def _json(path: Path, archive: zipfile.ZipFile, name: str, limits: Limits) -> JsonObject:
    try:
        contents: JsonObject = read_json(archive, name, limits)
    except TraceError as error:
        raise type(error)(f"{path}: {error}") from error
    return contents


def _check_calls(path: Path, graph: JsonObject, limits: Limits) -> None:
    """Refuse programs of too many calls, those of the bodies of control flow included, or bodies too deep in others."""
    count, stack = 0, [(graph, 1)]
    while stack:
        body, depth = stack.pop()
        count += len(body["nodes"])
        limits.check("nodes", count, f"{path}: the program's calls")
        limits.check("depth", depth, f"{path}: bodies of control flow in each other")
        for node in body["nodes"]:
            arguments = [item["arg"] for item in node["inputs"]]
            stack += [(arg["as_graph"]["graph"], depth + 1) for arg in arguments if "as_graph" in arg]


class _Constants:
    """Names and contents of the archive's tensors."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, root: str, stem: str, limits: Limits) -> None:
        self.path, self.archive, self.root, self.limits = path, archive, root, limits
        self.members = set(archive.namelist())
        self.payloads: dict[str, tuple[str, JsonObject]] = {}
        for kind in ("weights", "constants"):
            config = f"{root}/data/{kind}/{stem}_{kind}_config.json"
            if config in self.members:
                self.payloads |= {
                    name: (kind, payload) for name, payload in _json(path, archive, config, limits)["config"].items()
                }
        first: dict[tuple[str, ...], str] = {}
        self.shared = {
            name: first.setdefault(_memory_key(name, payload), name) for name, (_, payload) in self.payloads.items()
        }

    def tensor(self, name: str, meta: TensorMeta) -> Tensor | TensorMeta:
        """A small constant with its contents; its shape and type alone if they are pickled, strided or large."""
        kind, payload = self.payloads.get(name, ("", {}))
        num_bytes = prod(meta.shape) * meta.dtype.itemsize
        if not payload or payload["use_pickle"] or not 0 < num_bytes <= MAX_CONSTANT:
            return meta
        member = f"{self.root}/data/{kind}/{payload['path_name']}"
        raw = b""
        if member in self.members and self.archive.getinfo(member).file_size == num_bytes:
            raw = read_member(self.archive, member, self.limits)
        stored = payload["tensor_meta"]
        strides = [n.get("as_int") for n in stored["strides"]]
        contiguous = strides == [prod(meta.shape[axis + 1 :]) for axis in range(len(meta.shape))]
        if stored["storage_offset"].get("as_int") != 0 or not contiguous or len(raw) != num_bytes:
            return meta
        return torch.frombuffer(bytearray(raw), dtype=meta.dtype).reshape(meta.shape)


def _memory_key(name: str, payload: JsonObject) -> tuple[str, ...]:
    """Tensors with equal keys share their memory; pickled ones never do, nor do those on the meta device."""
    meta = payload.get("tensor_meta")
    if payload["use_pickle"] or not meta or meta["device"]["type"] == "meta":
        return (name,)
    return payload["path_name"], json.dumps([meta["sizes"], meta["strides"], meta["storage_offset"]])


def _program_input(graph: JsonObject, spec: JsonObject, constants: _Constants) -> ProgramInput:
    """One input of the program, by its row in the signature."""
    ((kind, content),) = spec.items()
    if kind == "constant_input":
        ((_, value),) = content["value"].items()
        return ProgramInput(content["name"], "value", content["name"], None if "as_none" in content["value"] else value)
    if kind in ("token", "custom_obj"):
        return ProgramInput(content["arg"]["name"], "value", content["arg"]["name"], None)
    arg = content["arg"]
    if kind == "user_input":
        if "as_tensor" not in arg:
            return _number_input(graph, arg)
        name = arg["as_tensor"]["name"]
        return ProgramInput(name, "input", name, _tensor_meta(graph, name))
    name, key = arg["name"], content[f"{kind}_name"]
    if not isinstance(key, str):
        raise ValueError(f"the name of a {kind} is {key!r}")
    size = _tensor_meta(graph, name)
    if kind == "parameter":
        return ProgramInput(name, "parameter", constants.shared.get(key, key), size)
    return ProgramInput(name, "constant", key, constants.tensor(key, size))


def _number_input(graph: JsonObject, arg: JsonObject) -> ProgramInput:
    """A number that the caller of the program chooses: its value when the program was exported."""
    ((kind, content),) = arg.items()
    name = content["as_name"]
    return ProgramInput(name, "value", name, _hint(graph[f"{kind.removeprefix('as_')}_values"][name]))


def _hint(value: JsonObject) -> Number:
    """The number, or the example's number behind an expression; expressions are not evaluated."""
    ((_, content),) = (value if "as_expr" not in value else value["as_expr"]["hint"] or {"": None}).items()
    if content is None:
        raise ValueError(f"the size {value['as_expr']['expr_str'][:80]!r} has no value")
    number: Number = content
    return number


def _tensor_meta(graph: JsonObject, name: str) -> TensorMeta:
    meta = graph["tensor_values"][name]
    shape = tuple(int(_hint(size)) for size in meta["sizes"])
    if any(n < 0 for n in shape):
        raise ValueError(f"the shape of {name!r} is {shape}")
    dtype = getattr(torch, _DTYPES[meta["dtype"]])
    if dtype.itemsize * prod(max(n, 1) for n in shape) > MAX_BYTES:
        raise ValueError(f"the shape of {name!r} is {shape}, of more bytes than PyTorch can count")
    symbols = (
        re.match(r"Symbol\('(\w+)'", size["as_expr"]["expr_str"]) if "as_expr" in size else None
        for size in meta["sizes"]
    )
    return TensorMeta(shape, dtype, tuple(symbol[1] if symbol else None for symbol in symbols))


# --- calls


def _subgraph(path: Path, graph: JsonObject) -> Subgraph:
    inputs = tuple(_name(arg) for arg in graph["inputs"])
    outputs = [_argument(path, arg) for arg in graph["outputs"]]
    calls = tuple(_call_node(path, node) for node in graph["nodes"])
    return Subgraph(inputs, calls, outputs[0] if graph["is_single_tensor_return"] else outputs)


def _call_node(path: Path, node: JsonObject) -> CallNode:
    target = operator_of(path, node["target"])
    args, kwargs = [], {}
    for item in node["inputs"]:
        value = _argument(path, item["arg"])
        if item.get("kind") == 2 and item["name"]:
            kwargs[item["name"]] = value
        else:
            args.append(value)
    stack = node["metadata"].get("nn_module_stack", "").split(";")[-1].split(",")
    module, layer = (stack[1], stack[2]) if len(stack) > 2 else ("", "")
    outputs = [_result(arg) for arg in node["outputs"]]
    single = len(outputs) == 1 and node.get("is_hop_single_tensor_return") is not False
    return CallNode(
        target, tuple(args), kwargs, outputs[0] if single else outputs, module_path(module), layer.rpartition(".")[2]
    )


def _name(arg: JsonObject) -> str:
    ((_, content),) = arg.items()
    return content.get("name") or content.get("as_name", "") if isinstance(content, dict) else ""


def _result(arg: JsonObject) -> Names:
    """The names of a result, nested as it is; an empty name for unused parts."""
    ((kind, content),) = arg.items()
    if kind == "as_none":
        return ""
    return (
        [part["name"] if "name" in part else _result(part) for part in content]
        if isinstance(content, list)
        else _name(arg)
    )


def _argument(path: Path, arg: JsonObject) -> Argument:
    """The value of an argument: plain data, `ValueRef`s, and bodies of control flow."""
    ((kind, content),) = arg.items()
    if kind in _READERS:
        return _READERS[kind](content)
    if kind == "as_graph":
        return _subgraph(path, content["graph"])
    if kind == "as_operator":
        return operator_of(path, content)
    if kind == "as_string_to_argument":
        return {key: _argument(path, value) for key, value in content.items()}
    if isinstance(content, int | float | str) or (
        isinstance(content, list) and not any(isinstance(part, dict) for part in content)
    ):
        return content
    if isinstance(content, list):
        return [ValueRef(part["name"]) if "name" in part else _argument(path, part) for part in content]
    raise ValueError(f"an argument of kind {kind!r}")


def _either(content: JsonObject) -> ValueRef | Number:
    ((kind, value),) = content.items()
    return ValueRef(value) if kind == "as_name" else float(value) if kind == "as_float" else value


def _scalar_or_ref(content: dict[str, Any] | str) -> ValueRef | Number:
    return _either(content) if isinstance(content, dict) else ValueRef(content)


def _optional_tensor(content: JsonObject) -> ValueRef | None:
    return ValueRef(content["as_tensor"]["name"]) if "as_tensor" in content else None


_READERS: dict[str, Callable[[Any], Argument]] = {
    "as_none": lambda _: None,
    "as_tensor": lambda content: ValueRef(content["name"]),
    "as_nested_tensors": lambda content: [[ValueRef(part["name"]) for part in inner] for inner in content],
    "as_scalar_type": lambda content: getattr(torch, _DTYPES[content]),
    "as_memory_format": lambda content: _FORMATS[content],
    "as_layout": lambda _: torch.strided,
    "as_device": lambda _: torch.device("cpu"),
    "as_float": float,  # infinities are written as text
    "as_floats": lambda content: [float(part) for part in content],
    "as_complex": lambda content: complex(content["real"], content["imag"]),
    "as_optional_tensor": _optional_tensor,
    "as_optional_tensors": lambda content: [_optional_tensor(part) for part in content],
    **dict.fromkeys(("as_sym_int", "as_sym_float", "as_sym_bool", "as_name"), _scalar_or_ref),
    **dict.fromkeys(
        ("as_sym_ints", "as_sym_floats", "as_sym_bools"), lambda content: [_either(part) for part in content]
    ),
}


def operator_of(path: Path, target: str) -> Function:
    """An operator by its name; nothing but operators and arithmetic can be named.

    Raises:
        TraceError: there is no such operator, or it reaches outside the process.
    """
    parts = target.split(".")
    if parts[0] in ("_operator", "math") and len(parts) == 2 and parts[1] in ARITHMETIC:
        return ARITHMETIC[parts[1]]
    if parts[0] == "torch" and len(parts) == 2 and parts[1].startswith("sym_"):
        symbolic: Function = getattr(torch, parts[1])
        return symbolic
    if (
        parts[:2] == ["torch", "ops"]
        and len(parts) in (4, 5)
        and parts[2] not in FORBIDDEN_NAMESPACES
        and parts[3] not in FORBIDDEN_OPS
    ):
        attribute: object = torch.ops
        for part in parts[2:]:
            attribute = getattr(attribute, part, None)
        if isinstance(attribute, torch._ops.OpOverload | torch._ops.HigherOrderOperator):
            return attribute
    raise TraceError(
        f"{path}: the program calls {target[:100]!r}, which is no operator of this PyTorch; "
        "import the package that registers it"
    )
