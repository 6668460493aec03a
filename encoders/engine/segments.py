"""Segment reductions: sums, means, maxima and softmaxes over the neighbours of a node or the nodes of a graph.

All that layers and pools compute across rows is here and in `sparse`. torch-scatter is used where it is installed and
faster: a maximum with its gradient (37,000 rows of 128 to 256 graphs, one thread: 35 ms, PyTorch's embedding bags 39,
gather + `scatter_reduce` 123). Everything else is faster without it.

Notation:
    S: segments.
    E: entries of all segments together.
    C: rows of the operand.
    F: length of a state.
    H: values of an entry, such as attention heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from cgir.typing import Int32Array, IntArray

from .sparse import SparseMatrix, SparsityPattern

try:
    from torch_scatter import segment_csr
except ImportError:
    segment_csr = None


class Segments:
    """S segments of E entries in all, each entry one of C rows of an operand; matrices are built when first used."""

    def __init__(self, pattern: SparsityPattern) -> None:
        self.pattern = pattern

    @classmethod
    def from_sizes(cls, sizes: IntArray, rows: Int32Array, num_rows: int) -> Segments:
        """Segments whose entries are stored one segment after the other.

        Args:
            sizes: (S,) entries of each segment.
            rows: (E,) the operand's row of each entry.
            num_rows: C.
        """
        ptr = np.zeros(len(sizes) + 1, np.int32)
        np.cumsum(sizes, out=ptr[1:])
        return cls(SparsityPattern(torch.from_numpy(ptr), torch.from_numpy(rows), num_rows))

    def __len__(self) -> int:
        return self.pattern.num_rows

    @cached_property
    def sizes(self) -> Tensor:
        """(S,): entries of each segment."""
        return self.pattern.row_ptr.diff()

    @cached_property
    def inverse_sizes(self) -> Tensor:
        """(S,): one over the size of each segment, 1 where it is empty, in double precision."""
        return 1 / self.sizes.clamp(min=1).double()

    @cached_property
    def sum(self) -> SparseMatrix:
        """(S, C): sums rows over each segment."""
        return SparseMatrix(self.pattern)

    @cached_property
    def mean(self) -> SparseMatrix:
        """(S, C): averages rows over each segment; zero where it is empty."""
        return SparseMatrix(self.pattern, self.inverse_sizes.index_select(0, self.pattern.rows))

    @cached_property
    def gather(self) -> SparseMatrix:
        """(E, C): the row of each entry."""
        return SparseMatrix(SparsityPattern(self._entry_ptr, self.pattern.columns, self.pattern.num_columns))

    @cached_property
    def expand(self) -> SparseMatrix:
        """(E, S): the segment's value for each of its entries."""
        return SparseMatrix(SparsityPattern(self._entry_ptr, self.pattern.rows, len(self)))

    @cached_property
    def scatter_sum(self) -> SparseMatrix:
        """(S, E): sums the values of entries over each segment."""
        pattern = self.pattern
        return SparseMatrix(SparsityPattern(pattern.row_ptr, self._entry_ptr[:-1], len(pattern.columns)))

    @cached_property
    def _entry_ptr(self) -> Tensor:
        return torch.arange(len(self.pattern.columns) + 1, dtype=torch.int32, device=self.pattern.columns.device)

    def max_pool(self, x: Tensor) -> Tensor:
        """(C, F) -> (S, F): maximum of each segment's rows, zero if empty; the gradient goes to one of them."""
        pattern = self.pattern
        if not x.requires_grad:
            return self.max(self.gather @ x)
        if segment_csr is not None:
            out: Tensor = segment_csr(self.gather @ x, pattern.row_ptr.long(), reduce="max")
            return out
        return embedding_bag(pattern.columns, x, pattern.row_ptr, mode="max", include_last_offset=True)

    def max(self, values: Tensor) -> Tensor:
        """(E, H) -> (S, H): maximum over each segment, zero where it is empty; equal maxima share the gradient."""
        index = self.pattern.rows.long().unsqueeze(1).expand_as(values)
        return values.new_zeros(len(self), values.shape[1]).scatter_reduce(0, index, values, "amax", include_self=False)

    def softmax(self, values: Tensor) -> Tensor:
        """(E, H) -> (E, H): positive, with sum one over each segment."""
        powers = (values - self.expand @ self.max(values.detach())).exp()
        return powers / (self.expand @ (self.scatter_sum @ powers))

    def mapped(self, copied: Callable[[Tensor], Tensor]) -> Segments:
        """The same segments of other tensors, such as copies on another device."""
        return Segments(self.pattern.mapped(copied))
