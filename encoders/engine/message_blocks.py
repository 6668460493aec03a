"""Message blocks: the bipartite graph of one layer, from the rows of depth l - 1 to the rows of depth l.

DGL and PyTorch Geometric call the same thing a block. A row is a class of nodes with equal computation trees
(`node_classes`) or, in plain batches, a single node; layers treat both in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from .segments import Segments
from .sparse import SparseMatrix, SparsityPattern


class MessageBlock:
    """One layer's inputs: for each of the C rows of depth l, its own row and its neighbours' rows of depth l - 1.

    Args:
        self_index: (C,) the row of depth l - 1 with the previous state of each row; None if they are the same rows.
        neighbours: for each row the rows of depth l - 1 that send it a message, once for every edge.
        multiplicity: (C,) number of nodes of the batch that each row represents; None: one each.
    """

    def __init__(self, self_index: Tensor | None, neighbours: Segments, multiplicity: Tensor | None = None) -> None:
        self.neighbours, self.multiplicity = neighbours, multiplicity
        self._row_ptr = torch.arange(len(neighbours) + 1, dtype=torch.int32, device=neighbours.pattern.row_ptr.device)
        self._self: SparseMatrix | None = None
        if self_index is not None:
            self._self = SparseMatrix(SparsityPattern(self._row_ptr, self_index, neighbours.pattern.num_columns))

    def __len__(self) -> int:
        return len(self.neighbours)

    @property
    def keeps_rows(self) -> bool:
        """Whether rows of depth l are those of depth l - 1, as in plain batches."""
        return self._self is None

    def self_rows(self, x: Tensor) -> Tensor:
        """States of depth l - 1 (rows, F) -> the state that each row had there (C, F)."""
        return x if self._self is None else self._self @ x

    @cached_property
    def neighbours_with_self(self) -> Segments:
        """`neighbours`, preceded by the row itself (a self-loop)."""
        columns, pattern = self._interleaved[0], self.neighbours.pattern
        return Segments(SparsityPattern(pattern.row_ptr + self._row_ptr, columns, pattern.num_columns))

    @cached_property
    def self_plus_mean(self) -> SparseMatrix:
        """(C, 2 x rows of depth l - 1): the row's own part of an operand plus the mean of its neighbours' other part.

        Rows 2 r and 2 r + 1 of the operand belong to row r of depth l - 1: the part that enters its own next state, and
        the part that it sends to neighbours.
        """
        columns, neighbour_entries = self._interleaved
        columns, weights = 2 * columns, torch.ones(len(columns), dtype=torch.float64, device=columns.device)
        columns[neighbour_entries] += 1
        weights[neighbour_entries] = self.neighbours.inverse_sizes.index_select(0, self.neighbours.pattern.rows)
        pattern = self.neighbours_with_self.pattern
        return SparseMatrix(SparsityPattern(pattern.row_ptr, columns, 2 * pattern.num_columns), weights)

    @cached_property
    def _interleaved(self) -> tuple[Tensor, Tensor]:
        """Columns of `neighbours_with_self`, and the indices among them of those of `neighbours`."""
        pattern = self.neighbours.pattern
        columns = torch.empty(len(pattern.columns) + len(self), dtype=torch.int32, device=pattern.columns.device)
        self_columns = self._row_ptr[:-1] if self._self is None else self._self.pattern.columns
        columns[(pattern.row_ptr + self._row_ptr)[:-1].long()] = self_columns
        neighbour_entries = torch.arange(1, len(pattern.columns) + 1, device=columns.device) + pattern.rows
        columns[neighbour_entries] = pattern.columns
        return columns, neighbour_entries

    def mapped(self, copied: Callable[[Tensor], Tensor]) -> MessageBlock:
        """The same block of other tensors, such as copies on another device."""
        self_index = None if self._self is None else copied(self._self.pattern.columns)
        multiplicity = None if self.multiplicity is None else copied(self.multiplicity)
        return MessageBlock(self_index, self.neighbours.mapped(copied), multiplicity)
