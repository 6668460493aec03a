"""Sparse tensors that the forward makes of values that it computes: dense tensors stand for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cgir import TraceError

from .typing import Args, Kwargs

# functions of sparse tensors alone -> of the dense tensors that stand for them
DENSE_FORMS: dict[str, Callable[..., Tensor]] = {
    "coalesce": lambda tensor: tensor,
    "_sparse_softmax": torch.softmax,
    "_sparse_log_softmax": torch.log_softmax,
}
NUM_INDICES = {"sparse_coo_tensor": 1, "sparse_csr_tensor": 2, "sparse_csc_tensor": 2}


class SparseArguments(NamedTuple):
    """What a sparse tensor is made of."""

    indices: tuple[Tensor, ...]
    values: Tensor
    size: Sequence[int]


def sparse_arguments(name: str, args: Args, kwargs: Kwargs) -> SparseArguments:
    """The arguments of one of `NUM_INDICES`.

    Args:
        name: of the function.
        args: positional arguments.
        kwargs: keyword arguments.

    Raises:
        TraceError: the size is left to the values of the indices.
    """
    names = ("indices",) if NUM_INDICES[name] == 1 else ("compressed", "plain")
    named = {**dict(zip((*names, "values", "size"), args, strict=False)), **kwargs}
    if named.get("size") is None:
        raise TraceError(f"the size of the result of torch.{name} depends on the values of indices; pass it as size=")
    indices = tuple(item for key, item in named.items() if key.endswith(("indices", *names)))
    return SparseArguments(tuple(item for item in indices if isinstance(item, Tensor)), named["values"], named["size"])
