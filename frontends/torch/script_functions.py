"""TorchScript functions that a forward calls: the ATen calls of their compiled code are recorded one by one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.jit._fuser import optimized_execution
from torch.overrides import _pop_mode_temporarily

from .operator_mode import OperatorMode
from .recorder import Recorder
from .typing import Args, Function, Kwargs

_COMPILED: tuple[Any, ...] = (torch._C.ScriptFunction, torch._C.ScriptMethod)


@contextmanager
def compiled_code_recorded(recorder: Recorder) -> Iterator[None]:
    """Inside, calls of TorchScript functions and methods by this thread are recorded."""
    thread = threading.get_ident()
    originals = [kind.__call__ for kind in _COMPILED]

    def recorded(original: Function) -> Function:
        def call(function: object, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return original(function, *args, **kwargs)
            return _run(recorder, original, (function, *args), kwargs)

        return call

    try:
        for kind, original in zip(_COMPILED, originals, strict=True):
            kind.__call__ = recorded(original)
        yield
    finally:
        for kind, original in zip(_COMPILED, originals, strict=True):
            kind.__call__ = original


def _run(recorder: Recorder, original: Function, args: Args, kwargs: Kwargs) -> Any:
    """A call of compiled code, as it is written: without what TorchScript would optimise or remember of this call."""
    calls = OperatorMode(recorder)
    with ExitStack() as stack:
        for _ in range(torch._C._len_torch_function_stack()):
            stack.enter_context(_pop_mode_temporarily())
        stack.enter_context(optimized_execution(False))
        stack.enter_context(calls)
        try:
            return original(*args, **kwargs)
        except Exception as error:
            raise (calls.error or error) from None
