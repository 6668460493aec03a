"""Loading ONNX models without the contents of large tensors, so that loading takes little memory for any model.

Files and bytes are copied field by field in protobuf's wire format (protobuf.dev/programming-guides/encoding), leaving
the contents of large tensors where they are: of a memory-mapped file they are not even read from the disk. Other models
are copied structure by structure.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from cgir import TraceError
from cgir.errors import one_line

from .external_data import MAX_ELEMENTS, read_small

if TYPE_CHECKING:
    import onnx_ir

MAX_BYTES = 8 * MAX_ELEMENTS
MAX_DEPTH = 64  # nesting of messages, a graph in an attribute of a node being three
CONTENT_FIELDS = (4, 5, 6, 7, 9, 10, 11)  # of TensorProto
NUMBER_FIELDS = (7, 8, 9)  # of AttributeProto: floats, ints, strings
# message -> its fields that hold messages with tensors in them (onnx.proto)
NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}


def from_file(path: Path) -> onnx.ModelProto:
    """The model in a file, without weights; small tensors beside the file are read like those within it.

    Raises:
        TraceError: the file is no ONNX model, or a damaged one.
    """
    if not path.is_file() or not path.stat().st_size:
        raise TraceError(f"{path}: the file is empty, expected an ONNX model")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        model = from_bytes(view, str(path))
    read_small(model, path)
    return model


def from_bytes(data: bytes | memoryview, where: str = "the model's bytes") -> onnx.ModelProto:
    """The model in a serialised `ModelProto`, without weights.

    Raises:
        TraceError: the bytes are no ONNX model, or a damaged one.
    """
    model = onnx.ModelProto()
    try:
        with memoryview(data) as view:
            model.ParseFromString(b"".join(_without_contents(view, "model", 0)))
    except Exception as error:  # protobuf's DecodeError is not one class in all its implementations
        raise TraceError(f"{where}: no ONNX model, or a damaged one ({one_line(error, 200)})") from error
    return model


def _without_contents(view: memoryview, kind: str, depth: int) -> Iterator[bytes]:
    """The fields of a message, those of large nested ones cut down in turn.

    Raises:
        ValueError: the bytes are not in the wire format.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"messages are nested more than {MAX_DEPTH} deep")
    position, start = 0, 0  # bytes between `start` and `position` are copied unchanged
    while position < len(view):
        before = position
        key, position = _varint(view, position)
        field, wire = key >> 3, key & 7
        if kind == "attribute" and field in NUMBER_FIELDS:  # it has no tensors, but perhaps millions of numbers
            break
        if wire == 2:
            length, content = _varint(view, position)
            position = content + length
        elif wire == 0:
            _, position = _varint(view, position)
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {before}")
        if position > len(view):
            raise ValueError(f"a field at byte {before} ends after the message")
        if (
            wire != 2
            or length <= MAX_BYTES
            or not (field in NESTED[kind] or (kind == "tensor" and field in CONTENT_FIELDS))
        ):
            continue
        yield bytes(view[start:before])
        start = position
        if kind != "tensor":
            with view[content:position] as part:  # released before the file is closed, also when it is damaged
                inner = b"".join(_without_contents(part, NESTED[kind][field], depth + 1))
            yield bytes(view[before : before + _size_of_varint(key)]) + _as_varint(len(inner)) + inner
    yield bytes(view[start:])


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while shift < 70:
        if position >= len(view):
            raise ValueError("the message ends within a number")
        byte = view[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise ValueError(f"a number of more than ten bytes at byte {position}")


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _size_of_varint(value: int) -> int:
    return len(_as_varint(value))


# --- models in memory


def from_proto(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model without the contents of large tensors; the model is not changed."""
    copy = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    copy.opset_import.extend(model.opset_import)
    copy.metadata_props.extend(model.metadata_props)
    copy.functions.extend(model.functions)
    _copy_graph(model.graph, copy.graph, 0)
    return copy


def _copy_graph(source: onnx.GraphProto, target: onnx.GraphProto, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TraceError(f"graph {source.name!r}: subgraphs are nested more than {MAX_DEPTH} deep")
    target.name = source.name
    for field in ("input", "output", "value_info"):
        getattr(target, field).extend(getattr(source, field))
    for tensor in source.initializer:
        _copy_tensor(tensor, target.initializer.add())
    for sparse in source.sparse_initializer:
        _copy_sparse(sparse, target.sparse_initializer.add())
    for node in source.node:
        _copy_node(node, target.node.add(), depth)


def _copy_node(source: onnx.NodeProto, target: onnx.NodeProto, depth: int) -> None:
    heavy = [a for a in source.attribute if a.type in (onnx.AttributeProto.TENSOR, onnx.AttributeProto.GRAPH)]
    if not heavy:
        target.CopyFrom(source)
        return
    for field in ("input", "output", "metadata_props"):
        getattr(target, field).extend(getattr(source, field))
    target.name, target.op_type, target.domain, target.overload = (
        source.name,
        source.op_type,
        source.domain,
        source.overload,
    )
    for attribute in source.attribute:
        copy = target.attribute.add()
        if attribute not in heavy:
            copy.CopyFrom(attribute)
            continue
        copy.name, copy.type, copy.ref_attr_name = attribute.name, attribute.type, attribute.ref_attr_name
        if attribute.type == onnx.AttributeProto.GRAPH:
            _copy_graph(attribute.g, copy.g, depth + 1)
        else:
            _copy_tensor(attribute.t, copy.t)


def _copy_tensor(source: onnx.TensorProto, target: onnx.TensorProto) -> None:
    if prod(source.dims) <= MAX_ELEMENTS:
        target.CopyFrom(source)
        return
    target.name, target.data_type, target.data_location = source.name, source.data_type, source.data_location
    for field in ("dims", "external_data", "metadata_props"):
        getattr(target, field).extend(getattr(source, field))


def _copy_sparse(source: onnx.SparseTensorProto, target: onnx.SparseTensorProto) -> None:
    target.dims.extend(source.dims)
    _copy_tensor(source.values, target.values)
    _copy_tensor(source.indices, target.indices)


def from_ir(model: onnx_ir.Model) -> onnx.ModelProto:
    """The same for `onnx_ir.Model`, which `torch.onnx.export` makes."""
    from onnx_ir import serde

    copy = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name or "")
    for domain, version in model.opset_imports.items():
        copy.opset_import.add(domain=domain, version=version)
    for function in model.functions.values():
        serde.serialize_function_into(copy.functions.add(), function)
    graph = model.graph
    copy.graph.name = graph.name or ""
    for value in graph.inputs:
        serde.serialize_value_into(copy.graph.input.add(), value)
    for value in graph.outputs:
        serde.serialize_value_into(copy.graph.output.add(), value)
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is None:
            continue
        serde.serialize_value_into(copy.graph.value_info.add(), value)
        target = copy.graph.initializer.add(name=value.name, data_type=int(tensor.dtype))
        target.dims.extend(int(n) for n in tensor.shape)
        if prod(target.dims) <= MAX_ELEMENTS:
            target.raw_data = tensor.tobytes()
    for node in graph:
        serde.serialize_node_into(copy.graph.node.add(), from_=node)
    return copy
