"""What libraries are told while a module is traced: in the thread that traces, as all of it is global to the process.

Every global is replaced by a stand-in that asks which thread reads it, so that what other threads run meanwhile is told
what it always was.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.distributions import Distribution

from .stand_ins import StandIns


class _Thread(threading.local):
    """What the current thread is told while it traces."""

    traces = 0  # how many of its traces run, inside each other
    exporting = False
    be_eager: Callable[[], object] = staticmethod(lambda: None)


_thread = _Thread()


@contextmanager
def tracing_settings(exporting: bool) -> Iterator[None]:
    """Inside, `torch.compile` compiles nothing, and distributions do not look at the values of their arguments.

    The compiler takes seconds to import; as long as it is not imported, nothing can have been compiled.

    Args:
        exporting: whether libraries that ask are told that `torch.export` is running, so that they look at no values
            either: of attention masks, for instance.
    """
    outer = _thread.exporting, _thread.be_eager
    with ExitStack() as stack:
        _thread.traces, _thread.exporting = _thread.traces + 1, exporting
        _thread.be_eager = lambda: stack.enter_context(_stance())
        try:
            stack.enter_context(_GLOBALS)
            if exporting or torch.compiler._is_compiling_flag or torch.compiler._is_exporting_flag:
                stack.enter_context(_FLAGS)
            if "torch._dynamo" in sys.modules:
                _thread.be_eager()
            yield
        finally:
            _thread.traces -= 1
            _thread.exporting, _thread.be_eager = outer


class _Checks:
    """Whether distributions check their arguments, unless they are told to one by one."""

    def __init__(self, original: bool) -> None:
        self._original = original

    def __get__(self, instance: object, owner: type) -> bool:
        return self._original and not _thread.traces


def told(flag: str) -> bool:
    """Whether `torch.export` or the compiler is running, by the name of PyTorch's global, as this thread is told."""
    return _thread.exporting if _thread.traces else bool(getattr(torch.compiler, flag))


# The code of `torch.compiler.is_compiling` and `is_exporting` in a trace: they may have been imported by name, and
# callers compute with the bool that they return. It runs among PyTorch's globals.


def _is_compiling() -> bool:
    from frontends.torch.tracing_settings import told

    return told("_is_compiling_flag")


def _is_exporting() -> bool:
    from frontends.torch.tracing_settings import told

    return told("_is_exporting_flag")


class _Stance:
    """What functions and modules made by `torch.compile` do: in a trace they run as they were written."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __getattr__(self, name: str) -> Any:
        return "force_eager" if name == "stance" and _thread.traces else getattr(self._original, name)


def _compile_later(original: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compile`: inside a trace, what it makes runs as it was written, and is compiled when it runs later."""

    @functools.wraps(original)
    def compile_later(*args: Any, **kwargs: Any) -> Any:
        if not _thread.traces:
            return original(*args, **kwargs)
        exporting, _thread.exporting = _thread.exporting, False  # else it would return the function itself
        try:
            result = original(*args, **kwargs)
        finally:
            _thread.exporting = exporting
        _thread.be_eager()
        return result

    return compile_later


@functools.cache
def _stance() -> StandIns:
    from torch._dynamo import eval_frame

    return StandIns((eval_frame, "_stance", _Stance))


_GLOBALS = StandIns((torch, "compile", _compile_later), (Distribution, "_validate_args", _Checks))
_FLAGS = StandIns(
    (torch.compiler.is_compiling, "__code__", lambda _: _is_compiling.__code__),
    (torch.compiler.is_exporting, "__code__", lambda _: _is_exporting.__code__),
)
