"""Builder of canonical graphs: infers shapes, names parameters, needs no framework.

Search spaces write their networks with it. Every method takes node indices and returns the index of the node it adds.
`cgir.batch_builder` has a builder with the same methods that writes many graphs as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import Any

from .errors import InvalidGraphError
from .graph import Attr, Graph, Node, Param, Shape, attributes


class GraphBuilder:
    """Append operators one by one, then `build()`; indices returned by the methods are the handles.

    `module_names` are names of subgraphs by the module paths that they would have: `cell0.edge1`.
    """

    def __init__(self, name: str = "", module_names: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._module_names = module_names or {}
        self.nodes: list[Node] = []
        self._module = ""
        self._counts: dict[str, int] = {}  # number of subgraphs with each path

    def add_node(
        self,
        op: str,
        inputs: tuple[int, ...],
        shape: Shape,
        params: tuple[Shape, ...] = (),
        in_shapes: tuple[Shape, ...] | None = None,
        **attrs: Attr,
    ) -> int:
        """Append any operator.

        Args:
            op: its name in the table of `cgir.ops`.
            inputs: nodes it reads, in argument order.
            shape: its output's, without the batch.
            params: shapes of its parameters, in the order of the operator's row.
            in_shapes: shapes of its inputs; needed only where data movement changed those of the producers.
            attrs: kernel, stride and so on.
        """
        index = len(self.nodes)
        input_shapes = in_shapes if in_shapes is not None else tuple(self.nodes[i].shape for i in inputs)
        weights = tuple(Param(f"{index}.{slot}", size) for slot, size in enumerate(params))
        module = "" if op == "Output" else self._module
        self.nodes.append(
            Node(op, inputs, input_shapes, shape, weights, attributes(attrs), f"{op.lower()}_{index}", module)
        )
        return index

    def subgraph(self, make: Callable[..., Any], x: int | tuple[int, ...], *args: Hashable) -> Any:
        """`make(self, x, *args)`, a subgraph that repeats, in this network or in others; `BatchBuilder` builds it once.

        Args:
            make: a module-level function that depends on its arguments only; returns an index or a tuple of them.
            x: the node or nodes that the subgraph reads.
            args: further arguments of `make`.
        """
        outer, path = self._module, f"{self._module}.{make.__name__.strip('_')}".lstrip(".")
        number = self._counts[path] = self._counts.get(path, -1) + 1
        path = f"{path}{number}"
        self._module = self._module_names.get(path, path)  # drawings fold subgraphs as they fold modules
        try:
            return make(self, x, *args)
        finally:
            self._module = outer

    def piece(self, make: Callable[..., Any], x: int | tuple[int, ...], *args: Hashable) -> Any:
        """Alias of `subgraph`.

        Args:
            make: as in `subgraph`.
            x: as in `subgraph`.
            args: as in `subgraph`.
        """
        return self.subgraph(make, x, *args)

    def tie_weights(self, source: int, index: int, count: int = 1) -> None:
        """Make nodes use the parameters of others; of a node with more of them, the first ones are shared.

        Args:
            source: last of the nodes that have the parameters.
            index: last of the nodes that are to use them.
            count: number of consecutive nodes that end at `source` and at `index`.
        """
        for offset in range(count):
            node, shared = self.nodes[index - offset], self.nodes[source - offset].params
            self.nodes[index - offset] = replace(node, params=shared + node.params[len(shared) :])

    def shape(self, index: int) -> Shape:
        """Output shape of a node, channels first, without the batch."""
        return self.nodes[index].shape

    def input(self, shape: Shape) -> int:
        """A graph input."""
        return self.add_node("Input", (), shape)

    def output(self, x: int) -> int:
        """A graph output."""
        return self.add_node("Output", (x,), self.shape(x))

    def conv(
        self,
        x: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> int:
        """A square 2-d convolution.

        Args:
            x: node (C, H, W) that it reads.
            channels: of the output.
            kernel: height and width.
            stride: of both axes.
            padding: on all four sides; None: half the kernel.
            groups: into how many the channels are split.
            bias: whether it has one.

        Raises:
            InvalidGraphError: the channels cannot be split into so many groups.
        """
        pad = kernel // 2 if padding is None else padding
        in_channels, height, width = self.shape(x)
        if in_channels % groups or channels % groups:
            raise InvalidGraphError(f"conv: {in_channels} -> {channels} channels cannot be split into {groups} groups")
        shape = (channels, _window(height, kernel, stride, pad), _window(width, kernel, stride, pad))
        params: tuple[Shape, ...] = ((channels, in_channels // groups, kernel, kernel),) + (
            ((channels,),) if bias else ()
        )
        return self.add_node(
            "Conv", (x,), shape, params, **_geometry(kernel, stride, pad), dilation=(1, 1), groups=groups
        )

    def batch_norm(self, x: int, affine: bool = True) -> int:
        """Batch normalisation over channels."""
        channels = (self.shape(x)[0],)
        return self.add_node("BatchNorm", (x,), self.shape(x), (channels, channels) if affine else ())

    def relu(self, x: int, op: str = "ReLU") -> int:
        """An activation without parameters, ReLU unless named."""
        return self.add_node(op, (x,), self.shape(x))

    def max_pool(self, x: int, kernel: int, stride: int, padding: int = 0) -> int:
        """A square 2-d max pooling.

        Args:
            x: node (C, H, W) that it reads.
            kernel: height and width.
            stride: of both axes.
            padding: on all four sides.
        """
        channels, height, width = self.shape(x)
        shape = (channels, _window(height, kernel, stride, padding), _window(width, kernel, stride, padding))
        return self.add_node("MaxPool", (x,), shape, **_geometry(kernel, stride, padding), dilation=(1, 1))

    def avg_pool(self, x: int, kernel: int, stride: int, padding: int = 0, include_pad: bool = True) -> int:
        """A square 2-d average pooling.

        Args:
            x: node (C, H, W) that it reads.
            kernel: height and width.
            stride: of both axes.
            padding: on all four sides.
            include_pad: whether zeros of the padding count in the mean; recorded only where there is padding.
        """
        channels, height, width = self.shape(x)
        shape = (channels, _window(height, kernel, stride, padding), _window(width, kernel, stride, padding))
        extra: dict[str, Attr] = {"include_pad": include_pad} if padding else {}
        return self.add_node("AvgPool", (x,), shape, **_geometry(kernel, stride, padding), **extra)

    def global_avg_pool(self, x: int) -> int:
        """Mean over all positions: (C, H, W) -> (C,)."""
        return self.add_node("GlobalAvgPool", (x,), self.shape(x)[:1])

    def add(self, *inputs: int) -> int:
        """Sum of tensors of equal shape; a single one passes through."""
        return inputs[0] if len(inputs) == 1 else self.add_node("Add", inputs, self.shape(inputs[0]))

    def concat(self, *inputs: int) -> int:
        """Concatenation along channels; a single one passes through."""
        if len(inputs) == 1:
            return inputs[0]
        shapes = [self.shape(i) for i in inputs]
        return self.add_node("Concat", inputs, (sum(s[0] for s in shapes), *shapes[0][1:]))

    def linear(self, x: int, features: int, bias: bool = True) -> int:
        """A fully connected layer over the channel axis.

        Args:
            x: node (C, ...) that it reads.
            features: channels of the output.
            bias: whether it has one.
        """
        in_features, *rest = self.shape(x)
        params: tuple[Shape, ...] = ((features, in_features),) + (((features,),) if bias else ())
        return self.add_node("Linear", (x,), (features, *rest), params)

    def build(self) -> Graph:
        """The graph, marked canonical: a search space guarantees that it equals the traced module's graph."""
        return Graph(tuple(self.nodes), self.name, level="module")


def _window(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def _geometry(kernel: int, stride: int, padding: int) -> dict[str, Attr]:
    return {"kernel": (kernel, kernel), "stride": (stride, stride), "padding": ((padding, padding), (padding, padding))}
