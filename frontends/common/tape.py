"""The tape that every frontend writes: one node per call, with the axes of its tensors followed along.

A frontend describes a call as a `Step`; `Tape.emit` appends the node and says where batch and channels of the results
are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from cgir import Node, Param, UnsupportedOpError
from cgir.graph import Attr, Shape, attributes

from . import axis_layout as layout
from .axis_layout import NOTHING, Tag

Size = tuple[int, ...]


class Held(Protocol):
    """What the tape needs to know of a value: the node that computed it, its axes, and whether it depends on no graph
    input.
    """

    node: int
    tag: Tag
    static: bool


@dataclass(slots=True)
class Value:
    """A tensor of a frontend that reads files: see `Held`. `data` is there where the frontend knows the contents
    (sizes, small constants).
    """

    node: int
    size: Size
    tag: Tag = NOTHING
    static: bool = False
    data: Any = None


@dataclass(slots=True)
class Operand:
    """A value as one call reads it, with its size before the call; `whole` for weights, whose shapes stay in PyTorch's
    layout.
    """

    value: Held
    size: Size
    whole: bool = False


@dataclass(slots=True)
class Step:
    """One call on its way to becoming a node; sizes are the framework's own, batch included, in its own order.

    `name` is what the call is called in the graph, `label` what users know an unknown operator by. `style` is the
    operator whose idea of the axes holds (`op` unless given). `axes` maps old axes to new ones where the call moves
    them, `dims` are the axes that it reduces. `spatial` is the number of window dimensions where known; `last` says
    that windows and norms have their channels on the last axis (NHWC). Padding of `Pad` is a pair for every axis; the
    node keeps those of the spatial axes.
    """

    op: str
    name: str
    operands: list[Operand]
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    params: tuple[Param, ...] = ()
    style: str | None = None
    axes: Mapping[int, int] | None = None
    dims: tuple[int, ...] | None = None
    spatial: int | None = None
    last: bool = False
    label: str = ""

    @property
    def leading(self) -> list[Operand]:
        """Operands that depend on the graph's inputs."""
        return [operand for operand in self.operands if not operand.value.static]


