"""Graphs as one integer a node: its row in a table of distinct steps.

A step is a node kind and how many places back each of its inputs stands, in argument order. Because places are counted
backwards, a cell that is repeated gives the same steps again: the networks of a search space have a few hundred
distinct steps between them, and a list of rows says everything about a graph, edges included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cgir.errors import FileFormatError, InvalidGraphError, one_line
from cgir.graph import NodeKind, attributes
from cgir.graph_batch import GraphBatch
from cgir.ragged import ranges
from cgir.serialize import decode_value, encode_value
from cgir.typing import AnyArray, Int32Array, IntArray

Step = tuple[int, ...]  # row of the kind, then the distances to the inputs


class StepTable:
    """Distinct kinds and steps, numbered as they come."""

    def __init__(self) -> None:
        self.kinds: dict[NodeKind, int] = {}
        self.steps: dict[Step, int] = {}

    def add(self, kinds: Sequence[NodeKind], steps: Iterable[Step]) -> IntArray:
        """The rows here of steps over the given kinds."""
        rows = [self.kinds.setdefault(kind, len(self.kinds)) for kind in kinds]
        return np.asarray(
            [self.steps.setdefault((rows[kind], *back), len(self.steps)) for kind, *back in steps], np.int64
        )

    def encode(self, batch: GraphBatch) -> IntArray:
        """(N,): the row of every node of a batch.

        Raises:
            InvalidGraphError: an edge does not lead from an earlier node of the same graph, edges are not sorted, or a
                node has another number of inputs than its kind.
        """
        arity = np.bincount(batch.dst, minlength=batch.num_nodes)
        _check(batch, arity)
        first, back = np.cumsum(arity) - arity, batch.dst - batch.src
        _, code = _numbered(batch.kind)
        count = int(code.max(initial=-1)) + 1
        for slot in range(int(arity.max(initial=0))):
            more = np.flatnonzero(arity > slot)
            distances = back[first[more] + slot]
            values, code[more] = _numbered(code[more] * (int(distances.max()) + 1) + distances)
            code[more] += count
            count += len(values)
        values, code = _numbered(code)
        example = np.empty(len(values), np.int64)
        example[code] = np.arange(len(code))
        used, kind = np.unique(batch.kind[example], return_inverse=True)
        places = [
            back[start : start + size].tolist() for start, size in zip(first[example], arity[example], strict=True)
        ]
        return self.add(
            [batch.kinds[row] for row in used],
            ((row, *distances) for row, distances in zip(kind.tolist(), places, strict=True)),
        )[code]

    def expansion(self) -> Steps:
        """The table as arrays."""
        steps = list(self.steps)
        arity = np.asarray([len(step) - 1 for step in steps], np.int64)
        back = np.asarray([place for step in steps for place in step[1:]], np.int64)
        reach = np.asarray([max(step[1:], default=0) for step in steps], np.int32)
        return Steps(
            tuple(self.kinds),
            np.asarray([step[0] for step in steps], np.int64),
            arity,
            np.cumsum(arity) - arity,
            back,
            reach,
        )

    def dump(self) -> tuple[bytes, bytes]:
        """Kinds and steps as JSON: [op, in_shapes, shape, param_shapes, attrs] each, and [row of the kind, distance,
        ...] each.
        """
        kinds = [
            [k.op, k.in_shapes, k.shape, k.param_shapes, {name: encode_value(value) for name, value in k.attrs}]
            for k in self.kinds
        ]
        return _json(kinds), _json(list(self.steps))

    @classmethod
    def load(cls, kinds: bytes, steps: bytes, where: str) -> StepTable:
        """Back from `dump`; `where` begins the message of an error.

        Raises:
            FileFormatError: they are no such tables.
        """
        table = cls()
        try:
            for number, row in enumerate(json.loads(kinds)):
                if table.kinds.setdefault(_decode_kind(row, where), number) != number:
                    raise FileFormatError(f"{where}: kind {number} is there twice in the table of kinds")
            sizes = [len(kind.in_shapes) for kind in table.kinds]
            for number, (kind, *back) in enumerate(json.loads(steps)):
                if (
                    not 0 <= kind < len(sizes)
                    or len(back) != sizes[kind]
                    or any(type(place) is not int or place < 1 for place in back)
                ):
                    raise FileFormatError(
                        f"{where}: step {number} is {[kind, *back]}, expected the row of a kind and the distances back to its inputs"
                    )
                table.steps[kind, *back] = number
        except FileFormatError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise FileFormatError(
                f"{where}: the tables of kinds and steps cannot be read: {one_line(error)}"
            ) from error
        return table


@dataclass(frozen=True)
class Steps:
    """A table of S steps as arrays: `kind`, `arity`, `first` (S,), the place of its distances in `back`, and `reach`
    (S,), the largest of them.
    """

    kinds: tuple[NodeKind, ...]
    kind: IntArray
    arity: IntArray
    first: IntArray
    back: IntArray
    reach: Int32Array

    def __len__(self) -> int:
        return len(self.kind)

    def batch(self, rows: AnyArray, ptr: IntArray) -> GraphBatch:
        """The graphs whose nodes are the steps `rows` (N,), graph g having those from ptr[g] to ptr[g + 1] - 1."""
        arity = self.arity[rows]
        dst = np.repeat(np.arange(len(rows)), arity)
        return GraphBatch(self.kinds, self.kind[rows], dst - self.back[ranges(self.first[rows], arity)], dst, ptr)


def _numbered(codes: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct values, ascending, and each code's place among them; by a look-up table where that is not too large,
    which needs no sorting.
    """
    top = int(codes.max(initial=-1)) + 1
    if top > 4 * len(codes) + (1 << 16):
        values, places = np.unique(codes, return_inverse=True)
        return values, places.astype(np.int64)
    used = np.zeros(top, bool)
    used[codes] = True
    values = np.flatnonzero(used)
    place = np.empty(top, np.int64)
    place[values] = np.arange(len(values))
    return values, place[codes]


