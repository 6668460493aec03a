"""Builder of many graphs at once, as arrays: every distinct subgraph is built once and then copied.

Networks of a search space are made of few distinct subgraphs. A subgraph is written once, as rows of the table of node
kinds and as distances between its nodes; a network is then a list of subgraphs and of the nodes they read, and numpy
puts all networks together. No Python object is made per node. The arrays equal those of `GraphBatch.from_graphs` on the
graphs written one by one.

Notation:
    Indices of nodes count within a scope (a network or a subgraph) from 0; -1, -2, ... are the scope's inputs.
    A source s is node s of the subgraph, or where negative the subgraph's input -1 - s.
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

FLUSH = 1 << 18  # subgraphs converted to arrays at a time, which bounds the memory of Python lists


class Subgraph(NamedTuple):
    """A subgraph of networks, built once.

    Attributes:
        number: its index among the builder's subgraphs.
        arity: number of its inputs.
        kinds: row of the table of kinds for each of its nodes.
        sources: what its nodes read, all in order.
        result: what its function returned, one source or a tuple of them.
        shapes: output shapes of the nodes and inputs in `result`.
    """

    number: int
    arity: int
    kinds: tuple[int, ...]
    sources: tuple[int, ...]
    result: Any
    shapes: tuple[Shape, ...]


class _Scope:
    """A network under construction, or a subgraph with inputs of the given shapes."""

    def __init__(self, inputs: tuple[Shape, ...]) -> None:
        self.size = 0
        self.subgraphs: list[Subgraph] = []
        self.links: list[tuple[int, ...]] = []  # inputs of each subgraph
        self.shapes: dict[int, Shape] = {-1 - slot: shape for slot, shape in enumerate(inputs)}

    def append(self, subgraph: Subgraph, inputs: tuple[int, ...]) -> Any:
        """Add a subgraph that reads `inputs`; its result, as indices of this scope."""
        base = self.size
        self.subgraphs.append(subgraph)
        self.links.append(inputs)
        self.size = base + len(subgraph.kinds)
        result = subgraph.result
        if type(result) is int:
            index = base + result if result >= 0 else inputs[-1 - result]
            self.shapes[index] = subgraph.shapes[0]
            return index
        indices = tuple([base + source if source >= 0 else inputs[-1 - source] for source in result])
        self.shapes.update(zip(indices, subgraph.shapes, strict=True))
        return indices

    def flat(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """`kinds` and `sources` of everything in the scope."""
        kinds: list[int] = []
        sources: list[int] = []
        for subgraph, inputs in zip(self.subgraphs, self.links, strict=True):
            base = len(kinds)
            sources.extend([base + source if source >= 0 else inputs[-1 - source] for source in subgraph.sources])
            kinds.extend(subgraph.kinds)
        return tuple(kinds), tuple(sources)


class BatchBuilder(GraphBuilder):
    """Builder of many networks, one after the other, each ended by `end()`; `batch()` returns all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[NodeKind, int] = {}
        self._by_key: dict[Hashable, Subgraph] = {}
        self._all: list[Subgraph] = []
        self._scope = _Scope(())
        self._numbers: list[int] = []  # of the subgraphs of all networks since the last flush
        self._links: list[int] = []
        self._sizes: list[int] = []  # number of subgraphs of each network
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
        """Any operator, as in `GraphBuilder`: a subgraph of one node.

        Args:
            op: as in `GraphBuilder`.
            inputs: as in `GraphBuilder`.
            shape: as in `GraphBuilder`.
            params: as in `GraphBuilder`.
            in_shapes: as in `GraphBuilder`.
            attrs: as in `GraphBuilder`.
        """
        input_shapes = in_shapes if in_shapes is not None else tuple([self._scope.shapes[i] for i in inputs])
        kind = NodeKind(op, input_shapes, shape, params, attributes(attrs))
        subgraph = self._by_key.get(kind)
        if subgraph is None:
            row = self._rows.setdefault(kind, len(self._rows))
            subgraph = self._remember(kind, len(inputs), (row,), tuple(range(-1, -1 - len(inputs), -1)), 0, (shape,))
        index: int = self._scope.append(subgraph, inputs)
        return index

    def subgraph(self, make: Callable[..., Any], x: int | tuple[int, ...], *args: Hashable) -> Any:
        """`make(self, x, *args)`, built once for every distinct function, shapes of x, and args.

        Args:
            make: as in `GraphBuilder`.
            x: as in `GraphBuilder`.
            args: as in `GraphBuilder`.
        """
        scope = self._scope
        inputs: tuple[int, ...] = (x,) if isinstance(x, int) else x
        shapes = tuple([scope.shapes[i] for i in inputs])
        key = (make, isinstance(x, int), shapes, args)
        subgraph = self._by_key.get(key)
        if subgraph is None:
            self._scope = _Scope(shapes)
            names = tuple(range(-1, -1 - len(shapes), -1))
            try:
                result = make(self, names[0] if isinstance(x, int) else names, *args)
                written = self._scope
            finally:
                self._scope = scope
            ends = (result,) if type(result) is int else result
            subgraph = self._remember(
                key, len(shapes), *written.flat(), result, tuple([written.shapes[i] for i in ends])
            )
        return scope.append(subgraph, inputs)

    def tie_weights(self, source: int, index: int, count: int = 1) -> None:
        """No-op: `GraphBatch` stores parameter shapes, not identities.

        Args:
            source: ignored.
            index: ignored.
            count: ignored.
        """

    def shape(self, index: int) -> Shape:
        """Output shape of a node, channels first, without the batch."""
        return self._scope.shapes[index]

    def end(self) -> None:
        """The network is complete; the next call begins another."""
        scope = self._scope
        self._sizes.append(len(scope.subgraphs))
        self._numbers += [subgraph.number for subgraph in scope.subgraphs]
        for inputs in scope.links:
            self._links += inputs
        self._scope = _Scope(())
        if len(self._numbers) > FLUSH:
            self._flush()

    def batch(self) -> GraphBatch:
        """All networks that were ended."""
        self._flush()
        kind, distance, sizes = (np.concatenate(parts, dtype=np.int64) for parts in zip(*self._done, strict=True))
        dst = np.repeat(np.arange(len(kind)), _arity(self._rows)[kind])
        np.subtract(dst, distance, out=distance)
        return GraphBatch(tuple(self._rows), kind, distance, dst, offsets(sizes))

    def build(self) -> Graph:
        """Not available: this builder holds many graphs.

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
    ) -> Subgraph:
        subgraph = self._by_key[key] = Subgraph(len(self._all), arity, kinds, sources, result, shapes)
        self._all.append(subgraph)
        return subgraph

    def _flush(self) -> None:
        """Arrays of the networks since the last flush: kind of each node, distance along each edge, network sizes."""
        used, row = np.unique(np.asarray(self._numbers, np.int64), return_inverse=True)
        table = [self._all[number] for number in used.tolist()]
        kinds, first = _ragged([subgraph.kinds for subgraph in table])
        sources, first_source = _ragged([subgraph.sources for subgraph in table])
        sizes, num_sources = np.diff(first)[row], np.diff(first_source)[row]
        starts = offsets(sizes)
        counts = np.asarray(self._sizes, np.int64)
        begins = starts[offsets(counts)]
        network = np.repeat(begins[:-1], counts)
        link = offsets(np.asarray([subgraph.arity for subgraph in table], np.int64)[row])

        source = sources[ranges(first_source[row], num_sources)]
        owner = np.repeat(np.arange(len(row)), num_sources)
        inside, outside = source >= 0, source < 0
        source[inside] += starts[owner[inside]]
        slot = link[owner[outside]] - 1 - source[outside]
        source[outside] = network[owner[outside]] + np.asarray(self._links, np.int64)[slot]

        kind = kinds[ranges(first[row], sizes)]
        distance = np.repeat(np.arange(len(kind)), _arity(self._rows)[kind]) - source
        self._done.append((kind.astype(np.int32), distance.astype(np.int32), np.diff(begins)))
        self._numbers, self._links, self._sizes = [], [], []


def _arity(kinds: Iterable[NodeKind]) -> IntArray:
    return np.asarray([len(kind.in_shapes) for kind in kinds], np.int64)


def _ragged(rows: Sequence[tuple[int, ...]]) -> tuple[IntArray, IntArray]:
    """All rows one after the other, and where each begins (and the last ends)."""
    starts = offsets([len(row) for row in rows])
    return np.fromiter(chain.from_iterable(rows), np.int64, int(starts[-1])), starts
