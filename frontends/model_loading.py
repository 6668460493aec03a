"""Loading of models by name: `package.module:attribute`, `path/file.py:attribute` or a file, as on the command line."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from cgir import TraceError
from cgir.errors import one_line

from .registry import has_model_suffix, is_model

# Packages that models are built with -> the extra that brings each
EXTRAS = {
    "onnx": "onnx", "onnx_ir": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx",
    "tensorflow": "tensorflow", "keras": "tensorflow",
    "timm": "zoo", "transformers": "zoo", "torchvision": "zoo",
}  # fmt: skip


def build(target: str, weights: bool = False) -> Any:
    """The model that `target` names, imported or built; a file or folder stays a path.

    A class or function is called without arguments, under `torch.device("meta")` where PyTorch is installed, so that no
    weights of its modules are allocated; a builder that needs real tensors is called again without. With `weights` it
    is called as it is.

    Raises:
        TraceError: the name is malformed, cannot be imported, is missing, needs arguments, or does not build a model.
    """
    if ":" not in target and _is_file(Path(target)):
        return Path(target)
    attribute = import_attribute(target, "a model", ", or a file such as net.onnx")
    if is_model(attribute):
        return attribute
    if not callable(attribute):
        raise TraceError(
            f"{target}: found a {type(attribute).__name__}, expected a model, or a class or function that builds one"
        )
    model = _called(attribute, target) if weights else _built(attribute, target)
    if not is_model(model) and not isinstance(model, str | Path):
        raise TraceError(
            f"{target}() returned a {type(model).__name__}, expected a model of PyTorch, Keras, TensorFlow or ONNX"
        )
    return model


def import_attribute(target: str, what: str, otherwise: str = "") -> Any:
    """What `package.module:name` or `path/file.py:name` names.

    Args:
        target: the name.
        what: it should be, for the error.
        otherwise: what else is expected, for the error.

    Raises:
        TraceError: the name is malformed, cannot be imported, or is missing.
    """
    module, _, name = target.rpartition(":")
    if not module or not name:
        raise TraceError(f"{target!r} does not name {what}; expected package.module:name, path/file.py:name{otherwise}")
    return _attribute(_imported(module, target), name, target)


def _is_file(path: Path) -> bool:
    return has_model_suffix(path) or (os.path.exists(path) and path.suffix != ".py")  # False for names that cannot be


def _built(builder: Callable[[], object], target: str) -> object:
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return _called(builder, target)
    try:
        with torch.device("meta"):
            return builder()
    except RuntimeError:  # raised by PyTorch if a builder reads values, which meta tensors do not have
        return _called(builder, target)
    except Exception as error:
        raise _failure(f"{target}: building the model failed", error) from error


def _called(builder: Callable[[], object], target: str) -> object:
    try:
        return builder()
    except Exception as error:
        raise _failure(f"{target}: building the model failed", error) from error


def _failure(what: str, error: Exception) -> TraceError:
    extra = EXTRAS.get((error.name or "").partition(".")[0]) if isinstance(error, ModuleNotFoundError) else None
    return TraceError(f"{what}: {one_line(error, named=True)}" + (f": pip install 'cgir[{extra}]'" if extra else ""))


def _imported(name: str, target: str) -> ModuleType:
    """The module of this name, or in this `.py` file."""
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        path = Path(name)
        if not os.path.isfile(path):
            raise TraceError(f"{target}: there is no file {name}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)  # dataclasses and pickling look their module up
        spec.loader.exec_module(module)
        return module
    except TraceError:
        raise
    except Exception as error:
        raise _failure(f"{target}: importing {name} failed", error) from error


def _attribute(module: ModuleType, name: str, target: str) -> Any:
    item: Any = module
    for part in name.split("."):
        if not hasattr(item, part):
            public = ", ".join(sorted(n for n in vars(module) if not n.startswith("_"))[:10])
            raise TraceError(f"{target}: {module.__name__} has no {name!r}; it has {public}")
        item = getattr(item, part)
    return item
