"""Dictionary encoding of graphs: one integer a node, its row in a dictionary of distinct node codes.

A node code is a node kind and the distances back to the inputs, in argument order (an input that is the node just
before has distance 1). As distances are relative, a repeated cell has the same codes again: the networks of a search
space together have a few hundred distinct codes, and the rows of its nodes determine a graph completely, edges
included. In files the dictionary is called `cgir.steps`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np

from cgir.errors import FileFormatError, InvalidGraphError, one_line
from cgir.graph import NodeKind, attributes
from cgir.graph_batch import GraphBatch
from cgir.ragged import ranges
from cgir.serialize import decode_value, encode_value
from cgir.strict_json import parse
from cgir.typing import AnyArray, Int32Array, IntArray
from cgir.verifier import kind_problem

NodeCode = tuple[int, ...]  # row of the kind, then the distances back to the inputs


class NodeDictionary:
    """Distinct kinds and node codes, numbered in order of first appearance."""

    def __init__(self) -> None:
        self.kinds: dict[NodeKind, int] = {}
        self.codes: dict[NodeCode, int] = {}

    def add(self, kinds: Sequence[NodeKind], codes: Iterable[NodeCode]) -> IntArray:
        """The rows here of C codes over the given kinds, (C,); new ones are added."""
        kind_rows = [self.kinds.setdefault(kind, len(self.kinds)) for kind in kinds]
        rows = [self.codes.setdefault((kind_rows[kind], *distances), len(self.codes)) for kind, *distances in codes]
        return np.asarray(rows, np.int64)

    def encode(self, batch: GraphBatch) -> IntArray:
        """The row of every node of a batch, (N,).

        Codes are compared column by column (the kind, then the distance of each slot), so that no Python object is made
        for a node, but only for a distinct code.

        Raises:
            InvalidGraphError: an edge does not lead from an earlier node of the same graph, edges are not sorted, or a
                node has another number of inputs than its kind.
        """
        arity = np.bincount(batch.dst, minlength=batch.num_nodes)
        _check(batch, arity)
        first, distance = np.cumsum(arity) - arity, batch.dst - batch.src
        _, code = _renumber(batch.kind)
        count = int(code.max(initial=-1)) + 1
        for slot in range(int(arity.max(initial=0))):
            more = np.flatnonzero(arity > slot)
            column = distance[first[more] + slot]
            values, code[more] = _renumber(code[more] * (int(column.max()) + 1) + column)
            code[more] += count
            count += len(values)
        values, code = _renumber(code)
        example = np.empty(len(values), np.int64)  # a node of each code
        example[code] = np.arange(len(code))
        used, kind = np.unique(batch.kind[example], return_inverse=True)
        codes = [
            (row, *distance[start : start + size].tolist())
            for row, start, size in zip(kind.tolist(), first[example], arity[example], strict=True)
        ]
        return self.add([batch.kinds[row] for row in used], codes)[code]

    def to_arrays(self) -> NodeCodeArrays:
        """The dictionary as arrays, for decoding."""
        codes = list(self.codes)
        arity = np.asarray([len(code) - 1 for code in codes], np.int64)
        return NodeCodeArrays(
            tuple(self.kinds),
            np.asarray([code[0] for code in codes], np.int64),
            arity,
            np.cumsum(arity) - arity,
            np.asarray([distance for code in codes for distance in code[1:]], np.int64),
            np.asarray([max(code[1:], default=0) for code in codes], np.int32),
        )

    def to_json(self) -> tuple[bytes, bytes]:
        """Kinds, [op, in_shapes, shape, param_shapes, attrs] each; and codes, [row of the kind, distance, ...] each."""
        kinds = [
            [k.op, k.in_shapes, k.shape, k.param_shapes, {name: encode_value(value) for name, value in k.attrs}]
            for k in self.kinds
        ]
        return _json(kinds), _json(list(self.codes))

    @classmethod
    def from_json(cls, kinds: bytes, codes: bytes, file: str) -> Self:
        """Read what `to_json` wrote.

        Args:
            kinds: JSON.
            codes: JSON.
            file: its name, for messages.

        Raises:
            FileFormatError: they are not valid tables.
        """
        table, what = cls(), "the tables of kinds and steps cannot be read"
        try:
            for number, row in enumerate(parse(file, kinds, list, what)):
                if table.kinds.setdefault(_decode_kind(row, file), number) != number:
                    raise FileFormatError(f"{file}: kind {number} is there twice in the table of kinds")
            sizes = [len(kind.in_shapes) for kind in table.kinds]
            for number, (kind, *distances) in enumerate(parse(file, codes, list, what)):
                valid = type(kind) is int and 0 <= kind < len(sizes) and len(distances) == sizes[kind]
                if not valid or any(type(steps) is not int or not 0 < steps < 1 << 31 for steps in distances):
                    raise FileFormatError(
                        f"{file}: step {number} is {[kind, *distances]!r:.100}, "
                        "expected the row of a kind and the distances back to its inputs"
                    )
                table.codes[kind, *distances] = number
        except FileFormatError:
            raise
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise FileFormatError(f"{file}: {what}: {one_line(error, 200)}") from error
        return table


@dataclass(frozen=True)
class NodeCodeArrays:
    """A dictionary of C node codes as arrays.

    `kinds`: distinct node kinds; `kind` (C,): row of each code's kind; `arity` (C,): how many inputs it has; `first`
    (C,): where its distances begin in `distance`, which has those of all codes; `reach` (C,): the largest of them.
    """

    kinds: tuple[NodeKind, ...]
    kind: IntArray
    arity: IntArray
    first: IntArray
    distance: IntArray
    reach: Int32Array

    def __len__(self) -> int:
        return len(self.kind)

    def batch(self, rows: AnyArray, ptr: IntArray) -> GraphBatch:
        """Decode graphs: their nodes have the codes `rows` (N,), graph g those from ptr[g] to ptr[g + 1] - 1."""
        arity = self.arity[rows]
        dst = np.repeat(np.arange(len(rows)), arity)
        src = dst - self.distance[ranges(self.first[rows], arity)]
        return GraphBatch(self.kinds, self.kind[rows], src, dst, ptr)


def _renumber(codes: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct values, ascending, and the rank of each code among them, as `np.unique` gives them.

    Where values are not too large a look-up table does it without sorting.
    """
    top = int(codes.max(initial=-1)) + 1
    if top > 4 * len(codes) + (1 << 16):
        values, ranks = np.unique(codes, return_inverse=True)
        return values, ranks.astype(np.int64)
    used = np.zeros(top, bool)
    used[codes] = True
    values = np.flatnonzero(used)
    rank = np.empty(top, np.int64)
    rank[values] = np.arange(len(values))
    return values, rank[codes]


