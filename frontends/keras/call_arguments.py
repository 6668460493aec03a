"""The arguments of a layer's `call` from what the caller passes to `trace`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def call_arguments(call: Callable[..., object], inputs: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of `call`: by keyword from a dictionary of its parameters' names, by position from a tuple.

    A tuple is one list if the call takes one argument.
    """
    signature = inspect.signature(call)
    if type(inputs) is dict and set(inputs) <= set(signature.parameters):
        return (), inputs
    args = inputs if type(inputs) is tuple else (inputs,)
    parameters = [
        p
        for p in signature.parameters.values()
        if p.name not in ("training", "mask") and p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
    ]
    if len(args) > 1 and len(parameters) < len(args) and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        args = (list(args),)
    return args, {}
