"""Sparse tensors that the forward makes of values that it computes: dense tensors stand for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cgir import TraceError

from .typing import Args, Kwargs

# functions of sparse tensors alone -> of the dense tensors that stand for them
DENSE_FORMS: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(
        ("coalesce", "to_sparse", "to_sparse_coo", "to_sparse_csr", "to_sparse_csc"), lambda tensor, *_: tensor
    ),
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


def num_elements(tensor: Tensor) -> int:
    """How many elements a sparse tensor stores, those of its blocks included."""
    return (tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()).numel()


def result_elements(op: str, inputs: Sequence[Tensor], result: Tensor, nonzeros: Mapping[int, int]) -> int | None:
    """How many elements the result of a call on sparse tensors stores, None if it is dense, or nobody knows.

    Args:
        op: the operator.
        inputs: of the call.
        result: of the call.
        nonzeros: identity of a tensor that stands for a sparse one -> number of its elements.
    """
    of_first = nonzeros.get(id(inputs[0])) if inputs else None
    if op == "Transpose":
        return of_first
    sparse = [nonzeros[id(t)] for t in inputs if id(t) in nonzeros and t.shape == result.shape]
    if not sparse:
        return None
    if len(inputs) == 1 or op == "Div":  # zeros stay zeros in all functions that PyTorch has for sparse tensors
        return of_first
    if op == "Mul":
        return min(sparse)
    return sum(sparse) if op in ("Add", "Sub") and len(sparse) == len(inputs) else None