class Tape:
    """The nodes so far, and the module whose forward is running: `path[-1]`. `batch` is the size of the batch, which
    graphs do not store.
    """

    def __init__(self, batch: int = 1, strict: bool = False) -> None:
        self.nodes: list[Node] = []
        self.path = [""]
        self.batch, self.strict = batch, strict
        self._names: Counter[str] = Counter()
        # graph inputs whose channel axis their first reader decides -> their batch axis
        self._pending: dict[int, int | None] = {}
        self._params: dict[str, int] = {}

    @contextmanager
    def within(self, path: str) -> Iterator[None]:
        """Nodes emitted inside belong to the module `path`."""
        self.path.append(path)
        try:
            yield
        finally:
            self.path.pop()

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
        """Append a node, named after its module and function; returns its index."""
        path = self.path[-1] if path is None else path
        full = f"{path}.{name}" if path else name
        self._names[full] += 1
        if (count := self._names[full]) > 1:
            full = f"{full}#{count}"
        self.nodes.append(Node(op, inputs, in_shapes, shape, params, attributes(attrs or {}), full, path))
        return len(self.nodes) - 1

    # --- ends of the graph, and what does not depend on its inputs

    def input(self, name: str, size: Size, place: int | None, floating: bool = True) -> Value:
        """A graph input with its batch on axis `place`; the first reader of a floating-point one decides where its
        channels are.
        """
        tag = Tag(None, place)
        node = self.add("Input", name, shape=layout.stored(size, tag, self.batch), path="")
        if floating:
            self._pending[node] = place
        return Value(node, size, tag)

    def output(self, value: Held, size: Size, name: str) -> None:
        """Make a value a graph output."""
        self._settle(Step("Output", name, [Operand(value, size)]))
        shape = layout.stored(size, value.tag, self.batch)
        self.add("Output", name, (value.node,), (shape,), shape, path="")

    def param(self, name: str, shape: Size) -> Value:
        """A trainable tensor; asking twice for a name gives the same node."""
        if name not in self._params:
            self._params[name] = self.add("Param", name, shape=shape, params=(Param(name, shape),), path="")
        return Value(self._params[name], shape, static=True)

    def constant(self, name: str, size: Size, data: Any = None) -> Value:
        """A tensor that is neither trained nor computed from the inputs; the node keeps the value of a real scalar."""
        scalar = (
            data is not None
            and size == ()
            and not isinstance(data.item() if hasattr(data, "item") else data, complex | str | bytes)
        )
        node = self.add("Constant", name, shape=size, attrs={"value": float(data)} if scalar else {})
        return Value(node, size, static=True, data=data)

    # --- calls

    def apply(self, op: str, name: str, inputs: Sequence[Value], sizes: Sequence[Size], **step: Any) -> list[Value]:
        """`emit` for frontends that read files: the values of a call's results. `step` are further fields of `Step`."""
        operands = [Operand(value, value.size) for value in inputs]
        node, tags, static = self.emit(Step(op, name, operands, **step), sizes)
        return [Value(node, size, tag, static) for size, tag in zip(sizes, tags, strict=True)]

    def emit(self, step: Step, sizes: Sequence[Size]) -> tuple[int, list[Tag], bool]:
        """Append the node of a call whose results have these sizes; returns its index, the tag of each result, and
        whether they are static.
        """
        self._settle(step)
        static = not step.leading
        if static:
            tags = [NOTHING] * len(sizes)
            in_shapes, shape = self._constant_shapes(step, sizes[0])
        else:
            tags = [self._result_tag(step, size, slot) for slot, size in enumerate(sizes)]
            in_shapes, shape = self._in_shapes(step), layout.stored(sizes[0], tags[0], self.batch)
        attrs: dict[str, Attr] = {"name": step.label or step.name} if step.op == "Opaque" else dict(step.attrs)
        if step.op == "Pad" and not static:
            attrs["padding"] = layout.per_axis(step.attrs["padding"], step.leading[0].value.tag)
        node = self.add(
            step.op, step.name, tuple(o.value.node for o in step.operands), in_shapes, shape, step.params, attrs
        )
        if step.op == "Opaque" and self.strict and not static:
            raise UnsupportedOpError(
                f"operator {attrs['name']} (node {self.nodes[node].name!r}) is not in the vocabulary of cgir.ops; "
                "trace without strict=True to keep it as an Opaque node, or add it to the table"
            )
        return node, tags, static

    def _settle(self, step: Step) -> None:
        """The first reader of a graph input says which of its axes holds the channels."""
        for operand in step.operands:
            value = operand.value
            if value.node not in self._pending:
                continue
            place = self._pending.pop(value.node)
            style = step.op if step.style is None else step.style
            value.tag = layout.first_guess(style, operand.size, place, self.batch, step.spatial, step.axes, step.last)
            node = self.nodes[value.node]
            self.nodes[value.node] = Node(
                node.op, shape=layout.stored(operand.size, value.tag, self.batch), name=node.name
            )

    def _natural(self, step: Step, size: Size, tag: Tag, batch: int) -> Tag:
        return layout.natural(step.op if step.style is None else step.style, size, tag, batch, step.spatial, step.last)

    def _constant_shapes(self, step: Step, size: Size) -> tuple[tuple[Shape, ...], Shape]:
        """Shapes of a node that depends on no graph input: there is no batch, but operators have their idea of the
        channels all the same.

        Rows of a table stay as they are: files hold them so when they are looked up beforehand.
        """

        def shape(size: Size) -> Shape:
            return layout.stored(size, NOTHING if step.op == "Embedding" else self._natural(step, size, NOTHING, 1), 1)

        return tuple(o.size if o.whole else shape(o.size) for o in step.operands), shape(size)

    def _in_shapes(self, step: Step) -> tuple[Shape, ...]:
        first = step.leading[0]
        reference = first.size, self._natural(step, first.size, first.value.tag, self.batch)
        shapes = []
        for operand in step.operands:
            if operand.whole:
                tag = NOTHING
            elif operand.value.static:
                tag = layout.aligned(operand.size, *reference, self.batch)
            else:
                tag = self._natural(step, operand.size, operand.value.tag, self.batch)
            shapes.append(layout.stored(operand.size, tag, self.batch))
        return tuple(shapes)

    def _result_tag(self, step: Step, size: Size, slot: int) -> Tag:
        first, batch = step.leading[0], self.batch
        tag = first.value.tag
        if step.op == "Reshape":  # with `axes`, one that only adds and drops axes of size 1
            return (
                layout.reshaped(first.size, size, tag, batch)
                if step.axes is None
                else layout.moved(tag, step.axes)._replace(split=tag.split)
            )
        if step.axes is not None:
            tag = layout.moved(tag, step.axes)
        elif step.op in layout.REDUCED and step.dims is not None:
            tag = layout.reduced(tag, len(first.size), step.dims, keep=len(size) == len(first.size))
        elif step.op in ("Embedding", "OneHot") and len(size) > len(first.size):
            tag = Tag(len(size) - 1, tag.batch, tag.outer)
        elif step.op in ("LSTM", "GRU", "RNN") and slot:
            tag = Tag(None, 1 if len(size) == 3 else tag.batch)
        elif (step.op if step.style is None else step.style) not in layout.SPATIAL:
            tag = layout.elementwise([(o.size, o.value.tag) for o in step.leading], size, batch)
        tag = self._natural(step, size, tag, batch)
        unsure = step.op in ("Opaque", "Gather", "Scatter", "MatMul")
        return (
            Tag(tag.channel, 0)
            if unsure and tag.batch is None and size and size[0] == batch and tag.channel != 0
            else tag
        )
