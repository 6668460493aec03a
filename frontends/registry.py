"""Registry of frontends: which module imports which model, by the model's class or the file's name.

The lookup imports no framework.
"""

from __future__ import annotations

import importlib
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from cgir import Graph, TraceError
from cgir.errors import printable

from .common.trace_request import TraceRequest


class Frontend(Protocol):
    """Interface of a frontend's module."""

    def trace(self, model: Any, request: TraceRequest) -> Graph:
        """The raw graph of a model."""


class ModelClass(NamedTuple):
    """A class whose instances, those of subclasses too, a frontend follows.

    `package` is the first part of the module that defines the class; `frontend` a module of this package.
    """

    package: str
    name: str
    frontend: str


class FileFormat(NamedTuple):
    """A suffix of files that a frontend reads."""

    suffix: str
    frontend: str


MODEL_CLASSES = (
    ModelClass("torch", "Module", "torch.module_tracer"),
    ModelClass("torch", "ExportedProgram", "torch.exported_program"),
    ModelClass("torch", "ONNXProgram", "onnx.importer"),
    ModelClass("onnx", "ModelProto", "onnx.importer"),
    ModelClass("onnx_ir", "Model", "onnx.importer"),
    ModelClass("builtins", "bytes", "onnx.importer"),
    ModelClass("keras", "Layer", "keras.importer"),
    ModelClass("keras", "Operation", "keras.importer"),
    ModelClass("tf_keras", "Layer", "keras.function_importer"),
    ModelClass("tensorflow", "ConcreteFunction", "tensorflow.importer"),
    ModelClass("tensorflow", "Function", "tensorflow.importer"),
    ModelClass("tensorflow", "GraphDef", "tensorflow.importer"),
    ModelClass("tensorflow", "AutoTrackable", "tensorflow.importer"),
)
FILE_FORMATS = (
    FileFormat(".onnx", "onnx.importer"),
    FileFormat(".pt2", "torch.exported_program"),
    FileFormat(".keras", "keras.importer"),
    FileFormat(".h5", "keras.importer"),
    FileFormat(".hdf5", "keras.importer"),
    FileFormat(".pb", "tensorflow.importer"),
    FileFormat(".pbtxt", "tensorflow.importer"),
)
SAVED_MODEL = "tensorflow.importer"  # folders
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")
PICKLES = (".pt", ".pth", ".bin", ".pkl")
SUPPORTED = (
    "torch.nn.Module, torch.export.ExportedProgram, ONNX ModelProto or bytes, keras.Model, TensorFlow functions, "
    "and the files *.onnx, *.pt2, *.keras, *.h5, *.hdf5, *.pb, *.pbtxt and SavedModel folders"
)

_BY_CLASS = {(row.package, row.name): row.frontend for row in MODEL_CLASSES}
_BY_SUFFIX = {row.suffix: row.frontend for row in FILE_FORMATS}


def frontend_of(model: object) -> Frontend:
    """The frontend that follows a model or the file at a path; its framework is imported now.

    Raises:
        TraceError: there is none, or the file is missing.
    """
    name = frontend_name(model)
    return cast(Frontend, importlib.import_module(f"frontends.{name}"))


def frontend_name(model: object) -> str:
    """The module of `frontend_of` below this package; no framework is imported to find it.

    Raises:
        TraceError: there is none, or the file is missing.
    """
    if isinstance(model, str | os.PathLike):
        return _frontend_of_file(Path(model))
    name = _frontend_of_class(type(model))
    if name is None:
        if isinstance(model, type) and _frontend_of_class(model):
            raise TraceError(f"{model.__name__} is a class, expected a model; pass an instance, {model.__name__}(...)")
        raise TraceError(f"cannot trace a {type(model).__name__}; supported are {SUPPORTED}")
    return name


def is_model(item: object) -> bool:
    """Whether some frontend follows an object of this class."""
    return _frontend_of_class(type(item)) is not None


def has_model_suffix(path: Path) -> bool:
    """Whether some frontend reads files with this suffix."""
    return path.suffix in _BY_SUFFIX


def _frontend_of_class(kind: type) -> str | None:
    for base in kind.__mro__:
        name = _BY_CLASS.get((base.__module__.partition(".")[0], base.__name__))
        if name is not None:
            return name
    return None


def _frontend_of_file(path: Path) -> str:
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        if not any((path / name).is_file() for name in SAVED_MODEL_FILES):
            raise TraceError(f"{path}: a folder without saved_model.pb is no SavedModel; supported are {SUPPORTED}")
        return SAVED_MODEL
    if path.suffix in PICKLES:
        raise TraceError(
            f"{path}: a pickle, which cgir does not load; build the module in Python, or save it with "
            "torch.export.save as .pt2"
        )
    if path.suffix not in _BY_SUFFIX:
        raise TraceError(f"{path}: cannot tell the format from {path.suffix!r}; supported are {SUPPORTED}")
    return _BY_SUFFIX[path.suffix]


def _mode(path: Path) -> int:
    """What is at a path: a folder, or a file that can be read; pipes and devices may have no end.

    Raises:
        TraceError: there is nothing, or something else.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TraceError(f"{path}: there is no such file or folder") from error
    except (OSError, ValueError) as error:  # links in a circle, names that are too long or hold NUL
        reason = getattr(error, "strerror", None) or error
        raise TraceError(f"{printable(path, 200)}: no file can be read there ({reason})") from error
    mode = found.st_mode
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise TraceError(f"{path}: a pipe or device, expected a file; write what comes out of it to one")
    if stat.S_ISREG(mode) and not found.st_size:
        raise TraceError(f"{path}: the file is empty, expected a model")
    if not os.access(path, os.R_OK):
        raise TraceError(f"{path}: no permission to read it")
    return mode
