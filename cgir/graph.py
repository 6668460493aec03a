"""Intermediate representation: `Param`, `NodeKind`, `Node`, `Graph`, all immutable and hashable.

Shapes are per example: the batch dimension is removed and the channel axis comes first, so an image is `(C, H, W)` and
a sequence of tokens `(C, T)`. Tensors without a channel axis (attention scores, split heads) keep their own order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import networkx

Shape = tuple[int, ...]
Attr = Any  # bool, int, float, str or (nested) tuples of them: whatever JSON can carry and `hash` accepts


class Param(NamedTuple):
    """A trainable tensor; nodes that name the same `id` share it.

    Shapes follow PyTorch: convolutions OIHW, linear (out, in).
    """

    id: str
    shape: Shape


class Gap(NamedTuple):
    """Why a number of a graph is not exact.

    `quantity`: "parameters" or "FLOPs", which are a lower bound, or "batch", where FLOPs may be those of more or fewer
    examples than one; `reason`: one line for the user that names the operator and where it is.
    """

    quantity: str
    reason: str


class NodeKind(NamedTuple):
    """What a node computes, without its position in the graph: nodes of equal kind are interchangeable.

    A small search space has a few hundred.
    """

    op: str
    in_shapes: tuple[Shape, ...]
    shape: Shape
    param_shapes: tuple[Shape, ...]
    attrs: tuple[tuple[str, Attr], ...]

    def attr(self, key: str, default: Attr = None) -> Attr:
        """The attribute `key`, or `default` where the node has none."""
        return next((value for name, value in self.attrs if name == key), default)


@dataclass(frozen=True, slots=True)
class Node:
    """One primitive operator.

    Attributes:
        op: its name in the table of `cgir.ops`.
        inputs: indices of earlier nodes, in argument order.
        in_shapes: the inputs' shapes as this node sees them. They may differ from the producers' shapes: data movement
            in between (flatten, transpose) is contracted into the edge.
        shape: of the output.
        params: in the order of the operator's row in `cgir.ops`.
        attrs: pairs of name and value, sorted by name.
        name: for messages and drawings.
        module: the user's path of the module that runs it.
    """

    op: str
    inputs: tuple[int, ...] = ()
    in_shapes: tuple[Shape, ...] = ()
    shape: Shape = ()
    params: tuple[Param, ...] = ()
    attrs: tuple[tuple[str, Attr], ...] = ()
    name: str = ""
    module: str = ""

    @property
    def kind(self) -> NodeKind:
        """The node without its position: operator, shapes, parameter shapes and attributes."""
        return NodeKind(self.op, self.in_shapes, self.shape, tuple(p.shape for p in self.params), self.attrs)

    def attr(self, key: str, default: Attr = None) -> Attr:
        """The attribute `key`, or `default` where the node has none."""
        return next((value for name, value in self.attrs if name == key), default)

    def carry_trips(self, **attrs: Attr) -> tuple[tuple[str, Attr], ...]:
        """Attributes of a node that replaces this one: `attrs`, and this node's `trips` (iterations of its loop)."""
        trips = self.attr("trips")
        return attributes(attrs if trips is None else attrs | {"trips": trips})


def attributes(values: Mapping[str, Attr]) -> tuple[tuple[str, Attr], ...]:
    """A node's `attrs` from a mapping: sorted by name, so that equal attributes are equal tuples."""
    return tuple(sorted(values.items()))


