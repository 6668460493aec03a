"""Hostile ONNX models of one node: any operator of any version, with attributes, operands and results at random."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.random import Generator
from onnx import AttributeProto, TensorProto, defs, helper, numpy_helper

import frontends

from .target import Target

SIZES = (0, 1, 1, 2, 2, 3, 4, 7, 8, 16, 2**31, 2**40, 2**63 - 1)
NUMBERS = (
    0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 8, -1, -1, -2, -3, -9, 999, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63)
)  # fmt: skip
FLOATS = (0.0, 1.0, 0.5, -1.0, 1e30, 1e-30, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "", "NOTSET", "SAME_UPPER", "VALID", "constant", "reflect", "linear", "cubic", "sizes", "ij,jk->ik", "...ij->...ji",
    "ij", "->", "i...", ",,->,", "i" * 300, "DCR", "CRD", "forward", "bidirectional", "add", "SUM", "TopK", "\xff",
)  # fmt: skip
TYPES = (*(1, 1, 1, 1, 1, 7, 7, 7, 6, 9), *range(29))
REPEATED = {AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.STRINGS, AttributeProto.TENSORS}
Schemas = Sequence[defs.OpSchema]


@cache
def all_schemas() -> list[defs.OpSchema]:
    """The definitions of all versions of all operators that onnx knows."""
    return sorted(defs.get_all_schemas_with_history(), key=lambda s: (s.domain, s.name, s.since_version))


def operator_model(rng: Generator, schema: defs.OpSchema) -> onnx.ModelProto:
    """A model of one node of an operator; about half of what it has is as the operator allows."""
    wild = float(rng.choice([0.0, 0.05, 0.3]))
    num_inputs = _count(rng, schema.min_input, schema.max_input, wild)
    num_outputs = _count(rng, schema.min_output, schema.max_output, wild)
    names = [f"i{k}" for k in range(num_inputs)]
    if names and rng.random() < wild:
        names[int(rng.integers(len(names)))] = str(rng.choice(["", "i0"]))
    inputs, initializers = [], []
    rank, elem_type = int(rng.integers(0, 5)), int(rng.choice([1, 1, 1, 7]))
    dims = [int(rng.choice(SIZES[: 10 if rng.random() < 0.9 else 13])) for _ in range(rank)]
    for slot, name in enumerate(dict.fromkeys(filter(None, names))):
        kind = _allowed_types(schema, slot)
        tensor_type = elem_type if elem_type in kind or not kind else int(rng.choice(kind))
        tensor_type = int(rng.choice(TYPES)) if rng.random() < wild else tensor_type
        size = dims if rng.random() < 0.5 else [int(rng.choice(SIZES[:10])) for _ in range(int(rng.integers(0, 5)))]
        if (slot and rng.random() < 0.5) or rng.random() < 0.1:
            initializers.append(_constant(rng, name, tensor_type, wild))
        else:
            inputs.append(_input(rng, name, tensor_type, size, wild))
    outputs = [f"o{k}" if rng.random() > wild * 0.2 else "" for k in range(num_outputs)]
    node = helper.make_node(schema.name, names, outputs, domain=schema.domain)
    _add_attributes(rng, node, schema, wild)
    results = [helper.make_empty_tensor_value_info(name) for name in filter(None, outputs)] or inputs[:1]
    graph = helper.make_graph([node], "g", inputs, results, initializers)
    version = schema.since_version if rng.random() > wild else int(rng.choice([1, 9, 13, 18, 23, 26, 2**31, -1]))
    imports = [helper.make_opsetid(schema.domain, version)]
    if schema.domain not in ("", "ai.onnx"):
        imports.append(helper.make_opsetid("", int(rng.integers(7, 26))))
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _count(rng: Generator, low: int, high: int, wild: float) -> int:
    if rng.random() < wild:
        return int(rng.choice([0, 1, 2, 3, low + 1, low - 1 if low else 0, 9, 40]))
    return int(rng.integers(low, min(high, low + 4) + 1))


def _allowed_types(schema: defs.OpSchema, slot: int) -> list[int]:
    """Element types that an operand may have, as far as they are those of tensors."""
    if not schema.inputs:
        return []
    names = schema.inputs[min(slot, len(schema.inputs) - 1)].types
    known = {f"tensor({name.lower()})": number for name, number in TensorProto.DataType.items()}
    return [known[name] for name in sorted(names) if name in known]


def _input(rng: Generator, name: str, elem_type: int, size: list[int], wild: float) -> onnx.ValueInfoProto:
    info = helper.make_tensor_value_info(name, elem_type, size)
    if rng.random() < 0.3 * wild:
        kind = helper.make_tensor_type_proto(elem_type, size)
        kind = helper.make_sequence_type_proto(kind) if rng.random() < 0.6 else helper.make_optional_type_proto(kind)
        info.type.CopyFrom(kind)
    return info


def _constant(rng: Generator, name: str, elem_type: int, wild: float) -> TensorProto:
    """A small constant, of an integer type such as one of axes or sizes has; sometimes empty, or of no length."""
    size = [int(rng.choice([0, 1, 1, 2, 3, 4, 5])) for _ in range(int(rng.choice([0, 1, 1, 1, 2])))]
    count = int(np.prod(size))
    tensor = TensorProto(name=name, data_type=elem_type, dims=size)
    if elem_type in (1, 10, 11, 16):
        floats = rng.choice(FLOATS[: 5 if rng.random() > wild else 9], count).astype(np.float32).reshape(size)
        tensor = numpy_helper.from_array(floats, name)
    elif elem_type == 8:
        tensor.string_data.extend([b"a"] * count)
    else:
        numbers = NUMBERS[: 16 if rng.random() > wild else 24]
        values = np.array([numbers[int(k)] for k in rng.integers(len(numbers), size=count)], np.int64).reshape(size)
        dtype = np.bool_ if elem_type == 9 else np.int32 if elem_type == 6 else np.int64
        tensor = numpy_helper.from_array(values.astype(dtype), name)
    if rng.random() < 0.1 * wild:
        tensor.raw_data = tensor.raw_data[:-3]
    if rng.random() < 0.1 * wild:
        tensor.dims.append(int(rng.choice([-1, 0, 2, 2**40])))
    return tensor


def _add_attributes(rng: Generator, node: onnx.NodeProto, schema: defs.OpSchema, wild: float) -> None:
    for name, attribute in sorted(schema.attributes.items()):
        if (not attribute.required and rng.random() < 0.5) or rng.random() < 0.3 * wild:
            continue
        kind = int(attribute.type.value) if rng.random() > 0.3 * wild else int(rng.integers(0, 16))
        node.attribute.append(_attribute(rng, name, kind, wild))
    if rng.random() < 0.2 * wild:
        node.attribute.append(
            _attribute(rng, str(rng.choice(["axis", "axes", "", "to"])), int(rng.integers(1, 9)), wild)
        )


def _attribute(rng: Generator, name: str, kind: int, wild: float) -> AttributeProto:
    """An attribute of a type of `AttributeProto`; a type that does not exist stays without content."""
    attribute = AttributeProto(name=name, type=kind if kind in AttributeProto.AttributeType.values() else 0)
    count = int(rng.choice([0, 1, 1, 2, 2, 3, 4, 4, 6]))
    numbers = NUMBERS[: 16 if rng.random() > wild else 24]
    if kind == AttributeProto.INT:
        attribute.i = numbers[int(rng.integers(len(numbers)))]
        attribute.i = int(rng.choice(TYPES)) if name in ("to", "dtype", "output_dtype") else attribute.i
    elif kind == AttributeProto.INTS:
        attribute.ints.extend(numbers[int(k)] for k in rng.integers(len(numbers), size=count))
        if name == "perm" and rng.random() < 0.5:
            attribute.ints[:] = [int(k) for k in rng.permutation(count)]
    elif kind == AttributeProto.FLOAT:
        attribute.f = float(rng.choice(FLOATS))
    elif kind == AttributeProto.FLOATS:
        attribute.floats.extend(float(rng.choice(FLOATS)) for _ in range(count))
    elif kind == AttributeProto.STRING:
        attribute.s = str(rng.choice(TEXTS)).encode("latin-1")
    elif kind == AttributeProto.STRINGS:
        attribute.strings.extend(str(rng.choice(TEXTS)).encode("latin-1") for _ in range(count))
    elif kind == AttributeProto.TENSOR:
        attribute.t.CopyFrom(_constant(rng, "", int(rng.choice(TYPES)), wild))
    elif kind == AttributeProto.GRAPH:
        attribute.g.CopyFrom(_body(rng))
    elif kind == AttributeProto.SPARSE_TENSOR:
        attribute.sparse_tensor.values.CopyFrom(_constant(rng, "", 1, wild))
        attribute.sparse_tensor.indices.CopyFrom(_constant(rng, "", 7, wild))
        attribute.sparse_tensor.dims.extend([int(rng.choice(SIZES)) for _ in range(count)])
    elif kind == AttributeProto.TYPE_PROTO:
        attribute.tp.CopyFrom(_input(rng, "", int(rng.choice(TYPES)), [2], 1.0).type)
    return attribute


def _body(rng: Generator) -> onnx.GraphProto:
    """A body of a few nodes, which may read what is not there."""
    names = [f"b{k}" for k in range(int(rng.integers(0, 4)))]
    inputs = [
        helper.make_tensor_value_info(name, int(rng.choice([1, 7, 9])), None if rng.random() < 0.5 else [2])
        for name in names
    ]
    sources = [*names, "i0", "i1", "nobody"]
    outputs = [f"r{k}" for k in range(int(rng.integers(0, 4)))]
    nodes = [
        helper.make_node(str(rng.choice(["Identity", "Add", "Shape", "Split", "Nope"])),
                         [str(rng.choice(sources)) for _ in range(int(rng.integers(0, 3)))], [name])
        for name in outputs
    ]  # fmt: skip
    return helper.make_graph(nodes, "body", inputs, [helper.make_empty_tensor_value_info(name) for name in outputs])


def _write(rng: Generator, seeds: None, folder: Path) -> bytes:
    schemas = all_schemas()
    model = operator_model(rng, schemas[int(rng.integers(len(schemas)))])
    data: bytes = model.SerializeToString()
    return data


def _read(data: Any) -> object:
    return frontends.trace(data)


TARGET = Target("ONNX, one operator", lambda folder: None, _write, _read)
