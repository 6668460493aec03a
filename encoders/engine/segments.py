"""Rows of which each gathers several others: nodes their neighbours, graphs their nodes. All sums, maxima and softmaxes
over such segments.

Everything that layers and pools do across rows is here and in `sparse`. torch-scatter is used where it is installed and
faster: a maximum with its gradient (37,000 rows of 128 to 256 graphs, one thread: 35 ms, PyTorch's embedding bags 39,
gather + `scatter_reduce` 123). Everything else is faster without it.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from .sparse import SparseMatrix, SparsityPattern

try:
    from torch_scatter import segment_csr
except ImportError:
    segment_csr = None


class Segments:
    """R segments with E entries in all, each entry one of `width` rows of an operand. Matrices are made when first
    used.
    """

    def __init__(self, pattern: SparsityPattern) -> None:
        self.pattern = pattern

    def __len__(self) -> int:
        return self.pattern.num_rows

    @cached_property
    def sizes(self) -> Tensor:
        """(R,): entries of each segment."""
        return self.pattern.row_ptr.diff()

    @cached_property
    def sum(self) -> SparseMatrix:
        """(R, width): sums rows over each segment."""
        return SparseMatrix(self.pattern)

    @cached_property
    def mean(self) -> SparseMatrix:
        """(R, width): averages rows over each segment; zero where it is empty."""
        return SparseMatrix(self.pattern, self.inverse_sizes.index_select(0, self.pattern.rows))

    @cached_property
    def inverse_sizes(self) -> Tensor:
        """(R,): one over the size of each segment, in double precision."""
        return 1 / self.sizes.clamp(min=1).double()

    @cached_property
    def gather(self) -> SparseMatrix:
        """(E, width): the row of each entry."""
        return SparseMatrix(SparsityPattern(self._entries, self.pattern.columns, self.pattern.num_columns))

    @cached_property
    def expand(self) -> SparseMatrix:
        """(E, R): the segment's value for each of its entries."""
        return SparseMatrix(SparsityPattern(self._entries, self.pattern.rows, len(self)))

    @cached_property
    def scatter_sum(self) -> SparseMatrix:
        """(R, E): sums entries over each segment."""
        return SparseMatrix(SparsityPattern(self.pattern.row_ptr, self._entries[:-1], len(self.pattern.columns)))

    @cached_property
    def _entries(self) -> Tensor:
        return torch.arange(len(self.pattern.columns) + 1, dtype=torch.int32, device=self.pattern.columns.device)

    def max_pool(self, x: Tensor) -> Tensor:
        """(width, F) -> (R, F): maximum of the rows that each segment names, zero where it is empty; of equal ones the
        gradient goes to one.
        """
        pattern = self.pattern
        if not x.requires_grad:
            return self.max(self.gather @ x)
        if segment_csr is not None:
            return segment_csr(self.gather @ x, pattern.row_ptr.long(), reduce="max")
        return embedding_bag(pattern.columns, x, pattern.row_ptr, mode="max", include_last_offset=True)

    def max(self, values: Tensor) -> Tensor:
        """(E, H) -> (R, H): maximum over each segment, zero where it is empty; equal ones share the gradient."""
        index = self.pattern.rows.long().unsqueeze(1).expand_as(values)
        return values.new_zeros(len(self), values.shape[1]).scatter_reduce(0, index, values, "amax", include_self=False)

    def softmax(self, values: Tensor) -> Tensor:
        """(E, H) -> (E, H): positive, with sum one over each segment."""
        powers = (values - self.expand @ self.max(values.detach())).exp()
        return powers / (self.expand @ (self.scatter_sum @ powers))

    def to(self, device: torch.device | str | None) -> Segments:
        """The same on another device."""
        return Segments(self.pattern.to(device))
