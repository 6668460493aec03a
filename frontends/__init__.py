"""From models and search spaces to computation graphs. A framework is imported when a model of that framework comes along."""

from __future__ import annotations

import sys
from typing import Any

from cgir import Graph, TraceError, canonicalize

from . import spaces as spaces
from . import tables as tables
from .build import build as build


def trace(model: Any, inputs: Any = None, *, input_shape: Any = None, raw: bool = False, level: str = "module", strict: bool = False, name: str = "") -> Graph:
    """The computation graph of a model.

    Args:
        model: a `torch.nn.Module`, with real weights or on the meta device; it is left exactly as it was.
        inputs: example inputs, real or meta: a tensor, a tuple of positional arguments or a dict of keyword arguments. Only shapes and types matter.
        input_shape: instead of `inputs`, the shape of one floating-point tensor with the batch first, or a tuple of such shapes.
        raw: keep every recorded call instead of the canonical form.
        level: of the canonical form, "module" or "inference" (see `cgir.canonicalize`).
        strict: refuse operators outside the vocabulary instead of keeping them as `Opaque` nodes.
        name: of the graph; the model's class if empty.

    Raises:
        TraceError: the model cannot be followed; the message names the user's line.
        UnsupportedOpError: with `strict`, for an operator outside the vocabulary.
    """
    graph = _raw_graph(model, inputs, input_shape, strict, name)
    return graph if raw else canonicalize(graph, level=level)


def _raw_graph(model: Any, inputs: Any, input_shape: Any, strict: bool, name: str) -> Graph:
    """Pick the frontend by the type of the model; a framework that was never imported cannot have made it."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        from .torch_module import trace_module

        return trace_module(model, inputs, input_shape, strict, name)
    raise TraceError(f"cannot trace a {type(model).__name__}; supported are instances of torch.nn.Module")
