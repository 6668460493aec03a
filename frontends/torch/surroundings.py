"""Plain surroundings: what callers have switched on around a call does not change its result.

Everything here belongs to the current thread and is as before afterwards: gradients, inference mode, autocast, modes
that see or change every operator (a default device, fake tensors, `torch.export`), levels of `torch.func`, a region
that `torch.compile` follows, and NumPy's reaction to floating-point errors. The default type of numbers is the
process's, and stays: the library states types itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from torch._ops import _len_torch_dispatch_stack_pre_dispatch
from torch.overrides import _pop_mode_temporarily
from torch.utils._python_dispatch import _disable_current_modes

from .private_draws import DrawingMode

P = ParamSpec("P")
R = TypeVar("R")
NUMPY_DEFAULTS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@contextmanager
def plain_surroundings(grad: bool = False) -> Iterator[None]:
    """Inside, only `grad` decides whether gradients are computed, and nothing else that the caller has set counts."""
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
        yield


def in_plain_surroundings(grad: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator of functions that run in `plain_surroundings`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def plain(*args: P.args, **kwargs: P.kwargs) -> R:
            with plain_surroundings(grad):
                return function(*args, **kwargs)

        return plain

    return decorate


def _leave_compiled_region(stack: ExitStack) -> None:
    """Let `torch.compile`, whose region reaches into everything that it calls, not follow what runs inside."""
    if "torch._dynamo" in sys.modules:
        from torch._C._dynamo.eval_frame import set_eval_frame

        stack.callback(set_eval_frame, set_eval_frame(None))
