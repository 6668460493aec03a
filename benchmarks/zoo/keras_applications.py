"""Every network of keras.applications: parameters as Keras counts them, and the graph of its concrete function."""

from __future__ import annotations

import inspect
import os
from math import prod
from typing import Any

import cgir
import frontends
from frontends.common.trace_request import TraceRequest

from .torch_costs import CANONICAL, Outcome, canonical_costs, no_opaque, same

COLUMNS = (
    "traces",
    "parameters equal count_params",
    *CANONICAL,
    "layer walk = concrete function",
    "no Opaque",
)
EXCEPTIONS: dict[str, str] = {}
SIZE = 224  # for networks that take any image


def cases() -> list[str]:
    """All constructors of keras.applications, by name."""
    applications = _keras().applications
    return sorted(name for name, member in vars(applications).items() if inspect.isfunction(member))


def check(case: str) -> Outcome:
    """Build one network without pretrained weights and compare."""
    keras = _keras()
    keras.utils.clear_session(free_memory=True)
    model = getattr(keras.applications, case)(weights=None)
    sizes = [tuple(n or (1 if axis == 0 else SIZE) for axis, n in enumerate(tensor.shape)) for tensor in model.inputs]
    raw = frontends.trace(model, input_shape=sizes[0] if len(sizes) == 1 else tuple(sizes), raw=True)
    graph = cgir.canonicalize(raw)
    cgir.verify(graph)
    constant = sum(prod(weight.shape) for weight in model.non_trainable_weights)
    return {
        "traces": True,
        "parameters equal count_params": same(raw.num_params + constant, model.count_params()),
        **canonical_costs(graph, raw),
        "layer walk = concrete function": _difference_to_concrete_function(model, graph, sizes) or True,
        "no Opaque": no_opaque([graph]),
    }


def _difference_to_concrete_function(model: Any, graph: cgir.Graph, sizes: list[tuple[int, ...]]) -> str:
    from frontends.keras import function_importer

    request = TraceRequest(input_shape=sizes[0] if len(sizes) == 1 else tuple(sizes))
    return cgir.diff(graph, cgir.canonicalize(function_importer.trace(model, request)))


def _keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras
