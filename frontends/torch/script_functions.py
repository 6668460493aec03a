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
from .stand_ins import StandIns
from .typing import Args, Function, Kwargs

_COMPILED: tuple[Any, ...] = (torch._C.ScriptFunction, torch._C.ScriptMethod)


class _Thread(threading.local):
    """Who records calls of the current thread."""

    recorder: Recorder | None = None


_thread = _Thread()


@contextmanager
def compiled_code_recorded(recorder: Recorder) -> Iterator[None]:
    """Inside, calls of TorchScript functions and methods by this thread are recorded."""
    outer = _thread.recorder
    with _CALLS:
        _thread.recorder = recorder
        try:
            yield
        finally:
            _thread.recorder = outer


def _recorded(original: Function) -> Function:
    def call(function: object, *args: Any, **kwargs: Any) -> Any:
        if _thread.recorder is None:
            return original(function, *args, **kwargs)
        return _run(_thread.recorder, original, (function, *args), kwargs)

    return call


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


_CALLS = StandIns(*((kind, "__call__", _recorded) for kind in _COMPILED))
