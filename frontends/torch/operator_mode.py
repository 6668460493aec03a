"""Operators inside a call: what PyTorch executes for functions that are not in the vocabulary, and for transforms.

`torch.quantile` is a sort and an interpolation, `torch.vmap` of a linear layer is a batched product. A
`TorchDispatchMode` sees them as PyTorch runs the call, and hands them to the recorder one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from cgir.graph import Attr

from .typing import Args, Function, Kwargs

# Operators without products, besides those that PyTorch tags as elementwise or as reductions. Not here: `linalg_*`.
_MOVING = (
    "_chunk_cat as_strided_scatter block_diag complex diag_embed diagonal_scatter index_reduce lu_unpack "
    "max_unpool2d max_unpool3d narrow_copy nonzero_static put resize resize_as _unsafe_masked_index "
    "_unsafe_masked_index_put_accumulate"
)
_LOSSES = (
    "binary_cross_entropy binary_cross_entropy_with_logits huber_loss multi_margin_loss multilabel_margin_loss_forward "
    "nll_loss_forward nll_loss2d_forward smooth_l1_loss soft_margin_loss"
)
_SELECTING = "median nanmedian mode kthvalue fractional_max_pool2d fractional_max_pool3d segment_reduce"
_ELEMENTWISE = "addr linalg_cross cross _pdist_forward dist renorm trace hash_tensor _weight_norm_interface"
WITHOUT_PRODUCTS = frozenset(f"{_MOVING} {_LOSSES} {_SELECTING} {_ELEMENTWISE}".split())


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


def known_cost(func: Function, args: Args, kwargs: Kwargs, result: Any, examples: int) -> Mapping[str, Attr]:
    """The attribute `flops`, of one example, of an operator outside the vocabulary whose cost is known, else none.

    Args:
        func: the operator.
        args: positional arguments.
        kwargs: keyword arguments.
        result: of the call.
        examples: how many the call computes.
    """
    if not isinstance(func, torch._ops.OpOverload) or func.namespace != "aten":
        return {}
    if func.overloadpacket in flop_registry:
        return {"flops": int(flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)) // examples}
    name = func._opname.removesuffix("_")
    is_free = torch.Tag.pointwise in func.tags or torch.Tag.reduction in func.tags or name in WITHOUT_PRODUCTS
    return {"flops": 0} if is_free or name.endswith(("_backward", "_backward_data")) else {}