def _check(batch: GraphBatch, arity: IntArray) -> None:
    expected = np.asarray([len(kind.in_shapes) for kind in batch.kinds], np.int64)[batch.kind]
    wrong = (
        np.flatnonzero(arity[: len(expected)] != expected)
        if len(arity) == len(expected)
        else np.asarray([len(expected)])
    )
    problem = "does not have as many inputs as its kind"
    if len(wrong) and wrong[0] < len(expected):
        found, op = int(arity[wrong[0]]), batch.kinds[batch.kind[wrong[0]]].op
        problem += f", {found} and not {expected[wrong[0]]} ({op}); batches of cells, whose nodes sum what they read, stay in memory, networks can be stored"
    if not len(wrong):
        start = np.repeat(batch.ptr[:-1], np.diff(batch.ptr))[batch.dst]
        wrong, problem = (
            batch.dst[(batch.src < start) | (batch.src >= batch.dst)],
            "has an input that is not an earlier node of its graph",
        )
    if not len(wrong) and (np.diff(batch.dst) < 0).any():
        wrong, problem = (
            batch.dst[1:][np.diff(batch.dst) < 0],
            "comes after a later node among the edges, which must be sorted",
        )
    if len(wrong):
        raise InvalidGraphError(
            f"graph {max(int(np.searchsorted(batch.ptr, wrong[0], side='right')) - 1, 0)} of the batch: node {wrong[0]} of all {problem}"
        )


def _decode_kind(row: Any, where: str) -> NodeKind:
    op, in_shapes, shape, param_shapes, attrs = row
    values = attributes({name: decode_value(value, where) for name, value in attrs.items()})
    return NodeKind(op, tuple(map(tuple, in_shapes)), tuple(shape), tuple(map(tuple, param_shapes)), values)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
