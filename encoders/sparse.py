"""A fixed sparse matrix that multiplies node states, with a gradient: the one primitive of message passing and of pooling.

The matrix and its transpose are kept in CSR form: both passes are then products that PyTorch has a kernel for.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Sparse(NamedTuple):
    """A sparse matrix (R, C) and its transpose, both CSR."""

    matrix: Tensor
    transposed: Tensor

    def __matmul__(self, x: Any) -> Tensor:
        product: Tensor = _Product.apply(x, self.matrix, self.transposed)
        return product

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Sparse:
        """The same matrix elsewhere or in another precision."""
        return Sparse(_to(self.matrix, device, dtype), _to(self.transposed, device, dtype))


class _Product(torch.autograd.Function):
    """y = A x and, for a gradient g of y, A^T g; the matrix itself is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transposed @ grads[0].contiguous(), None, None


def sparse(starts: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float64], width: int) -> Sparse:
    """Build from CSR arrays: row r has columns[starts[r] : starts[r + 1]], in any order; a column that comes twice counts twice."""
    rows, height = np.repeat(np.arange(len(starts) - 1), np.diff(starts)), len(starts) - 1
    order = np.argsort(columns, kind="stable")
    turned = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=width))])
    return Sparse(_csr(starts, columns, values, (height, width)), _csr(turned, rows[order], values[order], (width, height)))


def _csr(starts: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float64], shape: tuple[int, int]) -> Tensor:
    return _make(torch.from_numpy(starts.astype(np.int32)), torch.from_numpy(columns.astype(np.int32)), torch.from_numpy(values.astype(np.float32)), shape)


def _to(matrix: Tensor, device: torch.device | str | None, dtype: torch.dtype | None) -> Tensor:
    # Tensor.to drops the 32-bit index arrays to 64 bits on some devices, so the parts are moved one by one
    parts = [part.to(device=device) for part in (matrix.crow_indices(), matrix.col_indices())]
    return _make(parts[0], parts[1], matrix.values().to(device=device, dtype=dtype), (matrix.shape[0], matrix.shape[1]))


def _make(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():  # "Sparse CSR tensor support is in beta state", once per process
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)
