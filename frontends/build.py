"""Build a model from its name: `package.module:attribute` or `path/file.py:attribute`, as the command line takes it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from cgir import TraceError


def build(target: str) -> Any:
    """The model that `target` names: a module object as it is, a class or function called without arguments.

    It is called under `torch.device("meta")`, so no weights are allocated; a builder that needs real tensors is called again without.

    Raises:
        TraceError: the name is malformed, cannot be imported, is missing, needs arguments, or does not build a model.
    """
    import torch

    where, _, name = target.partition(":")
    if not where or not name:
        raise TraceError(f"{target!r} does not name a model; expected package.module:name or path/file.py:name")
    found = _attribute(_module(where, target), name, target)
    if isinstance(found, torch.nn.Module):
        return found
    if not callable(found):
        raise TraceError(f"{target}: found a {type(found).__name__}, expected a torch.nn.Module, or a class or function that builds one")
    try:
        with torch.device("meta"):
            model = found()
    except (NotImplementedError, RuntimeError):  # how PyTorch says that a builder reads values, which meta tensors have not
        model = _call(found, target)
    except Exception as error:
        raise TraceError(f"{target}: building the model failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, torch.nn.Module):
        raise TraceError(f"{target}() returned a {type(model).__name__}, expected a torch.nn.Module")
    return model


def _call(found: Any, target: str) -> Any:
    try:
        return found()
    except Exception as error:
        raise TraceError(f"{target}: building the model failed: {type(error).__name__}: {error}") from error


def _module(where: str, target: str) -> ModuleType:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        path = Path(where)
        if not path.is_file():
            raise TraceError(f"{target}: there is no file {where}")
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
        raise TraceError(f"{target}: importing {where} failed: {type(error).__name__}: {error}") from error


def _attribute(module: ModuleType, name: str, target: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = ", ".join(sorted(n for n in vars(module) if not n.startswith("_"))[:10])
            raise TraceError(f"{target}: {module.__name__} has no {name!r}; it has {public}")
        found = getattr(found, part)
    return found
