"""Module paths of ONNX nodes, from the metadata and names that the exporters of PyTorch and TensorFlow write."""

from __future__ import annotations

import ast
import re

import onnx

NAME_SCOPES, NAMESPACE = "pkg.torch.onnx.name_scopes", "namespace"
PATH_PART = re.compile(r"^[\w.$-]+$")


def module_path(node: onnx.NodeProto) -> str:
    """The dotted path of the module that a node belongs to, "" where nothing says so."""
    metadata = {entry.key: entry.value for entry in node.metadata_props if entry.key in (NAME_SCOPES, NAMESPACE)}
    if NAME_SCOPES in metadata:
        try:
            scopes = ast.literal_eval(metadata[NAME_SCOPES])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ""
        valid = isinstance(scopes, list) and len(scopes) > 1 and all(isinstance(scope, str) for scope in scopes)
        return next((scope for scope in reversed(scopes[:-1]) if scope), "") if valid else ""
    if NAMESPACE in metadata:  # ": Net/layer1: Sequential/layer1.0: Conv2d/conv2d: aten.conv2d.default"
        scopes = [part.partition(":")[0].strip() for part in metadata[NAMESPACE].split("/")]
        return next((scope for scope in reversed(scopes[:-1]) if scope), "")
    return _path_from_name(node.name)


def _path_from_name(name: str) -> str:
    """ "/layer1/layer1.0/conv1/Conv" is layer1.0.conv1: children of containers repeat the container's name."""
    parts = [part for part in name.split("/")[:-1] if part]
    if not all(PATH_PART.match(part) for part in parts):
        return ""
    path: list[str] = []
    for part in parts:
        if path and part.startswith(path[-1] + "."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)


def node_label(node: onnx.NodeProto, index: int) -> str:
    """How messages refer to a node."""
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return (
        f"node {node.name!r} ({domain}{node.op_type})"
        if node.name
        else f"node {index} ({domain}{node.op_type} -> {', '.join(node.output)})"
    )
