"""Many graphs written straight to arrays: a `GraphBuilder` that remembers every distinct piece as rows and copies it
from then on.

Networks of a search space are made of few distinct pieces. A piece is written once, as rows of the table of node kinds
and as distances between its nodes; a network is then a list of pieces and of the nodes they continue from, and numpy
puts all networks together. No Python object is made per node. The arrays equal those of `GraphBatch.from_graphs` on the
graphs written one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from .builder import GraphBuilder
from .graph import Attr, Graph, NodeKind, Shape, attributes
from .graph_batch import GraphBatch
from .ragged import offsets, ranges
from .typing import IntArray

FLUSH = 1 << 18  # pieces put together at a time, which bounds what is held in Python lists


class Piece(NamedTuple):
    """Part of a network that continues from `arity` nodes. `kinds`: a row per node; `sources`: inputs of all nodes in
    order.

    A source s is node s of the piece, or where negative its input -1 - s.

    `result` is what the piece's function returned, in the same terms; `shapes` belong to the nodes and inputs it names.
    """

    number: int
    arity: int
    kinds: tuple[int, ...]
    sources: tuple[int, ...]
    result: Any
    shapes: tuple[Shape, ...]


class _Frame:
    """What is being written: a network, or a piece. Indices of nodes count within it; the inputs of a piece are -1, -2,
    ...
    """

    def __init__(self, inputs: tuple[Shape, ...]) -> None:
        self.size = 0
        self.pieces: list[Piece] = []
        self.links: list[tuple[int, ...]] = []
        self.shapes: dict[int, Shape] = {-1 - slot: shape for slot, shape in enumerate(inputs)}

    def append(self, piece: Piece, inputs: tuple[int, ...]) -> Any:
        """Place a piece; what it returned, as indices of this frame."""
        base = self.size
        self.pieces.append(piece)
        self.links.append(inputs)
        self.size = base + len(piece.kinds)
        result = piece.result
        if type(result) is int:
            index = base + result if result >= 0 else inputs[-1 - result]
            self.shapes[index] = piece.shapes[0]
            return index
        indices = tuple([base + place if place >= 0 else inputs[-1 - place] for place in result])
        self.shapes.update(zip(indices, piece.shapes, strict=True))
        return indices

    def flat(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """`kinds` and `sources` of everything in the frame."""
        kinds: list[int] = []
        sources: list[int] = []
        for piece, inputs in zip(self.pieces, self.links, strict=True):
            base = len(kinds)
            sources.extend([base + source if source >= 0 else inputs[-1 - source] for source in piece.sources])
            kinds.extend(piece.kinds)
        return tuple(kinds), tuple(sources)


class BatchBuilder(GraphBuilder):
    """Write one network after the other, each ended by `end()`; `batch()` has them all."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[NodeKind, int] = {}
        self._known: dict[Hashable, Piece] = {}
        self._all: list[Piece] = []
        self._frame = _Frame(())
        self._pieces: list[int] = []
        self._links: list[int] = []
        self._sizes: list[int] = []  # pieces of each network
        self._done: list[tuple[IntArray, ...]] = []

    def add_node(
        self,
        op: str,
        inputs: tuple[int, ...],
        shape: Shape,
        params: tuple[Shape, ...] = (),
        in_shapes: tuple[Shape, ...] | None = None,
        **attrs: Attr,
    ) -> int:
        """Any operator, as in `GraphBuilder`: a piece of one node."""
        seen = in_shapes if in_shapes is not None else tuple([self._frame.shapes[i] for i in inputs])
        kind = NodeKind(op, seen, shape, params, attributes(attrs))
        piece = self._known.get(kind)
        if piece is None:
            row = self._rows.setdefault(kind, len(self._rows))
            piece = self._remember(kind, len(inputs), (row,), tuple(range(-1, -1 - len(inputs), -1)), 0, (shape,))
        index: int = self._frame.append(piece, inputs)
        return index

    def piece(self, make: Callable[..., Any], x: int | tuple[int, ...], *args: Hashable) -> Any:
        """`make(self, x, *args)`, written once for every distinct function, shapes of x, and args."""
        frame = self._frame
        inputs = (x,) if type(x) is int else x
        shapes = tuple([frame.shapes[i] for i in inputs])  # type: ignore[union-attr]
        key = (make, type(x) is int, shapes, args)
        known = self._known.get(key)
        if known is None:
            self._frame = _Frame(shapes)
            names = tuple(range(-1, -1 - len(shapes), -1))
            try:
                result = make(self, names[0] if type(x) is int else names, *args)
                made = self._frame
            finally:
                self._frame = frame
            ends = (result,) if type(result) is int else result
            known = self._remember(key, len(shapes), *made.flat(), result, tuple([made.shapes[i] for i in ends]))
        return frame.append(known, inputs)  # type: ignore[arg-type]

    def share(self, source: int, index: int, count: int = 1) -> None:
        """Nothing: arrays hold the shapes of parameters, not whose they are."""

    def shape(self, index: int) -> Shape:
        """Output shape of a node, channels first, without the batch."""
        return self._frame.shapes[index]

    def end(self) -> None:
        """The network is complete; the next call begins another."""
        frame = self._frame
        self._sizes.append(len(frame.pieces))
        self._pieces += [piece.number for piece in frame.pieces]
        for inputs in frame.links:
            self._links += inputs
        self._frame = _Frame(())
        if len(self._pieces) > FLUSH:
            self._flush()

    def batch(self) -> GraphBatch:
        """All networks that were ended."""
        self._flush()
        kind, back, sizes = (np.concatenate(parts, dtype=np.int64) for parts in zip(*self._done, strict=True))
        dst = np.repeat(np.arange(len(kind)), _arity(self._rows)[kind])
        np.subtract(dst, back, out=back)
        return GraphBatch(tuple(self._rows), kind, back, dst, offsets(sizes))

    def build(self) -> Graph:
        """Not for this builder, which holds many graphs.

        Raises:
            TypeError: always; `batch()` has the graphs.
        """
        raise TypeError("a BatchBuilder holds many graphs: end() each and take batch()")

    def _remember(
        self,
        key: Hashable,
        arity: int,
        kinds: tuple[int, ...],
        sources: tuple[int, ...],
        result: Any,
        shapes: tuple[Shape, ...],
    ) -> Piece:
        piece = self._known[key] = Piece(len(self._all), arity, kinds, sources, result, shapes)
        self._all.append(piece)
        return piece

    def _flush(self) -> None:
        """Put the networks since the last flush together: the kind of each node, the distance back along each edge,
        nodes per network.
        """
        used, place = np.unique(np.asarray(self._pieces, np.int64), return_inverse=True)
        table = [self._all[number] for number in used.tolist()]
        kinds, first = _ragged([piece.kinds for piece in table])
        sources, first_source = _ragged([piece.sources for piece in table])
        sizes, num_sources = np.diff(first)[place], np.diff(first_source)[place]
        starts = offsets(sizes)
        counts = np.asarray(self._sizes, np.int64)
        begins = starts[offsets(counts)]
        network = np.repeat(begins[:-1], counts)
        link = offsets(np.asarray([piece.arity for piece in table], np.int64)[place])

        source = sources[ranges(first_source[place], num_sources)]
        owner = np.repeat(np.arange(len(place)), num_sources)
        inside, outside = source >= 0, source < 0
        source[inside] += starts[owner[inside]]
        slot = link[owner[outside]] - 1 - source[outside]
        source[outside] = network[owner[outside]] + np.asarray(self._links, np.int64)[slot]

        kind = kinds[ranges(first[place], sizes)]
        back = np.repeat(np.arange(len(kind)), _arity(self._rows)[kind]) - source
        self._done.append((kind.astype(np.int32), back.astype(np.int32), np.diff(begins)))
        self._pieces, self._links, self._sizes = [], [], []


def _arity(kinds: Iterable[NodeKind]) -> IntArray:
    return np.asarray([len(kind.in_shapes) for kind in kinds], np.int64)


def _ragged(rows: Sequence[tuple[int, ...]]) -> tuple[IntArray, IntArray]:
    """All rows one after the other, and where each begins (and the last ends)."""
    starts = offsets([len(row) for row in rows])
    return np.fromiter(chain.from_iterable(rows), np.int64, int(starts[-1])), starts
