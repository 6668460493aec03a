"""Node kinds for the operators of cells, with which encoders read a cell as they read a network.

A cell operator is one node, described by its main operator: a block of ReLU, convolution and BatchNorm as the
convolution, a separable convolution as its depthwise one, an inverted bottleneck as the depthwise convolution between
its two others. Shapes are nominal, 16 channels of 32 x 32, since a cell has no others; operators named by their sizes
have these, and as many tokens as there are pixels. A node that reads several sums them without a node of its own.
`none` and `zeroize` are the product with a constant that benchmarks run; `CellGraph.pruned` leaves none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import product

import numpy as np

from cgir.errors import SpecError
from cgir.graph import Attr, NodeKind, Shape, attributes
from cgir.graph_batch import GraphBatch

from .cell import CellGraph

FeatureMap = tuple[int, int]  # channels, and height and width
KindFactory = Callable[[FeatureMap], NodeKind]  # of a node that reads such a feature map

NOMINAL: FeatureMap = (16, 32)
# Where two cells stand side by side (DARTS, NASNet), the second one is the reduction cell, which leads to twice the
# channels at half the size.
REDUCED: FeatureMap = (32, 16)
FIRST_INPUT = "input_1"  # with which each of two such cells begins


def _conv(
    kernel: int | tuple[int, int],
    *,
    dilation: int = 1,
    depthwise: bool = False,
    width_multiplier: float = 1,
    stride: int = 1,
    fixed_width: int | None = None,
) -> KindFactory:
    """A convolution.

    `width_multiplier`: how many times more channels it returns, or reads and returns where it is depthwise;
    `fixed_width`: how many it returns, whatever it reads.
    """
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = tuple((dilation * (extent - 1) // 2,) * 2 for extent in (height, width))
    geometry = {
        "kernel": (height, width),
        "stride": (stride, stride),
        "padding": padding,
        "dilation": (dilation, dilation),
    }

    def make(feature_map: FeatureMap) -> NodeKind:
        channels, size = feature_map
        out_channels = fixed_width or round(channels * width_multiplier)
        in_channels, groups = (out_channels, out_channels) if depthwise else (channels, 1)
        shape = (out_channels, size // stride, size // stride)
        return NodeKind(
            "Conv",
            ((in_channels, size, size),),
            shape,
            ((out_channels, in_channels // groups, height, width),),
            attributes({**geometry, "groups": groups}),
        )

    return make


def _bottleneck(kernel: int, expansion: float, squeezed: bool = False, first: bool = False) -> KindFactory:
    """An inverted bottleneck as its depthwise convolution, with stride 2 where it is the `first` of a stage.

    `squeezed`: the gate of squeeze-and-excitation is a second input.
    """
    conv = _conv(kernel, depthwise=True, width_multiplier=expansion, stride=1 + first)

    def make(feature_map: FeatureMap) -> NodeKind:
        kind = conv(feature_map)
        return kind._replace(in_shapes=(*kind.in_shapes, (kind.shape[0], 1, 1))) if squeezed else kind

    return make


def _reducing_pool(kernel: int, stride: int) -> KindFactory:
    """Max pooling without padding, whose last window may be cut by the border."""
    geometry = {"kernel": (kernel, kernel), "stride": (stride, stride), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}

    def make(feature_map: FeatureMap) -> NodeKind:
        channels, size = feature_map
        reduced = -(-(size - kernel) // stride) + 1
        return NodeKind("MaxPool", (_shape(feature_map),), (channels, reduced, reduced), (), attributes(geometry))

    return make


def _global_pool(feature_map: FeatureMap) -> NodeKind:
    return NodeKind("GlobalAvgPool", (_shape(feature_map),), (feature_map[0],), (), ())


def _pool(op: str, kernel: int) -> KindFactory:
    extra: dict[str, Attr] = {"dilation": (1, 1)} if op == "MaxPool" else {"include_pad": False}
    return _plain(op, kernel=(kernel, kernel), stride=(1, 1), padding=((kernel // 2, kernel // 2),) * 2, **extra)


def _plain(op: str, inputs: int = 1, **attrs: Attr) -> KindFactory:
    """An operator that keeps the shape and has no parameters."""
    return lambda feature_map: NodeKind(op, (_shape(feature_map),) * inputs, _shape(feature_map), (), attributes(attrs))


def _linear(feature_map: FeatureMap) -> NodeKind:
    channels = feature_map[0]
    return NodeKind("Linear", (_shape(feature_map),), _shape(feature_map), ((channels, channels), (channels,)), ())


def _weighted(op: str, matrices: int = 1) -> KindFactory:
    """An operator on all nodes of a graph, with as many products with matrices and a bias."""
    return lambda feature_map: NodeKind(
        op,
        (_shape(feature_map),),
        _shape(feature_map),
        (*((feature_map[0], feature_map[0]),) * matrices, feature_map[:1]),
        (),
    )


def _previous_input(feature_map: FeatureMap) -> NodeKind:
    """The result of the cell before the last: half as many channels, which distinguishes it from the last cell's."""
    channels, size = feature_map
    return NodeKind("Input", (), (channels // 2, size, size), (), ())


def _shape(feature_map: FeatureMap) -> Shape:
    return feature_map[0], feature_map[1], feature_map[1]


KINDS: dict[str, KindFactory] = {
    "input": _plain("Input", 0), "input_1": _previous_input, "input_2": _plain("Input", 0), "output": _plain("Output"),
    **dict.fromkeys(("none", "zeroize"), _plain("Mul")),
    **dict.fromkeys(("skip_connect", "skip", "identity"), _plain("Identity")),
    **dict.fromkeys(("nor_conv_1x1", "conv1x1", "conv_1x1"), _conv(1)),
    **dict.fromkeys(("nor_conv_3x3", "conv3x3", "conv_3x3"), _conv(3)),
    "conv_3x1_1x3": _conv((1, 3)), "conv_7x1_1x7": _conv((1, 7)),
    **{f"sep_conv_{kernel}x{kernel}": _conv(kernel, depthwise=True) for kernel in (3, 5, 7)},
    **{f"dil_conv_{kernel}x{kernel}": _conv(kernel, depthwise=True, dilation=2) for kernel in (3, 5)},
    "avg_pool_3x3": _pool("AvgPool", 3), "maxpool3x3": _pool("MaxPool", 3),
    **{f"max_pool_{kernel}x{kernel}": _pool("MaxPool", kernel) for kernel in (3, 5, 7)},
    # ResNet blocks of TransNAS-Bench-101's modules, by what they do to the shape
    "normal": _conv(3), "resolution_/2": _conv(3, stride=2),
    "channels_x2": _conv(3, width_multiplier=2), "channels_x2_resolution_/2": _conv(3, width_multiplier=2, stride=2),
    # inverted bottlenecks of NAS-Bench-Macro, ProxylessNAS, OFA and MnasNet
    "mb_e3_k3": _bottleneck(3, 3), "mb_e6_k5": _bottleneck(5, 6),
    **{
        f"{kernel}x{kernel}_MBConv{expansion}": _bottleneck(kernel, expansion)
        for kernel, expansion in product((3, 5, 7), (3, 6))
    },
    **{
        (f"mbconv_e{expansion}" if expansion > 1 else "sepconv") + f"_k{kernel}" + "_se" * squeezed + "_first" * first:
        _bottleneck(kernel, expansion, squeezed, first)
        for kernel, expansion, squeezed, first in product((3, 5, 7), (1, 3, 4, 6), (False, True), (False, True))
    },
    # poolings of MetaQNN
    "global_avg_pool": _global_pool,
    **{f"max_pool_k{kernel}_s{stride}": _reducing_pool(kernel, stride) for kernel, stride in ((5, 3), (3, 2), (2, 2))},
    **{  # of archai's MobileNetV2
        f"mbconv_e{expansion}_k{kernel}" + "_first" * first: _bottleneck(kernel, expansion, False, first)
        for kernel, expansion, first in product((3, 5, 7), (2, 5), (False, True))
    },
    # recurrent cells of NAS-Bench-NLP
    "linear": _linear, "blend": _plain("Lerp", 3),
    "elementwise_prod": _plain("Mul", 2), "elementwise_sum": _plain("Add", 2),
    "activation_tanh": _plain("Tanh"), "activation_sigm": _plain("Sigmoid"),
    "activation_leaky_relu": _plain("LeakyReLU", slope=0.01),
    # layers of graph networks, by the operator that distinguishes them, with the layer's matrices
    "gat": _weighted("Softmax"), "gcn": _weighted("Scatter"), "gin": _weighted("Add"), "cheb": _weighted("Sub", 2),
    "sage": _weighted("Mean", 2), "arma": _weighted("ReLU", 2), "graph": _weighted("Sum", 2), "fc": _linear,
    "mp_add": _weighted("Sum"), "mp_max": _weighted("ReduceMax"), "mp_mean": _weighted("Mean"),
    "concatenate": _plain("Concat", 2),
}  # fmt: skip
OTHER_BLOCK = re.compile(r"mbconv_e([0-9]+(?:\.[0-9]+)?)_k([0-9]+)(_first)?")  # other supernets' expansions and kernels
# States of NAS-Bench-NLP, of which there may be any number: vectors. Kinds have no index of the input, so state i is
# distinguished by its width, i + 1.
STATE_OPS = {"input_h_prev": "Input", "output_h_new": "Output"}


def _attention(feature_map: FeatureMap, width: int, heads: int) -> NodeKind:
    shape = (heads, feature_map[1] ** 2, width // heads)
    return NodeKind("Attention", (shape,) * 3, shape, (), ())


def _swiglu(feature_map: FeatureMap, width: int, hidden: int) -> NodeKind:
    """As the linear layer before the gate."""
    tokens = feature_map[1] ** 2
    return NodeKind("Linear", ((width, tokens),), (2 * hidden, tokens), ((2 * hidden, width),), ())


def _convolution(feature_map: FeatureMap, kernel: int, stride: int, width: int) -> NodeKind:
    return _conv(kernel, stride=stride, fixed_width=width)(feature_map)


def _dense(feature_map: FeatureMap, width: int) -> NodeKind:
    """A linear layer on the channels of every pixel."""
    channels, *sizes = _shape(feature_map)
    return NodeKind("Linear", (_shape(feature_map),), (width, *sizes), ((width, channels), (width,)), ())


def _lstm(feature_map: FeatureMap, hidden: int) -> NodeKind:
    shape, gates = (hidden, feature_map[1] ** 2), 4 * hidden
    attrs = attributes({"hidden": hidden, "layers": 1, "bidirectional": False})
    return NodeKind("LSTM", (shape,), shape, ((gates, hidden), (gates, hidden), (gates,), (gates,)), attrs)


# Operators named by their sizes, "attention_512_8": kinds of what they read, where every pixel is a token, and of these
# sizes; of convolutions kernel, stride and channels.
SIZED_OPS: dict[str, Callable[..., NodeKind]] = {
    "attention": _attention,
    "swiglu": _swiglu,
    "convolution": _convolution,
    "dense": _dense,
    "lstm": _lstm,
}


def cell_kind(op: str, feature_map: FeatureMap = NOMINAL) -> NodeKind:
    """The node kind for a benchmark's operator.

    Args:
        op: as `Space.cell_graph` names it.
        feature_map: channels, and height and width, of what it reads.

    Raises:
        SpecError: the operator has no row.
    """
    if op in KINDS:
        return KINDS[op](feature_map)
    if block := OTHER_BLOCK.fullmatch(op):
        return _bottleneck(int(block[2]), float(block[1]), first=bool(block[3]))(feature_map)
    base, *sizes = op.split("_")
    if base in SIZED_OPS:
        return SIZED_OPS[base](feature_map, *map(int, sizes))
    name, _, number = op.rpartition("_")
    if name in STATE_OPS and number.isdecimal():
        shape = (feature_map[0], 1, int(number) + 1)
        return NodeKind(STATE_OPS[name], () if STATE_OPS[name] == "Input" else (shape,), shape, (), ())
    raise SpecError(
        f"cells: no node kind stands for the operator {op!r}; "
        "add a row for it to KINDS in frontends/spaces/cell_kinds.py"
    )


def pack_cells(cells: Iterable[CellGraph]) -> GraphBatch:
    """Cells as arrays; kinds are numbered in order of first appearance.

    Raises:
        SpecError: an operator has no node kind.
    """
    rows: dict[tuple[str, bool], int] = {}
    kind: list[int] = []
    src: list[int] = []
    dst: list[int] = []
    ptr = [0]
    for cell in cells:
        start, num_begun = ptr[-1], 0
        for op in cell.ops:
            num_begun += op == FIRST_INPUT
            kind.append(rows.setdefault((op, num_begun > 1), len(rows)))
        src += [start + source for source, _ in cell.edges]
        dst += [start + target for _, target in cell.edges]
        ptr.append(start + len(cell.ops))
    kinds = tuple(cell_kind(op, REDUCED if reduced else NOMINAL) for op, reduced in rows)
    arrays = [np.asarray(values, np.int64) for values in (kind, src, dst, ptr)]
    order = np.lexsort(arrays[1:3])
    return GraphBatch(kinds, arrays[0], arrays[1][order], arrays[2][order], arrays[3])
