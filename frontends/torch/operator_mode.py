"""Operators inside a call: what PyTorch executes for functions that are not in the vocabulary, and for transforms.

`torch.quantile` is a sort and an interpolation, `torch.vmap` of a linear layer is a batched product. A
`TorchDispatchMode` sees them as PyTorch runs the call, and hands them to the recorder one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cgir.graph import Attr

from .typing import Args, Function, Kwargs

# Operators without products, beyond those that PyTorch tags as elementwise or as reductions.
WITHOUT_PRODUCTS = frozenset(["median", "nanmedian", "mode", "kthvalue"])


class OperatorRecorder(Protocol):
    """What the mode needs of the recorder; `operator` is the operator that was handed over last."""

    operator: Function | None

    def __torch_function__(self, func: Function, types: object, args: Args = (), kwargs: Kwargs | None = None) -> Any:
        """Record a call."""


class OperatorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every operator to the recorder; `error` is what stopped it, which TorchScript rewrites."""

    def __init__(self, recorder: OperatorRecorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder
        self.error: Exception | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the compiler would be imported, which takes seconds

    def __torch_dispatch__(self, func: Function, types: object, args: Args = (), kwargs: Kwargs | None = None) -> Any:
        recorder = self._recorder
        outer, recorder.operator = recorder.operator, func
        try:
            return recorder.__torch_function__(func, types, args, kwargs or {})
        except Exception as error:
            self.error = error
            raise
        finally:
            recorder.operator = outer


def known_cost(func: Function) -> Mapping[str, Attr]:
    """The attribute `flops` of an operator outside the vocabulary whose cost is known, because it has no products."""
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten":
        return {}
    is_free = torch.Tag.pointwise in func.tags or torch.Tag.reduction in func.tags
    return {"flops": 0} if is_free or func._opname.strip("_") in WITHOUT_PRODUCTS else {}
