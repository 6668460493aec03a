"""Inputs and outputs of graphs from PyTorch: the tensors in nested arguments and results, and where their batch is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from cgir import TraceError
from frontends.common.batch_axis import BatchPlan

from .recorder import Recorder
from .sparse_tensors import num_elements

MAX_NESTING = 100


def graph_inputs(recorder: Recorder, leaves: Sequence[tuple[str, Tensor]], plan: BatchPlan) -> dict[int, Tensor]:
    """Make example tensors graph inputs.

    Args:
        recorder: of the trace.
        leaves: the tensors with their paths, see `tensor_leaves`.
        plan: their batch axes, and the number of examples that the new tensors have there.

    Returns:
        Identity of each example -> the new meta tensor that replaces it in the trace.
    """
    meta_tensors: dict[int, Tensor] = {}
    sizes = plan.sizes([tensor.shape for _, tensor in leaves])
    for (path, tensor), size, axis in zip(leaves, sizes, plan.axes, strict=True):
        if id(tensor) not in meta_tensors:
            meta_tensors[id(tensor)] = meta = torch.empty(size, dtype=tensor.dtype, device="meta")
            if tensor.layout is not torch.strided:
                recorder.values.nonzeros[id(meta)] = num_elements(tensor)
            recorder.input(meta, path, axis)
    return meta_tensors


def graph_outputs(recorder: Recorder, result: object) -> None:
    """Make the tensors in a forward's result graph outputs.

    Raises:
        TraceError: there are none.
    """
    leaves = {id(tensor): (path, tensor) for path, tensor in reversed(tensor_leaves(result))}
    if not leaves:
        raise TraceError(
            f"the forward returned no tensor, found {type(result).__name__}; a graph needs at least one output"
        )
    for path, tensor in reversed(leaves.values()):
        recorder.output(recorder.values.as_traced(tensor), "output" if path == "input" else f"output.{path}")


def tensor_leaves(item: object, path: str = "", depth: int = 0) -> list[tuple[str, Tensor]]:
    """Tensors in nested containers and dataclasses, each with a readable path, in order.

    Args:
        item: the outermost container, or what one holds.
        path: of the item.
        depth: how many containers it is in.

    Raises:
        TraceError: containers are nested without end.
    """
    if depth > MAX_NESTING:
        raise TraceError(
            f"inputs or results are nested deeper than {MAX_NESTING} containers, as in a list that holds itself; "
            "pass and return tensors in fewer"
        )
    if isinstance(item, Tensor):
        return [(path or "input", item)]
    if isinstance(item, Mapping):
        parts = [(str(key), value) for key, value in item.items()]
    elif isinstance(item, tuple | list):
        names = getattr(item, "_fields", range(len(item)))
        parts = [(str(key), value) for key, value in zip(names, item, strict=True)]
    elif is_dataclass(item) and not isinstance(item, type):
        parts = [(field.name, getattr(item, field.name)) for field in fields(item)]
    else:
        return []
    return [leaf for key, value in parts for leaf in tensor_leaves(value, f"{path}.{key}" if path else key, depth + 1)]


def with_tensors(item: Any, tensors: Mapping[int, Tensor]) -> Any:
    """A copy of nested containers and dataclasses with their tensors exchanged by identity."""
    if isinstance(item, Tensor):
        return tensors[id(item)]
    if isinstance(item, tuple | list):
        parts = [with_tensors(part, tensors) for part in item]
        return type(item)(*parts) if hasattr(item, "_fields") else type(item)(parts)
    if type(item) is dict:
        return {key: with_tensors(value, tensors) for key, value in item.items()}
    if isinstance(item, Mapping) or (is_dataclass(item) and not isinstance(item, type)):
        copy = item.__class__.__new__(item.__class__)
        if isinstance(item, dict):
            contents = {key: with_tensors(value, tensors) for key, value in item.items()}
            dict.update(copy, contents)  # type: ignore[arg-type]
        for key, value in vars(item).items():
            object.__setattr__(copy, key, with_tensors(value, tensors))
        return copy
    return item
