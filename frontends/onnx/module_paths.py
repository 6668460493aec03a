"""Module paths of ONNX nodes, from what PyTorch's two exporters and TensorFlow's write about them."""

from __future__ import annotations

import ast
import re

import onnx

SCOPES, NAMESPACE = "pkg.torch.onnx.name_scopes", "namespace"
LOCAL = re.compile(r"^[\w.$-]+$")


def module_path(node: onnx.NodeProto) -> str:
    """The dotted path of the module that a node belongs to, "" where nothing says so."""
    found = {entry.key: entry.value for entry in node.metadata_props if entry.key in (SCOPES, NAMESPACE)}
    if SCOPES in found:
        try:
            scopes = ast.literal_eval(found[SCOPES])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return ""
        plain = isinstance(scopes, list) and len(scopes) > 1 and all(isinstance(scope, str) for scope in scopes)
        return next((scope for scope in reversed(scopes[:-1]) if scope), "") if plain else ""
    if NAMESPACE in found:  # ": Net/layer1: Sequential/layer1.0: Conv2d/conv2d: aten.conv2d.default"
        scopes = [part.partition(":")[0].strip() for part in found[NAMESPACE].split("/")]
        return next((scope for scope in reversed(scopes[:-1]) if scope), "")
    return _from_name(node.name)


def _from_name(name: str) -> str:
    """ "/layer1/layer1.0/conv1/Conv" is layer1.0.conv1: children of containers repeat the container's name."""
    parts = [part for part in name.split("/")[:-1] if part]
    if not all(LOCAL.match(part) for part in parts):
        return ""
    path: list[str] = []
    for part in parts:
        if path and part.startswith(path[-1] + "."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)


def node_label(node: onnx.NodeProto, index: int) -> str:
    """How messages speak of a node."""
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return (
        f"node {node.name!r} ({domain}{node.op_type})"
        if node.name
        else f"node {index} ({domain}{node.op_type} -> {', '.join(node.output)})"
    )
