"""Module paths of ONNX nodes, from the metadata and names that the exporters of PyTorch and TensorFlow write."""

from __future__ import annotations

import re

import onnx

NAME_SCOPES, NAMESPACE = "pkg.torch.onnx.name_scopes", "namespace"
# as Python writes them; evaluating the text of a stranger may end the process
TEXT = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
LIST_OF_TEXTS = re.compile(rf"^\[(?:(?:{TEXT.pattern})(?:, (?!\])|(?=\])))*\]$")
PATH_PART = re.compile(r"^[\w.$-]+$")


def module_path(node: onnx.NodeProto) -> str:
    """The dotted path of the module that a node belongs to, "" where nothing says so."""
    metadata = {
        entry.key: as_text(entry.value) for entry in node.metadata_props if entry.key in (NAME_SCOPES, NAMESPACE)
    }
    if NAME_SCOPES in metadata:
        if not LIST_OF_TEXTS.match(metadata[NAME_SCOPES]):
            return ""
        scopes = [single or double for single, double in TEXT.findall(metadata[NAME_SCOPES])]
        return next((scope for scope in reversed(scopes[:-1]) if scope), "")
    if NAMESPACE in metadata:  # ": Net/layer1: Sequential/layer1.0: Conv2d/conv2d: aten.conv2d.default"
        scopes = [part.partition(":")[0].strip() for part in metadata[NAMESPACE].split("/")]
        return next((scope for scope in reversed(scopes[:-1]) if scope), "")
    return _path_from_name(as_text(node.name))


def as_text(name: str | bytes) -> str:
    """A name of the file, which protobuf hands over as bytes where it is no UTF-8."""
    return name if isinstance(name, str) else name.decode("utf-8", "backslashreplace")


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
    domain, op_type = shortened(node.domain), shortened(node.op_type)
    operator = op_type if domain in ("", "ai.onnx") else f"{domain}.{op_type}"
    if node.name:
        return f"node {shortened(node.name)!r} ({operator})"
    return f"node {index} ({operator} -> {', '.join(map(shortened, node.output[:4]))})"


def shortened(name: str | bytes, limit: int = 100) -> str:
    """A name as text, of which what is in the middle of a very long one is left out."""
    text = as_text(name)
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]}"