def _check(batch: GraphBatch, arity: IntArray) -> None:
    """Raise InvalidGraphError unless the distances of all inputs can be stored; `arity` (N,) counts edges."""
    expected = np.asarray([len(kind.in_shapes) for kind in batch.kinds], np.int64)[batch.kind]
    if len(arity) != len(expected):  # an edge leads to a node that is not there
        raise _invalid(batch, len(expected), "does not have as many inputs as its kind")
    if len(wrong := np.flatnonzero(arity != expected)):
        node = int(wrong[0])
        counts = f"{int(arity[node])} and not {expected[node]} ({batch.kinds[batch.kind[node]].op})"
        raise _invalid(
            batch, node,
            f"does not have as many inputs as its kind, {counts}; "
            "batches of cells, whose nodes sum what they read, stay in memory, networks can be stored",
        )  # fmt: skip
    start = np.repeat(batch.ptr[:-1], np.diff(batch.ptr))[batch.dst]
    if len(wrong := batch.dst[(batch.src < start) | (batch.src >= batch.dst)]):
        raise _invalid(batch, int(wrong[0]), "has an input that is not an earlier node of its graph")
    if len(wrong := batch.dst[1:][np.diff(batch.dst) < 0]):
        raise _invalid(batch, int(wrong[0]), "comes after a later node among the edges, which must be sorted")


def _invalid(batch: GraphBatch, node: int, problem: str) -> InvalidGraphError:
    graph = max(int(np.searchsorted(batch.ptr, node, side="right")) - 1, 0)
    return InvalidGraphError(f"graph {graph} of the batch: node {node} of all {problem}")


def _decode_kind(row: Any, file: str) -> NodeKind:
    op, in_shapes, shape, param_shapes, attrs = row
    values = attributes({name: decode_value(value, file) for name, value in attrs.items()})
    kind = NodeKind(op, tuple(map(tuple, in_shapes)), tuple(shape), tuple(map(tuple, param_shapes)), values)
    if problem := _problem(kind, repr(kind)):
        raise FileFormatError(f"{file}: a node of kind {op!r:.60}: {problem}")
    return kind


@lru_cache(maxsize=10_000)
def _problem(kind: NodeKind, text: str) -> str | None:
    """`kind_problem`, as the files of a data set have the same kinds; `text` tells 1 from True, which are equal."""
    return kind_problem(kind)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
