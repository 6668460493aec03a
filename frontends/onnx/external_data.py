"""Tensors whose contents lie in files beside the model: small ones are read, large ones never opened."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import helper

from cgir import TraceError

MAX_ELEMENTS = 10_000  # of a tensor whose contents are kept
BITS = {onnx.TensorProto.UINT4: 4, onnx.TensorProto.INT4: 4, onnx.TensorProto.UINT2: 2, onnx.TensorProto.INT2: 2}


def check_location(proto: onnx.TensorProto, model_label: str) -> None:
    """Refuse a tensor whose contents are said to lie outside the model's folder.

    Raises:
        TraceError: they are.
    """
    if proto.data_location != onnx.TensorProto.EXTERNAL:
        return
    location = _entries(proto).get("location", "")
    outside = (
        PurePosixPath(location).is_absolute()
        or PureWindowsPath(location).drive
        or location[:1] in "/\\"
        or ".." in re.split(r"[/\\]", location)
    )
    if outside or not location:
        raise TraceError(
            f"{model_label}: initializer {proto.name!r} says that its contents lie outside the model's folder, "
            f"in {location!r}; the file was not opened"
        )


def read_small(model: onnx.ModelProto, path: Path) -> None:
    """Put the contents of small tensors beside a model into it, so that they are read like those within it.

    Tensors of the graph, its subgraphs and functions whose contents are missing, or are not as long as their size says,
    stay as they are; an error follows if they are needed.

    Args:
        model: the model.
        path: of its file.

    Raises:
        TraceError: contents are said to lie outside the model's folder.
    """
    _read_graph(model.graph, path)
    for function in model.functions:
        _read_nodes(function.node, path)


def _read_graph(graph: onnx.GraphProto, path: Path) -> None:
    for proto in graph.initializer:
        _read(proto, path)
    _read_nodes(graph.node, path)


def _read_nodes(nodes: Iterable[onnx.NodeProto], path: Path) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _read(attribute.t, path)
            elif attribute.type == onnx.AttributeProto.GRAPH:
                _read_graph(attribute.g, path)


def _read(proto: onnx.TensorProto, path: Path) -> None:
    if proto.data_location != onnx.TensorProto.EXTERNAL:
        return
    check_location(proto, str(path))
    num_bytes = _num_bytes(proto)
    contents = b"" if num_bytes is None else _contents(proto, path, num_bytes)
    if contents and len(contents) == num_bytes:
        proto.raw_data, proto.data_location = contents, onnx.TensorProto.DEFAULT
        del proto.external_data[:]


def _num_bytes(proto: onnx.TensorProto) -> int | None:
    """The length of a tensor's contents; None where there are too many elements or none, or the type has no length."""
    num_elements = prod(proto.dims) if all(n >= 0 for n in proto.dims) else 0
    if not 0 < num_elements <= MAX_ELEMENTS or proto.data_type == onnx.TensorProto.STRING:
        return None
    try:
        bits = BITS.get(proto.data_type) or 8 * helper.tensor_dtype_to_np_dtype(proto.data_type).itemsize
    except (KeyError, TypeError):
        return None
    return -(-num_elements * bits // 8)


def _contents(proto: onnx.TensorProto, path: Path, num_bytes: int) -> bytes:
    """The bytes at the tensor's place in its file, which must be in the folder of the model or of what it links to."""
    entries = _entries(proto)
    try:
        file = (path.parent / entries["location"]).resolve()
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or num_bytes)
        folders = (path.parent.resolve(), path.resolve().parent)
        if offset < 0 or length != num_bytes or not file.is_file() or not any(map(file.is_relative_to, folders)):
            return b""
        with file.open("rb") as stream:
            stream.seek(offset)
            return stream.read(num_bytes)
    except (OSError, ValueError, OverflowError):
        return b""


def _entries(proto: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.external_data}
