"""What libraries are told while a module is traced; all settings are restored afterwards."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.distributions import Distribution

_UNCHECKED = 0  # false, and not the `False` that others may set in between


@contextmanager
def tracing_settings(exporting: bool) -> Iterator[None]:
    """Inside, `torch.compile` compiles nothing, and distributions do not look at the values of their arguments.

    Args:
        exporting: whether libraries that ask are told that `torch.export` is running, so that they look at no values
            either: of attention masks, for instance.
    """
    with _not_compiled(), _unchecked_distributions(), _export_flags(exporting):
        yield


@contextmanager
def _unchecked_distributions() -> Iterator[None]:
    """Inside, distributions do not check their arguments unless they are told to one by one."""
    checks = Distribution._validate_args
    Distribution._validate_args = _UNCHECKED  # type: ignore[assignment]
    try:
        yield
    finally:
        if Distribution._validate_args is _UNCHECKED:  # else the compiler was imported, which ends checks for good
            Distribution._validate_args = checks


@contextmanager
def _export_flags(value: bool) -> Iterator[None]:
    flags = torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag
    torch.compiler._is_compiling_flag = torch.compiler._is_exporting_flag = value
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag, torch.compiler._is_exporting_flag = flags


@contextmanager
def _not_compiled() -> Iterator[None]:
    """Inside, functions and modules made by `torch.compile`, before or inside, run as they were written.

    The compiler takes seconds to import; as long as it is not imported, nothing can have been compiled.
    """
    compile_function = torch.compile
    with ExitStack() as stack:

        def be_eager() -> None:
            stack.enter_context(torch.compiler.set_stance("force_eager"))

        @functools.wraps(compile_function)
        def compile_later(*args: Any, **kwargs: Any) -> Any:
            with _export_flags(False):  # else it would return the function itself, which callers may keep
                be_eager()
                return compile_function(*args, **kwargs)

        if "torch._dynamo" in sys.modules:
            be_eager()
        torch.compile = compile_later
        try:
            yield
        finally:
            torch.compile = compile_function
