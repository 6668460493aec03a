"""From models and search spaces to computation graphs. A framework is imported when a model of that framework comes
along.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgir import Graph, TraceError, canonicalize

from . import spaces as spaces
from . import tables as tables
from .build import build as build
from .common.trace_request import Request

# (package, class) anywhere among a model's base classes -> the frontend; each has a function `trace(model, request)`
CLASSES = {
    ("torch", "Module"): "torch.module_tracer", ("torch", "ExportedProgram"): "torch.exported_program", ("torch", "ONNXProgram"): "onnx.importer",
    ("onnx", "ModelProto"): "onnx.importer", ("onnx_ir", "Model"): "onnx.importer", ("builtins", "bytes"): "onnx.importer",
    ("keras", "Layer"): "keras.model_tracer", ("keras", "Operation"): "keras.model_tracer",
    ("tensorflow", "ConcreteFunction"): "tensorflow.importer", ("tensorflow", "Function"): "tensorflow.importer",
    ("tensorflow", "GraphDef"): "tensorflow.importer", ("tensorflow", "AutoTrackable"): "tensorflow.importer",
}  # fmt: skip
FILES = {
    ".onnx": "onnx.importer",
    ".pt2": "torch.exported_program",
    ".keras": "keras.model_tracer",
    ".h5": "keras.model_tracer",
    ".pb": "tensorflow.importer",
}
SUPPORTED = (
    "torch.nn.Module, torch.export.ExportedProgram, ONNX ModelProto or bytes, keras.Model, TensorFlow functions, and the files "
    "*.onnx, *.pt2, *.keras, *.h5, *.pb and SavedModel folders"
)


def trace(
    model: Any,
    inputs: Any = None,
    *,
    input_shape: Any = None,
    dims: Mapping[str, int] | None = None,
    raw: bool = False,
    level: str = "module",
    strict: bool = False,
    name: str = "",
) -> Graph:
    """The computation graph of a model.

    Args:
        model: a `torch.nn.Module` with real weights or on the meta device, a `torch.export.ExportedProgram`, an ONNX
            `ModelProto` or its bytes, a Keras model, a TensorFlow `ConcreteFunction` or `tf.function`; or a path:
            `.onnx`, `.pt2`, `.keras`, a frozen `.pb`, a SavedModel folder. It is left exactly as it was; weights are
            not read.
        inputs: example inputs, real or meta: a tensor, a tuple of positional arguments or a dict of keyword arguments.
            Only shapes and types matter. Models that know their input shapes (exported programs, ONNX, Keras,
            SavedModel) need none.
        input_shape: instead of `inputs`, the shape of one floating-point tensor with the batch first, or a tuple of
            such shapes.
        dims: sizes for the named dimensions that an ONNX model leaves open, such as `{"batch": 1}`; those without one
            are 1.
        raw: keep every recorded call instead of the canonical form.
        level: of the canonical form, "module" or "inference" (see `cgir.canonicalize`).
        strict: refuse operators outside the vocabulary instead of keeping them as `Opaque` nodes.
        name: of the graph; the model's class, or the file's name, if empty.

    Raises:
        TraceError: the model cannot be followed (the message names the user's line or the file's node), or its
            framework is not installed.
        UnsupportedOpError: with `strict`, for an operator outside the vocabulary.
    """
    request = Request(inputs, input_shape, dims or {}, strict, name)
    graph = importlib.import_module(f".{_frontend(model)}", __name__).trace(model, request)
    return graph if raw else canonicalize(graph, level=level)


def _frontend(model: Any) -> str:
    """The module that follows this model, by its class or its file's name; no framework is imported to find out."""
    if isinstance(model, str | os.PathLike):
        return _frontend_of_file(Path(model))
    for base in type(model).__mro__:
        found = CLASSES.get((base.__module__.partition(".")[0], base.__name__))
        if found:
            return found
    raise TraceError(f"cannot trace a {type(model).__name__}; supported are {SUPPORTED}")


def _frontend_of_file(path: Path) -> str:
    if not path.exists():
        raise TraceError(f"{path}: there is no such file or folder")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise TraceError(f"{path}: a folder without saved_model.pb is no SavedModel; supported are {SUPPORTED}")
        return "tensorflow.importer"
    if path.suffix in (".pt", ".pth", ".bin", ".pkl"):
        raise TraceError(
            f"{path}: a pickle, which cgir does not load; build the module in Python, or save it with torch.export.save as .pt2"
        )
    if path.suffix not in FILES:
        raise TraceError(f"{path}: cannot tell the format from {path.suffix!r}; supported are {SUPPORTED}")
    return FILES[path.suffix]
