"""Every function that PyTorch's own tests have samples of, traced in a module and in the program exported from it.

Prints a line of JSON for each function where something differs: [name, what]. Run as a script in its own process,
because PyTorch's test utilities change global settings when they are imported.
"""

from __future__ import annotations

import json
import logging
import sys
import types
import unittest
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.flop_counter import FlopCounterMode

import cgir
import frontends


class Call(nn.Module):
    """A function with all tensors among its arguments as inputs."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        super().__init__()
        leaves, self.structure = tree_flatten((args, kwargs))
        self.function = function
        self.inputs = tuple(leaf.clone() for leaf in leaves if isinstance(leaf, Tensor))
        self.leaves = [None if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]

    def forward(self, *tensors: Tensor) -> Any:
        given = iter(tensors)
        leaves = [next(given) if tensor else leaf for tensor, leaf in zip(self.is_tensor, self.leaves, strict=True)]
        args, kwargs = tree_unflatten(leaves, self.structure)
        return self.function(*args, **kwargs)


def problem(model: Call) -> str | None:
    """What differs between a module, its export and PyTorch's counter; None if nothing, or if it cannot run at all."""
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(*model.inputs)
    except Exception:  # samples for other devices, and those that must fail
        return None
    try:
        graph = frontends.trace(model, model.inputs, batch=None)
        cgir.verify(graph)
    except cgir.CgirError as error:
        return f"refused: {error}"
    if graph.flops != counter.get_total_flops():
        return f"costs {graph.flops}, PyTorch counts {counter.get_total_flops()}"
    try:
        program = torch.export.export(model, model.inputs, strict=False)
    except Exception:
        return None
    try:
        exported = frontends.trace(program, batch=None)
    except cgir.CgirError as error:
        return f"the export is refused: {error}"
    return None if cgir.isomorphic(graph, exported) else f"differs: {str(cgir.diff(graph, exported)).splitlines()[0]}"


def functions() -> Iterator[tuple[str, Call]]:
    """The first samples of every function."""
    if "expecttest" not in sys.modules:  # PyTorch's test utilities ask for it, and nothing here needs it
        sys.modules["expecttest"] = types.ModuleType("expecttest")
        sys.modules["expecttest"].TestCase = unittest.TestCase  # type: ignore[attr-defined]
    from torch.testing._internal.common_methods_invocations import op_db

    for info in op_db:
        dtypes = (torch.float32, torch.complex64, torch.int64, torch.bool)
        dtype = next((dtype for dtype in dtypes if info.supports_dtype(dtype, "cpu")), None)
        if dtype is None:
            continue
        for sample in list(info.sample_inputs("cpu", dtype))[:3:2]:
            model = Call(info.op, (sample.input, *sample.args), sample.kwargs)
            if model.inputs and all(tensor.numel() for tensor in model.inputs):
                yield info.name, model


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    count = 0
    for function_name, call in functions():
        count += 1
        if found := problem(call):
            print(json.dumps([function_name, found]), flush=True)
    print(json.dumps(["", str(count)]))
