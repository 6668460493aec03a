"""Layers of TensorFlow graphs: convolutions, normalisation, tables. Weights are handed on in PyTorch's layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from cgir import Param
from cgir.graph import Attr
from frontends.common.tape import CallFields, OpCall, Operand, ProvenanceHint, Size, Value

from .graph_def import Item, Variable
from .graph_walk import Call
from .shape_inference import numbers

Result = Sequence[Value | Item]
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ExpandedDim(ProvenanceHint):
    """A tensor that got an axis of one element, as one-dimensional windows do: the tensor before, and the new axis."""

    source: Item
    axis: int


@dataclass(frozen=True, slots=True)
class ReshapeOf(ProvenanceHint):
    """A tensor in another shape: the tensor before."""

    source: Item


@dataclass(frozen=True, slots=True)
class SpaceToBatchOf(ProvenanceHint):
    """A tensor cut into interleaved blocks (SpaceToBatchND), as dilated convolutions do: the tensor before, block sizes
    and padding.
    """

    source: Item
    block: tuple[int, ...]
    padding: Pairs


@dataclass(frozen=True, slots=True)
class SpaceToBatchConv(ProvenanceHint):
    """A convolution of such a tensor, still to be put together again: its call, and what was cut."""

    call: Call
    spread: SpaceToBatchOf


# --- windows


def spatial_entries(call: Call, name: str) -> tuple[int, ...]:
    """The spatial entries of an attribute that has one per axis."""
    values = tuple(int(v) for v in call.attr(name))
    return values[1:-1] if channels_last(call) else values[2:]


def channels_last(call: Call) -> bool:
    """Whether the operator has its channels on the last axis."""
    return str(call.attr("data_format"))[-1] == "C"


def spatial_size(call: Call, size: Size) -> Size:
    """The spatial part of an image's size."""
    return size[1:-1] if channels_last(call) else size[2:]