@dataclass(frozen=True, repr=False)
class Graph:
    """A network as primitive operators in topological order (an input always stands before its consumer).

    Attributes:
        nodes: the operators.
        name: for messages and drawings.
        level: "raw" as recorded, "module" canonical, or "inference" canonical with BatchNorm folded into convolutions
            and linear layers.
        notes: nodes that canonicalisation removed, by pass, and parameters that no operator reads, for `report`.
        detached: operators with parameters or costs that canonicalisation removed because they are on no path from an
            input to an output: what is computed from parameters alone, and what reaches no output. They have no
            inputs, and their parameters and FLOPs are part of the graph's.
        known_gaps: what whoever recorded the graph knows to be missing from it; see `gaps`.
    """

    nodes: tuple[Node, ...]
    name: str = ""
    level: str = "raw"
    notes: tuple[tuple[str, int], ...] = field(default=(), compare=False)
    detached: tuple[Node, ...] = field(default=(), compare=False)
    known_gaps: tuple[Gap, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.nodes)

    def with_nodes(
        self, nodes: Iterable[Node], notes: Mapping[str, int] | None = None, level: str | None = None
    ) -> Graph:
        """A copy with other nodes.

        Args:
            nodes: all nodes of the copy.
            notes: counts that are added to those already there.
            level: of the copy; None: unchanged.
        """
        total = Counter(dict(self.notes))
        total.update(notes or {})
        return replace(self, nodes=tuple(nodes), notes=tuple(sorted(total.items())), level=level or self.level)

    @property
    def num_edges(self) -> int:
        """Number of edges; an operator that uses a tensor twice has two."""
        return sum(len(node.inputs) for node in self.nodes)

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each node the indices of the nodes that read it, ascending, once per use."""
        readers: list[list[int]] = [[] for _ in self.nodes]
        for index, node in enumerate(self.nodes):
            for source in node.inputs:
                readers[source].append(index)
        return tuple(map(tuple, readers))

    @cached_property
    def reached(self) -> frozenset[int]:
        """Indices of the nodes that depend on an input, inputs included."""
        reached: set[int] = set()
        for index, node in enumerate(self.nodes):
            if node.op == "Input" or not reached.isdisjoint(node.inputs):
                reached.add(index)
        return frozenset(reached)

    def op_counts(self) -> dict[str, int]:
        """How often each operator occurs, most frequent first; opaque operators under their own name."""
        names = (f"Opaque:{n.attr('name')}" if n.op == "Opaque" else n.op for n in self.nodes)
        return dict(Counter(names).most_common())

    @cached_property
    def num_params(self) -> int:
        """Number of trainable scalars, a lower bound unless `complete`; a shared tensor counts once."""
        from .cost import num_params

        return num_params(self)

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of one example, a multiply-add as 2; a lower bound unless `complete`.

        Products count: convolution, linear, matmul, attention, recurrent.
        """
        from .cost import flops

        return flops(self)

    @cached_property
    def gaps(self) -> tuple[Gap, ...]:
        """Why parameters or FLOPs are not exact: `known_gaps`, and opaque operators of unknown cost."""
        from .cost import gaps

        return gaps(self)

    @property
    def complete(self) -> bool:
        """Whether `num_params` and `flops` are exact; False if they are lower bounds or in doubt, see `gaps`."""
        return not self.gaps

    @cached_property
    def hash(self) -> str:
        """Weisfeiler-Lehman hash, 32 hex digits: equal for isomorphic graphs, whatever the order and names of nodes."""
        from .analysis.weisfeiler_lehman import graph_hash

        return graph_hash(self)

    def report(self) -> str:
        """A page of text: sizes, operators, costs, opaque operators, and what canonicalisation contracted."""
        from .report import report

        return report(self)

    def to_networkx(self) -> networkx.MultiDiGraph:
        """A `networkx.MultiDiGraph`; nodes carry op, shape, params, module and attributes, edges their input slot."""
        from .drawing.export import to_networkx

        return to_networkx(self)

    def to_dot(self, depth: int | None = None, full: bool = False) -> str:
        """Graphviz DOT source, collapsed to blocks.

        Args:
            depth: how many levels deep modules are opened; None: as many as stay readable.
            full: draw every node instead.
        """
        from .drawing.export import to_dot

        return to_dot(self, depth, full)

    def to_html(self, path: str | PathLike[str], depth: int | None = None, full: bool = False) -> None:
        """Write one self-contained HTML page: a drawing whose blocks open in place, search, details, the report.

        Args:
            path: of the page.
            depth: how many levels deep modules are open at first; None: as many as stay readable.
            full: all blocks are open at first.
        """
        from .drawing.export import to_html

        to_html(self, path, depth, full)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the graph as versioned JSON; `cgir.load` reads it back equal."""
        from .serialize import save

        save(self, path)

    def _repr_html_(self) -> str:
        """The page of `to_html` in a frame, for notebooks."""
        from .drawing.export import to_iframe

        return to_iframe(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}, {self.level}: {len(self):,} nodes, {self.num_edges:,} edges>"

    def __str__(self) -> str:
        from .drawing.export import dump

        return dump(self)
