"""The tape: the list of nodes that every frontend appends its calls to, with axis layouts propagated from call to call.

A frontend describes a call as an `OpCall`; `Tape.emit` appends the node and infers where batch and channels of the
results are.

    size: a tensor's shape in the framework, batch included, in the framework's order of axes
    shape: the shape that the graph stores, without the batch, channels first (see `axis_layout`)
    static: depends on no graph input
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypedDict, Unpack

from cgir import Graph, Node, Param, UnsupportedOpError
from cgir.cost import node_flops
from cgir.graph import Attr, Gap, Shape, attributes
from cgir.ops import OPS
from cgir.typing import AnyArray

from .axis_layout import (
    NO_LAYOUT,
    AxisLayout,
    broadcast_layout,
    elementwise_layout,
    infer_input_layout,
    layout_rule,
    op_layout,
    permute_layout,
    reduce_layout,
    reshape_layout,
    spatial_padding,
    stored_shape,
)

Size = tuple[int, ...]


class ProvenanceHint:
    """Base class of hints on how a value was computed, which its converter attaches to it.

    The converter of a later call reads them: it may undo the earlier call or merge with it.
    """

    __slots__ = ()


class TracedValue(Protocol):
    """What the tape reads of a tensor: the index of its node, its layout, and whether it is static."""

    node: int
    layout: AxisLayout
    static: bool


@dataclass(slots=True)
class Value:
    """The `TracedValue` of frontends that read graphs; `provenance` is a hint of its converter for later ones."""

    node: int
    size: Size
    layout: AxisLayout = NO_LAYOUT
    static: bool = False
    provenance: ProvenanceHint | None = None


@dataclass(slots=True)
class Operand:
    """A value as one call reads it, with its size before the call.

    `is_weight` for weights, whose shapes are stored as they are, in PyTorch's layout.
    """

    value: TracedValue
    size: Size
    is_weight: bool = False


class LayoutFields(TypedDict, total=False):
    """The fields of `OpCall` about axes, for functions that hand keyword arguments on to it."""

    layout_op: str | None
    axis_map: Mapping[int, int] | None
    reduced_axes: tuple[int, ...] | None
    num_spatial_dims: int | None
    channels_last: bool
    display_name: str
    index_axis: int | None


class CallFields(LayoutFields, total=False):
    """All optional fields of `OpCall`."""

    attrs: Mapping[str, Attr]
    params: tuple[Param, ...]


@dataclass(slots=True)
class OpCall:
    """One call of an operator, from which the tape makes a node.

    Attributes:
        op: name of the operator in `cgir.ops`.
        name: of the node, behind its module's path.
        operands: the tensors that it reads.
        attrs: attributes of the node. The padding of `Pad` is a pair for every axis; the node keeps those of the
            spatial axes.
        params: parameters of the node.
        layout_op: the operator that defines the axes, `op` if None, none at all if empty.
        axis_map: old axis -> new axis, for calls that move axes.
        reduced_axes: axes that are reduced.
        num_spatial_dims: number of window dimensions, where known.
        channels_last: whether windows and norms have their channels on the last axis (NHWC).
        display_name: the name shown for an operator that is not in `cgir.ops`.
        index_axis: the first axis of the result that is one of the indices, for calls that look up elements.
    """

    op: str
    name: str
    operands: list[Operand]
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    params: tuple[Param, ...] = ()
    layout_op: str | None = None
    axis_map: Mapping[int, int] | None = None
    reduced_axes: tuple[int, ...] | None = None
    num_spatial_dims: int | None = None
    channels_last: bool = False
    display_name: str = ""
    index_axis: int | None = None

    @property
    def dynamic_operands(self) -> list[Operand]:
        """Operands that depend on the graph's inputs."""
        return [operand for operand in self.operands if not operand.value.static]

    @property
    def defining_op(self) -> str:
        """The operator that defines the axes, empty if none does."""
        return self.op if self.layout_op is None else self.layout_op

    def layout_of(self, size: Size, layout: AxisLayout, batch: int) -> AxisLayout:
        """The layout of one of its tensors as the operator imposes it.

        Args:
            size: of the tensor.
            layout: of the tensor so far.
            batch: number of examples in the batch.
        """
        return op_layout(self.defining_op, size, layout, batch, self.num_spatial_dims, self.channels_last)


