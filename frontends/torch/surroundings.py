"""Plain surroundings: what callers have switched on around a call does not change its result.

Everything here belongs to the current thread and is as before afterwards: gradients, inference mode, autocast, modes
that see or change every operator (a default device, fake tensors, `torch.export`), levels of `torch.func`, a region
that `torch.compile` follows, NumPy's reaction to floating-point errors, and for the library's own networks the default
type of numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch._ops import _len_torch_dispatch_stack_pre_dispatch
from torch.overrides import TorchFunctionMode, _pop_mode_temporarily
from torch.utils._python_dispatch import _disable_current_modes

from .private_draws import DrawingMode
from .thread_count import threads_for
from .typing import Args, Function, Kwargs

P = ParamSpec("P")
R = TypeVar("R")
FACTORIES = frozenset(("empty", "zeros", "ones", "rand", "randn", "eye", "linspace"))
NUMPY_DEFAULTS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


class _SinglePrecision(TorchFunctionMode):
    """New tensors without a type are float32, whatever `torch.set_default_dtype`, which is the process's, says."""

    def __torch_function__(self, func: Function, types: object, args: Args = (), kwargs: Kwargs | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in FACTORIES and kwargs.get("dtype") is None:
            kwargs["dtype"] = torch.float32
        return func(*args, **kwargs)


@contextmanager
def plain_surroundings(grad: bool = False, single: bool = False) -> Iterator[None]:
    """Inside, nothing that the caller has set counts.

    Args:
        grad: whether gradients are computed.
        single: whether new tensors are float32 by default; else the caller's default type stays.
    """
    with ExitStack() as stack:
        _leave_compiled_region(stack)
        stack.enter_context(np.errstate(**NUMPY_DEFAULTS))  # type: ignore[arg-type]
        if torch._C._functorch.peek_interpreter_stack() is not None:
            from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

            stack.enter_context(temporarily_clear_interpreter_stack())
        modes = [stack.enter_context(_pop_mode_temporarily()) for _ in range(torch._C._len_torch_function_stack())]
        early = _len_torch_dispatch_stack_pre_dispatch()  # type: ignore[no-untyped-call]
        if torch._C._len_torch_dispatch_stack() or early:
            stack.enter_context(_disable_current_modes())
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(grad))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        for mode in reversed(modes):
            if isinstance(mode, DrawingMode):  # the library's own
                stack.enter_context(mode)
        if single and torch.get_default_dtype() != torch.float32:
            stack.enter_context(_SinglePrecision())
        yield


def in_plain_surroundings(grad: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator of functions that run in `plain_surroundings`, in single precision, on one thread (`threads_for`)."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def plain(*args: P.args, **kwargs: P.kwargs) -> R:
            with plain_surroundings(grad, single=True), threads_for():
                return function(*args, **kwargs)

        return plain

    return decorate


def _leave_compiled_region(stack: ExitStack) -> None:
    """Let `torch.compile`, whose region reaches into everything that it calls, not follow what runs inside."""
    if "torch._dynamo" in sys.modules:
        from torch._C._dynamo.eval_frame import set_eval_frame

        stack.callback(set_eval_frame, set_eval_frame(None))