def same(size: Size, kernel: Size, stride: Size, dilation: Size) -> Pairs:
    """Padding "SAME": outputs of ceil(size / stride), the odd element behind (tf.nn.convolution, "Notes on padding")."""
    pairs = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pairs.append((total // 2, total - total // 2))
    return tuple(pairs)


def explicit_padding(call: Call, size: Size, kernel: Size, stride: Size, dilation: Size) -> Pairs:
    """The padding that the attributes ask for, as pairs."""
    kind = call.attr("padding")
    if kind == "SAME":
        return same(size, kernel, stride, dilation)
    if kind == "EXPLICIT":
        flat = [int(v) for v in call.attr("explicit_paddings")]
        pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
        return pairs[1:-1] if channels_last(call) else pairs[2:]
    return ((0, 0),) * len(kernel)


def _weight(call: Call, item: Item, order: tuple[int, ...], shape: Size) -> tuple[tuple[Param, ...], list[Operand]]:
    """A kernel as the node's own parameter if it is a variable, else as an operand in PyTorch's order of axes."""
    if item.variable is not None and item.variable.trainable and item.value is None:
        return (Param(item.variable.id, shape),), []
    axes = {old: new for new, old in enumerate(order)}
    call.walk.turn_params(call.walk.value(item), order)
    [value] = call.walk.tape.apply(
        "Transpose", "kernel", [call.walk.value(item)], [tuple(item.size[old] for old in order)], axis_map=axes
    )
    return (), [Operand(value, value.size, is_weight=True)]


def windowed(
    call: Call,
    op: str,
    inputs: list[Operand],
    attrs: dict[str, Attr],
    params: tuple[Param, ...],
    size: Size,
    spatial: int,
) -> Value:
    """Write an operator with windows over `spatial` dimensions."""
    op_call = OpCall(op, call.name, inputs, attrs, params, num_spatial_dims=spatial, channels_last=channels_last(call))
    return call.walk.tape.emit_values(op_call, [size])[0]


def conv(call: Call) -> Result:
    """Conv2D, Conv3D and DepthwiseConv2dNative; kernels are (window, in, out), depthwise ones (window, in, multiplier)."""
    image = call.items[0]
    cut = image.provenance.source if isinstance(image.provenance, ExpandedDim) else image
    if isinstance(cut.provenance, SpaceToBatchOf) and cut.value is None and call.attr("padding") == "VALID":
        pending = SpaceToBatchConv(call, cut.provenance)
        return [
            Item(
                call.size,
                image.dtype,
                make=call.later(lambda: call.walk.value(_conv(call, image, None)[0])),
                provenance=pending,
            )
        ]
    return list(_conv(call, image, None))


def _conv(call: Call, image: Item, spread: SpaceToBatchOf | None) -> list[Item]:
    """The convolution of `image`; `spread` is what was cut, with the padding that remains, where a dilation was written
    as operators of its own.
    """
    weight = call.items[1]
    kernel, (inner, outer) = weight.size[:-2], weight.size[-2:]
    depthwise = call.node.op.startswith("Depthwise")
    stride, dilation = spatial_entries(call, "strides"), spatial_entries(call, "dilations")
    padding = explicit_padding(call, spatial_size(call, image.size), kernel, stride, dilation)
    if spread is not None:
        dilation, padding = spread.block, spread.padding
    channels = image.size[-1] if channels_last(call) else image.size[1]
    groups = channels if depthwise else channels // inner
    narrow = narrowed(call, image, weight)
    axis, size = None, call.size
    if narrow is not None:
        axis, image, weight = narrow
        kernel, stride = (without(values, axis - first_spatial(call)) for values in (kernel, stride))
        if spread is None:
            dilation, padding, size = (
                without(dilation, axis - first_spatial(call)),
                without(padding, axis - first_spatial(call)),
                without(size, axis),
            )
    if spread is not None:
        image = spread.source
    n = len(kernel)
    order = (n, n + 1, *range(n)) if depthwise else (n + 1, n, *range(n))
    shape = (inner * outer, 1, *kernel) if depthwise else (outer, inner, *kernel)
    params, weights = _weight(call, weight, order, shape)
    attrs: dict[str, Attr] = {
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    value = windowed(call, "Conv", [Operand(call.walk.value(image), image.size), *weights], attrs, params, size, n)
    return [widened(call, value, axis)]


def first_spatial(call: Call) -> int:
    """The first spatial axis."""
    return 1 if channels_last(call) else 2


def without(values: tuple[Any, ...], place: int) -> tuple[Any, ...]:
    """The values but one."""
    return values[:place] + values[place + 1 :]


def widened(call: Call, value: Value, axis: int | None) -> Item:
    """A one-dimensional result with the axis that its operator expects, for as long as nobody takes it away again."""
    item = Item(value.size, call.outputs[0][1], value=value)
    if axis is None or value.size == call.size:
        return item
    expand = call.later(lambda: call.walk.tape.apply("Reshape", "expand", [value], [call.size])[0])
    return Item(call.size, item.dtype, make=expand, provenance=ExpandedDim(item, axis))


def narrowed(call: Call, image: Item, kernel: Item | None) -> tuple[int, Item, Item] | None:
    """The axis that a one-dimensional window was widened by, with image and kernel as they were before."""
    if not isinstance(image.provenance, ExpandedDim):
        return None
    axis, place = image.provenance.axis, image.provenance.axis - first_spatial(call)
    if not 0 <= place < len(image.size) - 2:
        return None
    if kernel is None:
        return axis, image.provenance.source, image
    if not isinstance(kernel.provenance, ExpandedDim) or kernel.provenance.axis != place:
        return None
    return axis, image.provenance.source, kernel.provenance.source


def space_to_batch(call: Call) -> Result:
    """SpaceToBatchND: remembered for the convolution that reads it, written if anything else does."""
    block = numbers(call.items[1], "block shape", call.node)
    flat = numbers(call.items[2], "padding", call.node)
    spread = SpaceToBatchOf(call.items[0], block, tuple(zip(flat[::2], flat[1::2], strict=True)))
    return [
        Item(call.size, call.items[0].dtype, make=call.later(lambda: call.plain("Shuffle", 0)[0]), provenance=spread)
    ]


def batch_to_space(call: Call) -> Result:
    """BatchToSpaceND: together with what stands before it a dilated convolution."""
    item = call.items[0]
    if isinstance(item.provenance, ReshapeOf) and item.value is None:  # a one-dimensional one
        item = item.provenance.source
    pending = item.provenance
    block = numbers(call.items[1], "block shape", call.node)
    flat = numbers(call.items[2], "crops", call.node)
    if not isinstance(pending, SpaceToBatchConv) or pending.spread.block != block or item.value is not None:
        return list(call.plain("Shuffle", 0))
    crops = zip(flat[::2], flat[1::2], strict=True)
    padding = tuple(
        (before - first, after - last)
        for (before, after), (first, last) in zip(pending.spread.padding, crops, strict=True)
    )
    inner = pending.call
    joined = Call(inner.walk, inner.node, inner.items, inner.outputs, call.sizes)
    return list(_conv(joined, inner.items[0], SpaceToBatchOf(pending.spread.source, block, padding)))


def conv_transpose(call: Call) -> Result:
    """Conv2DBackpropInput and Conv3DBackpropInputV2 as layers: operands are the output's size, the kernel (window, out,
    in) and the tensor.
    """
    weight, image = call.items[1:]
    kernel, (outer, inner) = weight.size[:-2], weight.size[-2:]
    stride, dilation = spatial_entries(call, "strides"), spatial_entries(call, "dilations")
    after, before = spatial_size(call, call.size), spatial_size(call, image.size)
    pairs = explicit_padding(call, after, kernel, stride, dilation)
    extra = tuple(
        n - ((m - 1) * s - a - b + d * (k - 1) + 1)
        for n, m, s, (a, b), d, k in zip(after, before, stride, pairs, dilation, kernel, strict=True)
    )
    narrow = narrowed(call, image, weight)
    axis, size = None, call.size
    if narrow is not None:
        axis, image, weight = narrow
        kernel, stride, dilation, pairs, extra = (
            without(values, axis - first_spatial(call)) for values in (kernel, stride, dilation, pairs, extra)
        )
        size = without(size, axis)
    attrs: dict[str, Attr] = {
        "kernel": kernel,
        "stride": stride,
        "padding": pairs,
        "dilation": dilation,
        "groups": 1,
        "output_padding": extra,
    }
    n = len(kernel)
    params, weights = _weight(call, weight, (n + 1, n, *range(n)), (inner, outer, *kernel))
    value = windowed(
        call, "ConvTranspose", [Operand(call.walk.value(image), image.size), *weights], attrs, params, size, n
    )
    return [widened(call, value, axis)]


# --- normalisation, tables


def batch_norm(call: Call) -> Result:
    """FusedBatchNorm and its versions: scale and offset are weights, the statistics are not part of the architecture."""
    weights = [item.variable for item in call.items[1:3]]
    params = tuple(Param(v.id, v.size) for v in weights if isinstance(v, Variable) and v.trainable)
    others = [
        call.value(slot) for slot, v in zip((1, 2), weights, strict=True) if v is None and call.items[slot].data is None
    ]
    image = call.items[0]
    fields: CallFields = {
        "params": params,
        "channels_last": channels_last(call),
        "num_spatial_dims": len(image.size) - 2,
    }
    [value] = call.walk.tape.apply("BatchNorm", call.name, [call.value(0), *others], [call.size], **fields)
    return [value, *(Item(size, kind) for size, (_, kind) in zip(call.sizes[1:], call.outputs[1:], strict=True))]


def gather(call: Call) -> Result:
    """GatherV2 and ResourceGather: rows of a weight are an embedding, anything else is indexing."""
    table, axis, batched = call.items[0], 0, call.attr("batch_dims")
    if len(call.items) > 2:
        axis = numbers(call.items[2], "axis", call.node)[0]
    variable = table.variable
    if variable is not None and variable.trainable and axis == 0 and not batched and len(variable.size) == 2:
        return list(call.emit("Embedding", [call.value(1)], params=(Param(variable.id, variable.size),)))
    if variable is not None and table.dtype != variable.dtype:  # a handle: the contents are read here
        table = call.walk.read(variable)
    rank = len(table.size)
    axis %= max(rank, 1)
    grown = len(call.size) - rank
    axes = {old: old if old < axis else old + grown for old in range(rank) if old != axis}
    if prod(call.items[1].size) == 1 and call.items[1].data is not None:
        return list(call.emit("Slice", [call.walk.value(table)], axis_map=axes))
    return list(call.emit("Gather", [call.walk.value(table), call.value(1)], axis_map=axes))


CONVERTERS: dict[str, Callable[[Call], Result]] = {
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative"), conv),
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), conv_transpose),
    "SpaceToBatchND": space_to_batch, "BatchToSpaceND": batch_to_space,
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), batch_norm),
    "GatherV2": gather, "ResourceGather": gather, "Gather": gather,
}  # fmt: skip