class Tape:
    """The nodes so far, and `path`, the stack of modules whose forward is running, innermost last.

    `batch` is the number of examples in the batch, which graphs do not store. With `strict`, operators that are not in
    `cgir.ops` are refused.
    """

    def __init__(self, batch: int = 1, strict: bool = False) -> None:
        self.nodes: list[Node] = []
        self.gaps: list[Gap] = []  # what the graph is known to lack
        self.path = [""]
        self.batch, self.strict = batch, strict
        self.sliced = False  # whether the inputs were cut to one example
        self.conflicts: list[str] = []  # calls that contradict the batch axis
        self.other_batches: list[str] = []  # those of them that have several examples on another axis
        self.undivided: list[str] = []  # products without a batch axis, whose costs are those of all examples
        self.unbatched = False  # whether a call takes its tensor to have no batch
        self._names: Counter[str] = Counter()
        # graph inputs whose channel axis their first reader decides -> their batch axis
        self._pending: dict[int, int | None] = {}
        self._params: dict[str, int] = {}

    def copy(self) -> Tape:
        """A tape with the same nodes, for calls that are tried out; both share the stack of modules."""
        other = Tape(self.batch, self.strict)
        other.nodes, other.path, other._names = self.nodes.copy(), self.path, self._names.copy()
        other.gaps, other._pending, other._params = self.gaps.copy(), self._pending.copy(), self._params.copy()
        other.sliced, other.unbatched = self.sliced, self.unbatched
        other.conflicts, other.undivided = self.conflicts.copy(), self.undivided.copy()
        return other

    @contextmanager
    def module_scope(self, path: str) -> Iterator[None]:
        """Nodes emitted inside belong to the module `path`."""
        self.path.append(path)
        try:
            yield
        finally:
            self.path.pop()

    def child_scope(self, name: str) -> AbstractContextManager[None]:
        """Nodes emitted inside belong to the module `name` inside the one whose scope is open."""
        return self.module_scope(f"{self.path[-1]}.{name}" if self.path[-1] else name)

    def add(
        self,
        op: str,
        name: str,
        inputs: tuple[int, ...] = (),
        in_shapes: tuple[Shape, ...] = (),
        shape: Shape = (),
        params: tuple[Param, ...] = (),
        attrs: Mapping[str, Attr] | None = None,
        path: str | None = None,
    ) -> int:
        """Append a node as it is.

        Args:
            op: name of the operator in `cgir.ops`.
            name: of the node, behind its module's path; numbered if it is in use.
            inputs: indices of the nodes that it reads.
            in_shapes: stored shapes of what it reads.
            shape: stored shape of its result.
            params: its parameters.
            attrs: its attributes.
            path: of the module that it belongs to; the one whose scope is open if None.

        Returns:
            The node's index.
        """
        path = self.path[-1] if path is None else path
        full = f"{path}.{name}" if path else name
        self._names[full] += 1
        if (count := self._names[full]) > 1:
            full = f"{full}#{count}"
        self.nodes.append(Node(op, inputs, in_shapes, shape, params, attributes(attrs or {}), full, path))
        return len(self.nodes) - 1

    # --- ends of the graph, and what does not depend on its inputs

    def input(self, name: str, size: Size, batch_axis: int | None, floating: bool = True) -> Value:
        """A graph input.

        Args:
            name: of the input.
            size: of the input.
            batch_axis: None if it has none.
            floating: whether it holds floating-point numbers; its first reader then decides where its channels are.
        """
        layout = AxisLayout(None, batch_axis)
        node = self.add("Input", name, shape=stored_shape(size, layout, self.batch), path="")
        if floating:
            self._pending[node] = batch_axis
        return Value(node, size, layout)

    def await_reader(self, value: TracedValue) -> None:
        """Let the first reader of a value decide where its channels are, if it is an input that nothing has read."""
        is_input = self.nodes[value.node].op == "Input" and value.layout.channel is None
        if is_input and all(value.node not in node.inputs for node in self.nodes):
            self._pending[value.node] = value.layout.batch

    def output(self, value: TracedValue, size: Size, name: str) -> None:
        """Make a value a graph output.

        Args:
            value: what the output returns.
            size: of the value.
            name: of the output.
        """
        self._infer_input_layouts(OpCall("Output", name, [Operand(value, size)]))
        shape = stored_shape(size, value.layout, self.batch)
        self.add("Output", name, (value.node,), (shape,), shape, path="")

    def param(self, name: str, shape: Size) -> Value:
        """A trainable tensor; the same name gives the same node."""
        if name not in self._params:
            self._params[name] = self.add("Param", name, shape=shape, params=(Param(name, shape),), path="")
        return Value(self._params[name], shape, static=True)

    def constant(self, name: str, size: Size, data: AnyArray | float | None = None) -> Value:
        """A tensor that is neither trained nor computed from the inputs.

        Args:
            name: of the node.
            size: of the tensor.
            data: its contents, where known; the node keeps the value of a real scalar.
        """
        attrs = {}
        if (
            data is not None
            and size == ()
            and not isinstance(data.item() if hasattr(data, "item") else data, complex | str | bytes)
        ):
            attrs["value"] = float(data)
        node = self.add("Constant", name, shape=size, attrs=attrs)
        return Value(node, size, static=True)

    # --- calls

    def apply(
        self, op: str, name: str, inputs: Sequence[Value], sizes: Sequence[Size], **fields: Unpack[CallFields]
    ) -> list[Value]:
        """`emit_values` of a call that reads no weights.

        Args:
            op: name of the operator in `cgir.ops`.
            name: of the node, behind its module's path.
            inputs: the values that it reads.
            sizes: of its results.
            fields: further fields of `OpCall`.
        """
        return self.emit_values(OpCall(op, name, [Operand(value, value.size) for value in inputs], **fields), sizes)

    def emit_values(self, call: OpCall, sizes: Sequence[Size]) -> list[Value]:
        """`emit` for frontends that read graphs: the values of a call's results, of these sizes."""
        node, layouts, static = self.emit(call, sizes)
        return [Value(node, size, layout, static) for size, layout in zip(sizes, layouts, strict=True)]

    def emit(self, call: OpCall, sizes: Sequence[Size]) -> tuple[int, list[AxisLayout], bool]:
        """Append the node of a call whose results have these sizes.

        Returns:
            The node's index, the layout of each result, and whether they are static.

        Raises:
            UnsupportedOpError: the operator is unknown, and the tape is strict.
        """
        self._infer_input_layouts(call)
        static = not call.dynamic_operands
        if static:
            layouts = [NO_LAYOUT] * len(sizes)
            in_shapes, shape = self._static_shapes(call, sizes[0])
        else:
            layouts = [self._result_layout(call, size, slot) for slot, size in enumerate(sizes)]
            in_shapes, shape = self._in_shapes(call), stored_shape(sizes[0], layouts[0], self.batch)
        attrs = dict(call.attrs)
        if call.op == "Opaque":
            cost = {"flops": attrs["flops"]} if "flops" in attrs else {}
            attrs = {"name": call.display_name or call.name, **cost}
        if call.op == "Pad" and not static:
            attrs["padding"] = spatial_padding(call.attrs["padding"], call.dynamic_operands[0].value.layout)
        inputs = tuple(operand.value.node for operand in call.operands)
        node = self.add(call.op, call.name, inputs, in_shapes, shape, call.params, attrs)
        if self.batch > 1 and OPS[call.op].cost and (call.op != "Opaque" or "flops" in attrs):
            self._check_divided(call, self.nodes[node].name, sizes[0], layouts[0])
        if call.op == "Opaque" and self.strict and not static:
            raise UnsupportedOpError(
                f"operator {attrs['name']} (node {self.nodes[node].name!r}) is not in the vocabulary of cgir.ops; "
                "trace without strict=True to keep it as an Opaque node, or add it to the table"
            )
        return node, layouts, static

    def scale_trips(self, start: int, trips: int) -> None:
        """Multiply the attribute `trips` of the nodes from index `start` on, those of a loop's body, by `trips`."""
        for index in range(start, len(self.nodes)):
            node = self.nodes[index]
            if OPS[node.op].category != "source":
                attrs = dict(node.attrs)
                attrs["trips"] = trips * attrs.get("trips", 1)
                self.nodes[index] = replace(node, attrs=attributes(attrs))

    def unknown_trips(self, start: int, name: str) -> None:
        """Note that nobody knows how often a loop runs, if it has a cost: its body is counted once.

        Args:
            start: index of the first node of its body, which ends with the last node so far.
            name: of the loop.
        """
        if any(node.op == "Opaque" or node_flops(node) for node in self.nodes[start:]):
            reason = "runs a number of times that depends on values, and its body is counted once"
            self.gaps.append(Gap("FLOPs", f"loop {name!r} {reason}"))

    def graph(self, name: str, unused_params: int = 0) -> Graph:
        """The raw graph of all nodes so far.

        Args:
            name: of the graph.
            unused_params: number of trainable scalars that no operator reads.
        """
        notes = (("unused parameters", unused_params),) if unused_params else ()
        return Graph(tuple(self.nodes), name, notes=notes, known_gaps=tuple(self.gaps))

    def _infer_input_layouts(self, call: OpCall) -> None:
        """Let the first reader of a graph input decide which of its axes holds the channels."""
        for operand in call.operands:
            value = operand.value
            if value.node not in self._pending:
                continue
            value.layout = infer_input_layout(
                call.defining_op,
                operand.size,
                self._pending.pop(value.node),
                self.batch,
                call.num_spatial_dims,
                call.axis_map,
                call.channels_last,
            )
            node = self.nodes[value.node]
            shape = stored_shape(operand.size, value.layout, self.batch)
            self.nodes[value.node] = Node(node.op, shape=shape, name=node.name)

    def _static_shapes(self, call: OpCall, size: Size) -> tuple[tuple[Shape, ...], Shape]:
        """Stored shapes of a static node's inputs and result: there is no batch, but there are channels.

        Rows of an embedding table keep their order of axes: exported files store looked-up rows so.
        """

        def shape(size: Size) -> Shape:
            layout = NO_LAYOUT if call.op == "Embedding" else call.layout_of(size, NO_LAYOUT, 1)
            return stored_shape(size, layout, 1)

        return tuple(o.size if o.is_weight else shape(o.size) for o in call.operands), shape(size)

    def _in_shapes(self, call: OpCall) -> tuple[Shape, ...]:
        first = call.dynamic_operands[0]
        reference = first.size, call.layout_of(first.size, first.value.layout, self.batch)
        shapes = []
        for operand in call.operands:
            if operand.is_weight:
                layout = NO_LAYOUT
            elif operand.value.static:
                layout = broadcast_layout(operand.size, *reference, self.batch)
                if self.sliced:
                    self._check_batch_size(call, operand.size, *reference)
            else:
                layout = call.layout_of(operand.size, operand.value.layout, self.batch)
            shapes.append(stored_shape(operand.size, layout, self.batch))
        return tuple(shapes)

    def _check_divided(self, call: OpCall, name: str, size: Size, layout: AxisLayout) -> None:
        """Note a product without a batch axis, with other than examples on it, or over constants that may have one."""
        operands = call.dynamic_operands[:1]
        if not operands and not any(_may_have_batch(o.size, self.batch) for o in call.operands if not o.is_weight):
            return
        elsewhere = layout.batch is not None and size[layout.batch] % self.batch
        over_constant = OPS[call.op].category in ("conv", "recurrent") and call.operands[0].value.static
        if (
            elsewhere
            or over_constant
            or all(call.layout_of(o.size, o.value.layout, self.batch).batch is None for o in operands)
        ):
            self.undivided.append(f"{name} has no batch axis")

    def _check_batch_size(self, call: OpCall, size: Size, reference_size: Size, layout: AxisLayout) -> None:
        """Note a constant with more than one element along the batch, which was cut to one example."""
        axis = None if layout.batch is None else layout.batch - len(reference_size) + len(size)
        if OPS[call.op].category == "arithmetic" and axis is not None and axis >= 0 and size[axis] > 1:
            self.conflicts.append(f"{call.name} reads a constant with a batch of {size[axis]}")

    def _result_layout(self, call: OpCall, size: Size, slot: int) -> AxisLayout:
        """The layout of the result number `slot`, of this size."""
        first, batch = call.dynamic_operands[0], self.batch
        layout = first.value.layout
        if call.op == "Reshape" and call.axis_map is None:
            return reshape_layout(first.size, size, layout, batch)
        if call.op == "Reshape" and call.axis_map is not None:  # one that only adds and drops axes of size 1
            return permute_layout(layout, call.axis_map)._replace(split=layout.split)
        if call.index_axis is not None:
            layout = _looked_up_layout(call, call.index_axis)
        elif call.axis_map is not None:
            layout = permute_layout(layout, call.axis_map)
        elif OPS[call.op].category == "reduction" and call.reduced_axes is not None:
            layout = reduce_layout(layout, len(first.size), call.reduced_axes, len(size) == len(first.size))
        elif call.op in ("Embedding", "OneHot") and len(size) > len(first.size):
            layout = AxisLayout(len(size) - 1, layout.batch, layout.outer)
        elif OPS[call.op].category == "recurrent" and slot:
            layout = AxisLayout(None, 1 if len(size) == 3 else layout.batch)
        elif OPS[call.op].category == "recurrent" and call.operands[0].value.static and layout.batch is not None:
            layout = AxisLayout(None, int(size[0] != batch))  # a constant sequence: the states have another batch axis
        elif layout_rule(call.defining_op) != "channels_second":
            layout = elementwise_layout([(o.size, o.value.layout) for o in call.dynamic_operands], size, batch)
        if call.op == "FFT" and len(size) != len(first.size):  # frames of a signal: the batch stays in front
            layout = layout._replace(batch=first.value.layout.batch, outer=first.value.layout.outer)
        layout = call.layout_of(size, layout, batch)
        if slot and layout.channel is not None and layout.channel >= len(size):  # statistics of a norm
            layout = NO_LAYOUT
        unsure = call.op in ("Opaque", "Gather", "Scatter", "MatMul")
        if unsure and layout.batch is None and size and size[0] == batch and layout.channel != 0:
            return AxisLayout(layout.channel, 0)
        return layout


def _looked_up_layout(call: OpCall, index_axis: int) -> AxisLayout:
    """The layout of elements looked up in the first operand: it keeps its batch, or else the indices have theirs."""
    source, *indices = call.operands
    layout = NO_LAYOUT if source.value.static else permute_layout(source.value.layout, call.axis_map or {})
    rank = max((len(index.size) for index in indices), default=0)
    for index in indices:
        of_index = index.value.layout
        if layout.batch is None and not index.value.static and of_index.batch is not None:
            axis = index_axis + rank - len(index.size) + of_index.batch
            layout = layout._replace(batch=axis, outer=of_index.outer)
    return layout


def _may_have_batch(size: Size, batch: int) -> bool:
    """Whether a constant of this size may hold one value for every example, perhaps with more merged into that axis."""
    return len(size) > 1 and (batch in size or any(n % batch == 0 for n in size[:-1]))
