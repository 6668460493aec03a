"""What a layer sees of a batch: which rows of one depth make the rows of the next.

A row is a class of nodes with equal pasts (`unfolding`) or, uncompressed, a node. Layers cannot tell.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from .segments import Segments
from .sparse import SparseMatrix, SparsityPattern


class MessageBlock:
    """From the rows of depth l - 1 to the C rows of depth l.

    `own` (C,): each row's own one at depth l - 1, None if they are the same rows; `heard`: the rows at depth l - 1 that
    each one hears, once for every edge; `count` (C,): how many nodes of the batch each row stands for, None if one.
    """

    def __init__(self, own: Tensor | None, neighbours: Segments, multiplicity: Tensor | None = None) -> None:
        self.neighbours, self.multiplicity = neighbours, multiplicity
        rows = torch.arange(len(neighbours) + 1, dtype=torch.int32, device=neighbours.pattern.row_ptr.device)
        self._own = None if own is None else SparseMatrix(SparsityPattern(rows, own, neighbours.pattern.num_columns))
        self._rows = rows

    def __len__(self) -> int:
        return len(self.neighbours)

    def self_rows(self, x: Tensor) -> Tensor:
        """States (rows at l - 1, F) -> each row's own (C, F)."""
        return x if self._own is None else self._own @ x

    @cached_property
    def neighbours_with_self(self) -> Segments:
        """`heard` with each row's own before it."""
        columns = self._interleaved[0]
        return Segments(
            SparsityPattern(self.neighbours.pattern.row_ptr + self._rows, columns, self.neighbours.pattern.num_columns)
        )

    @cached_property
    def self_and_mean(self) -> SparseMatrix:
        """(C, 2 x rows at l - 1): adds row 2 r of an operand to whose own row r is, and row 2 r + 1, averaged, to those
        that hear r.
        """
        columns, places = self._interleaved
        columns, weights = 2 * columns, torch.ones(len(columns), dtype=torch.float64, device=columns.device)
        columns[places] += 1
        weights[places] = self.neighbours.inverse_sizes.index_select(0, self.neighbours.pattern.rows)
        return SparseMatrix(
            SparsityPattern(
                self.neighbours_with_self.pattern.row_ptr, columns, 2 * self.neighbours.pattern.num_columns
            ),
            weights,
        )

    @cached_property
    def _interleaved(self) -> tuple[Tensor, Tensor]:
        """Columns of `closed`, and where among them those of `heard` are."""
        heard = self.neighbours.pattern
        columns = torch.empty(len(heard.columns) + len(self), dtype=torch.int32, device=heard.columns.device)
        columns[(heard.row_ptr + self._rows)[:-1].long()] = (
            self._rows[:-1] if self._own is None else self._own.pattern.columns
        )
        places = torch.arange(1, len(heard.columns) + 1, device=columns.device) + heard.rows
        columns[places] = heard.columns
        return columns, places

    def to(self, device: torch.device | str | None) -> MessageBlock:
        """The same level on another device."""
        own = None if self._own is None else self._own.pattern.columns.to(device)
        return MessageBlock(
            own, self.neighbours.to(device), None if self.multiplicity is None else self.multiplicity.to(device)
        )
